"""uWSGI's signals between workers: `uwsgi.register_signal`, `uwsgi.signal`.

A signal is one byte in a socket that all workers of the generation hold: one socket for whichever worker is free first,
and one for each worker. They are made when the app registers its first handler before the fork; a handler that is
registered in a worker hears what that worker raises. A worker with handlers has a thread that runs them one after the
other, beside the requests (in uWSGI: between requests).
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import traceback
from collections.abc import Callable
from operator import index
from typing import Any

from penstock.worker.server_log import say

Handler = Callable[[int], Any]

ANY = ("", "worker", "worker0")
EACH = ("workers", "active-workers")
NUMBERS = 256


class Ends:
    """Where the signals for one receiver come from, and go to."""

    def __init__(self) -> None:
        self.receive, self.send = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.receive.setblocking(False)
        self.send.setblocking(False)

    def put(self, number: int) -> None:
        """Send a signal. One that finds the queue full is lost, as in uWSGI, and the log says so."""
        try:
            self.send.send(bytes([number]))
        except BlockingIOError:
            say(f"*** SIGNAL QUEUE IS FULL: signal {number} is lost ***")


class Signals:
    """The handlers of this process, and the ways to all workers."""

    def __init__(self, processes: int, tell: Callable[[str], None]) -> None:
        """Begin in a generation that will have so many workers; `tell` says what does not work."""
        self._processes = processes
        self._tell = tell
        self._worker = 0
        self._handlers: dict[int, tuple[str, Handler]] = {}
        self._free: Ends | None = None
        self._each: dict[int, Ends] = {}
        self._thread: threading.Thread | None = None

    def enter_worker(self, worker: int) -> None:
        """From here on this process is that worker, and handles what is for it."""
        self._worker = worker
        if self._handlers:
            self._listen()

    def register_signal(self, number: int, target: str, handler: Handler) -> None:
        """Let `handler` be called with the number of each such signal, in the workers that `target` names."""
        if not isinstance(target, str):
            raise TypeError(f"register_signal() argument 2 must be str, not {type(target).__name__}")
        number = index(number) % NUMBERS
        if target not in ANY and target not in EACH and self._number_of(target) is None:
            self._tell(
                f"uwsgi.register_signal({number}, {target!r}, {_name(handler)}): the handler will not run: signals "
                "go to workers here, there are no mules, farms and spoolers yet. Use the target worker or workers"
            )
            return
        self._handlers[number] = target, handler
        self._connect()
        if self._worker:
            self._listen()

    def signal_registered(self, number: int) -> bool | None:
        """Return True if this process knows a handler, else None."""
        return True if index(number) % NUMBERS in self._handlers else None

    def signal(self, number: int, remote: str | None = None) -> None:
        """Raise a signal; nobody hears of one without a handler."""
        number = index(number) % NUMBERS
        if remote:
            raise ValueError("uwsgi.signal: other instances can not be reached; use HTTP, or a message queue")
        if number not in self._handlers:
            say(f"error managing signal {number} on worker {self._worker}: it has no handler")
            return
        target = self._handlers[number][0]
        only = self._number_of(target)
        if only is not None:
            ends = [self._each[only]] if only in self._each else []
        elif target in EACH:
            ends = list(self._each.values())
        else:
            ends = [self._free] if self._free is not None else []
        for one in ends:
            one.put(number)

    def _number_of(self, target: str) -> int | None:
        """The worker of the target `workerN`, if there is one."""
        digits = target.removeprefix("worker")
        is_number = target.startswith("worker") and digits.isascii() and digits.isdigit()
        return int(digits) if is_number and 1 <= int(digits) <= self._processes else None

    def _connect(self) -> None:
        """Make the sockets: before the fork those of all workers, in a worker its own."""
        if self._free is None:
            self._free = Ends()
            wanted = [self._worker] if self._worker else range(1, self._processes + 1)
            self._each = {worker: Ends() for worker in wanted}

    def _listen(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name="uWSGISignals")
            self._thread.start()

    def _run(self) -> None:
        own = self._each.get(self._worker)
        receivers = [ends.receive for ends in (self._free, own) if ends is not None]
        while True:
            ready, _, _ = select.select(receivers, [], [])
            for receiver in ready:
                # Another worker may have been the first to take it.
                with contextlib.suppress(BlockingIOError):
                    self._handle(receiver.recv(1)[0])

    def _handle(self, number: int) -> None:
        try:
            self._handlers[number][1](number)
        except Exception:
            # Also for a handler that only another worker has registered.
            say(f"error managing signal {number} on worker {self._worker}\n{traceback.format_exc()}")


def _name(function: object) -> str:
    return str(getattr(function, "__qualname__", None) or repr(function))
