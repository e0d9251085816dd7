"""Listening sockets that outlive the instance, in the file-descriptor store of systemd.

With `FileDescriptorStoreMax=` systemd keeps a copy of each, under a name made of its address, and passes it to the next
start, so that nobody is refused between a stop and a start. What a socket unit has made is kept by that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from penstock.master.notify import Supervisor
from penstock.master.sockets import BoundListener
from penstock.plan.activation import SALVAGED, STORED_PREFIX
from penstock.plan.types import InheritedSocket
from penstock.values import replace

LONGEST_NAME = 255
"""sd_pid_notify_with_fds(3); also no control characters and no colon."""


def stored_name(listener: BoundListener) -> str:
    """Make the name that a socket is stored under."""
    safe = "".join(c if c.isascii() and c.isprintable() and c not in ":%" else f"%{ord(c):x}" for c in listener.name)
    return f"{STORED_PREFIX}{safe}"[:LONGEST_NAME]


def keep(supervisor: Supervisor, listeners: Iterable[BoundListener]) -> tuple[BoundListener, ...]:
    """Store the sockets that nobody keeps yet."""
    if not supervisor.keeps_descriptors:
        return tuple(listeners)
    kept = []
    for one in listeners:
        if not one.keeper:
            supervisor.keep(one.fd, stored_name(one))
            one = replace(one, keeper="store")
        kept.append(one)
    return tuple(kept)


def give_up(supervisor: Supervisor, listener: BoundListener) -> None:
    """Let a socket go for good. Nothing happens to one that is not stored."""
    if listener.keeper == "store":
        inherited = listener.plan.inherited
        supervisor.forget(inherited.name if inherited is not None else stored_name(listener))


def close_unused(supervisor: Supervisor, unused: Iterable[InheritedSocket]) -> list[str]:
    """Close what was passed and is not used, with what of it was stored; say so, for the log."""
    lines = []
    for one in unused:
        if one.name.startswith(STORED_PREFIX) and not one.name.startswith(SALVAGED):
            supervisor.forget(one.name)
        lines.append(f"descriptor {one.fd} ({one.name or 'no name'}), passed at the start, is not used and closed")
        _close(one.fd)
    return lines


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        return  # It was announced, and not passed.
