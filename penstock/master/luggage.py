"""What goes over an upgrade beside the JSON: descriptors under their numbers, and the objects made of them again."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from penstock.master.sockets import BoundListener
from penstock.plan.types import ListenerPlan, from_json_value, to_json_value


class HandoverError(Exception):
    """A state can not be taken over, or not be handed over: why."""


class Luggage:
    """The descriptors that go over."""

    def __init__(self) -> None:
        self.fds: set[int] = set()

    def take(self, fd: int) -> int:
        """Let a descriptor go over; returns it."""
        if fd >= 0:
            self.fds.add(fd)
        return fd

    def take_listener(self, one: BoundListener) -> dict[str, Any]:
        """Pack a listening socket."""
        plan = to_json_value(one.plan)
        return {"fd": self.take(one.fd), "plan": plan, "name": one.name, "inode": one.inode, "keeper": one.keeper}


class Unpacked:
    """What came over, each descriptor as one object however often it is named."""

    def __init__(self) -> None:
        self._sockets: dict[int, socket.socket] = {}

    def socket(self, fd: int) -> socket.socket:
        """Take a socket."""
        if fd not in self._sockets:
            self._sockets[fd] = socket.socket(fileno=fd)
            self._sockets[fd].setblocking(False)
        return self._sockets[fd]

    def let_go(self) -> None:
        """Leave every descriptor open, to somebody else: an object that closed its own later might hit another's."""
        for one in self._sockets.values():
            one.detach()

    def listener(self, packed: Mapping[str, Any]) -> BoundListener:
        """Take a listening socket."""
        plan = from_json_value(ListenerPlan, packed["plan"])
        inode = tuple(packed["inode"]) if packed["inode"] is not None else None
        return BoundListener(plan, self.socket(packed["fd"]), packed["name"], inode, packed["keeper"])
