"""A.1 and A.2: what `robostack demo` learns on three seeds, and how long its training takes. Half an hour or more."""

import argparse
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import common, whole_run
from benchmarks.rows import Row, row
from robostack import report
from robostack.store.run import Run, read_json
from robostack.study.ledger import lines

EPISODES = 100  # of the examination
SEEDS = 3  # the bar is for so many; fewer do not meet it


@dataclass(frozen=True)
class Outcome:
    """What one seed came to."""

    seed: int
    successes: int  # of EPISODES; 0 where it did not come to its end
    minutes: float  # of training, first demonstration to chosen version; else until it ended
    failure: str = ""

    def __str__(self) -> str:
        said = f"seed {self.seed}: {self.successes} of {EPISODES} alone, training took {self.minutes:.2f} min"
        return f"{said}; FAILED: {self.failure}" if self.failure else said


def measure(given: argparse.Namespace) -> list[Row]:
    successes, minutes, failed = play_all(given, SEEDS, "demo")
    return [
        row("A.1", min(successes), successes, failed=failed),
        row("A.2", max(minutes), minutes, failed=failed),
    ]


def play_all(
    given: argparse.Namespace, seeds: int, *words: str
) -> tuple[list[int], list[float], bool]:
    """Successes and minutes by seed, and whether a bar over so many seeds cannot be met with them."""
    outcomes = []
    with tempfile.TemporaryDirectory() as temporary:
        for seed in given.seeds:
            outcomes.append(play(seed, given.runs or Path(temporary), *words))
            print(outcomes[-1], flush=True)
    failed = len(set(given.seeds)) < seeds or any(outcome.failure for outcome in outcomes)
    return [each.successes for each in outcomes], [each.minutes for each in outcomes], failed


def play(seed: int, runs: Path, *words: str) -> Outcome:
    """Runs a door that trains, and what came of it."""
    start = time.monotonic()
    try:
        run = whole_run.made(runs / f"seed-{seed}", *words, "--seed", str(seed))
    except whole_run.Failed as error:
        return Outcome(seed, 0, (time.monotonic() - start) / 60, str(error))
    return outcome_of(seed, run)


def outcome_of(seed: int, run: Run) -> Outcome:
    """What a finished run's own report says."""
    actor, learner = (read_json(run.path / f"{name}.json", {}) for name in ("actor", "learner"))
    numbers = report.summary(lines(run.episodes), actor, learner)
    minutes = (numbers["training_seconds"] or 0.0) / 60
    if (examined := numbers["evaluation_episodes"]) != EPISODES:
        return Outcome(seed, 0, minutes, f"{examined} evaluation episodes, expected {EPISODES}")
    return Outcome(seed, numbers["evaluation_successes"], minutes)


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, partial(whole_run.arguments, seeds=SEEDS)))
