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
        ("limit-post", "1 m", 1048576),
        ("harakiri", "90s", 90),
        ("harakiri", "2m", 120),
        ("harakiri", "2 minutes", 120),
        ("harakiri", "1h", 3600),
        ("processes", "4096", 4096),
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
        ("threads", "2;two", 2, "text-after-value"),
        ("threads", "2  words", 2, "text-after-value"),
        ("harakiri", "20 # words", 20, "text-after-value"),
        ("threads", "2x", None, "not-a-number"),
        ("threads", "2.5", None, "not-a-number"),
        ("threads", "2 k", None, "not-a-number"),
        ("harakiri", "1.5", None, "not-a-number"),
        ("harakiri", "1d", None, "not-a-number"),
        ("processes", "4097", None, "bad-value"),
        ("threads", "1025", None, "bad-value"),
        ("threads", "2 # two", 2, "text-after-value"),
        ("threads", "2k", None, "not-a-number"),
        ("limit-post", "2kilo", None, "not-a-number"),
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
        ("socket", '"/a"', '"/a"', "quotes-in-value"),
        ("http", '":80"', ":80", "quotes-in-value"),
        ("processes", "'4'", None, "not-a-number"),
        ("processes", "${N}", None, "not-a-number"),
        ("chdir", "a\0b", None, "not-text"),
    ],
)
def test_with_a_finding(name: str, text: str, value: Value | None, code: str) -> None:
    assert values(name, text) == (value, [code])


def test_a_message_names_place_value_and_cure() -> None:
    _, findings = convert(BY_NAME["processes"], "workers", "abc", FILE)
    assert str(findings[0]) == "a.ini:3: workers = abc: this is not a number; write for example workers = 4"


@pytest.mark.parametrize(
    ("name", "text", "piece"),
    [
        ("max-requests", "1k", "this is not a whole number; write max-requests = 1000"),
        ("max-requests", "2 M", "write max-requests = 2000000"),
        ("processes", "2.5", "write processes = 2 or 3"),
        ("max-requests", "5,000", "without the comma"),
        ("limit-post", "5x", "with k, m or g"),
        ("harakiri", "5x", "with s, m or h"),
        ("threads", "-1", "must not be negative; write for example threads = 4"),
        ("threads", "9" * 20, "is too large"),
        ("processes", "1000000", "must be at most 4096, each worker is a process"),
        ("threads", "100000", "must be at most 1024"),
    ],
)
def test_what_is_wrong_with_a_number_is_said_with_the_cure(name: str, text: str, piece: str) -> None:
    value, findings = convert(BY_NAME[name], name, text, FILE)
    assert value is None
    assert str(findings[0]).startswith(f"a.ini:3: {name} = {text}: ") and piece in str(findings[0])


def test_comments_and_quotes_of_the_command_line_are_the_shells_business() -> None:
    option = Option(name="x", type="text", help="x")
    assert convert(option, "x", "'a' # b", Origin("command line", "--x")) == ("'a' # b", [])


@pytest.mark.parametrize(
    ("name", "text", "instead"),
    [
        ("reload-on-rss", "200M", "200"),
        ("limit-as", "2G", "2048"),
        ("reload-on-as", "512k", "1"),
        ("threads", "2k", "2000"),
    ],
)
def test_a_size_where_megabytes_are_counted_is_told_in_megabytes(name: str, text: str, instead: str) -> None:
    _, (finding,) = convert(BY_NAME[name], name, text, FILE)
    assert finding.cure == f"write {name} = {instead}"
