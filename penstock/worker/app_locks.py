"""`uwsgi.lock` and its like: locks that the app's threads share with those of all other workers.

A lock is one byte of a memfd of the master's, so that it is the same one in an old and a new generation, and is locked
by the kernel (fcntl(2), open file description locks): whatever ends its holder, kill -9 too, unlocks it, and nobody has
to notice. The kernel's lock belongs to the process, so that its threads agree among themselves first. Weighed against a
robust mutex in shared memory: that is faster where nobody waits, and needs somebody to notice that its holder died.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import threading
from operator import index

FLOCK = struct.Struct("hhqqi")
"""struct flock: type, whence, start, length, pid."""


class Locks:
    """The locks of an instance as this process sees them."""

    def __init__(self, memory_fd: int, count: int) -> None:
        """Know the locks 0 to `count` - 1, of which there is one byte each behind `memory_fd`."""
        self._memory_fd = memory_fd
        self._count = count
        self._threads: tuple[threading.Lock, ...] = ()
        self._held: set[int] = set()
        """Those that a thread of this process has of the kernel."""
        self._fd = -1
        """Opened by this process: one that it had inherited would lock for its parent too."""
        self._pid = 0
        self._opening = threading.Lock()

    def lock(self, number: int = 0) -> None:
        """Wait until the lock is free, and hold it. It is not re-entrant. Raises ValueError for a number too high."""
        place = self._place(number)
        self._threads[place].acquire()
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLKW, _byte(fcntl.F_WRLCK, place))
            self._held.add(place)
        except BaseException:
            # Whatever interrupts a request (`harakiri`) may do so when the kernel has given the lock already.
            self._held.discard(place)
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _byte(fcntl.F_UNLCK, place))
            self._threads[place].release()
            raise

    def unlock(self, number: int = 0) -> None:
        """Let go of the lock. One that this process does not hold stays as it is."""
        place = self._place(number)
        if place in self._held:
            self._held.discard(place)
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _byte(fcntl.F_UNLCK, place))
            self._threads[place].release()

    def is_locked(self, number: int = 0) -> bool:
        """Whether anybody holds it."""
        place = self._place(number)
        if self._threads[place].locked():
            return True
        found = FLOCK.unpack(fcntl.fcntl(self._fd, fcntl.F_OFD_GETLK, _byte(fcntl.F_WRLCK, place)))
        return bool(found[0] != fcntl.F_UNLCK)

    def forget(self) -> None:
        """In a process that was just forked: the locks of its parent are not its own."""
        if self._fd >= 0:
            # An open descriptor would keep what the parent holds, should that be killed. It may be closed already, by a
            # library that makes a daemon of this process.
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1
        self._opening = threading.Lock()

    def _place(self, number: int) -> int:
        place = index(number)
        if not 0 <= place < self._count:
            raise ValueError("Invalid lock number")
        if self._fd < 0 or self._pid != os.getpid():
            with self._opening:
                # Another thread may have done it meanwhile, and hold a lock already.
                if self._fd < 0 or self._pid != os.getpid():
                    self._open()
        return place

    def _open(self) -> None:
        try:
            opened = os.open(f"/proc/self/fd/{self._memory_fd}", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENOENT:
                error.add_note("uwsgi.lock needs /proc: mount it in this container or chroot")
            raise
        self._threads = tuple(threading.Lock() for _ in range(self._count))
        self._held = set()
        # Last, what others look at.
        self._fd = opened
        self._pid = os.getpid()


def _byte(kind: int, place: int) -> bytes:
    return FLOCK.pack(kind, os.SEEK_SET, place, 1, 0)
