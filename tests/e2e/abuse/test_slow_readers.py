"""A reader that is slow but never stops gets everything."""

from __future__ import annotations

import select
import socket
import time

from tests.e2e.abuse.conftest import APP
from tests.e2e.clients import Connection, request_bytes
from tests.e2e.harness import Penstock

MIB = 1 << 20


def test_a_reader_that_takes_less_than_the_kernel_buffers_within_the_timeout_is_not_cut() -> None:
    """Some 300 KB/s: the kernel holds up to 4 MB, and has room for more only when a third of that has left.

    Progress is what the client acknowledges (SIOCOUTQ), not what the socket takes.
    """
    listen = ("--http", "127.0.0.1:0", "--socket-timeout", "1")
    with Penstock(*listen, "--wsgi-file", APP, "--master") as server, Connection(server.http) as slow:
        slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.send(request_bytes("GET", "/large?kib=8192&pieces=1", {"Connection": "close"}))
        begun, count = time.monotonic(), 0
        while time.monotonic() < begun + 4:
            # Some of it now and then, for longer than the timeout.
            select.select([], [], [], 0.1)
            count += len(slow.sock.recv(32768))
        while data := slow.sock.recv(MIB):
            count += len(data)
        assert count > 8 * MIB
