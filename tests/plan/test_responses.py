"""What the options of every response become."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.config.findings import ConfigError
from penstock.plan.types import ResponsePlan
from tests.plan.test_resolve import plan


def test_the_default_is_to_say_nothing() -> None:
    assert plan().engine.response == ResponsePlan()


def test_what_was_said(tmp_path: Path) -> None:
    (tmp_path / "sorry.html").write_text("sorry")
    made = plan(
        "--add-header", "X-A: b: c ", "--add-header", "X-B:", "--del-header", "Server", "--rem-header", "x-powered-by",
        "--response-headers-limit", "1000", "--error-page-500", "sorry.html", "--disable-sendfile",
        "--error-page-404", "sorry.html", "--error-page-403", "sorry.html", cwd=tmp_path,
    )  # fmt: skip
    assert made.engine.response == ResponsePlan(
        added_headers=(("X-A", "b: c"), ("X-B", "")),
        removed_headers=("Server", "x-powered-by"),
        head_limit_bytes=1000,
        error_pages=tuple((status, f"{tmp_path}/sorry.html") for status in (403, 404, 500)),
        files_are_read=True,
    )


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--add-header=X-A", "Name: value"),
        ("--add-header=X A: b", "Name: value"),
        ("--add-header=: b", "Name: value"),
        ("--add-header=X-A: b\r\nX-B: c", "line ends"),
        ("--add-header=X-A: b\x01", "control characters"),
        ("--add-header=content-length: 5", "server's to set"),
        ("--add-header=Transfer-Encoding: chunked", "server's to set"),
        ("--add-header=date: yesterday", "server's to set"),
        ("--del-header=", "name of a header"),
        ("--del-header=X-A:", "name of a header"),
        ("--error-page-500=", "empty"),
        ("--response-headers-limit=1", "256"),
    ],
)
def test_what_is_wrong_is_said(argument: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        plan(argument)


@pytest.mark.parametrize("header", ["Connection: close", "connection: keep-alive", "Keep-Alive: timeout=5"])
def test_what_becomes_of_the_connection_is_not_a_header_to_add(header: str) -> None:
    """Public configurations have it, for a server that keeps no connection anyway: they start all the same."""
    made = plan("--add-header", header, "--add-header", "X-A: b")
    assert made.engine.response.added_headers == (("X-A", "b"),)
    assert any(f"add-header = {header}: is ignored" in note and "http-keepalive = 0" in note for note in made.notes)


def test_a_page_that_is_not_there_is_said() -> None:
    assert any("error-page-500 = /none" in note for note in plan("--error-page-500", "/none").notes)


def test_the_longest_pause_counts() -> None:
    engine = plan("--chunked-input-timeout", "90", "--socket-timeout", "5").engine
    assert (engine.body_timeout_s, engine.write_timeout_s) == (90, 5)
