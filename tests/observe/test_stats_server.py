"""The statistics socket: everybody gets the document, nobody can make it wait."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator

import pytest

from penstock.observe.small_server import LINGER_S, MOST_CLIENTS, PATIENCE_S
from penstock.observe.stats_server import LONGEST_REQUEST_BYTES, StatsServer

LARGE = "x" * (32 << 20)


class Loop:
    """A selector and a clock."""

    def __init__(self, text: str) -> None:
        self.now = 0.0
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.listener.setblocking(False)
        self.address = self.listener.getsockname()
        self.server = StatsServer(self.listener, self.selector, lambda: text, lambda: self.now)

    def turn(self) -> None:
        """Handle what is ready, until nothing is."""
        while ready := self.selector.select(0.05):
            for key, mask in ready:
                now = self.selector.get_map().get(key.fd)
                if now is not None and now.fileobj is key.fileobj:
                    key.data(mask)

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.address, timeout=10)
        self.turn()
        return client

    @property
    def clients(self) -> int:
        return len(self.selector.get_map()) - 1


@pytest.fixture
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    made = Loop(getattr(request, "param", '{"a":1}'))
    yield made
    made.server.close()
    made.selector.close()


def read(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def test_document_comes_without_a_request(loop: Loop) -> None:
    with loop.connect() as client:
        assert read(client) == b'{"a":1}'
    loop.turn()
    assert loop.clients == 0 and loop.server.next_deadline() is None


def test_client_that_sends_something_gets_it_too(loop: Loop) -> None:
    with socket.create_connection(loop.address, timeout=10) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        loop.turn()
        assert read(client) == b'{"a":1}'


def test_client_that_stays_is_dropped(loop: Loop) -> None:
    with loop.connect():
        assert loop.server.next_deadline() == LINGER_S
        loop.now = LINGER_S + 0.1
        loop.server.expire()
        assert loop.clients == 0


@pytest.mark.parametrize("loop", [LARGE], indirect=True, ids=["large"])
def test_client_that_does_not_read_is_dropped(loop: Loop) -> None:
    with loop.connect():
        assert loop.server.next_deadline() == PATIENCE_S
        loop.now = PATIENCE_S - 0.1
        loop.server.expire()
        assert loop.clients == 1
        loop.now = PATIENCE_S
        loop.server.expire()
        assert loop.clients == 0


@pytest.mark.parametrize("loop", [LARGE], indirect=True, ids=["large"])
def test_there_are_never_too_many(loop: Loop) -> None:
    clients = []
    for number in range(MOST_CLIENTS + 5):
        loop.now = number / 1000
        clients.append(socket.create_connection(loop.address, timeout=10))
        loop.turn()
    assert loop.clients == MOST_CLIENTS
    for client in clients:
        client.close()


def test_client_that_is_gone_already_is_no_error(loop: Loop) -> None:
    socket.create_connection(loop.address).close()
    loop.turn()
    assert loop.clients == 0


def test_over_http_a_client_asks_first(loop: Loop) -> None:
    loop.server.speaks_http = True
    with loop.connect() as client, loop.connect() as silent:
        client.sendall(b"GET / HTTP/1.1\r\nHost: ")
        loop.turn()
        client.sendall(b"x\r\n\r\n")
        loop.turn()
        head, _, body = read(client).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 200 OK\r\n") and body == b'{"a":1}'
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.recv(1)
        loop.now = PATIENCE_S
        loop.server.expire()
        assert silent.recv(1) == b""


def test_over_http_a_request_has_a_longest_length(loop: Loop) -> None:
    loop.server.speaks_http = True
    with loop.connect() as client:
        client.sendall(b"x" * (LONGEST_REQUEST_BYTES + 1))
        loop.turn()
        assert read(client).endswith(b'{"a":1}')


@pytest.mark.parametrize("loop", [LARGE], indirect=True, ids=["large"])
def test_who_reads_is_served_to_the_end_before_an_upgrade(loop: Loop) -> None:
    client = loop.connect()
    found: list[bytes] = []

    def take() -> None:
        found.append(read(client))
        client.close()

    reader = threading.Thread(target=take)
    reader.start()
    loop.server.settle(30)
    reader.join(30)
    assert found == [LARGE.encode()] and loop.clients == 0


def test_nobody_is_waited_for_in_vain(loop: Loop) -> None:
    loop.server.settle(30)
    with loop.connect():
        clock = iter(range(100))
        loop.server._clock = lambda: next(clock) / 10
        loop.server.settle(0.5)
        assert loop.clients == 1
