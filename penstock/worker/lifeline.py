"""End this process when the master goes, while it is busy with an import and looks at nothing else; say so when that
lasts, and when it lasts for too long.

Outside of imports the generation's own loop and the engine watch the lifeline; nothing else may.
"""

from __future__ import annotations

import os
import select
import time
from _thread import allocate_lock, start_new_thread
from collections.abc import Callable
from types import TracebackType

EXIT_ORPHANED = 1
NOTICES_S = (10, 30, 60)
"""When an import that lasts is mentioned; after the last one at each further multiple of it."""


class Watch:
    """A thread that lives for the length of a `with` block and ends the process at once if a descriptor hangs up.

    It is made with `_thread`: the app may patch `threading` under it (gevent does), and the thread must be out of the
    way before a fork.
    """

    def __init__(
        self,
        *descriptors: int,
        notice: Callable[[int], None] = lambda seconds: None,
        limit_s: float | None = None,
        late: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch `descriptors`; readable data does not count, only their other end's disappearance.

        `notice` is called in the thread, with the seconds that have gone by, at the moments of NOTICES_S; `late` once,
        after `limit_s` seconds.
        """
        self._descriptors = descriptors
        self._notice = notice
        self._limit_s = limit_s
        self._late = late
        self._clock = clock
        self._ended = allocate_lock()

    def __enter__(self) -> None:
        """Start to watch."""
        wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC)
        self._ended.acquire()
        start_new_thread(self._run, (wake_read,))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Stop watching; the thread is gone when this returns."""
        # A byte, not a close: a process that the app forked meanwhile may hold the other copy of this descriptor.
        os.write(self._wake_write, b".")
        self._ended.acquire()
        os.close(self._wake_write)

    def _run(self, wake_read: int) -> None:
        poller = select.poll()
        for descriptor in self._descriptors:
            poller.register(descriptor, 0)
        poller.register(wake_read, select.POLLIN)
        began, due_s = self._clock(), NOTICES_S[0]
        limit_s = float("inf") if self._limit_s is None else self._limit_s
        while True:
            patience_s = max(0.0, began + min(due_s, limit_s) - self._clock())
            awake = {descriptor for descriptor, _ in poller.poll(patience_s * 1000)}
            if awake:
                break
            elapsed_s = self._clock() - began
            if elapsed_s >= limit_s:
                limit_s = float("inf")
                self._late()
            elif elapsed_s >= due_s:
                self._notice(due_s)
                due_s = after(due_s)
        if wake_read not in awake:
            os._exit(EXIT_ORPHANED)
        os.close(wake_read)
        self._ended.release()


def after(seconds: int) -> int:
    """Tell which moment comes after one of NOTICES_S.

    >>> [after(10), after(30), after(60), after(120)]
    [30, 60, 120, 180]
    """
    return next((one for one in NOTICES_S if one > seconds), seconds + NOTICES_S[-1])
