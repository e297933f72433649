"""Run folders with episodes in them, as if an actor had made them, in no time."""

from pathlib import Path

import numpy as np

from robostack import config as configs
from robostack.core import catalog
from robostack.core.guard import Guard
from robostack.core.loop import NO_PICTURES, Loop, Pictures
from robostack.core.plant import GuardedPlant, MockPlant
from robostack.store.episode import EpisodeWriter
from robostack.store.run import Run
from tests.faults.supervised import SMALL


class Wander:
    """Explores where the loop asks for it."""

    version = 0

    def act(
        self,
        observation: np.ndarray,
        rng: np.random.Generator | None,
        pictures: Pictures = NO_PICTURES,
    ) -> np.ndarray:
        del observation
        return np.full(7, 0.1) if rng is None else rng.uniform(-1, 1, 7)


def begun(tmp_path: Path, *settings: str, count: int = 9) -> Run:
    """A small run's folder with episodes of the mock, as if its actor had made them."""
    config = configs.override(configs.RunConfig(task="reach", plant="twin"), [*SMALL, *settings])
    run = Run.create(tmp_path, "reach", configs.as_dict(config))
    for index in range(count):
        play(run, index, "demonstration" if index < config.demonstrations else "practice")
    return run


def play(run: Run, index: int, kind: str) -> None:
    task, robot = catalog.task("reach"), catalog.robot("fr3")
    plant = GuardedPlant(MockPlant(task), Guard(robot.safety, task.period))
    writer = EpisodeWriter(run.episodes, Loop(plant, task, robot).spec)
    Loop(plant, task, robot, recorder=writer).run(Wander(), kind, index, index)
