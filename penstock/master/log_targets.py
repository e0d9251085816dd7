"""Where lines that pass through the master end: files, descriptors, syslog, sockets.

No target ever waits. What one does not take now is kept up to a limit; what is past it is dropped, counted, and told by
the target itself as soon as it takes lines again.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from penstock.master.errors import StartError
from penstock.plan.types import LoggerPlan

KEEP_BYTES = 1 << 20
PIECE_BYTES = 4096
"""What a pipe takes whole (PIPE_BUF, pipe(7)) and, once poll says that it is writable, without waiting."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Target(Protocol):
    """What a logger writes to."""

    def send(self, message: bytes) -> None:
        """Take a message, whatever becomes of it."""

    def flush(self) -> bool:
        """Write what is kept as far as that is possible now; tell whether nothing is kept any more."""

    def close(self) -> None:
        """Give back what it has."""


class Kept:
    """Messages that wait for a target, and how many did not find room."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        """`write` takes a whole message or raises OSError: BlockingIOError if it shall be tried again."""
        self._write = write
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._lost = 0
        self._why = ""

    def send(self, message: bytes) -> None:
        """Write a message, or keep it, or count it as lost."""
        if not self.flush():
            self._keep(message)
            return
        try:
            self._write(message)
        except BlockingIOError:
            self._keep(message)
        except OSError as error:
            self._lose(error.strerror or str(error))

    def flush(self) -> bool:
        """Write what is kept, in its order."""
        while self._messages:
            try:
                self._write(self._messages[0])
            except BlockingIOError:
                return False
            except OSError as error:
                self._lose(error.strerror or str(error))
            self._bytes -= len(self._messages.popleft())
        if self._lost:
            return self._tell()
        return True

    def _keep(self, message: bytes) -> None:
        if self._bytes + len(message) > KEEP_BYTES:
            self._lose("its reader does not keep up")
            return
        self._messages.append(message)
        self._bytes += len(message)

    def _lose(self, why: str) -> None:
        self._lost += 1
        self._why = why

    def _tell(self) -> bool:
        """Tell how much was lost; True if that could be written, or if it is as vain as the rest."""
        try:
            self._write(f"{self._lost} log lines were lost: {self._why}\n".encode())
        except BlockingIOError:
            return False
        except OSError:
            return True
        self._lost = 0
        return True


class StreamTarget:
    """A file, a pipe or a terminal: each message is a line of it."""

    def __init__(self, fd: int, is_own: bool = False) -> None:
        """Write to `fd`; with `is_own` close it in the end."""
        self._fd = fd
        self._is_own = is_own
        self._kept = Kept(self._write)
        self._part = b""
        """The rest of a message that was taken in part."""

    def send(self, message: bytes) -> None:
        """Write a line."""
        self._kept.send(message if message.endswith(b"\n") else message + b"\n")

    def flush(self) -> bool:
        """Write what is kept."""
        return self._kept.flush()

    def close(self) -> None:
        """Close what is its own."""
        if self._is_own:
            os.close(self._fd)

    def _write(self, message: bytes) -> None:
        rest = self._part or message
        while rest:
            # The descriptor is shared with who started the instance, so that it must not become non-blocking.
            if not select.select((), (self._fd,), (), 0)[1]:
                self._part = rest if rest is not message else b""
                raise BlockingIOError
            try:
                rest = rest[os.write(self._fd, rest[:PIECE_BYTES]) :]
            except OSError:
                self._part = b""
                raise
        self._part = b""


class DatagramTarget:
    """A receiver of datagrams, each of which is a message."""

    def __init__(self, plan: LoggerPlan, address: str | tuple[str, int], family: int) -> None:
        self._plan = plan
        self._address = address
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._kept = Kept(self._write)

    @classmethod
    def open(cls, plan: LoggerPlan) -> DatagramTarget:
        """Find the receiver. It need not be there yet.

        Raises:
            StartError: the host has no address.
        """
        if plan.path:
            return cls(plan, plan.path, socket.AF_UNIX)
        try:
            family, _, _, _, address = socket.getaddrinfo(plan.host, plan.port, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            raise StartError(
                f"{plan.origin}: {plan.host}, which lines are to be sent to, can not be found: {error}"
            ) from error
        return cls(plan, (str(address[0]), int(address[1])), family)

    def send(self, message: bytes) -> None:
        """Send a message as the receiver expects it."""
        if self._plan.kind == "socket":
            self._kept.send(self._plan.prefix.encode() + message)
            return
        now = time.localtime()
        # RFC 3164 section 4.1.2: English month, day padded with a space.
        stamp = f"{MONTHS[now.tm_mon - 1]} {now.tm_mday:2} {now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02}"
        head = f"<{self._plan.priority}>{stamp} {self._plan.ident}: ".encode()
        self._kept.send(head + message.rstrip(b"\n"))

    def flush(self) -> bool:
        """Send what is kept."""
        return self._kept.flush()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _write(self, message: bytes) -> None:
        with contextlib.suppress(ConnectionRefusedError):
            self._socket.sendto(message, self._address)
            return
        # An earlier datagram found nobody, which the kernel tells at the next one.
        self._socket.sendto(message, self._address)
