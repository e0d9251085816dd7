"""What the options of sockets become beside the addresses."""

from __future__ import annotations

import pytest

from penstock.config.findings import ConfigError
from penstock.plan.types import SocketTuning
from tests.plan.test_resolve import plan, refusal


def test_what_is_asked_of_the_kernel() -> None:
    made = plan(
        "--so-keepalive", "--reuse-port", "--freebind", "--tcp-fast-open", "5", "--socket-sndbuf", "64k",
        "--socket-rcvbuf", "4096", "--socket", "/a.sock",
    )  # fmt: skip
    tuning = SocketTuning(True, True, True, 5, 65536, 4096)
    assert [one.tuning for one in made.listeners] == [tuning, SocketTuning()]
    assert plan().listeners[0].tuning == SocketTuning()


def test_shared_sockets_stand_where_they_are_referred_to() -> None:
    made = plan(
        "--shared-socket", "127.0.0.1:1", "--undeferred-shared-socket", "/s.sock", "--socket", "=1", "--http-socket",
        "=0",
    )  # fmt: skip
    assert [(one.protocol, one.host, one.port, one.name) for one in made.listeners] == [
        ("http", "", 8000, ":8000"),
        ("http", "127.0.0.1", 1, "127.0.0.1:1"),
        ("uwsgi", "/s.sock", 0, "/s.sock"),
    ]
    assert not any("shared" in note for note in made.notes)


@pytest.mark.parametrize("number", ["=1", "=", "=-1", "=x", "=99999999999999999999", "=\u0661"])
def test_a_shared_socket_that_is_not_there(number: str) -> None:
    error = str(refusal("--shared-socket", ":1", "--module", "a", f"--http={number}"))
    assert "there is no shared socket of this number" in error


def test_a_shared_socket_that_nobody_uses_or_two_do() -> None:
    assert any("shared-socket = :1: nothing is served on it" in note for note in plan("--shared-socket", ":1").notes)
    error = refusal("--shared-socket", ":1", "--http", "=0", "--socket", "=0", "--module", "a")
    assert "already served" in str(error)


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "/run/a.sock"])
def test_statistics_are_not_told_where_requests_are_served(address: str) -> None:
    error = refusal("--http", address, "--stats", address, "--module", "a")
    assert f"stats = {address}: something else is served there" in str(error)
    assert plan("--http", "127.0.0.1:0", "--stats", "127.0.0.1:0").stats is not None


def test_unix_sockets_in_the_abstract_name_space() -> None:
    made = plan("--abstract-socket", "--socket", "/run/a.sock", "--socket", "127.0.0.1:5")
    found = [(one.family, one.host) for one in made.listeners[1:]]
    assert found == [("abstract", "/run/a.sock"), ("inet", "127.0.0.1")]


@pytest.mark.parametrize("argument", ["--socket-sndbuf=0", "--socket-rcvbuf=4g", "--tcp-fastopen=0"])
def test_sizes_that_no_kernel_takes(argument: str) -> None:
    with pytest.raises(ConfigError, match="must be at"):
        plan(argument)
