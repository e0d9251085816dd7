"""Single lines of the ini grammar."""

from __future__ import annotations

import pytest

from penstock.config.ini import Line, parse_line, read
from penstock.config.pairs import Pair


@pytest.mark.parametrize("text", ["", " \t\r", "; a", "  # a = b", ";"])
def test_nothing(text: str) -> None:
    assert parse_line(text, 1) is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a=b", Line("pair", 1, "a", "b")),
        (" a = b = c # d \r", Line("pair", 1, "a", "b = c # d")),
        ("a", Line("pair", 1, "a", "")),
        ("a =", Line("pair", 1, "a", "")),
        ("= b", Line("pair", 1, "", "b")),
        ("a b = c", Line("pair", 1, "a b", "c")),
        ("a = 'b'", Line("pair", 1, "a", "'b'")),
        ("a = b \\", Line("pair", 1, "a", "b \\")),
        ("a = \u00a0b\u2028", Line("pair", 1, "a", "\u00a0b\u2028")),
        ("[uwsgi]", Line("section", 1, "uwsgi")),
        (" [ uwsgi ] ; text", Line("section", 1, "uwsgi")),
        ("[]", Line("section", 1, "")),
        ("[uwsgi", Line("open-section", 1, "uwsgi")),
    ],
)
def test_lines(text: str, line: Line) -> None:
    assert parse_line(text, 1) == line


def test_only_a_line_feed_ends_a_line() -> None:
    assert read("[uwsgi]\r\na\rb\x0bc\u2028d = 1\n", "").items == [Pair("a\rb\x0bc\u2028d", "1", 2)]


def test_other_sections_are_passed_over_and_named_where_the_wanted_one_is_missing() -> None:
    text = "[a]\nk = 1\n[b]\nk = 2\n[a]\nl = 3\n"
    assert read(text, "a").items == [Pair("k", "1", 2), Pair("l", "3", 6)]
    assert read(text, "").others == ("a", "b")


def test_a_line_of_another_section_may_begin_with_a_bracket() -> None:
    assert read("[x]\nlist =\n  [a, b\n[uwsgi]\nk = 1\n", "").items == [Pair("k", "1", 5)]
