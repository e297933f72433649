"""B.1 and B.2: actor, courier, server and learner killed again and again; what is lost, and what is wrong. 2 min."""

import argparse
import tempfile
from pathlib import Path

from benchmarks import common
from benchmarks.rows import Row, row
from tests.faults.kill_matrix import ROUNDS, run_matrix

KILLS = 120


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=KILLS, help="in all rounds together")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")


def measure(given: argparse.Namespace) -> list[Row]:
    """A row is missed when there were too few kills, or nothing to look at."""
    found = []
    for number, (name, settings) in enumerate(ROUNDS.items()):
        with tempfile.TemporaryDirectory() as folder:
            kills = -(-given.kills // len(ROUNDS))
            found.append(run_matrix(Path(folder), settings, 10 * given.seed + number, kills))
        print(f"{name}: {found[-1]}", flush=True)
        for line in found[-1].wrong[:20]:
            print(f"  wrong: {line}")
    failed = sum(sum(each.kills.values()) for each in found) < KILLS
    wrong, checked = (
        [f(each) for each in found] for f in (lambda v: len(v.wrong), lambda v: v.checked)
    )
    lost, flying = (
        [f(each) for each in found] for f in (lambda v: v.lost, lambda v: v.lost_in_flight)
    )
    steps = [each.steps for each in found]
    return [
        row("B.1", sum(lost), lost, failed=failed or not all(steps)),
        row("B.1b", max(flying), flying, failed=failed),
        row("B.1c", sum(steps), steps),
        row("B.2", sum(wrong), wrong, failed=failed or not all(checked)),
        row("B.2b", sum(checked), checked),
    ]


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
