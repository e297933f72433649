"""Every promised figure has a file, a row that parses and a line in BENCHMARKS.md, measured or not."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import common, figures, report, rows
from benchmarks.rows import Row

ROOT = Path(__file__).parents[1]
KEYS = ["id", "figure", "value", "unit", "bar", "met", "spread", "command"]
WHERE = report.Origin("2026-01-02 03:04", "abc1234", "a cpu", 2, 23.5, "an OS", "3.11.2", 0.1)


def made(id: str, value: float, **changes) -> Row:
    return rows.row(id, value, changes.pop("spread", [value]), **changes)


def constants(path: Path) -> set:
    tree = ast.parse(path.read_text())
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("figure", figures.FIGURES, ids=lambda figure: figure.id)
def test_every_figure_has_a_file_that_claims_it(figure):
    assert figure.id in constants(ROOT / "benchmarks" / f"{figure.file}.py")


def test_ids_are_unique_and_name_their_issue():
    ids = [figure.id for figure in figures.FIGURES]
    assert len(ids) == len(set(ids))
    assert all(id.partition(".")[0] in figures.issues() for id in ids)


@pytest.mark.parametrize("figure", figures.FIGURES, ids=lambda figure: figure.id)
def test_every_bar_parses(figure):
    if figure.bar:
        assert rows.parse_bar(figure.bar)[2] == "", "the unit has its own field"


@pytest.mark.parametrize(
    ("bar", "parsed"),
    [
        (">= 95", (">=", 95.0, "")),
        ("<= 3 ms", ("<=", 3.0, "ms")),
        (">= 0.85 x", (">=", 0.85, "x")),
        ("<= 10 of 100", ("<=", 10.0, "of 100")),
    ],
)
def test_a_bar_parses_into_comparison_bound_and_unit(bar, parsed):
    assert rows.parse_bar(bar) == parsed


@pytest.mark.parametrize("bar", ["> 3", "95", ">=95", ">= many", "about 3"])
def test_what_is_no_bar_is_refused(bar):
    with pytest.raises(ValueError):
        rows.parse_bar(bar)


@pytest.mark.parametrize(
    ("value", "bar", "met"),
    [
        (95, ">= 95", True),
        (94.99, ">= 95", False),
        (3, "<= 3 ms", True),
        (3.01, "<= 3 ms", False),
        (float("nan"), "<= 3", False),
        (float("nan"), ">= 3", False),
        (5, "", None),
    ],
)
def test_a_bound_itself_is_met(value, bar, met):
    assert rows.is_met(value, bar) is met


def test_a_row_is_one_json_line_with_the_agreed_keys():
    line = made("A.5", 1.23456).line()
    assert list(json.loads(line)) == KEYS
    assert "\n" not in line
    assert rows.parse(f"a table\n{line}\n") == [made("A.5", 1.23456)]


def test_numpy_numbers_become_json():
    data = json.loads(made("A.3", np.float64(31.5), spread=np.array([30.0, 33.0])).line())
    assert data["value"] == 31.5 and data["spread"] == [30, 33] and data["met"] is True


def test_what_went_wrong_is_missed_whatever_its_value():
    assert made("A.8", 1.0, failed=True).met is False
    with pytest.raises(ValueError, match="numbers"):
        made("A.8", float("inf"))


def test_pairs_take_turns_in_who_comes_first():
    order: list[str] = []
    pairs = common.interleaved(
        lambda: order.append("a") or 2.0, lambda: order.append("b") or 1.0, 4
    )
    assert "".join(order) == "abbaabba"
    assert common.ratios(pairs) == [2.0] * 4


def test_percentiles_lie_between_neighbours():
    assert common.percentile([3, 1, 2], 50) == 2
    assert common.percentile(range(101), 99) == 99
    assert common.percentile([0, 1], 90) == pytest.approx(0.9)


def test_compare_shows_both_outputs_and_what_is_missing(tmp_path):
    before, after = tmp_path / "a.json", tmp_path / "b.json"
    before.write_text("words\n" + "\n".join(made(id, 2.0).line() for id in ("A.5", "A.8")))
    after.write_text("\n".join(made(id, 4.0).line() for id in ("A.5", "A.7")))
    command = [sys.executable, "-m", "benchmarks", "--compare", str(before), str(after)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "2.000" in lines["A.5"] and "yes -> MISSED" in lines["A.5"]
    assert "not measured" in lines["A.8"] and "not measured" in lines["A.7"]


def test_the_page_has_every_figure_measured_or_not():
    measured = {"A.5": (made("A.5", 1.5), WHERE), "A.7": (made("A.7", 0.5), WHERE)}
    page = report.page({"A": measured})
    lines = {
        line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("| A.")
    }
    assert list(lines) == [f.id for f in figures.FIGURES if f.id.startswith("A.")]
    assert "| 1.5 ms [1] |" in lines["A.5"] and "| yes |" in lines["A.5"]
    assert "**MISSED**" in lines["A.7"]
    for id in lines.keys() - measured.keys():
        assert "not measured" in lines[id]
    assert str(WHERE) in page


def test_results_keep_rows_of_earlier_sets(tmp_path):
    later = report.Origin(**{**vars(WHERE), "date": "2026-02-03 04:05"})
    path = tmp_path / "A.jsonl"
    report.save(path, {"A.5": (made("A.5", 1.5), WHERE), "A.7": (made("A.7", 0.9), WHERE)})
    results = report.load(path)
    results["A.5"] = (made("A.5", 2.5), later)
    report.save(path, results)
    assert report.load(path) == results
    assert [row.id for row in rows.parse(path.read_text())] == ["A.7", "A.5"]


def test_no_results_are_no_error(tmp_path):
    assert report.load(tmp_path / "A.jsonl") == {}


def test_the_page_in_the_checkout_is_the_one_its_results_make():
    results = {issue: report.load(report.RESULTS / f"{issue}.jsonl") for issue in figures.issues()}
    assert report.PAGE.read_text() == report.page(results)


def test_this_machine_says_what_it_is():
    here = report.origin()
    assert here.cores >= 1 and here.memory_gib > 0 and here.cpu and here.system and here.commit
