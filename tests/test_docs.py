"""What the pages claim to be tested is tested under that name."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [
    line for line in (ROOT / "docs/durability.md").read_text().splitlines() if line.startswith("| ")
]
PROOFS = [cells[-1] for row in ROWS if (cells := row.strip("| ").split(" | "))[-1] != "Test"]


@pytest.mark.parametrize("proof", PROOFS)
def test_every_guarantee_names_tests_that_are_there(proof):
    file = ""
    words = re.findall(r"`[^`]+`|[\w/]*test_\w+", proof)
    assert words, "no test is named"
    for word in words:
        if word.startswith("`"):
            part = word.strip("`…")
            assert f"def test_{part}" in file or part in file, f"no test {part}"
        else:
            file = (ROOT / "tests" / f"{word}.py").read_text()


def test_the_page_of_guarantees_has_every_fault_of_the_suite():
    """Each file of the fault suite proves a row."""
    page = (ROOT / "docs/durability.md").read_text()
    for path in sorted((ROOT / "tests/faults").glob("test_*.py")):
        assert path.stem in page, f"{path.name} proves nothing in docs/durability.md"
