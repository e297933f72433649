"""Measures the figures of an issue, each file in a process of its own, and writes results and BENCHMARKS.md."""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks import common, figures, report, rows, tables
from benchmarks.common import ROOT
from benchmarks.rows import Row


def main(argv: list[str] | None = None) -> int:
    """0 also when bars are missed: the page says so. 1 when a file crashed, 2 for a wrong flag."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--issue", choices=figures.issues(), help="whose figures; all issues unless given"
    )
    parser.add_argument(
        "--quick", action="store_true", help="only files under two minutes; written nowhere"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="FILE", help="only these files; other rows stay"
    )
    parser.add_argument(
        "--page", action="store_true", help="only renew BENCHMARKS.md from the results"
    )
    common.add_compare(parser)
    given = parser.parse_args(argv)
    if given.compare:
        print(common.compared(*given.compare))
        return 0
    if given.page:
        report.write_page()
        return 0
    crashed, found = [], []
    for issue in [given.issue] if given.issue else figures.issues():
        files = figures.files_of(issue)
        if unknown := set(given.only or ()) - set(files):
            parser.error(
                f"no file {', '.join(sorted(unknown))} in issue {issue}; there are: {', '.join(files)}"
            )
        where = report.origin()
        for file in given.only or files:
            if given.quick and file in figures.LONG:
                continue
            measured = measure(file)
            if not measured:
                crashed.append(file)
            found += measured
            if not given.quick:
                keep(issue, measured, where)
    print("\n" + tables.table(found) if found else "nothing was measured")
    if crashed:
        print(f"crashed, so not measured anew: {', '.join(crashed)}", file=sys.stderr)
    return 1 if crashed else 0


def measure(file: str) -> list[Row]:
    """Runs one file and shows what it says; no rows when it crashed."""
    print(f"\n--- {file}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{file}", "--json"]
    with subprocess.Popen(
        command, cwd=ROOT, env=common.child_environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if not line.startswith("{"):
                print(line, end="", flush=True)
    return [] if process.returncode else rows.parse("".join(lines))


def keep(issue: str, measured: list[Row], where: report.Origin) -> None:
    """At once, so that an interrupted afternoon is not lost."""
    path: Path = report.RESULTS / f"{issue}.jsonl"
    results = report.load(path)
    results.update({row.id: (row, where) for row in measured})
    report.save(path, results)
    report.write_page()


if __name__ == "__main__":
    raise SystemExit(main())
