"""C.5: pick_place with a learned gripper, from numbers, on five seeds. An hour or more."""

import argparse

from benchmarks import common, demo, whole_run
from benchmarks.rows import Row, row
from robostack.study.statistics import bootstrap, iqm

SEEDS = 5  # the bar is for so many; fewer do not meet it
WORDS = ("train", "pick_place", "--set", "plant=twin", "--no-film")


def arguments(parser: argparse.ArgumentParser) -> None:
    whole_run.arguments(parser, SEEDS)
    parser.add_argument("--robot", default="fr3")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="passed on to the runs"
    )


def measure(given: argparse.Namespace) -> list[Row]:
    words = [*WORDS, "--robot", given.robot, *(f"--set={each}" for each in given.set)]
    successes, minutes, failed = demo.play_all(given, SEEDS, *words)
    low, high = bootstrap([successes])
    print(
        f"interquartile mean of {len(successes)} seeds: {iqm(successes):.1f} of {demo.EPISODES} "
        f"(95 % of bootstraps: {low:.1f} to {high:.1f})",
        flush=True,
    )
    return [
        row("C.5", iqm(successes), successes, failed=failed),
        row("C.5b", low, [low, high]),
        row("C.5c", max(minutes), minutes, failed=failed),
    ]


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
