"""Episodes for a success classifier: done, almost done, and not done, with pictures; none ends when it succeeds."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from robostack.core.loop import Loop, StillPolicy
from robostack.core.operator import ARM
from robostack.core.plant import Plant
from robostack.core.robot import Robot
from robostack.core.task import Expert, Task, Terms
from robostack.core.types import Episode
from robostack.store.episode import EpisodeWriter, next_index

KIND = "probing"  # of episodes; nothing learns a policy from them
LIFT = np.array([0.0, 0.0, -0.06])  # m, tool frame: away, before the next try
LIFT_TICKS = 9
TRY_TICKS = (18, 40)  # of one try
TRIES_RIGHT = 0.45  # share of tries that aim where the target is
NEAR, FAR = 0.0025, 0.025  # m that the others aim beside it
NOISE = 0.1  # of the hand, in units of full action


class Prober:
    """A core.operator.Operator: the task's expert, told a wrong place of the target in more than every second try."""

    def __init__(self, expert: Callable[[], Expert], seed: int = 0):
        self._make_expert, self._seed = expert, seed
        self.begin(KIND, 0)

    def begin(self, kind: str, seed: int) -> None:
        del kind
        self._rng = np.random.default_rng([self._seed, seed])
        self._left, self._is_lifting = 0, True  # so that the first thing is a try

    def act(self, terms: Terms) -> np.ndarray:
        if self._left == 0:
            self._next()
        self._left -= 1
        error = terms["target_error"].copy()
        error[:3] += self._aside
        wish = self._expert.act({**terms, "target_error": error})
        arm = wish[:ARM] + self._rng.normal(0.0, NOISE, ARM)  # a gripper is a button: no tremble
        return np.concatenate([np.clip(arm, -1.0, 1.0), wish[ARM:]])

    def end(self, is_success: bool) -> None:
        del is_success

    def _next(self) -> None:
        """The next try, or the way up before it."""
        self._expert = self._make_expert()
        if not self._is_lifting:
            self._is_lifting, self._aside, self._left = True, LIFT, LIFT_TICKS
            return
        self._is_lifting, self._left = False, int(self._rng.integers(*TRY_TICKS))
        self._aside = np.zeros(3)
        if self._rng.random() >= TRIES_RIGHT:
            self._aside = self._beside()

    def _beside(self) -> np.ndarray:
        """Beside the target, short of it, or both; (3,) m, tool frame. Small distances as often as large ones."""
        how_far = np.exp(self._rng.uniform(np.log(NEAR), np.log(FAR), 2))
        angle = self._rng.uniform(0.0, 2 * np.pi)
        kind = self._rng.integers(3)
        across = how_far[0] * np.array([np.cos(angle), np.sin(angle)]) * (kind != 1)
        return np.array([*across, -how_far[1] * (kind != 0)])


def play(
    plant: Plant, task: Task, robot: Robot, folder: Path, count: int, seed: int = 0
) -> Iterator[Episode]:
    """Plays and records `count` episodes into `folder`, after those that are there. The plant looks by itself."""
    endless = replace(
        task, succeeded=lambda options, terms: np.zeros(terms["wrench"].shape[:-1], bool)
    )
    person = Prober(lambda: task.expert(task.options), seed)
    spec = Loop(plant, endless, robot).spec
    recorder = EpisodeWriter(folder, spec)
    loop = Loop(plant, endless, robot, person, recorder)
    first = next_index(folder)
    try:
        for index in range(first, first + count):
            yield loop.run(StillPolicy(spec.action_size), KIND, index, seed * 1_000_000 + index)
    finally:
        recorder.close()
