"""The table of docs/guides/process-management.md: what a client sees of each event, and the tests that see it.

A test says which rows it checks with `@pytest.mark.event("name", ...)`; names stand in the first column.
"""

from __future__ import annotations

import re

from tests.marks import all_marks
from tools.tidy import ROOT

HEAD = "| event | when | what the client sees |"


def rows() -> dict[str, tuple[str, str]]:
    """The rows of the table: name -> when, and what the client sees."""
    table = (ROOT / "docs" / "guides" / "process-management.md").read_text().partition(HEAD)[2].partition("\n\n")[0]
    found = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]]
    assert all(len(cells) == 3 and re.fullmatch(r"`[a-z0-9-]+`", cells[0]) and all(cells) for cells in found), found
    names = [cells[0].strip("`") for cells in found]
    assert len(names) == len(set(names)), "a name stands for one row"
    return {name: (cells[1], cells[2]) for name, cells in zip(names, found, strict=True)}


def test_the_table_is_found() -> None:
    assert {"reload", "stop", "worker-killed"} <= set(rows())


def test_a_mark_names_a_row() -> None:
    names = rows()
    assert [f"{place}: {name}" for place, name in all_marks("event") if name not in names] == []


def test_every_row_is_seen_by_a_test() -> None:
    seen = {name for _, name in all_marks("event")}
    missing = [name for name in rows() if name not in seen]
    assert not missing, "no test in tests/e2e is marked with pytest.mark.event for these rows of the guide"
