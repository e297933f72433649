"""Episodes on disk: one MCAP file each, grown step by step, readable at any moment and after any crash.

Records stand in a fixed order: header, observation 0, then step t and observation t + 1, at last the end. Before each
observation stand the samples it was made from, as ROS 2 messages, pictures too. Each record carries a checksum
chained over everything before it, so a cut, a flipped bit or a lost message end the file at its last whole step.
Complete means that the end is there. Foxglove, `ros2 bag` and `mcap cat` open these files.
"""

import errno
import math
import os
import re
import struct
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

import numpy as np
from mcap.exceptions import McapError

from robostack.core import spec as specs
from robostack.core.errors import BadValue, RobostackError, SpecMismatch
from robostack.core.observe import pictures
from robostack.core.spec import Spec
from robostack.core.types import Episode, EpisodeHeader, Samples, Step, Who
from robostack.store import reading, schema, sensors, wire
from robostack.store.disk import explained

_NAME = re.compile(r"(\d{6,})-.+\.mcap")
CUT = "cut"  # folder inside an episodes folder for what was played again
_NOTHING: Samples = MappingProxyType({})
# What bytes that are no episode of ours lead to.
_NO_EPISODE = (KeyError, TypeError, ValueError, OverflowError, RecursionError)
_NO_EPISODE += (struct.error, McapError)
T = TypeVar("T")


class Recording(NamedTuple):
    """An episode as found on disk."""

    episode: Episode
    spec: Spec
    is_complete: bool  # False: running or cut; the steps that are there are whole


class Outcome(NamedTuple):
    """What became of a complete episode, without reading it all."""

    header: EpisodeHeader
    steps: int
    is_success: bool
    person_steps: int  # in which the person acted
    parameters: int  # version that acted last, -1 for none


class NothingWhole(RobostackError):
    """An episode that was cut before its first observation was whole."""


class Damaged(RobostackError):
    """A file that is no episode, or one whose checksums do not fit."""


class EpisodeWriter:
    """Owns the file of the episode that is running. A core.loop.Recorder; one after another.

    Every step is with the system when `append` returns, so no end of this process loses it. With a `memory` for what
    waits (store.spool), a thread brings each step to the disk, and `append` waits for no disk; else that happens when
    the episode ends.
    """

    def __init__(self, folder: Path | str, spec: Spec, memory: Path | None = None):
        self._folder, self._spec, self._memory = Path(folder), spec, memory
        self._file: wire.MessageFile | None = None

    def begin(
        self, header: EpisodeHeader, observation: np.ndarray, samples: Samples = _NOTHING
    ) -> None:
        """Starts a file. Raises Unavailable if this index has one already, or if the disk says no."""
        if header.spec != self._spec.digest:
            raise SpecMismatch(
                f"episode {header.index} has spec {header.spec}, its writer {self._spec.digest}"
            )
        self.close()  # an episode that nobody ended stays what it is: cut
        self._header, self._count = header, 0
        self._is_success, self._person_steps, self._parameters = False, 0, -1
        self._time = max((sample.stamp for sample in samples.values()), default=0.0)
        frame, seen = self._frame(0, observation), list(self._seen(samples))
        path = self._folder / f"{header.index:06d}-{header.kind}.mcap"
        with explained("record", path):
            self._folder.mkdir(parents=True, exist_ok=True)
            if header.index in {index for index, _ in listed(self._folder)}:
                raise FileExistsError(errno.EEXIST, f"there is an episode {header.index} already")
            memory = self._memory and self._memory / path.name
            self._file = wire.MessageFile(path, self._spec, memory)
        self._file.declare(sensors.kinds(samples))
        about = {"format": wire.FORMAT, "header": asdict(header), "spec": self._spec.as_dict()}
        opening = (schema.HEADER, self._time, about)
        self._write(opening, *seen, (schema.OBSERVATION, self._time, frame))

    def append(self, step: Step, next_observation: np.ndarray, samples: Samples = _NOTHING) -> None:
        """Writes a step and the frame after it at one stroke: a reader sees both or neither."""
        record = {
            "step": self._count,
            "action_policy": np.asarray(step.action_policy, float).tolist(),
            "action": np.asarray(step.action, float).tolist(),
            "who": Who(step.who).name.lower(),
            "reward": float(step.reward),
            "terminated": bool(step.terminated),
            "truncated": bool(step.truncated),
            "parameters": int(step.parameters),
            "stamp": float(step.stamp),
            "age": float(step.age),
            "lateness": float(step.lateness),
            "guard": step.guard,
        }
        if step.guide is not None:
            record["guide"] = np.asarray(step.guide, float).tolist()
        self._time = step.stamp + self._spec.period
        frame = self._frame(self._count + 1, next_observation)
        now = (schema.STEP, step.stamp, record)
        self._write(now, *self._seen(samples), (schema.OBSERVATION, self._time, frame))
        self._count += 1
        self._person_steps += step.who == Who.PERSON
        self._parameters = int(step.parameters)
        self._is_success = bool(step.terminated and step.reward > 0)

    def end(self) -> None:
        """Marks the episode complete. Nothing happens when none is running, or when the disk gave out."""
        if self._file is None:
            return
        record = {
            "steps": self._count,
            "is_success": self._is_success,
            "person_steps": self._person_steps,
            "parameters": self._parameters,
        }
        self._write((schema.END, self._time, record), outcome=record)
        self.close()

    def _write(self, *messages: Any, outcome: dict | None = None) -> None:
        assert self._file is not None, "append before begin"
        try:
            self._file.add(*messages, at=self._time)
        except (ValueError, TypeError, OverflowError) as error:
            raise BadValue(f"episode {self._header.index}, step {self._count}: {error}") from None
        try:
            with explained("record", self._file.path):
                if outcome is None:
                    self._file.commit()
                else:
                    self._file.finish({"header": asdict(self._header), **outcome})
        except RobostackError:
            self.close()  # a torn step stays behind and is ignored by readers
            raise

    def _seen(self, samples: Samples) -> Iterator[sensors.Message]:
        """The frame's samples; the cameras' are those that the header promises. Raises BadValue."""
        found = {name: list(value.shape[:2]) for name, value in pictures(samples).items()}
        if found != self._header.cameras:
            raise BadValue(
                f"episode {self._header.index}, step {self._count}: got pictures {found or 'of no camera'}, "
                f"expected {self._header.cameras or 'none'}"
            )
        return sensors.messages(samples)

    def _frame(self, number: int, observation: np.ndarray) -> dict:
        values = np.asarray(observation, np.float32).tolist()  # as doubles: exact
        if len(values) != self._spec.observation_size:
            raise BadValue(
                f"episode {self._header.index}, frame {number}: got {len(values)} numbers, "
                f"expected {self._spec.observation_size}"
            )
        terms, start = {}, 0
        for term in self._spec.observation:
            terms[term.name] = values[start : start + term.size]
            start += term.size
        return {"frame": number, "terms": terms}

    def close(self) -> None:
        """Lets the file go; an episode that is running stays what it is: cut. May be called twice."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None


def read_episode(
    path: Path | str, expected_spec: Spec | None = None, has_pictures: bool = True
) -> Episode:
    """The episode up to its last whole step. Raises RobostackError, or SpecMismatch with the difference."""
    return recover(path, expected_spec, has_pictures).episode


def recover(
    path: Path | str, expected_spec: Spec | None = None, has_pictures: bool = True
) -> Recording:
    """As `read_episode`, and whether the episode is complete. Without pictures it takes less memory."""
    with _reading(path):
        data = Path(path).read_bytes()
        return _parse(path, reading.messages(data), expected_spec, has_pictures)


def outcome(path: Path | str) -> Outcome | None:
    """What became of an episode, read from the file's end; None for one that is not complete.

    A file of an older robostack is read whole. Raises RobostackError.
    """
    with _reading(path):
        found = reading.outcome(Path(path))
        if found is not None:
            header = _typed(EpisodeHeader(**found["header"]))
            return _typed(Outcome(**{**found, "header": header}))
        if not reading.is_finished(Path(path)):
            return None
    episode, _, is_complete = recover(path, has_pictures=False)
    return outcome_of(episode) if is_complete else None


def outcome_of(episode: Episode) -> Outcome:
    """The same of an episode at hand."""
    version = episode.steps[-1].parameters if episode.steps else -1
    return Outcome(
        episode.header, len(episode.steps), episode.is_success, episode.person_steps, version
    )


def tool_poses(path: Path | str) -> np.ndarray:
    """(T + 1, 7) measured T_base_tool at each frame of `read_episode`, from the samples. Raises RobostackError.

    The observation has it relative to where the tool was at the episode's start.
    """
    found, newest = [], None
    with _reading(path):
        for name, record in reading.messages(Path(path).read_bytes()):
            if name == sensors.TOOL_POSE:
                newest = record
            elif name == schema.OBSERVATION:
                if newest is None:
                    raise RobostackError(f"{path} holds no {sensors.TOOL_POSE}: it was imported")
                found.append(sensors.pose(newest))
    return np.array(found).reshape(-1, 7)


@contextmanager
def _reading(path: Path | str) -> Iterator[None]:
    """What does not fit together becomes a RobostackError."""
    try:
        with explained("read", Path(path)):
            yield
    except reading.NewerFormat as error:
        raise RobostackError(f"{path} {error}") from None
    except _NO_EPISODE as error:
        raise Damaged(f"{path} is no episode file: {error}") from None


def _parse(
    path: Path | str,
    messages: Iterator[tuple[str, Any]],
    expected_spec: Spec | None,
    has_pictures: bool,
) -> Recording:
    header, spec = _opening(path, next(messages, None))
    if expected_spec is not None:
        specs.require_equal(spec, expected_spec, f"the terms of {path}")
    cameras = {sensors.topic_of_camera(name): name for name in header.cameras if has_pictures}
    frames, films = [], {name: [] for name in cameras.values()}
    records, waiting, seen, is_complete = [], None, {}, False
    for name, record in messages:
        if name == schema.STEP:
            waiting = record
        elif name == schema.OBSERVATION:
            frames.append([x for term in spec.observation for x in record["terms"][term.name]])
            for camera, film in films.items():
                film.append(_picture(camera, seen.pop(camera), header))
            records += [waiting] if waiting else []
        elif name == schema.END:
            is_complete = True
        elif name in cameras:
            seen[cameras[name]] = record
    if not frames:
        raise NothingWhole(f"{path} holds no whole observation: it was cut in its first step")
    observations = _finite(frames, np.float32, (len(frames), spec.observation_size))
    steps = tuple(
        _step(record, observations[i], spec.action_size) for i, record in enumerate(records)
    )
    pictures = {name: np.stack(film) for name, film in films.items()}
    return Recording(Episode(header, observations, steps, pictures), spec, is_complete)


def _opening(path: Path | str, message: tuple[str, Any] | None) -> tuple[EpisodeHeader, Spec]:
    if message is None or message[0] != schema.HEADER:
        raise NothingWhole(f"{path} holds no whole header: it was cut in its first step")
    header = _typed(EpisodeHeader(**message[1]["header"]))
    return header, Spec.from_dict(message[1]["spec"])


def _step(record: dict, observation: np.ndarray, action_size: int) -> Step:
    rest = {key: value for key, value in record.items() if key not in ("step", "who")}
    for key in {"action_policy", "action", "guide"} & record.keys():
        rest[key] = _finite(rest[key], float, (action_size,))
    return _typed(Step(observation=observation, who=Who[str(record["who"]).upper()], **rest))


def _picture(camera: str, message: Any, header: EpisodeHeader) -> np.ndarray:
    found = sensors.picture(message)
    if list(found.shape[:2]) != header.cameras[camera]:
        raise ValueError(f"a picture of {camera} is {found.shape}, its header says otherwise")
    return found


def _finite(values: Any, kind: type, shape: tuple[int, ...]) -> np.ndarray:
    with np.errstate(over="ignore"):
        found = np.array(values, kind)
    if found.shape != shape or not np.isfinite(found).all():
        raise ValueError(f"numbers of shape {found.shape} or not finite, expected {shape}")
    return found


def _typed(made: T) -> T:
    """`made`, if all its fields are what they should be. Raises ValueError."""
    for name, kind in type(made).__annotations__.items():
        value = getattr(made, name)
        parts = get_args(kind) if isinstance(kind, UnionType) else [kind]
        kinds = [get_origin(part) or part for part in parts]
        kinds += [int] if float in kinds else []
        if type(value) not in kinds or (float in kinds and not math.isfinite(value)):
            raise ValueError(f"its {name} is {value!r}")
    return made


def episode_paths(folder: Path | str) -> list[Path]:
    """All episode files of a folder, complete or not, by index."""
    return [Path(folder) / name for _, name in listed(folder)]


def next_index(folder: Path | str) -> int:
    """One above the highest index in the folder."""
    return max((index for index, _ in listed(folder)), default=-1) + 1


def listed(folder: Path | str, known: Set[str] = frozenset()) -> list[tuple[int, str]]:
    """(index, name) of the episode files, less those known."""
    try:
        found = map(_NAME.fullmatch, set(os.listdir(folder)) - known)
    except FileNotFoundError:
        return []
    return sorted((int(match[1]), match[0]) for match in found if match)
