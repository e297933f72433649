"""Demonstrations of HIL-SERL: pickled lists of transitions (read by pickles.py), cut into episodes.

https://github.com/rail-berkeley/hil-serl, examples/record_demos.py and train_rlpd.py write them. HIL-SERL keeps no
truncation, and its buffers leave steps out; both show where a step's next observation is not the next step's
observation. There the episode is cut, so that no transition joins two moments.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robostack import __version__
from robostack.core.errors import BadValue, RobostackError
from robostack.core.spec import Spec, Term
from robostack.core.types import EpisodeHeader, Sample, Step, Who
from robostack.store.episode import EpisodeWriter
from robostack.store.exchange import pickles
from robostack.store.exchange.folder import whole_folder

PERIOD = 0.1  # s, hz=10 of its FrankaEnv; the files do not say


class Transition(NamedTuple):
    """One item of the list."""

    observation: dict[str, np.ndarray]
    next_observation: dict[str, np.ndarray]
    action: np.ndarray
    reward: float
    mask: float
    is_done: bool


@dataclass
class Brought:
    """What an import found."""

    episodes: int = 0
    steps: int = 0
    notes: list[str] = field(default_factory=list)  # what a reader should know, one line each


def transitions(
    path: Path, megabytes: int | None = None, seconds: int | None = None
) -> Generator[Transition, None, None]:
    """The transitions in a pickle, one at a time; limits as in pickles.read. Raises RobostackError in one line."""
    with closing(pickles.read(path, "transitions", megabytes, seconds)) as found:
        for arrays in found:
            seen, then = (
                {n.removeprefix(part): a for n, a in arrays.items() if n.startswith(part)}
                for part in ("observations.", "next_observations.")
            )
            reward, mask, done = (float(arrays[n]) for n in ("rewards", "masks", "dones"))
            yield Transition(seen, then, arrays["actions"], reward, mask, bool(done))


def bring(
    source: Path,
    folder: Path,
    robot: str = "",
    task: str = "",
    period: float = PERIOD,
    on_progress: Callable[[int], None] = lambda steps: None,
) -> Brought:
    """Writes the demonstrations in a pickle as episodes of a new folder, whole or not at all. Raises RobostackError.

    "state" becomes one term, other observations (…, H, W, 3) uint8 become cameras. The person acted throughout.
    """
    found = Brought()
    with whole_folder(folder) as draft:
        cutter = _Cutter(draft, source, robot or "unknown", task or source.stem, period, found)
        with closing(transitions(source)) as read, closing(cutter):
            for transition in read:
                cutter.take(transition)
                on_progress(found.steps)
            cutter.finish()
    return found


class _Cutter:
    """Owns the episode that is being written: where it ends shows when the next transition is there."""

    def __init__(
        self, folder: Path, source: Path, robot: str, task: str, period: float, found: Brought
    ):
        self._folder, self._source, self._found = folder, source, found
        self._robot, self._task, self._period = robot, task, period
        self._last: Transition | None = None
        self._writer: EpisodeWriter | None = None
        self._spec, self._cameras = Spec((), (), period), {}
        self._count, self._pairs, self._gaps, self._open = 0, 0, 0, 0

    def take(self, transition: Transition) -> None:
        transition = self._checked(transition)
        if self._writer is None:
            self._spec, self._cameras = _spec(transition, self._period, self._source)
            self._writer = EpisodeWriter(self._folder, self._spec)
        if self._last is not None:
            self._write(self._last, transition)
        if self._last is None or self._ends(self._last, transition):
            self._count = 0
            header = EpisodeHeader(
                index=self._found.episodes,
                kind="demonstration",
                robot=self._robot,
                task=self._task,
                plant="hil-serl",
                seed=0,
                spec=self._spec.digest,
                code=__version__,
                drawn={"source": self._source.name},
                cameras=self._cameras,
            )
            self._writer.begin(header, *self._frame(transition.observation, 0))
            self._found.episodes += 1
        self._last = transition

    def finish(self) -> None:
        """Writes the last transition, and says what is to be known."""
        if self._last is None:
            raise RobostackError(f"{self._source} holds no transition")
        self._write(self._last, None)
        if self._gaps:
            self._found.notes.append(
                f"{self._gaps} of {self._pairs} next observations are not the observation of the step "
                "after; the episodes are cut there, as truncated"
            )
        if self._open:
            self._found.notes.append("the last episode has no end; it counts as truncated")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _ends(self, last: Transition, following: Transition | None) -> bool:
        if last.is_done or last.mask == 0 or following is None:
            return True
        return not _equal(last.next_observation, following.observation)

    def _write(self, last: Transition, following: Transition | None) -> None:
        assert self._writer is not None
        is_over, is_terminated = self._ends(last, following), last.mask == 0
        if not (last.is_done or is_terminated):
            self._open = following is None
            self._pairs += following is not None
            self._gaps += is_over and following is not None
        observation, samples = self._frame(last.next_observation, self._count + 1)
        action = np.asarray(last.action, float).reshape(-1)
        step = Step(
            observation=_state(last.observation),
            action_policy=action,
            action=action,
            who=Who.PERSON,
            reward=last.reward,
            terminated=is_terminated,
            truncated=is_over and not is_terminated,
            parameters=-1,
            stamp=self._count * self._period,
            age=0.0,
            lateness=0.0,
        )
        self._writer.append(step, observation, samples)
        self._count += 1
        self._found.steps += 1
        if is_over:
            self._writer.end()

    def _frame(
        self, seen: Mapping[str, np.ndarray], number: int
    ) -> tuple[np.ndarray, dict[str, Sample]]:
        stamp = number * self._period
        return _state(seen), {n: Sample(stamp, _newest(seen[n])) for n in self._cameras}

    def _checked(self, transition: Transition) -> Transition:
        """The same. Raises BadValue where it is not like the first one."""
        number = self._found.steps + (self._last is not None)
        where = f"{self._source}, transition {number}"
        parts = {
            "observations": transition.observation,
            "next_observations": transition.next_observation,
        }
        for name, part in parts.items():
            if "state" not in part:
                there = ", ".join(sorted(part)) or "nothing"
                raise BadValue(f'{where} has no "state" in its {name}; there is: {there}')
            if not np.isfinite(part["state"]).all() or not np.isfinite(transition.action).all():
                raise BadValue(f"{where} holds a value that is not finite")
        if self._writer is not None:
            got = _spec(transition, self._period, self._source)
            if got != (self._spec, self._cameras) or got != _spec(
                transition._replace(observation=transition.next_observation),
                self._period,
                self._source,
            ):
                raise BadValue(
                    f"{where} has other shapes than the first: state {transition.observation['state'].shape}, "
                    f"actions {transition.action.shape}, cameras {got[1] or 'none'}"
                )
        return transition


def _spec(first: Transition, period: float, source: Path) -> tuple[Spec, dict[str, list[int]]]:
    """Terms and cameras, from one transition."""
    cameras = {}
    for name, value in first.observation.items():
        if name == "state":
            continue
        if value.dtype != np.uint8 or value.ndim not in (3, 4) or value.shape[-1] != 3:
            raise BadValue(
                f"{source}: observation {name} is {value.dtype} {value.shape}, expected pictures uint8 (1, H, W, 3)"
            )
        cameras[name] = list(value.shape[-3:-1])
    seen, done = len(_state(first.observation)), first.action.size
    if not seen or not done:
        raise BadValue(f"{source}: got {seen} numbers of state and {done} of action, expected some")
    state = Term("state", seen, "", "", (1.0,) * seen)
    action = Term("action", done, "", "", (1.0,) * done)
    return Spec((state,), (action,), period), cameras


def _state(seen: Mapping[str, np.ndarray]) -> np.ndarray:
    """(n,) float32. Of several stacked ones the newest; what is too large for it is infinite, and refused as such."""
    state = seen["state"]
    with np.errstate(over="ignore"):
        return np.asarray(state[-1] if state.ndim > 1 else state, np.float32).reshape(-1)


def _newest(pictures: np.ndarray) -> np.ndarray:
    return pictures[-1] if pictures.ndim == 4 else pictures


def _equal(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)
