"""One episode, tick by tick: read, observe, act, send, record. The same for every plant."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np

from robostack import __version__
from robostack.core import clock, observe
from robostack.core.errors import BadValue, StaleSample
from robostack.core.guide import Starter
from robostack.core.interact import Interaction, Seen
from robostack.core.mask import Masker, width_of
from robostack.core.operator import Nobody, Operator
from robostack.core.plant import Plant
from robostack.core.robot import Robot
from robostack.core.spec import View
from robostack.core.success import Judge
from robostack.core.task import Task
from robostack.core.types import Episode, EpisodeHeader, Samples, Step, Who

Pictures = Mapping[str, np.ndarray]  # by camera, (H, W, 3) uint8 RGB
NO_PICTURES: Pictures = MappingProxyType({})
EXPLORED = ("practice", "fill")  # kinds of episodes
SETTLE_S = 2.0  # s that a cell may take after a reset until all its signals are fresh


class Policy(Protocol):
    """Learned, scripted or cloned: all the same shape."""

    @property
    def version(self) -> int:
        """Version of its parameters, -1 when it has none."""
        ...

    def act(
        self,
        observation: np.ndarray,
        rng: np.random.Generator | None,
        pictures: Pictures = NO_PICTURES,
    ) -> np.ndarray:
        """Action (m,) in [-1, 1] for an observation (n,) and what the cameras see. Without `rng`: deterministic."""
        ...


@runtime_checkable
class Planning(Protocol):
    """A policy that remembers within an episode, such as the rest of a plan."""

    def begin(self) -> None:
        """A new episode starts."""
        ...


class Recorder(Protocol):
    """Keeps an episode while it happens. `samples` are what the observation beside them was made from."""

    def begin(self, header: EpisodeHeader, observation: np.ndarray, samples: Samples) -> None: ...

    def append(self, step: Step, next_observation: np.ndarray, samples: Samples) -> None: ...

    def end(self) -> None: ...


@dataclass(frozen=True)
class StillPolicy:
    """Stays where it is; for demonstrations, where the person acts."""

    action_size: int
    version: int = -1

    def act(
        self,
        observation: np.ndarray,
        rng: np.random.Generator | None,
        pictures: Pictures = NO_PICTURES,
    ) -> np.ndarray:
        del observation, rng, pictures
        return np.zeros(self.action_size)


class Loop:
    """Owns the running of episodes on one plant. The plant must be guarded.

    `sample_age` (s) is how old a signal may be; in lockstep, simulated latency counts the same way. A policy gets the
    pictures of all cameras that the plant looks through; `views` are those it needs. A `judge` says when the task is
    done, in place of its geometry.
    """

    def __init__(
        self,
        plant: Plant,
        task: Task,
        robot: Robot,
        operator: Operator | None = None,
        recorder: Recorder | None = None,
        on_tick: Callable[[Samples, Step | None], None] | None = None,
        sample_age: float = 0.2,
        views: tuple[View, ...] = (),
        judge: Judge | None = None,
        guide: Starter | None = None,
        mask: Masker | None = None,
    ):
        if not plant.is_guarded:
            raise BadValue(f"the loop got an unguarded {plant.kind} plant; wrap it in GuardedPlant")
        self._arm = Interaction(task, robot, views, judge)
        self.spec = self._arm.spec
        self._plant, self._task, self._robot = plant, task, robot
        self._operator, self._recorder, self._on_tick = operator or Nobody(), recorder, on_tick
        self._sample_age, self._signals = sample_age, observe.signals_of(task)
        self._guide, self._mask = guide, mask
        self._ticker = clock.Ticker(None if plant.is_lockstep else task.period)

    def run(
        self, policy: Policy, kind: str, index: int, seed: int, with_pictures: bool = True
    ) -> Episode:
        """Runs one episode and returns it, with what the cameras saw or without.

        "practice" and "fill" explore; the other kinds act deterministically.

        Raises StaleSample when the cell falls silent; what was recorded until then stays.
        """
        drawn = self._plant.reset(seed)
        rng = np.random.default_rng([seed, 1]) if kind in EXPLORED else None
        self._operator.begin(kind, seed)
        if isinstance(policy, Planning):
            policy.begin()
        if self._guide:
            self._guide.begin(kind, seed)
        if self._mask:
            self._mask.begin(kind)
        seen = self._arm.begin(self._first_samples())
        age, read_at = self._age(seen.samples), self._plant.now
        self._ticker.start()  # now: waiting for the cell to settle is no lateness

        def kept(samples: Samples) -> Samples:
            return samples if with_pictures else observe.without_pictures(samples)

        pictures = {name: [value] for name, value in observe.pictures(kept(seen.samples)).items()}
        sizes = {name: list(value[0].shape[:2]) for name, value in pictures.items()}
        header = self._header(kind, index, seed, drawn, sizes)
        observations, steps = [seen.observation], []
        if self._recorder:
            self._recorder.begin(header, seen.observation, kept(seen.samples))
        lateness = self._ticker.wait()
        for tick in range(self._task.steps):
            asked, guide = self._ask(policy, seen, rng)
            hand = self._operator.act(seen.terms)
            who, wish = self._choose(asked, hand, seen)
            command = self._arm.command(wish, seen, self._plant.now)
            self._plant.send(command)
            # What is used ages while the policy thinks.
            age, late = age + command.stamp - read_at, lateness
            lateness = self._ticker.wait()
            samples = self._plant.read()
            next_age, read_at = self._age(samples), self._plant.now
            after = self._arm.see(samples)
            is_done = self._arm.is_done(after)
            step = Step(
                observation=seen.observation,
                action_policy=asked,
                action=self._arm.executed(command, seen, samples),
                who=who,
                reward=float(is_done),
                terminated=is_done,
                truncated=not is_done and tick + 1 == self._task.steps,
                parameters=policy.version,
                stamp=command.stamp,
                age=age,
                lateness=late,
                guard=str(samples["guard"].value) if "guard" in samples else "",
                guide=guide,
            )
            steps.append(step)
            observations.append(after.observation)
            for name, value in observe.pictures(kept(samples)).items():
                pictures.setdefault(name, []).append(value)
            if self._recorder:
                self._recorder.append(step, after.observation, kept(samples))
            if self._on_tick:
                self._on_tick(samples, step)
            seen, age = after, next_age
            if is_done:
                break
        if self._recorder:  # an episode that an error cut short stays marked as cut
            self._recorder.end()
        self._operator.end(steps[-1].terminated)
        film = {name: np.stack(values) for name, values in pictures.items()}
        episode = Episode(header, np.stack(observations), tuple(steps), film)
        if self._guide:
            self._guide.end(kind, episode.is_success, episode.person_steps, len(steps))
        return episode

    def _ask(
        self, policy: Policy, seen: Seen, rng: np.random.Generator | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The policy's action, within its mask; and what the mask's guide would do."""
        asked = np.clip(policy.act(seen.observation, rng, seen.pictures), -1.0, 1.0)
        if self._mask is None:
            return asked, None
        guide = self._mask.guide(seen)
        return self._mask.action(asked, guide, width_of(policy)), guide

    def _choose(
        self, asked: np.ndarray, hand: np.ndarray | None, seen: Seen
    ) -> tuple[Who, np.ndarray]:
        """Whose action is sent: the person's before the guide's before the policy's."""
        # The guide is asked also while the person acts: its part is counted in ticks.
        led = self._guide.act(seen) if self._guide else None
        if hand is not None:
            return Who.PERSON, hand
        return (Who.POLICY, asked) if led is None else (Who.GUIDE, led)

    def _first_samples(self) -> Samples:
        """Samples after a reset, once they are all there and fresh."""
        deadline = clock.now() + SETTLE_S
        while True:
            samples = self._plant.read()
            try:
                self._age(samples)
                return samples
            except StaleSample:
                if clock.now() > deadline:
                    raise
                clock.sleep(0.01)

    def _age(self, samples: Samples) -> float:
        """Of the oldest sample, s. Raises StaleSample."""
        return observe.require_fresh(samples, self._plant.now, self._sample_age, self._signals)

    def _header(
        self, kind: str, index: int, seed: int, drawn: dict[str, Any], cameras: dict[str, list[int]]
    ) -> EpisodeHeader:
        return EpisodeHeader(
            index=index,
            kind=kind,
            robot=self._robot.name,
            task=self._task.name,
            plant=self._plant.kind,
            seed=seed,
            spec=self.spec.digest,
            code=__version__,
            drawn=drawn,
            started=clock.wall_time(),
            cameras=cameras,
        )
