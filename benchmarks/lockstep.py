"""A.5: one lockstep step through ROS: actor to guard to mirror and back, 50 physics steps included."""

import argparse
import time

import numpy as np

from benchmarks import cell, common
from benchmarks.rows import Row, row
from robostack.core import catalog
from robostack.core.command import Commander
from robostack.core.types import Command


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=2000, help="steps to time")


def measure(given: argparse.Namespace) -> list[Row]:
    task, robot = catalog.task("peg_insert"), catalog.robot("fr3")
    with cell.running(task, robot, lockstep=True):
        from robostack.ros.plant import RosPlant  # after the cell chose the domain

        plant = RosPlant(task, robot, lockstep=True)
        try:
            took = steps(plant, Commander(task, robot), task.steps, given.steps)
        finally:
            plant.close()
    blocks = [common.median(took[i : i + 100]) for i in range(0, len(took), 100)]
    return [
        row("A.5", common.median(took), blocks),
        row("A.5b", common.percentile(took, 90)),
        row("A.5c", common.percentile(took, 99)),
    ]


def steps(plant, commander: Commander, length: int, count: int) -> list[float]:
    """ms from send() to read() returned, for small random actions in episodes of `length`, the first not counted."""
    rng = np.random.default_rng(0)
    took: list[float] = []
    for tick in range(length + count):
        if tick % length == 0:
            plant.reset(tick)
            samples = plant.read()
        action = rng.uniform(-0.3, 0.3, 6)
        measured, commanded = samples["tool_pose"].value, samples["reference"].value
        command = Command(plant.now, commander.reference(action, measured, commanded))
        start = time.perf_counter()
        plant.send(command)
        samples = plant.read()
        if tick >= length:
            took.append(1e3 * (time.perf_counter() - start))
    return took


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
