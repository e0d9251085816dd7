"""Which clients' connections a process holds, as the kernel tells: what is lost with it, and what can not be.

A process that is stopped (SIGSTOP) takes nothing more and gives nothing away, so what is seen of it then is what it has
at the moment in which it is killed.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.harness import state

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
DUMP_REQUEST = 0x301
"""NLM_F_REQUEST and NLM_F_DUMP."""
MESSAGE_DONE, MESSAGE_ERROR = 3, 2
SHOW_PEER, ATTRIBUTE_PEER = 4, 2
TCP_LISTEN = "0A"


def name_of(sock: socket.socket) -> str:
    """Name a client's connection so that it is found among those that a process holds."""
    if sock.family == socket.AF_UNIX:
        return f"unix {os.fstat(sock.fileno()).st_ino}"
    return f"tcp {sock.getsockname()[1]}"


@dataclass(frozen=True)
class Kill:
    """The end of one process."""

    pid: int
    held: frozenset[str]
    """Names of the connections that it had."""
    at: float
    """When it stood still for good, in seconds of the monotonic clock."""


def kill(pid: int) -> Kill:
    """Kill process `pid` as SIGKILL does in any moment, and tell what it held in that moment."""
    os.kill(pid, signal.SIGSTOP)
    try:
        # Not `until`, which pauses: what is sent to it meanwhile would count as sent before.
        end = time.monotonic() + 10
        while not _stands_still(pid):
            assert time.monotonic() < end, f"process {pid} does not stand still"
        at = time.monotonic()
        found = Kill(pid, held_by(pid), at)
    finally:
        os.kill(pid, signal.SIGKILL)
    return found


def _stands_still(pid: int) -> bool:
    threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    return all((now := state(thread)) is not None and now[0] == "T" for thread in threads)


def held_by(pid: int) -> frozenset[str]:
    """Name the clients' ends of all connections that process `pid` has open."""
    links = (os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir())
    mine = {int(found[1]) for link in links if (found := re.fullmatch(r"socket:\[(\d+)\]", link))}
    names = {f"unix {peer}" for inode, peer in _unix_peers().items() if inode in mine}
    return frozenset(names | {f"tcp {port}" for inode, port in _tcp_peers() if inode in mine})


def _tcp_peers() -> list[tuple[int, int]]:
    """List the inode and the other end's port of each TCP connection."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [(int(row[9]), int(row[2].rpartition(":")[2], 16)) for row in rows if row[3] != TCP_LISTEN]


def _unix_peers() -> dict[int, int]:
    """Ask the kernel for all unix sockets: inode -> inode of the other end (sock_diag(7))."""
    peers: dict[int, int] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG) as asked:
        request = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, SHOW_PEER, 0, 0)
        asked.send(struct.pack("=IHHII", 16 + len(request), SOCK_DIAG_BY_FAMILY, DUMP_REQUEST, 1, 0) + request)
        while True:
            data = asked.recv(1 << 20)
            while data:
                length, kind = struct.unpack_from("=IH", data)
                assert kind != MESSAGE_ERROR, f"the kernel does not tell of unix sockets: {data[:length]!r}"
                if kind == MESSAGE_DONE:
                    return peers
                (inode,) = struct.unpack_from("=I", data, 20)
                at = 32
                while at < length:
                    size, attribute = struct.unpack_from("=HH", data, at)
                    if attribute == ATTRIBUTE_PEER:
                        (peers[inode],) = struct.unpack_from("=I", data, at + 4)
                    at += (size + 3) & ~3
                data = data[(length + 3) & ~3 :]
