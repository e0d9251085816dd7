"""Slow and silent clients by the hundred, in a process of their own so that they take no time from who measures.

`Attack(kinds, http, uwsgi, scale)` starts one; as a program, `python -m tests.e2e.abuse.attacks KIND,... HTTP UWSGI
SCALE` says `ready`, waits for a line, connects all of them as fast as it can, says `established`, keeps them as bad as
they are until its standard input ends, and replaces what the server cuts. What a kind of client does is data: what it
sends first, what it adds from time to time, whether it reads, and how it leaves.
"""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from tests.e2e.clients import connect, request_bytes, uwsgi_packet, uwsgi_variables

TICK_S = 0.05
# Connections that are looked at in one tick; with this many each, the process takes little processor time.
TURNS = 60
TCP_REPAIR = 19
# Where those come from that leave without a word. The server goes on with their connections, and a machine that lost
# its power opens no new ones: were they of the ordinary client's address, its kernel would take their ports for it, and
# each such port would cost it a challenge of the server's kernel and a wait of two clock ticks (8 to 12 ms).
ELSEWHERE = "127.0.0.2"


@dataclass(frozen=True)
class Kind:
    """What one sort of client does."""

    first: bytes = b""
    drip: bytes = b""
    uwsgi: bool = False
    # Bytes read in a turn; 0 leaves everything unread.
    read: int = 0
    # How many turns a connection lives, and how it ends: by a close, a reset, the end of its sending side, or without
    # a word to the other side, as a machine that loses its power.
    turns: int = 0
    end: str = "close"
    # So that little is in flight.
    small_window: bool = False
    # How many there are, and the memory that each may cost the server.
    count: int = 300
    cap_bytes: int = 16 << 10


CHUNKED = b"POST /slow HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
LENGTH = b"POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
HELLO = request_bytes("GET", "/slow")
PACKET = uwsgi_packet(uwsgi_variables("/slow", "POST", b"x" * 100000), b"x")
READS = 1 << 16
BUFFER = 1 << 20

KINDS = {
    # A head, or nothing.
    "silent": Kind(count=2000, cap_bytes=4 << 10),
    "kept": Kind(HELLO, read=READS, count=2000, cap_bytes=4 << 10),
    "slow-head": Kind(b"GET /slow HTTP/1.1\r\nHost: localhost\r\nX: ", b"x"),
    "slow-lines": Kind(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n"),
    "large-slow-head": Kind(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 60_000, b"x", cap_bytes=96 << 10),
    "slow-method": Kind(b"G", b"E"),
    "empty-lines": Kind(b"\r\n", b""),
    "half-tls": Kind(b"\x16\x03\x01\x02", b""),
    # A body.
    "slow-length": Kind(LENGTH, b"x", cap_bytes=32 << 10),
    "slow-chunks": Kind(CHUNKED, b"1\r\nx\r\n", cap_bytes=32 << 10),
    "slow-chunk-size": Kind(CHUNKED, b"0"),
    "slow-extension": Kind(CHUNKED + b"1;", b"e" * 50),
    "slow-extensions": Kind(CHUNKED, b"1;" + b"e" * 500 + b"\r\nx\r\n"),
    "slow-trailers": Kind(CHUNKED + b"0\r\n", b"X: y\r\n"),
    "slow-trailer": Kind(CHUNKED + b"0\r\nX: ", b"y" * 50),
    "no-body": Kind(LENGTH.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")),
    "half-a-body": Kind(LENGTH + b"x" * 200_000, cap_bytes=300 << 10, count=100),
    # Responses that nobody reads, up to what is buffered for each.
    "no-reader": Kind(request_bytes("GET", "/large?kib=900"), small_window=True, count=60, cap_bytes=2 * BUFFER),
    "slow-reader": Kind(
        request_bytes("GET", "/large?kib=900&pieces=1"),
        read=100,
        small_window=True,
        count=60,
        cap_bytes=2 * BUFFER,
    ),
    "pipeline": Kind(HELLO * 500, HELLO * 500, small_window=True, count=20, cap_bytes=256 << 10),
    "pipeline-of-large": Kind(
        request_bytes("GET", "/large?kib=500") * 100, small_window=True, count=20, cap_bytes=2 * BUFFER
    ),
    # What was refused goes on coming.
    "sending-on": Kind(b"this is not HTTP\r\n\r\n", b"x" * 60_000, small_window=True, count=40),
    "uwsgi-sending-on": Kind(b"\0\1\0\0x", b"x" * 60_000, uwsgi=True, small_window=True, count=40),
    # Clients that go.
    "half-closed": Kind(HELLO, turns=1, end="half"),
    "half-closed-body": Kind(LENGTH + b"x", turns=1, end="half"),
    "reset-in-the-head": Kind(HELLO[:20], turns=1, end="reset", count=100),
    "reset-in-the-body": Kind(LENGTH + b"x" * 1000, turns=1, end="reset", count=100),
    "reset-behind-the-request": Kind(HELLO, turns=1, end="reset", count=100),
    "reset-in-the-response": Kind(request_bytes("GET", "/large?kib=900"), read=10, turns=2, end="reset", count=40),
    "gone-while-streaming": Kind(request_bytes("GET", "/endless"), read=READS, turns=1, end="reset", count=2),
    "gone-without-a-word": Kind(LENGTH + b"x", end="silent", count=100),
    # The same over uwsgi.
    "uwsgi-silent": Kind(uwsgi=True, cap_bytes=4 << 10),
    "uwsgi-half-a-header": Kind(PACKET[:2], uwsgi=True),
    "uwsgi-slow-block": Kind(PACKET[:20], b"\0", uwsgi=True),
    "uwsgi-largest-block": Kind(b"\0\xff\xff\0" + b"\0" * 60_000, uwsgi=True, cap_bytes=96 << 10),
    "uwsgi-slow-body": Kind(PACKET, b"x", uwsgi=True, cap_bytes=32 << 10),
    "uwsgi-no-reader": Kind(
        uwsgi_packet(uwsgi_variables("/large?kib=900")), uwsgi=True, small_window=True, count=60, cap_bytes=2 * BUFFER
    ),
    "uwsgi-reset": Kind(PACKET, uwsgi=True, turns=1, end="reset", count=100),
}


class Client:
    """One connection of a kind."""

    def __init__(self, kind: Kind, address: str) -> None:
        self.kind = kind
        self.sock = connect(address, 20.0, source=ELSEWHERE if kind.end == "silent" else "")
        if kind.small_window:
            # Both directions: what is pipelined must not fit either.
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.setblocking(False)
        self.turns = 0
        self.unsent = kind.first

    def turn(self) -> bool:
        """Add what is due; False once the connection is over."""
        self.turns += 1
        try:
            if self.unsent:
                self.unsent = self.unsent[self.sock.send(self.unsent) :]
            elif self.kind.drip:
                self.sock.send(self.kind.drip)
            # An answer to what should have none is read, so that its end is seen.
            if (self.kind.read or not self.kind.small_window) and not self.sock.recv(self.kind.read or READS):
                return False
        except BlockingIOError:
            pass
        except OSError:
            return False
        return not (self.kind.turns and self.turns > self.kind.turns)

    def end(self) -> None:
        """Leave in the kind's own way."""
        with contextlib.suppress(OSError):
            if self.kind.end == "half":
                self.sock.shutdown(socket.SHUT_WR)
            elif self.kind.end == "reset":
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif self.kind.end == "silent":
                # A socket in repair mode is closed without a packet (root only; others close it as usual).
                self.sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        self.sock.close()


def number_of(kind: str, scale: float) -> int:
    """How many clients of a kind there are when their usual number is multiplied by `scale`."""
    return max(1, int(KINDS[kind].count * scale))


def cap_bytes(kinds: Iterable[str], scale: float = 1.0) -> int:
    """What clients of these kinds may cost the server together, in bytes of memory."""
    return sum(number_of(kind, scale) * KINDS[kind].cap_bytes for kind in kinds)


def run(kinds: list[str], http: str, uwsgi: str, scale: float) -> None:
    """Keep clients of these kinds going until standard input ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients: list[Client] = []
    print("ready", flush=True)
    sys.stdin.readline()
    for name in kinds:
        kind = KINDS[name]
        for _ in range(number_of(name, scale)):
            client = Client(kind, uwsgi if kind.uwsgi else http)
            client.turn()
            clients.append(client)
    print("established", flush=True)
    at = 0
    due = time.monotonic() + TICK_S
    while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
        due += TICK_S
        for _ in range(min(TURNS, len(clients))):
            at = (at + 1) % len(clients)
            if not clients[at].turn():
                clients[at].end()
                clients[at] = Client(clients[at].kind, uwsgi if clients[at].kind.uwsgi else http)
    for client in clients:
        client.end()


class Attack:
    """Clients of some kinds, from when `with` is entered, by when all are connected, to its end.

    With `begun=False` they connect when `begin` is called, and `is_established` tells whether all have.
    """

    def __init__(self, kinds: Iterable[str], http: str, uwsgi: str, scale: float = 1.0, *, begun: bool = True) -> None:
        self.command = [sys.executable, "-m", "tests.e2e.abuse.attacks", ",".join(kinds), http, uwsgi, str(scale)]
        self.begun = begun
        self.established = False

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._hear(b"ready\n")
        if self.begun:
            self.begin()
            self._hear(b"established\n")
            self.established = True
        return self

    def begin(self) -> None:
        """Let them connect, all at once."""
        assert self.process.stdin
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def _hear(self, line: bytes) -> None:
        assert self.process.stdout
        if self.process.stdout.readline() != line:
            self.process.communicate()
            raise AssertionError("the attack did not start")

    @property
    def is_established(self) -> bool:
        """Whether all of them are connected; AssertionError once that can not happen any more."""
        if not self.established and select.select([self.process.stdout], [], [], 0)[0]:
            self._hear(b"established\n")
            self.established = True
        return self.established

    @property
    def is_running(self) -> bool:
        """Whether it goes on: a server that refuses its connections ends it."""
        return self.process.poll() is None

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.process.communicate(timeout=30)


if __name__ == "__main__":
    run(sys.argv[1].split(","), sys.argv[2], sys.argv[3], float(sys.argv[4]))
