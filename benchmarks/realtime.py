"""A.6: real time at 10 Hz over ROS with a learner at full speed on the same cores: lateness, age of observations."""

import argparse
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path

import jax

from benchmarks import cell, common, made_up
from benchmarks.rows import Row, row
from robostack.core import catalog, observe
from robostack.core.loop import Loop
from robostack.core.types import Step
from robostack.learn.learner import Learner
from robostack.learn.policy import LearnedPolicy, publish
from robostack.learn.sac import Config, Sac
from robostack.progress import Progress
from robostack.ros import environment
from robostack.store import params
from robostack.store.episode import EpisodeWriter
from robostack.store.run import read_json, write_json

NICE = 10  # as `robostack train` starts the learner of a cell in real time


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="of control to record, at least"
    )
    parser.add_argument("--learn", type=Path, help=argparse.SUPPRESS)  # this process is the learner


def measure(given: argparse.Namespace) -> list[Row]:
    if given.learn:
        learn(given.learn)
    task, robot = catalog.task("peg_insert"), catalog.robot("fr3")
    with (
        tempfile.TemporaryDirectory() as folder,
        cell.running(task, robot, lockstep=False) as processes,
    ):
        learner = [sys.executable, "-m", "benchmarks.realtime", "--learn", folder]
        processes.start("learner", learner, dict.fromkeys(environment.ONE_THREAD, ""), nice=NICE)
        numbers = Path(folder) / "learner.json"
        wait_for(numbers)
        from robostack.ros.plant import RosPlant  # after the cell chose the domain

        plant = RosPlant(task, robot, lockstep=False)
        try:
            spec = observe.spec_of(task)
            recorder = EpisodeWriter(Path(folder) / "episodes", spec)
            progress = Progress(Path(folder) / "actor.json")

            def on_tick(_, step: Step | None) -> None:  # what the actor does besides
                progress.lateness.append(step.lateness if step else 0.0)
                progress.write()

            loop = Loop(plant, task, robot, recorder=recorder, on_tick=on_tick)
            before = read_json(numbers)
            episodes = run(loop, policy(Path(folder) / "params", spec), given.seconds)
            after = read_json(numbers)
            assert processes.poll() is None, processes.poll()
        finally:
            plant.close()
    steps = [step for episode in episodes for step in episode]
    print(f"{len(steps)} steps in {len(episodes)} episodes")
    rate = (after["steps"] - before["steps"]) / (after["time"] - before["time"])
    late = [[1e3 * step.lateness for step in episode] for episode in episodes]
    ages = [[1e3 * step.age for step in episode] for episode in episodes]
    return [
        row(
            "A.6", common.percentile([*chain(*late)], 99), [common.percentile(x, 99) for x in late]
        ),
        row(
            "A.6b", common.percentile([*chain(*ages)], 99), [common.percentile(x, 99) for x in ages]
        ),
        row("A.6c", rate),
    ]


def run(loop: Loop, policy: LearnedPolicy, seconds: float) -> list[tuple[Step, ...]]:
    """Whole episodes, the very first step included, until so many seconds of control are recorded."""
    found: list[tuple[Step, ...]] = []
    while sum(map(len, found)) * loop.spec.period < seconds:
        found.append(loop.run(policy, "practice", len(found), len(found)).steps)
    return found


def policy(folder: Path, spec) -> LearnedPolicy:
    """A fresh actor network, as the actor of a run holds one."""
    sac = Sac(spec, Config())
    publish(folder, 0, sac.acting(sac.init(jax.random.key(0))), sac.network, spec)
    return LearnedPolicy(spec, params.load(params.path_of(folder, 0), spec))


def learn(folder: Path) -> None:
    """The learner's process: trains without a pause until it is stopped."""
    spec = observe.spec_of(catalog.task("peg_insert"))
    learner = Learner(spec, Config(), seed=0)
    learner.add(made_up.episodes(spec, 170))
    try:
        while True:
            learner.train(20)
            write_json(folder / "learner.json", {"steps": learner.steps, "time": time.monotonic()})
    except KeyboardInterrupt:
        raise SystemExit(0) from None


def wait_for(path: Path, patience: float = 120.0) -> None:
    deadline = time.monotonic() + patience
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the learner did not train within {patience:.0f} s")
        time.sleep(0.1)


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
