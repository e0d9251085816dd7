"""Sockets that this process was started with: socket activation and the file-descriptor store of systemd.

sd_listen_fds(3) is the protocol: descriptors from 3 on, how many they are, for whom, and what each is called. What the
plan makes of them is `activation`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping

from penstock.plan.types import InheritedSocket

FIRST_FD = 3
MOST = 1024
"""More descriptors than any service manager passes."""

VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def look(environment: Mapping[str, str] | None = None, first: int = FIRST_FD) -> tuple[InheritedSocket, ...]:
    """Find the descriptors that the environment says are this process's. Nothing is changed."""
    variables = os.environ if environment is None else environment
    count = variables.get("LISTEN_FDS", "")
    if variables.get("LISTEN_PID") != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return ()
    names = variables.get("LISTEN_FDNAMES", "").split(":")
    found = []
    for index in range(min(int(count[:5]), MOST)):
        name = names[index] if index < len(names) else ""
        found.append(describe(first + index, name))
    return tuple(found)


def forget(environment: MutableMapping[str, str] | None = None) -> None:
    """Take away the variables, which no child may believe."""
    variables = os.environ if environment is None else environment
    for name in VARIABLES:
        variables.pop(name, None)


def describe(fd: int, name: str) -> InheritedSocket:
    """Say what a descriptor is; `family` is empty for all that no server can accept on."""
    try:
        with socket.socket(fileno=os.dup(fd)) as found:
            is_stream = found.type == socket.SOCK_STREAM
            if not is_stream or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return InheritedSocket(fd, name)
            address = found.getsockname()
            if found.family == socket.AF_UNIX:
                return _unix(fd, name, address)
            if found.family == socket.AF_INET:
                return InheritedSocket(fd, name, "inet", address[0], address[1])
            if found.family == socket.AF_INET6:
                both = not found.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
                return InheritedSocket(fd, name, "inet6", address[0], address[1], takes_ipv4=both)
    except OSError:
        pass  # It is closed, or no socket.
    return InheritedSocket(fd, name)


def _unix(fd: int, name: str, address: str | bytes) -> InheritedSocket:
    if isinstance(address, bytes) or address.startswith("\0"):
        text = os.fsdecode(address)[1:]
        return InheritedSocket(fd, name, "abstract", text) if text else InheritedSocket(fd, name)
    return InheritedSocket(fd, name, "unix", address) if address else InheritedSocket(fd, name)
