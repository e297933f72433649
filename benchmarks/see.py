"""C.4: peg_insert from two cameras, the hole's pose not observed, as `robostack train` learns it. An hour or more."""

import argparse
import tempfile
from pathlib import Path

from benchmarks import common
from benchmarks.demo import play
from benchmarks.rows import Row, row

SEEDS = 5  # the bar is for so many; fewer do not meet it


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(SEEDS)))
    parser.add_argument(
        "--runs", type=Path, help="where run folders go; a temporary folder unless given"
    )


def measure(given: argparse.Namespace) -> list[Row]:
    words = ("train", "peg_insert", "--observe", "cameras")
    with tempfile.TemporaryDirectory() as temporary:
        outcomes = []
        for seed in given.seeds:
            outcomes.append(play(seed, given.runs or Path(temporary), *words))
            print(outcomes[-1], flush=True)
    successes = [outcome.successes for outcome in outcomes]
    minutes = [outcome.minutes for outcome in outcomes]
    failed = len(set(given.seeds)) < SEEDS or any(outcome.failure for outcome in outcomes)
    return [
        row("C.4", min(successes), successes, failed=failed),
        row("C.4b", max(minutes), minutes, failed=failed),
    ]


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
