"""Options of sockets: what the kernel says of the listeners of a started server, and who can connect."""

from __future__ import annotations

import ctypes
import os
import socket
from pathlib import Path

import pytest

from tests.e2e.clients import get, uwsgi_request
from tests.e2e.harness import APPS, Penstock, free_port

CASES = ("--wsgi-file", APPS / "cases.py")
PIDFD_GETFD = 438
IP_FREEBIND = 15


def listener(instance: Penstock) -> socket.socket:
    """The first listening TCP socket of the master, taken over by its descriptor (pidfd_getfd(2))."""
    master = os.pidfd_open(instance.pid)
    try:
        for number in sorted(int(entry.name) for entry in Path(f"/proc/{instance.pid}/fd").iterdir()):
            fd = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, master, number, 0)
            if fd < 0:
                continue
            if not os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
                os.close(fd)
                continue
            found = socket.socket(fileno=fd)
            is_tcp = found.family == socket.AF_INET and found.type == socket.SOCK_STREAM
            if is_tcp and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return found
            found.close()
    finally:
        os.close(master)
    raise AssertionError("the master has no listening TCP socket")


@pytest.mark.option("so-keepalive", "socket-sndbuf", "socket-rcvbuf", "tcp-fastopen", "freebind")
def test_the_kernel_is_asked() -> None:
    options = ("--so-keepalive", "--socket-sndbuf", "65536", "--socket-rcvbuf", "32768", "--tcp-fastopen", "7")
    # An address for documentation (RFC 5737), which no machine has.
    with (
        Penstock("--http", "127.0.0.1:0", *CASES, *options) as instance,
        Penstock("--http", "127.0.0.1:0", "--http", "192.0.2.7:0", "--freebind", *CASES) as free,
        Penstock("--http", "127.0.0.1:0", *CASES) as plain,
    ):
        assert get(instance.http, "/hello").body == b"Hello world"
        assert get(free.http, "/hello").body == b"Hello world"
        with listener(instance) as tuned, listener(free) as bound, listener(plain) as usual:
            for option in (socket.SO_KEEPALIVE, socket.SO_SNDBUF, socket.SO_RCVBUF):
                assert tuned.getsockopt(socket.SOL_SOCKET, option) != usual.getsockopt(socket.SOL_SOCKET, option)
            # The kernel doubles what it is asked for (socket(7)).
            assert tuned.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 65536
            assert tuned.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * 32768
            assert tuned.getsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN) == 7
            assert [one.getsockopt(socket.SOL_IP, IP_FREEBIND) for one in (bound, usual)] == [1, 0]


@pytest.mark.option("reuse-port")
def test_two_instances_on_one_address() -> None:
    address = f"127.0.0.1:{free_port()}"
    with Penstock("--http", address, *CASES, "--reuse-port") as first:
        with Penstock("--http", address, *CASES, "--reuse-port") as second:
            workers = {get(address, "/pid").body for _ in range(200)}
            assert len(workers) == 2, (first.tail, second.tail)
        assert get(address, "/hello").body == b"Hello world"


@pytest.mark.option("abstract-socket")
def test_a_unix_socket_without_a_file(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    with Penstock("--socket", path, "--abstract-socket", *CASES), socket.socket(socket.AF_UNIX) as client:
        assert not Path(path).exists()
        client.connect(f"\0{path}")
        assert uwsgi_request(f"@{path}", "/hello").body == b"Hello world"


@pytest.mark.option("shared-socket")
def test_shared_sockets_are_served_as_who_refers_to_them_says() -> None:
    shared = ("--shared-socket", "127.0.0.1:0", "--shared-socket", "127.0.0.1:0")
    with Penstock(*shared, "--socket", "=0", "--http", "=1", *CASES) as instance:
        assert get(instance.http, "/hello").body == b"Hello world"
        assert uwsgi_request(instance.uwsgi, "/hello").body == b"Hello world"
