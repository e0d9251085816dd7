"""Every option that is a setting has a test in tests/e2e that sees what it does in a started server.

A test says which options it is about with `@pytest.mark.option("name", ...)`; the marks are read from the files.
"""

from __future__ import annotations

import ast

import pytest

from penstock.options.table import OPTIONS
from tests.marks import all_marks, marks

NOT_SEEN: frozenset[str] = frozenset()
"""Options whose effect no test sees. It only gets shorter."""


def test_a_mark_names_options_of_the_table_by_their_names() -> None:
    names = {option.name for option in OPTIONS}
    assert [f"{place}: {name}" for place, name in all_marks("option") if name not in names] == []


def test_every_setting_is_seen_by_a_test() -> None:
    seen = {name for _, name in all_marks("option")}
    wanted = {option.name for option in OPTIONS if option.role == "setting" and option.verdict != "not-needed"}
    missing = sorted(wanted - seen - NOT_SEEN)
    assert not missing, "no test in tests/e2e is marked with pytest.mark.option for these"
    assert not NOT_SEEN & seen and wanted >= NOT_SEEN, "take them out of NOT_SEEN"


@pytest.mark.parametrize(
    "code",
    [
        '@pytest.mark.option("a", "b")\ndef test_it(): ...',
        '@pytest.mark.option("a", "b")\nclass TestIt: ...',
        'pytestmark = [pytest.mark.option("a", "b")]',
        'each = pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.option("a", "b"))])',
    ],
)
def test_marks_are_found_wherever_they_stand(code: str) -> None:
    assert [names for _, names in marks(ast.parse(code), "option")] == [["a", "b"]]
