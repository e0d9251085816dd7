"""systemd's side of an instance: sd_notify(3), the watchdog (sd_watchdog_enabled(3)) and the file-descriptor store.

Whoever started the instance is told how it is, at a datagram socket that `NOTIFY_SOCKET` names. A supervisor that can
not be reached changes nothing; one that is slow is told later, in the same order.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, MutableMapping

from penstock.master.actions import SupervisorState
from penstock.values import dataclass

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE")
"""What systemd tells the master this way, and nobody else."""

RETRY_S = 0.1
"""How soon a supervisor that had no room is told again."""

MOST_WAITING = 100
"""Messages that are kept for a supervisor that does not read; the oldest is lost first."""

EXTENSION_S = 20.0
"""How much longer a start may take each time that systemd is told that it goes on."""

LOOKS = 10
"""How often it is seen whether an instance that is not well has got well, in the time between two signs of life."""

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Told:
    """What the environment said about the supervisor."""

    address: str = ""
    """Of the socket: a path, or `@name` for an abstract one; empty: nobody listens."""
    watchdog_s: float = 0.0
    """The longest silence; 0 for no limit."""
    store: int = 0
    """How many descriptors are kept for the instance over its end."""

    @classmethod
    def take(cls, environment: MutableMapping[str, str] | None = None) -> Told:
        """Read what is meant for this process, and remove it: no child may speak for the master."""
        variables = os.environ if environment is None else environment
        address, watchdog, watched, store = (variables.pop(name, "") for name in VARIABLES)
        is_meant = not watched or watched == str(os.getpid())
        return cls(
            address if address[:1] in ("/", "@") else "",
            _number(watchdog) / MILLION if is_meant else 0.0,
            _number(store) if address else 0,
        )

    def variables(self) -> dict[str, str]:
        """Write it as `take` reads it."""
        found = {"NOTIFY_SOCKET": self.address, "WATCHDOG_USEC": str(int(self.watchdog_s * MILLION))}
        return {**found, "FDSTORE": str(self.store)} if self.address else {}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


class Supervisor:
    """Who started the instance, if it wants to know."""

    def __init__(self, told: Told | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.told = told or Told()
        address = self.told.address
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._clock = clock
        self._waiting: deque[tuple[bytes, int]] = deque()
        """Messages that found no room, each with a descriptor, or -1."""
        self._retry_at = 0.0
        # Twice in its time, as sd_watchdog_enabled(3) advises.
        self._interval_s = self.told.watchdog_s / 2
        # At once: the program before an upgrade may have said so long ago.
        self._alive_at = clock()

    def tell(
        self,
        state: SupervisorState,
        status: str,
        *,
        number: int | None = None,
        exit_status: int | None = None,
    ) -> None:
        """Report a state with one line for `systemctl status`; `number` is an errno."""
        lines = {
            "ready": ["READY=1", f"MAINPID={os.getpid()}"],
            # Of this moment: systemd waits for a reload that began after it has asked for one.
            "reloading": ["RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"],
            "stopping": ["STOPPING=1"],
            "importing": [f"EXTEND_TIMEOUT_USEC={int(EXTENSION_S * MILLION)}"],
            "status": [],
        }[state]
        lines = [*lines, "STATUS=" + status.replace("\n", " ")]
        lines += [f"ERRNO={number}"] if number else []
        lines += [f"EXIT_STATUS={exit_status}"] if exit_status else []
        self._say(lines)

    # --- the file-descriptor store

    @property
    def keeps_descriptors(self) -> bool:
        """Whether descriptors can be given to it, to be had again by the next start."""
        return self.told.store > 0

    def keep(self, fd: int, name: str) -> None:
        """Let it keep a copy of a listening socket."""
        # It would drop a socket as soon as that has an error, and a listener may have one.
        self._say(["FDSTORE=1", f"FDNAME={name}", "FDPOLL=0"], fd)

    def forget(self, name: str) -> None:
        """Let it close what it keeps under a name."""
        self._say(["FDSTOREREMOVE=1", f"FDNAME={name}"])

    # --- time

    def next_deadline(self) -> float | None:
        """Tell when `expire` should be called next."""
        wanted = [self._retry_at] if self._waiting else []
        wanted += [self._alive_at] if self._interval_s else []
        return min(wanted, default=None)

    def expire(self, is_healthy: bool) -> None:
        """Say again what found no room, and that the instance is alive if it `is_healthy`."""
        now = self._clock()
        if self._waiting and now >= self._retry_at:
            self._flush()
        if self._interval_s and now >= self._alive_at:
            # A moment without workers, while one is replaced that has crashed, must not cost half of its time.
            self._alive_at = now + (self._interval_s if is_healthy else self._interval_s / LOOKS)
            if is_healthy:
                self._say(["WATCHDOG=1"])

    def close(self) -> None:
        """Say what is still waiting, if there is room by now."""
        self._flush()
        while self._waiting:
            self._lose_first()

    # --- one message

    def _say(self, lines: list[str], fd: int = -1) -> None:
        if not self._address:
            return
        self._waiting.append(("\n".join(lines).encode("utf-8", "replace"), os.dup(fd) if fd >= 0 else -1))
        if len(self._waiting) > MOST_WAITING:
            self._lose_first()
        self._flush()

    def _flush(self) -> None:
        while self._waiting:
            data, fd = self._waiting[0]
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                    # Not `send_fds`, which takes an address and leaves it out.
                    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("@i", fd))] if fd >= 0 else []
                    sender.sendmsg([data], rights, 0, self._address)
            except BlockingIOError:
                self._retry_at = self._clock() + RETRY_S
                return
            except OSError:
                pass  # Nobody listens there: nobody can be told.
            self._lose_first()

    def _lose_first(self) -> None:
        _, fd = self._waiting.popleft()
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)
