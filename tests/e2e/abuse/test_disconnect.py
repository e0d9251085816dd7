"""A client that goes is no error of the app: no traceback, no exception from iteration, and the iterable is closed."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from tests.e2e.abuse import judge
from tests.e2e.abuse.conftest import APP
from tests.e2e.clients import Connection, request_bytes, uwsgi_packet, uwsgi_variables
from tests.e2e.harness import Gate, Penstock, until


@pytest.fixture(scope="module")
def server() -> Iterator[Penstock]:
    """One worker with two threads, so that one stays free to be asked, and the request log."""
    listen = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0")
    with Penstock(*listen, "--wsgi-file", APP, "--master", "--threads", "2") as instance:
        yield instance


def reset(connection: Connection) -> None:
    """Leave so that the other side is told at once, as a browser's closed tab does."""
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def send(server: Penstock, protocol: str, target: str) -> Connection:
    """A request over HTTP or uwsgi on a connection of its own."""
    if protocol == "http":
        return Connection(server.http).send(request_bytes("GET", target))
    return Connection(server.uwsgi).send(uwsgi_packet(uwsgi_variables(target)))


@pytest.fixture(params=["http", "uwsgi"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def request_line(server: Penstock, target: str, since: int) -> str:
    """The line of the request log for `target`."""
    return server.wait_log(rf"^\[pid: .* GET {target} => .*$", since=since)[0]


def test_a_stream_is_closed_when_its_client_goes(unharmed: Penstock, protocol: str) -> None:
    since = len(unharmed.log)
    connection = send(unharmed, protocol, "/endless")
    connection.read_head()
    reset(connection)
    seen: list[object] = []

    def is_closed() -> bool:
        seen.extend(judge.ask(unharmed.http).seen)
        return "closed" in seen

    until("the generator is closed", is_closed)
    request_line(unharmed, "/endless", since)
    assert "Traceback" not in unharmed.log[since:]


def test_a_client_that_goes_while_the_app_works_is_no_error(unharmed: Penstock, protocol: str, gate: Gate) -> None:
    since = len(unharmed.log)
    target = gate.target.replace("/wait", "/waits")
    connection = send(unharmed, protocol, target)
    gate.entered()
    reset(connection)
    gate.open()
    request_line(unharmed, r"/waits\S*", since)
    assert "Traceback" not in unharmed.log[since:]


def test_a_client_that_goes_in_the_middle_of_a_body_never_reaches_the_app(unharmed: Penstock) -> None:
    for body in ({"Content-Length": "100"}, {"Transfer-Encoding": "chunked"}):
        since = len(unharmed.log)
        connection = Connection(unharmed.http).send(request_bytes("POST", "/half", body) + b"5\r\nhello\r\n")
        connection.sock.shutdown(socket.SHUT_WR)
        unharmed.wait_log("the client left in the middle of a request body", since=since)
        connection.close()
    assert judge.ask(unharmed.http).seen == []
