"""End this process when the master goes, while it is busy with an import and looks at nothing else.

Outside of imports the generation's own loop and the engine watch the lifeline; nothing else may.
"""

from __future__ import annotations

import os
import select
from _thread import allocate_lock, start_new_thread
from types import TracebackType

EXIT_ORPHANED = 1


class Watch:
    """A thread that lives for the length of a `with` block and ends the process at once if a descriptor hangs up.

    It is made with `_thread`: the app may patch `threading` under it (gevent does), and the thread must be out of the
    way before a fork.
    """

    def __init__(self, *descriptors: int) -> None:
        """Watch `descriptors`; readable data does not count, only their other end's disappearance."""
        self._descriptors = descriptors
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
        awake = {descriptor for descriptor, _ in poller.poll()}
        if wake_read not in awake:
            os._exit(EXIT_ORPHANED)
        os.close(wake_read)
        self._ended.release()
