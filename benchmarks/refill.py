"""B.6: a run with 50,000 two-camera transitions goes on: from the start of `robostack learn` to its first update.

In it: Python and JAX starting, every checksum of 5 GB of episodes, the checkpoint, and compiling the update.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time

from benchmarks import common, made_up
from benchmarks.rows import Row, row
from robostack import config as configs
from robostack.config import RunConfig
from robostack.store.run import Run, read_json

LENGTH = 100  # steps an episode
FRAMES = (LENGTH + 1) / LENGTH  # a transition
DEMONSTRATIONS = 20


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--transitions", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)


def measure(given: argparse.Namespace) -> list[Row]:
    episodes = given.transitions // LENGTH
    config = RunConfig(
        plant="twin",
        demonstrations=DEMONSTRATIONS,
        warmup=20,
        updates_per_step=0.001,  # what is measured is the way to an update, not updates
        capacity=int(given.transitions * FRAMES) + 10 * LENGTH,
        pictures=configs.KINDS,
        observe="cameras",
        validation=1,
    )
    with tempfile.TemporaryDirectory() as name:
        run = Run.create(name, config.name, configs.as_dict(config))
        spec = config.spec()
        more = made_up.record(
            run.episodes, spec, episodes + given.repeats * 20, demonstrations=DEMONSTRATIONS
        )
        for _ in zip(range(episodes), more, strict=False):
            pass
        begin(run)
        found = [first_update(run, lambda: next(more)) for _ in range(given.repeats)]
    return [row("B.6", max(found), found)]


def begin(run: Run) -> None:
    """Takes everything in and leaves a checkpoint, in a process of its own: its memory is free afterwards."""
    learner = start(run)
    try:
        wait_for(
            run,
            lambda told: told.get("transitions", 0) >= len(list(run.episodes.iterdir())) * LENGTH,
        )
    finally:
        learner.send_signal(signal.SIGINT)
        learner.wait(60)


def first_update(run: Run, more) -> float:
    """s. Episodes that come meanwhile are due a learner step."""
    steps = read_json(run.path / "learner.json")["learner_steps"]
    for _ in range(15):  # times 100 steps times 0.001 updates a step: one is due, at least
        more()
    begun = time.perf_counter()
    learner = start(run)
    try:
        wait_for(run, lambda told: told["learner_steps"] > steps)
        seconds = time.perf_counter() - begun
    finally:
        learner.kill()
        learner.wait()
    print(f"first update after {seconds:.1f} s", flush=True)
    return seconds


def start(run: Run) -> subprocess.Popen:
    words = [sys.executable, "-m", "robostack", "learn", str(run.path)]
    return subprocess.Popen(words, env=common.child_environment(), stdout=subprocess.DEVNULL)


def wait_for(run: Run, is_there, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_there(read_json(run.path / "learner.json", {"learner_steps": 0})):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the learner of {run.path} did not get there in {seconds:.0f} s")
        time.sleep(0.02)


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
