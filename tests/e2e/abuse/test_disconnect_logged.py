"""A client that goes is counted and logged with status 499, and write() tells the app without a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.abuse.conftest import APP
from tests.e2e.abuse.test_disconnect import protocol, request_line, reset, send, server
from tests.e2e.clients import Connection
from tests.e2e.harness import Gate, Penstock, read_stats, until

__all__ = ["protocol", "server"]


def test_write_tells_the_app_that_its_client_is_gone(unharmed: Penstock, protocol: str) -> None:
    """write() has to raise, because nothing else would end this app; that is no error of the app either."""
    since = len(unharmed.log)
    connection = send(unharmed, protocol, "/endless?write=1")
    connection.read_head()
    reset(connection)
    request_line(unharmed, r"/endless\?write=1", since)
    assert "Traceback" not in unharmed.log[since:]


@pytest.mark.parametrize("target", ["/endless", "/endless?write=1"])
def test_a_stream_without_a_client_is_logged_as_499(unharmed: Penstock, protocol: str, target: str) -> None:
    since = len(unharmed.log)
    connection = send(unharmed, protocol, target)
    connection.read_head()
    reset(connection)
    assert "(HTTP/1.1 499)" in request_line(unharmed, target.replace("?", r"\?"), since)


def test_a_response_without_a_client_is_logged_as_499(unharmed: Penstock, protocol: str, gate: Gate) -> None:
    since = len(unharmed.log)
    connection = send(unharmed, protocol, gate.target.replace("/wait", "/waits"))
    gate.entered()
    reset(connection)
    gate.open()
    assert "(HTTP/1.1 499)" in request_line(unharmed, r"/waits\S*", since)


def test_a_client_that_stays_is_not(unharmed: Penstock) -> None:
    since = len(unharmed.log)
    with Connection(unharmed.http) as connection:
        assert connection.request("GET", "/stays", {"Connection": "close"}).status == 200
    assert "(HTTP/1.1 200)" in request_line(unharmed, "/stays", since)


def test_a_response_that_was_left_behind_is_counted_and_noted(tmp_path: Path) -> None:
    """Its app has finished, so that the line has the app's status; that the client left is said beside it."""
    stats = tmp_path / "stats"
    listen = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--stats", stats)
    with Penstock(*listen, "--wsgi-file", APP, "--master") as instance:

        def lost() -> int:
            (core,) = read_stats(str(stats))["workers"][0]["cores"]
            return int(core["write_errors"])

        for number, protocol in enumerate(("http", "uwsgi"), 1):
            since = len(instance.log)
            # More than the kernel takes for a client that reads nothing, and within response-spool.
            connection = send(instance, protocol, "/large?kib=12288")
            assert "(HTTP/1.1 200)" in request_line(instance, r"/large\S*", since)
            assert lost() == number - 1
            reset(connection)
            instance.wait_log(r"^.*499 - 127\.0\.0\.1 left before it had taken all of its response$", since=since)
            until("it is counted", lambda number=number: lost() == number)  # type: ignore[misc]
        assert "Traceback" not in instance.log
