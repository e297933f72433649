"""What every benchmark file does alike: arguments and output, environment, interleaved pairs, percentiles."""

import argparse
import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import rows, tables
from benchmarks.rows import Row

ROOT = Path(__file__).parents[1]


def child_environment() -> dict[str, str]:
    """For what we start: this checkout is importable though not installed, and cameras need no display."""
    paths = dict.fromkeys([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    return {"MUJOCO_GL": "egl", **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def interleaved(
    ours: Callable[[], float], theirs: Callable[[], float], pairs: int
) -> list[tuple[float, float]]:
    """(ours, theirs) rates measured in turns, the first of each pair alternating: a busy moment meets both."""
    found = []
    for pair in range(pairs):
        if pair % 2:
            second = theirs()
            found.append((ours(), second))
        else:
            found.append((ours(), theirs()))
    return found


def ratios(pairs: Sequence[tuple[float, float]]) -> list[float]:
    return [ours / theirs for ours, theirs in pairs]


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear between the two nearest."""
    ordered = sorted(values)
    place = percent / 100 * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


median = statistics.median


def add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("A", "B"),
        help="print two saved outputs side by side",
    )


def compared(before: Path, after: Path) -> str:
    return tables.compare(*(rows.parse(path.read_text()) for path in (before, after)))


def main(
    doc: str | None,
    measure: Callable[[argparse.Namespace], list[Row]],
    arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> int:
    """Runs one benchmark file: measures, prints the table, and with --json one line a row, last."""
    os.environ.update(child_environment())
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--json", action="store_true", help="print one JSON object a row, last")
    add_compare(parser)
    arguments(parser)
    given = parser.parse_args()
    if given.compare:
        print(compared(*given.compare))
        return 0
    measured = measure(given)
    print(tables.table(measured))
    if given.json:
        print("\n".join(row.line() for row in measured), flush=True)
    return 0
