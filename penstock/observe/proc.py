"""What the kernel tells about processes and listening sockets.

Best effort throughout: a number that can not be had is 0, as in uWSGI's statistics.
"""

from __future__ import annotations

import os
import socket
import struct

TCP_INFO_BYTES = 32
"""As much of `struct tcp_info` (tcp(7)) as holds `tcpi_unacked` and `tcpi_sacked`, at 24 and 28."""

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 1
NLMSG_ERROR = 2
UDIAG_SHOW_RQLEN = 0x10
UNIX_DIAG_RQLEN = 4
"""sock_diag(7): for a listening unix socket, the pending connections and the backlog."""


def memory_bytes(pid: int) -> tuple[int, int]:
    """Tell a process's resident and virtual size."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            pages = file.read().split()
        size = os.sysconf("SC_PAGE_SIZE")
        return int(pages[1]) * size, int(pages[0]) * size
    except (OSError, IndexError, ValueError):
        return 0, 0


def listen_queue(listener: socket.socket) -> tuple[int, int]:
    """Tell how many connections wait to be accepted, and how many may."""
    try:
        if listener.family == socket.AF_UNIX:
            return _unix_queue(os.fstat(listener.fileno()).st_ino)
        # For a listening socket Linux puts the queue and its limit in here (net/ipv4/tcp.c, tcp_get_info).
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        waiting, most = struct.unpack_from("=II", info, 24)
        return waiting, most
    except (OSError, struct.error):
        return 0, 0


def _unix_queue(inode: int) -> tuple[int, int]:
    """Ask the kernel about one unix socket over netlink."""
    # struct unix_diag_req: family, protocol, pad, states, inode, show, cookie[2]
    request = struct.pack("=BBHIII2I", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, inode, UDIAG_SHOW_RQLEN, 2**32 - 1, 2**32 - 1)
    header = struct.pack("=IHHII", 16 + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(0.2)
        netlink.send(header + request)
        answer = netlink.recv(4096)
    length, kind = struct.unpack_from("=IH", answer, 0)
    if kind == NLMSG_ERROR:
        return 0, 0
    place = 16 + 16  # struct nlmsghdr, struct unix_diag_msg
    while place + 4 <= min(length, len(answer)):
        size, attribute = struct.unpack_from("=HH", answer, place)
        if attribute == UNIX_DIAG_RQLEN:
            waiting, most = struct.unpack_from("=II", answer, place + 4)
            return waiting, most
        place += max(4, (size + 3) & ~3)
    return 0, 0
