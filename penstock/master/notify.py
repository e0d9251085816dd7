"""systemd's notification protocol (sd_notify(3)): who started the instance is told how it is.

A supervisor that can not be reached changes nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from typing import Literal

MASTERS_OWN = ("WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class Supervisor:
    """The socket that `NOTIFY_SOCKET` names, if it does."""

    def __init__(self, address: str = "") -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def take(cls, environment: MutableMapping[str, str] | None = None) -> Supervisor:
        """Read the address and remove it, with all that systemd means for the master: no child may speak for it."""
        variables = os.environ if environment is None else environment
        for name in MASTERS_OWN:
            variables.pop(name, None)
        return cls(variables.pop("NOTIFY_SOCKET", ""))

    def tell(self, state: Literal["ready", "reloading", "stopping", "status"], status: str) -> None:
        """Report a state with one line for `systemctl status`."""
        if not self._address:
            return
        lines = {
            "ready": ["READY=1", f"MAINPID={os.getpid()}"],
            "reloading": ["RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"],
            "stopping": ["STOPPING=1"],
            "status": [],
        }[state]
        lines.append("STATUS=" + status.replace("\n", " "))
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError:
            return
