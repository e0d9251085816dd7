"""The admin listener's server: strict, bounded, and nobody can keep it from answering others."""

from __future__ import annotations

import json
import selectors
import socket
from collections.abc import Iterator

import pytest

from penstock._engine import catalogue
from penstock.observe.probe_server import LONGEST_HEAD_BYTES, REASONS, Page, ProbeServer
from penstock.observe.small_server import MOST_CLIENTS, PATIENCE_S

GET = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"


class Loop:
    """A selector, a clock, and one page."""

    def __init__(self) -> None:
        self.now = 0.0
        self.page = Page(200, {"a": 1})
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=2000)
        self.listener.setblocking(False)
        self.address = self.listener.getsockname()
        self.server = ProbeServer(self.listener, self.selector, {"/page": lambda: self.page}, lambda: self.now)

    def turn(self) -> None:
        """Handle what is ready, until nothing is."""
        while ready := self.selector.select(0.05):
            for key, mask in ready:
                now = self.selector.get_map().get(key.fd)
                if now is not None and now.fileobj is key.fileobj:
                    key.data(mask)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)

    def ask(self, data: bytes) -> tuple[int, str, bytes]:
        """Send `data`; status, head and body of the answer, which ends the connection."""
        with self.connect() as client:
            client.sendall(data)
            self.turn()
            parts = []
            while part := client.recv(65536):
                parts.append(part)
        head, _, body = b"".join(parts).partition(b"\r\n\r\n")
        return int(head.split()[1]), head.decode(), body


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.server.close()
    made.selector.close()


def test_a_page(loop: Loop) -> None:
    status, head, body = loop.ask(GET)
    assert status == 200 and json.loads(body) == {"a": 1}
    assert f"Content-Length: {len(body)}" in head
    assert "Connection: close" in head and "Cache-Control: no-store" in head and "application/json" in head
    loop.page = Page(503, {"ready": False})
    assert loop.ask(GET)[0] == 503


def test_a_head_has_no_body(loop: Loop) -> None:
    status, head, body = loop.ask(GET.replace(b"GET", b"HEAD"))
    assert status == 200 and "Content-Length: 9" in head and body == b""


def test_a_query_changes_nothing(loop: Loop) -> None:
    assert loop.ask(GET.replace(b"/page", b"/page?verbose=1"))[0] == 200
    assert loop.ask(GET.replace(b"/page", b"http://somewhere/page"))[0] == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /page/ HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405),
        (b"DELETE /page HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /page HTTP/1.1\r\n\r\n", 400),
        (b"GET /page HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /page HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET /page HTTP/3.0\r\nHost: x\r\n\r\n", 505),
        (b"GET /pa\x00ge HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\x00\x22\x01\x00", 400),
        (b"GET /page HTTP/1.1\r\nX: " + b"x" * LONGEST_HEAD_BYTES, 431),
        (b"GET /" + b"x" * LONGEST_HEAD_BYTES, 414),
    ],
)
def test_what_is_wrong_is_refused(loop: Loop, data: bytes, status: int) -> None:
    found, head, body = loop.ask(data)
    assert found == status
    assert json.loads(body)["error"]
    assert ("Allow: GET, HEAD" in head) == (status == 405)
    assert loop.ask(GET)[0] == 200, "the next one is served"


def test_a_status_that_is_given_has_its_phrase() -> None:
    statuses = {status for status, fault, _ in catalogue()["errors"].values() if fault == "client"}
    assert statuses <= set(REASONS)


def test_a_request_may_come_in_pieces(loop: Loop) -> None:
    with loop.connect() as client:
        for byte in GET:
            client.send(bytes([byte]))
            loop.turn()
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_who_is_silent_or_slow_is_dropped(loop: Loop) -> None:
    with loop.connect() as silent, loop.connect() as slow:
        slow.send(b"GET /pa")
        loop.turn()
        assert loop.server.next_deadline() == PATIENCE_S
        loop.now = PATIENCE_S - 0.1
        slow.send(b"ge")
        loop.turn()
        loop.server.expire()
        assert len(loop.selector.get_map()) == 3
        loop.now = PATIENCE_S
        loop.server.expire()
        assert silent.recv(10) == slow.recv(10) == b""
    assert loop.server.next_deadline() is None


def test_who_leaves_is_forgotten(loop: Loop) -> None:
    with loop.connect() as client:
        client.send(b"GET /pa")
        loop.turn()
    with loop.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.send(GET)
    loop.turn()
    assert len(loop.selector.get_map()) == 1


def test_a_thousand_connections_keep_nobody_out(loop: Loop) -> None:
    held = []
    try:
        for number in range(1000):
            client = loop.connect()
            held.append(client)
            if number % 3:
                client.send(b"GET / HTTP/1.1\r\nX-Slow: " if number % 3 == 1 else b"\xff" * 100)
        loop.turn()
        assert len(loop.selector.get_map()) <= MOST_CLIENTS + 1
        assert loop.ask(GET)[0] == 200
    finally:
        for client in held:
            client.close()


def test_what_comes_after_the_request_is_not_looked_at(loop: Loop) -> None:
    assert loop.ask(GET + GET + b"\xff" * 100_000)[0] == 200
