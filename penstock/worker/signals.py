"""The signals that a generation and its workers take no notice of.

They are controlled through descriptors only; Ctrl-C and init systems reach the whole process group with signals that
are meant for the master. Three ways to ignore a signal were weighed:

- SIG_IGN is inherited across exec: a program that the app starts could not be terminated.
- A Python handler that does nothing runs on the alternate stack that faulthandler sets up, which a handful of signals
  at the same moment overflow: the process dies of SIGSEGV.
- A C function that does nothing has neither fault, and a system call that it interrupts goes on. This is what is done.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

TAKEN = (
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGTERM,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGTSTP,
)
STACK_DUMP = signal.SIGRTMIN + 1
"""Asks a worker for the Python stacks of all its threads."""

STUCK_DUMP = signal.SIGRTMIN + 2
"""Makes a worker write the same to its engine, which asks for them by itself."""
INTERRUPT = signal.SIGRTMIN + 3
"""Makes the main thread of a worker ask the engine whether its request is to be interrupted."""

_seen: dict[int, Any] = {}
"""Python's own idea of each handler, which a handler set in C leaves as it was."""


def ignore() -> list[str]:
    """Take no notice of the signals from now on; return the names of those that got a handler since the last call.

    Called before the app is imported, and again after it: an app that installs a handler for SIGTERM must not end a
    worker when an init system signals every process of the service.
    """
    replaced = []
    for number in TAKEN:
        now = signal.getsignal(number)
        if _seen.setdefault(number, now) != now:
            replaced.append(number.name)
            _seen[number] = now
        _install(number)
    return replaced


def restore() -> None:
    """Give this process the handlers that every program of Python begins with."""
    for number in TAKEN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def leave_to_app(number: int) -> None:
    """Let the app's own handler of a signal count, if it has one (`harakiri-graceful-signal`)."""
    handler = signal.getsignal(number)
    if callable(handler) and handler is not signal.default_int_handler:
        signal.signal(number, handler)
    elif handler is not signal.SIG_IGN:
        _install(number)


def on_interrupt(handler: Callable[[int, FrameType | None], None]) -> None:
    """Set the Python function that INTERRUPT calls in the main thread."""
    signal.signal(INTERRUPT, handler)


def _make_installer() -> Callable[[int], object]:
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    libc.signal.restype = ctypes.c_void_p
    # Of what may be called in a signal handler, getpid does the least. glibc and musl set SA_RESTART.
    nothing = ctypes.cast(libc.getpid, ctypes.c_void_p)
    return lambda number: libc.signal(number, nothing)


_install = _make_installer()


class AppForks:
    """Gives each process that the app forks what every process starts with: its signals, and none of our descriptors.

    The signals are held back around the fork: one that comes before the child has its own handlers would be lost.
    """

    def __init__(self, let_go: Callable[[], None]) -> None:
        """Begin; `let_go` is called in each child of the app's."""
        self.let_go = let_go
        self._is_ours = False
        # Once for the generation and all its workers: what is registered can not be taken back.
        os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=self._in_child)

    def fork_worker(self) -> int:
        """Fork a process of Penstock's own, which goes on taking no notice of signals."""
        self._is_ours = True
        try:
            return os.fork()
        finally:
            self._is_ours = False

    def _in_child(self) -> None:
        if not self._is_ours:
            restore()
            self.let_go()
        _release()


def _hold() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, TAKEN)


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TAKEN)
