"""Text to values, type by type; the cases under tests/cases/config show the same in whole files."""

from __future__ import annotations

import pytest

from penstock.config.convert import convert
from penstock.config.findings import Origin
from penstock.options.option import Option, Value
from penstock.options.table import BY_NAME

FILE = Origin("file", "a.ini", 3)


def values(name: str, text: str | None) -> tuple[Value | None, list[str]]:
    value, findings = convert(BY_NAME[name], name, text, FILE)
    return value, [finding.code for finding in findings]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("vacuum", None, True),
        ("vacuum", "", True),
        ("vacuum", "TRUE", True),
        ("vacuum", "yes", True),
        ("vacuum", "No", False),
        ("vacuum", "oFF", False),
        ("threads", "4", 4),
        ("threads", " +4", 4),
        ("threads", "007", 7),
        ("http-keepalive", None, 1),
        ("http-keepalive", "", 1),
        ("limit-post", "1k", 1024),
        ("limit-post", "1kB", 1024),
        ("limit-post", "0", 0),
        ("chmod-socket", None, 0o666),
        ("chmod-socket", "", 0o666),
        ("chmod-socket", "1", 0o666),
        ("chmod-socket", "0664", 0o664),
        ("umask", "0", 0),
        ("umask", "27", 0o27),
        ("chdir", "/a b", "/a b"),
        ("env", "A=", "A="),
    ],
)
def test_good(name: str, text: str | None, value: Value) -> None:
    assert values(name, text) == (value, [])


@pytest.mark.parametrize(
    ("name", "text", "value", "code"),
    [
        ("vacuum", "none", True, "flag-word"),
        ("vacuum", "00", True, "flag-word"),
        ("vacuum", "false ; no", False, "text-after-value"),
        ("threads", "2x", 2, "text-after-value"),
        ("threads", "2 # two", 2, "text-after-value"),
        ("threads", "2k", 2, "text-after-value"),
        ("limit-post", "2kilo", 2, "text-after-value"),
        ("limit-post", "2k # two", 2048, "text-after-value"),
        ("threads", "", None, "not-a-number"),
        ("threads", "two", None, "not-a-number"),
        ("threads", "٣", None, "not-a-number"),
        ("threads", "-2", None, "number-range"),
        ("limit-post", "9999999999g", None, "number-range"),
        ("threads", "9" * 5000, None, "number-range"),
        ("threads", "0", None, "bad-value"),
        ("chmod-socket", "66", None, "bad-mode"),
        ("chmod-socket", "2770", None, "bad-mode"),
        ("umask", "", None, "bad-mode"),
        ("env", "A", None, "bad-mapping"),
        ("chdir", "/a # b", "/a # b", "comment-in-value"),
        ("chdir", "'/a'", "'/a'", "quotes-in-value"),
        ("chdir", "a\0b", None, "not-text"),
    ],
)
def test_with_a_finding(name: str, text: str, value: Value | None, code: str) -> None:
    assert values(name, text) == (value, [code])


def test_a_message_names_place_value_and_cure() -> None:
    _, findings = convert(BY_NAME["processes"], "workers", "abc", FILE)
    assert str(findings[0]) == "a.ini:3: workers = abc: this is not a number; write for example workers = 4"


def test_comments_and_quotes_of_the_command_line_are_the_shells_business() -> None:
    option = Option(name="x", type="text", help="x")
    assert convert(option, "x", "'a' # b", Origin("command line", "--x")) == ("'a' # b", [])
