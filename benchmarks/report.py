"""Results on disk, and BENCHMARKS.md from them: every declared figure, measured or not."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import figures, tables
from benchmarks.common import ROOT
from benchmarks.figures import Figure
from benchmarks.rows import Row

RESULTS = ROOT / "benchmarks/results"
PAGE = ROOT / "BENCHMARKS.md"
MADE = ("benchmarks/results", "BENCHMARKS.md")  # what measuring itself changes

HEAD = """\
# Figures

What robostack promises and what was measured, on the machine and at the commit named under each table. This page is
generated from benchmarks/results/ by `python -m benchmarks --page`; do not edit it.

    make bench ISSUE=A                          all figures of an issue, long ones too; renews this page
    make bench-quick                            those that take under two minutes each, printed only
    python -m benchmarks.lockstep --json        one file alone; its last lines are one JSON object a row
    python -m benchmarks --compare a.jsonl b.jsonl      two saved outputs side by side

Rates against other programs are ratios: both sides are measured in the same run, in turns, and the median of the
pairs counts, so a busy or a slow machine meets both. "Spread" lists the repeats, or their range and number. Rows
without a bar are for orientation.
"""


@dataclass(frozen=True)
class Origin:
    """Where and when a set of rows was measured."""

    date: str  # ISO 8601 UTC, to the minute
    commit: str  # with "+" where the checkout held changes
    cpu: str
    cores: int
    memory_gib: float
    system: str
    python: str
    load: float  # one-minute average before the first benchmark: what else the machine did

    def __str__(self) -> str:
        return (
            f"{self.date} UTC, commit {self.commit}; {self.cpu}, {self.cores} cores, {self.memory_gib:.0f} GiB, "
            f"{self.system}, Python {self.python}; load before: {self.load:.1f}"
        )


Results = dict[str, tuple[Row, Origin]]  # newest row of each id


def origin() -> Origin:
    """This machine, now."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return Origin(
        date=datetime.now(UTC).isoformat(" ", "minutes").removesuffix("+00:00"),
        commit=_commit(),
        cpu=_after("/proc/cpuinfo", "model name", ":")
        or platform.processor()
        or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(memory, 1),
        system=_after("/etc/os-release", "PRETTY_NAME", "=") or platform.platform(),
        python=platform.python_version(),
        load=round(os.getloadavg()[0], 2),
    )


def load(path: Path) -> Results:
    """The newest row of each figure in a results file; empty where there is none."""
    found: Results = {}
    where: Origin | None = None
    for line in path.read_text().splitlines() if path.exists() else ():
        if "set" in (data := json.loads(line)):
            where = Origin(**data["set"])
        elif where is not None:
            found[data["id"]] = (Row(**data), where)
    return found


def save(path: Path, results: Results) -> None:
    """Rows by set, each set after a line that says where it comes from."""
    lines = []
    for where in sorted({where for _, where in results.values()}, key=lambda where: where.date):
        lines.append(json.dumps({"set": asdict(where)}))
        lines += [row.line() for row, its in results.values() if its == where]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n" if lines else "")


def page(results: Mapping[str, Results]) -> str:
    """BENCHMARKS.md, from the results of each issue."""
    return HEAD + "".join(_section(issue, results.get(issue, {})) for issue in figures.issues())


def write_page() -> None:
    PAGE.write_text(page({issue: load(RESULTS / f"{issue}.jsonl") for issue in figures.issues()}))


def _section(issue: str, results: Results) -> str:
    declared = [figure for figure in figures.FIGURES if figure.id.startswith(f"{issue}.")]
    sets = list(dict.fromkeys(results[f.id][1] for f in declared if f.id in results))
    table = [
        "| id | figure | bar | measured | spread | met | command |",
        "|---|---|---|---|---|---|---|",
        *(_line(figure, results, sets) for figure in declared),
    ]
    notes = [f"{number}. {where}" for number, where in enumerate(sets, 1)]
    return "\n".join([f"\n## Issue {issue}\n", *table, "", *notes]).rstrip() + "\n"


def _line(figure: Figure, results: Results, sets: Sequence[Origin]) -> str:
    if figure.id not in results:
        bar = f"{figure.bar} {figure.unit}" if figure.bar else "-"
        run = f"`python -m benchmarks.{figure.file}`"
        return (
            f"| {figure.id} | {figure.figure} | {bar} | not measured | - | not measured | {run} |"
        )
    row, where = results[figure.id]
    measured = f"{tables.shown(row.value)} {row.unit} [{sets.index(where) + 1}]"
    met = "**MISSED**" if row.met is False else tables.verdict(row)
    spread = tables.shown_spread(row.spread) or "-"
    return f"| {row.id} | {row.figure} | {row.bar or '-'} | {measured} | {spread} | {met} | `{row.command}` |"


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", ".", *(f":!{path}" for path in MADE))
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")


def _after(path: str, name: str, separator: str) -> str:
    """The value behind `name` in a file of the system; empty where there is none."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    pairs = (line.partition(separator) for line in lines)
    return next((value.strip().strip('"') for key, _, value in pairs if key.strip() == name), "")
