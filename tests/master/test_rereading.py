"""The configuration, read again: what a reload can not change is named, and what is wrong fails it."""

from __future__ import annotations

import pytest

from penstock.config.findings import ConfigError, Finding, Origin
from penstock.master.rereading import NotReread, fixed_parts, needs_restart, reread
from penstock.options.table import OPTIONS
from tests.master.plans import make_plan

OF_SOCKETS = {
    "chmod-socket", "chown-socket", "freebind", "reuse-port", "so-keepalive", "socket-rcvbuf", "socket-sndbuf",
    "tcp-fastopen",
}  # fmt: skip
"""They are compared socket by socket, when the sockets of the new plan are found."""
OF_LOGGERS = {"log-socket", "log-syslog"}
"""They are other ways to write `logger`."""


def test_every_option_that_needs_a_restart_is_compared() -> None:
    wanted = {option.name for option in OPTIONS if option.applies == "restart" and option.verdict != "not-needed"}
    assert wanted - OF_SOCKETS - OF_LOGGERS == set(fixed_parts(make_plan("x")))


def test_what_has_changed_is_named() -> None:
    assert needs_restart(make_plan("x"), make_plan("x", processes=5)) == []
    assert needs_restart(make_plan("x"), make_plan("x", umask=0o77, pidfile="/run/x.pid")) == ["pidfile", "umask"]


def test_what_is_wrong_is_a_cause_in_one_line_and_the_rest() -> None:
    findings = [Finding("error", "bad-value", "threads = x: no", Origin("file", "a.ini", 3))] * 2

    def make(note: object) -> None:
        raise ConfigError(findings)

    with pytest.raises(NotReread) as caught:
        reread(make, lambda text: None)  # type: ignore[arg-type]
    assert caught.value.reason == "the configuration could not be read again: a.ini:3: threads = x: no"
    assert caught.value.more == "a.ini:3: threads = x: no"


def test_notes_go_through() -> None:
    said: list[str] = []
    plan = make_plan("x")

    def make(note: object) -> object:
        note("warning: a")  # type: ignore[operator]
        return plan

    assert reread(make, said.append) is plan  # type: ignore[arg-type]
    assert said == ["warning: a"]
