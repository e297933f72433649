"""One measured figure: its line of JSON, its bar, and whether it is met."""

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from benchmarks.figures import BY_ID

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda value, bound: value >= bound,
    "<=": lambda value, bound: value <= bound,
}


@dataclass(frozen=True)
class Row:
    """One figure, measured. One JSON object per line in outputs and in benchmarks/results/."""

    id: str
    figure: str
    value: float
    unit: str
    bar: str
    met: bool | None  # None: it has no bar
    spread: list[float]  # of repeats, pairs, seeds or windows, as the file says
    command: str

    def line(self) -> str:
        return json.dumps(asdict(self))


def row(id: str, value: float, spread: Sequence[float] = (), failed: bool = False) -> Row:
    """The row of a declared figure. `failed`: missed whatever the value, since what was measured went wrong."""
    declared = BY_ID[id]
    met = False if failed and declared.bar else is_met(value, declared.bar)
    return Row(
        id=id,
        figure=declared.figure,
        value=rounded(value),
        unit=declared.unit,
        bar=f"{declared.bar} {declared.unit}" if declared.bar else "",
        met=met,
        spread=[rounded(value) for value in spread],
        command=command(),
    )


def parse_bar(bar: str) -> tuple[str, float, str]:
    """Comparison, bound and unit of ">= 95" or "<= 3 ms". Raises ValueError."""
    sign, _, rest = bar.strip().partition(" ")
    number, _, unit = rest.strip().partition(" ")
    if sign not in COMPARISONS:
        raise ValueError(
            f'bar "{bar}" starts with "{sign}", expected {" or ".join(COMPARISONS)} and a space'
        )
    return sign, float(number), unit.strip()


def is_met(value: float, bar: str) -> bool | None:
    """Whether a value meets its bar; None where there is no bar. NaN meets none."""
    if not bar:
        return None
    sign, bound, _ = parse_bar(bar)
    return bool(COMPARISONS[sign](value, bound))  # numpy has bools of its own


def rounded(value: float, digits: int = 4) -> float:
    """To significant digits; whole numbers stay whole. Raises ValueError for what JSON has no number for."""
    if not math.isfinite(value):
        raise ValueError(f"measured {value}; a benchmark gives numbers or fails")
    return float(f"{value:.{digits}g}") if value % 1 else int(value)


def parse(text: str) -> list[Row]:
    """The rows in a file's output, or in a results file; other lines are for people."""
    names = {field.name for field in fields(Row)}
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [Row(**data) for data in found if names <= data.keys()]


def command() -> str:
    """How this process was started, without the flags that only change its output and where its files go."""
    words = [word for word in sys.argv[1:] if word != "--json"]
    if "--runs" in words:
        at = words.index("--runs")
        words[at : at + 2] = []
    return " ".join([f"python -m benchmarks.{Path(sys.argv[0]).stem}", *words])
