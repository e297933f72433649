"""A.4: control steps/s of one simulated cell that renders two 128x128 cameras each step, against gym-hil's images."""

import argparse
import time

import numpy as np

from benchmarks import common
from benchmarks.peer import GymHil
from benchmarks.rows import Row, row
from robostack.core import catalog
from robostack.core.command import Commander
from robostack.core.types import Command
from robostack.twin.plant import TwinPlant

CAMERAS = ("wrist_camera", "front_camera")
SIZE = 128  # px


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--peer-steps", type=int, default=6)


def measure(given: argparse.Namespace) -> list[Row]:
    plant = Plant()
    try:
        with GymHil(images=True) as gym_hil:
            plant.rate(20)
            pairs = common.interleaved(
                lambda: plant.rate(given.steps), lambda: gym_hil.rate(given.peer_steps), given.pairs
            )
            print(
                f"gym-hil {common.median([b for _, b in pairs]):.2f} control steps/s: {gym_hil.facts}"
            )
    finally:
        plant.close()
    ratios, rates = common.ratios(pairs), [rate for rate, _ in pairs]
    return [row("A.4", common.median(ratios), ratios), row("A.4b", common.median(rates), rates)]


class Plant:
    """Owns one cell with two cameras and the place in its episode."""

    def __init__(self):
        self._task, self._robot = catalog.task("peg_insert"), catalog.robot("fr3")
        self._plant = TwinPlant(self._task, self._robot, cameras=CAMERAS, size=SIZE)
        self._commander = Commander(self._task, self._robot)
        self._rng, self._tick = np.random.default_rng(0), 0

    def rate(self, steps: int) -> float:
        """Control steps/s: command, 50 physics steps, both pictures; resets included."""
        start = time.perf_counter()
        for _ in range(steps):
            if self._tick % self._task.steps == 0:
                self._plant.reset(self._tick)
            self._tick += 1
            samples = self._plant.read()
            measured, commanded = samples["tool_pose"].value, samples["reference"].value
            action = self._rng.uniform(-0.3, 0.3, 6)
            reference = self._commander.reference(action, measured, commanded)
            self._plant.send(Command(self._plant.now, reference))
            pictures = [self._plant.read()[name].value for name in CAMERAS]
        seconds = time.perf_counter() - start
        assert all(p.shape == (SIZE, SIZE, 3) and p.std() > 1.0 for p in pictures), "empty pictures"
        return steps / seconds

    def close(self) -> None:
        self._plant.close()


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
