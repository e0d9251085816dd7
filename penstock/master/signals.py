"""Signals as readable bytes: the master's handlers do nothing, and a pipe tells the loop which signal came.

Every signal that would end or stop a process by default is taken, so that none of them can hurt an instance.
"""

from __future__ import annotations

import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

IGNORED = (signal.SIGPIPE, signal.SIGTTOU)
"""Ignored by the kernel and not logged: writing the line about one of these could raise the next one. (A write to a
terminal from the background would be repeated for ever if SIGTTOU had a handler.)"""

NAMED = tuple(
    getattr(signal, name)
    for name in (
        *("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGTSTP", "SIGTTIN", "SIGCHLD"),
        *("SIGWINCH", "SIGURG", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR", "SIGSTKFLT", "SIGXCPU"),
    )
    if hasattr(signal, name)
)


def taken() -> tuple[int, ...]:
    """List the signals that become bytes: the named ones and every real-time signal."""
    return (*(int(number) for number in NAMED), *range(signal.SIGRTMIN, signal.SIGRTMAX + 1))


def name_of(number: int) -> str:
    """Name a signal as `kill -l` does."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if number > signal.SIGRTMIN else f"signal {number}"


def _nothing(number: int, frame: FrameType | None) -> None:
    """Be a handler, so that Python writes the signal's number to the wake-up socket."""


def hold_back() -> None:
    """Let no signal that asks for a stop end this process: it ends by itself, with a status of its own."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP))


class SignalReader:
    """The signals of this process for the length of a `with` block. Only in the main thread."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._before: dict[int, Any] = {}
        self._fd_before = -1

    def __enter__(self) -> SignalReader:
        # Lost bytes are no loss: when the socket is full, an equal signal is in it already or the end is near.
        self._fd_before = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        for number in taken():
            self._before[number] = signal.signal(number, _nothing)
        for number in IGNORED:
            self._before[number] = signal.signal(number, signal.SIG_IGN)
        # A parent may have left a mask behind: an ignored SIGTERM is how containers take ten seconds to stop.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(self._fd_before)
        self._receiver.close()
        self._sender.close()

    def register(self, selector: selectors.BaseSelector, take: Callable[[list[int]], None]) -> None:
        """Let `selector` call `take` with the numbers of signals that have come."""
        selector.register(self._receiver, selectors.EVENT_READ, lambda events: take(self.read()))

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Let no signal come meanwhile: it waits, also for a program that is executed in place of this one."""
        before = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def read(self) -> list[int]:
        """Take the signals that have come, in their order."""
        try:
            return list(self._receiver.recv(4096))
        except BlockingIOError:
            return []
