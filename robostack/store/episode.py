"""Episodes on disk: one MCAP file each, grown step by step, readable at any moment and after any crash.

Messages stand in a fixed order: header, observation 0, then step t and observation t + 1, at last the end. Each
carries a checksum chained to the one before, so a cut, a flipped bit or a lost message end the file at its last
whole step. Complete means that the end is there. Foxglove and `mcap cat` open these files.
"""

import errno
import os
import re
import struct
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robostack.core import spec as specs
from robostack.core.errors import BadValue, RobostackError, SpecMismatch
from robostack.core.spec import Spec
from robostack.core.types import Episode, EpisodeHeader, Step, Who
from robostack.store import wire
from robostack.store.disk import explained

_NAME = re.compile(r"(\d{6,})-.+\.mcap")


class Recording(NamedTuple):
    """An episode as found on disk."""

    episode: Episode
    spec: Spec
    is_complete: bool  # False: running or cut; the steps that are there are whole


class EpisodeWriter:
    """Owns the file of the episode that is running. A core.loop.Recorder; one after another."""

    def __init__(self, folder: Path | str, spec: Spec):
        self._folder, self._spec = Path(folder), spec
        self._file: wire.MessageFile | None = None

    def begin(self, header: EpisodeHeader, observation: np.ndarray) -> None:
        """Starts a file. Raises Unavailable if this index has one already, or if the disk says no."""
        if header.spec != self._spec.digest:
            raise SpecMismatch(
                f"episode {header.index} has spec {header.spec}, its writer {self._spec.digest}"
            )
        self._drop()  # an episode that nobody ended stays what it is: cut
        self._index, self._count, self._is_success, self._time = header.index, 0, False, 0.0
        about = {"format": wire.FORMAT, "header": asdict(header), "spec": self._spec.as_dict()}
        # Stamps come with steps, so these two wait in memory for the first one.
        self._opening = [(wire.HEADER, about), (wire.OBSERVATION, self._frame(0, observation))]
        path = self._folder / f"{header.index:06d}-{header.kind}.mcap"
        with explained("record", path):
            self._folder.mkdir(parents=True, exist_ok=True)
            if header.index in {index for index, _ in _listed(self._folder)}:
                raise FileExistsError(errno.EEXIST, f"there is an episode {header.index} already")
            self._file = wire.MessageFile(path, self._spec)
            self._file.commit()

    def append(self, step: Step, next_observation: np.ndarray) -> None:
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
        self._time = step.stamp + self._spec.period
        frame = self._frame(self._count + 1, next_observation)
        opening = [(name, step.stamp, about) for name, about in self._opening]
        now = (wire.STEP, step.stamp, record)
        self._write(*opening, now, (wire.OBSERVATION, self._time, frame))
        self._opening = []
        self._count += 1
        self._is_success = bool(step.terminated and step.reward > 0)

    def end(self) -> None:
        """Marks the episode complete. Nothing happens when none is running, or when the disk gave out."""
        if self._file is None:
            return
        opening = [(name, self._time, about) for name, about in self._opening]
        record = {"steps": self._count, "is_success": self._is_success}
        self._write(*opening, (wire.END, self._time, record), is_last=True)
        self._drop()

    def _write(self, *messages: tuple[str, float, dict], is_last: bool = False) -> None:
        assert self._file is not None, "append before begin"
        try:
            self._file.add(*messages)
        except (ValueError, TypeError, OverflowError) as error:
            raise BadValue(f"episode {self._index}, step {self._count}: {error}") from None
        try:
            with explained("record", self._file.path):
                self._file.finish() if is_last else self._file.commit()
        except RobostackError:
            self._drop()  # a torn step stays behind and is ignored by readers
            raise

    def _frame(self, number: int, observation: np.ndarray) -> dict:
        values = np.asarray(observation, np.float32).tolist()  # as doubles: exact
        if len(values) != self._spec.observation_size:
            raise BadValue(
                f"episode {self._index}, frame {number}: got {len(values)} numbers, "
                f"expected {self._spec.observation_size}"
            )
        terms, start = {}, 0
        for term in self._spec.observation:
            terms[term.name] = values[start : start + term.size]
            start += term.size
        return {"frame": number, "terms": terms}

    def _drop(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None


def read_episode(path: Path | str, expected_spec: Spec | None = None) -> Episode:
    """The episode up to its last whole step. Raises RobostackError, or SpecMismatch with the difference."""
    return recover(path, expected_spec).episode


def recover(path: Path | str, expected_spec: Spec | None = None) -> Recording:
    """As `read_episode`, and whether the episode is complete."""
    with _reading(path) as messages:
        return _parse(path, messages, expected_spec)


@contextmanager
def _reading(path: Path | str) -> Iterator[Iterator[tuple[str, dict]]]:
    """The file's whole messages; what does not fit together becomes a RobostackError."""
    try:
        with explained("read", Path(path)):
            data = Path(path).read_bytes()
        yield wire.messages(data)
    except (struct.error, KeyError, TypeError, ValueError) as error:
        raise RobostackError(f"{path} is no episode file: {error}") from None


def _parse(
    path: Path | str, messages: Iterator[tuple[str, dict]], expected_spec: Spec | None
) -> Recording:
    header, spec = _opening(path, next(messages, None))
    if expected_spec is not None:
        specs.require_equal(spec, expected_spec, f"the terms of {path}")
    frames, records, waiting, is_complete = [], [], None, False
    for name, record in messages:
        if name == wire.STEP:
            waiting = record
        elif name == wire.OBSERVATION:
            frames.append([x for term in spec.observation for x in record["terms"][term.name]])
            records += [waiting] if waiting else []
        elif name == wire.END:
            is_complete = record["steps"] == len(records)
    if not frames:
        raise RobostackError(f"{path} holds no whole observation: it was cut in its first step")
    observations = np.array(frames, np.float32)
    steps = tuple(_step(record, observations[i]) for i, record in enumerate(records))
    return Recording(Episode(header, observations, steps), spec, is_complete)


def _opening(path: Path | str, message: tuple[str, dict] | None) -> tuple[EpisodeHeader, Spec]:
    if message is None or message[0] != wire.HEADER:
        raise RobostackError(f"{path} holds no whole header: it was cut in its first step")
    if (got := message[1]["format"]) != wire.FORMAT:
        raise RobostackError(
            f"{path} has episode format {got}, this robostack reads {wire.FORMAT}; "
            "read it with the robostack that wrote it, or a newer one"
        )
    return EpisodeHeader(**message[1]["header"]), Spec.from_dict(message[1]["spec"])


def _step(record: dict, observation: np.ndarray) -> Step:
    rest = {key: value for key, value in record.items() if key not in ("step", "who")}
    for key in ("action_policy", "action"):
        rest[key] = np.array(rest[key], float)
    return Step(observation=observation, who=Who[record["who"].upper()], **rest)


def episode_paths(folder: Path | str) -> list[Path]:
    """All episode files of a folder, complete or not, by index."""
    return [Path(folder) / name for _, name in _listed(folder)]


def next_index(folder: Path | str) -> int:
    """One above the highest index in the folder."""
    return max((index for index, _ in _listed(folder)), default=-1) + 1


def _listed(folder: Path | str, known: Set[str] = frozenset()) -> list[tuple[int, str]]:
    """(index, name) of the episode files, less those known."""
    try:
        found = map(_NAME.fullmatch, set(os.listdir(folder)) - known)
    except FileNotFoundError:
        return []
    return sorted((int(match[1]), match[0]) for match in found if match)


def _is_finished(path: Path) -> bool:
    with explained("read", path):
        return wire.is_finished(path)


class EpisodeFollower:
    """Owns the memory of which episodes of a folder it has given out."""

    def __init__(self, folder: Path | str, expected_spec: Spec | None = None):
        self._folder, self._expected_spec = Path(folder), expected_spec
        self._given: set[str] = set()

    def poll(self) -> list[Episode]:
        """Complete episodes not given before, by index. Reads each file once; costs little when there is none.

        Running and cut ones are passed over. A damaged file or another spec raises, once: polling again goes on.
        """
        new: list[Episode] = []
        for _, name in _listed(self._folder, self._given):
            path = self._folder / name
            if not _is_finished(path):
                continue
            try:
                found = recover(path, self._expected_spec)
                if not found.is_complete:
                    raise RobostackError(
                        f"{path} is damaged after step {len(found.episode.steps)}: "
                        "its checksums do not fit; move it away"
                    )
            except RobostackError:
                if new:
                    return new  # first what is good; the next poll raises
                self._given.add(name)
                raise
            self._given.add(name)
            new.append(found.episode)
        return new
