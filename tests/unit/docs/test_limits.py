"""docs/limits.md tells the truth: every row names a test that exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in (ROOT / "docs" / "limits.md").read_text().splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| what |"))
]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_limit_says_what_where_and_which_test_holds_it(row):
    assert len(row) == 6, f"six columns: {row}"
    assert all(row), f"no column may be empty: {row}"
    told = re.fullmatch(r"`(tests/[\w/]+\.py)::(\w+)`", row[5])
    assert told, f"the last column is `tests/FILE.py::test_name`, not {row[5]}"
    file, name = told.groups()
    assert (ROOT / file).is_file(), f"{file} does not exist"
    assert re.search(rf"def {name}\(", (ROOT / file).read_text()), f"{file} has no {name}"
