"""C.9: does a policy that has learned its task keep it? peg_insert for 60,000 steps, checked alone throughout. Hours.

Every check is of the newest version, the same for all its episodes. The figure is the lowest success of the checks in
the last third of the steps, over the best of all checks.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks import common, whole_run
from benchmarks.rows import Row, row
from robostack.store.run import read_json

SEEDS = 5  # the bar is for so many; fewer do not meet it
STEPS = 60_000
BOUND = 0.9
CHOICES = (
    "plant=twin",
    f"steps={STEPS}",
    "pictures=[]",
    "check_from=0.0",
    "check_every=100",
    "check_episodes=50",
    "perfect_checks=1000000",  # practice never ends early
    "good_enough=0.0",
    "validation=1",
    "evaluation=1",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    whole_run.arguments(parser, SEEDS)
    parser.add_argument("--set", action="append", default=[], help="further choices, as in train")


def measure(given: argparse.Namespace) -> list[Row]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.runs or Path(temporary)
        found = [play(seed, folder / f"seed-{seed}", given.set) for seed in given.seeds]
    kept = sum(ratio >= BOUND for ratio in found)
    failed = len(set(given.seeds)) < SEEDS
    return [row("C.9", kept, found, failed=failed), row("C.9b", min(found), found)]


def play(seed: int, place: Path, more: list[str]) -> float:
    """Lowest check of the last third over the best of all."""
    words = [f"--set={choice}" for choice in (*CHOICES, *more)]
    run = whole_run.made(place, "train", "peg_insert", "--no-film", *words, "--seed", str(seed))
    checks = read_json(run.path / "actor.json", {})["checks"]
    rates = [check["successes"] / check["episodes"] for check in checks]
    late = [
        rate for check, rate in zip(checks, rates, strict=True) if check["steps"] > STEPS * 2 / 3
    ]
    print(f"seed {seed}: {', '.join(f'{rate:.2f}' for rate in rates)}", flush=True)
    return min(late) / max(rates)


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
