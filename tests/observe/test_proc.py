"""What the kernel tells, and what happens when it does not."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from penstock.observe.proc import listen_queue, memory_bytes


def test_memory_of_this_process_is_known() -> None:
    rss, vsz = memory_bytes(os.getpid())
    assert 1 << 20 < rss < vsz


def test_memory_of_nobody_is_0() -> None:
    assert memory_bytes(2**22 + 1) == (0, 0)


def test_tcp_queue_is_counted() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=17) as listener:
        assert listen_queue(listener) == (0, 17)
        with socket.create_connection(listener.getsockname()), socket.create_connection(listener.getsockname()):
            assert listen_queue(listener) == (2, 17)


def test_unix_queue_is_counted_where_the_kernel_tells_it(short_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(short_dir / "a"))
        listener.listen(9)
        client.connect(str(short_dir / "a"))
        assert listen_queue(listener) in ((1, 9), (0, 0))


def test_closed_socket_has_no_queue() -> None:
    listener = socket.socket()
    listener.close()
    assert listen_queue(listener) == (0, 0)
