"""Single lines of the ini grammar."""

from __future__ import annotations

import pytest

from penstock.config.ini import Line, is_comment, parse_line, split_lines


@pytest.mark.parametrize("text", ["", " \t\r", "; a", "  # a = b", ";"])
def test_nothing(text: str) -> None:
    assert is_comment(text) and parse_line(text, 1) is None


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
    assert list(split_lines("a\r\nb\x0bc\u2028d\n")) == [(1, "a\r"), (2, "b\x0bc\u2028d"), (3, "")]
