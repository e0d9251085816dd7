"""When to look at the files of the code (`py-auto-reload`): on a notification of the kernel, else when it is time.

The notifications come by `watchfiles`, which is imported here and only here: where it is not installed, and for folders
on file systems that notify nobody, the clock tells, as in uWSGI. It all happens in a thread of its own, because a look
at thousands of files on a shared folder takes a while; the loop is told by a descriptor.
"""

from __future__ import annotations

import importlib
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from penstock.master.code_files import FAILED, MOUNTS, Change, CodeFiles, is_shared, mounts_of

STEP_MS = 50
"""Changes that come within so much of each other are one."""
REST_S = 30.0
"""How often files are looked at without any notification: a flood of them makes the kernel forget some."""


class CodeWatch:
    """The thread, and what it has found."""

    def __init__(self, interval_s: float, say: Callable[[str], None], mounts: Path = MOUNTS) -> None:
        """Begin. `interval_s`: how often to look where nothing notifies, and how long changes are collected at most."""
        self._mounts = mounts
        self._interval_s = interval_s
        self._say = say
        self._files = CodeFiles(grace_s=interval_s)
        self._told: queue.SimpleQueue[Callable[[CodeFiles], None]] = queue.SimpleQueue()
        self._found: deque[Change] = deque()
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._wake = threading.Event()
        self._is_closed = False
        self._watch: Callable[[], None] = self._by_clock
        self._thread = threading.Thread(target=self._run, name="penstock-code", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return the descriptor that is readable when something has changed."""
        return self._event

    def read(self) -> list[Change]:
        """Take what has changed."""
        try:
            os.eventfd_read(self._event)
        except BlockingIOError:
            return []
        found = []
        while self._found:
            found.append(self._found.popleft())
        return found

    def serves(self, interval_s: float) -> None:
        """Go on as new code wants it, which has loaded: what other code came by is of no concern any more."""
        self._interval_s = interval_s
        self.forget(FAILED)

    def tell(self, generation: int, text: str) -> None:
        """Take what a worker says of its modules."""
        self._later(lambda files: files.tell(generation, text.split("\n")))

    def tell_failed(self, traceback: str) -> None:
        """Watch the files of a traceback."""
        self._later(lambda files: files.tell_failed(traceback))

    def forget(self, generation: int) -> None:
        """Drop the files of a generation."""
        self._later(lambda files: files.forget(generation))

    def close(self) -> None:
        """End the thread, and give the descriptor back."""
        self._is_closed = True
        self._wake.set()
        self._thread.join()
        os.close(self._event)

    def _later(self, action: Callable[[CodeFiles], None]) -> None:
        self._told.put(action)
        self._wake.set()

    # --- in the thread

    def _run(self) -> None:
        try:
            importlib.import_module("watchfiles")
            self._watch = self._by_notification
            how = f"changes are seen at once where the kernel tells of them, else every {self._interval_s:g} s"
        except ImportError as error:
            missing = getattr(error, "name", "") == "watchfiles"
            cure = "pip install watchfiles" if missing else f"watchfiles can not be imported: {error}"
            how = f"its files are looked at every {self._interval_s:g} s (to see changes at once: {cure})"
        self._say(f"py-auto-reload: {how}")
        while not self._is_closed:
            self._hear()
            self._watch()

    def _hear(self) -> None:
        """Take what was told meanwhile."""
        self._wake.clear()
        while not self._told.empty():
            self._told.get()(self._files)

    def _look(self) -> None:
        found = self._files.changed(time.monotonic())
        if found:
            self._found.extend(found)
            os.eventfd_write(self._event, 1)

    def _by_clock(self) -> None:
        """Look until somebody tells something."""
        self._look()
        while not self._wake.wait(self._interval_s):
            self._look()

    def _by_notification(self) -> None:
        """Wait for notifications, and look, until there are other folders to be told of."""
        from watchfiles import watch

        interval_s, folders, mounts = self._interval_s, self._files.folders, mounts_of(self._mounts)
        there = [one for one in folders if os.path.isdir(one)]
        notifying = [one for one in there if not is_shared(one, mounts)]
        if not notifying:
            self._by_clock()
            return
        rest_s = interval_s if len(notifying) < len(there) else REST_S
        last = 0.0

        def is_over() -> bool:
            """Be asked every STEP_MS, from the moment on in which every folder is watched."""
            nonlocal last
            if not last:
                # What has changed before that was notified to nobody.
                last = time.monotonic()
                self._look()
            if self._wake.is_set():
                self._hear()
            return self._is_closed or self._interval_s != interval_s or self._files.folders != folders

        try:
            for changes in watch(
                *notifying,
                watch_filter=None,
                debounce=max(STEP_MS, int(interval_s * 1000)),
                step=STEP_MS,
                stop_event=_Asked(is_over),
                rust_timeout=int(interval_s * 1000),
                yield_on_timeout=True,
                poll_delay_ms=int(interval_s * 1000),
                recursive=False,
                ignore_permission_denied=True,
                raise_interrupt=False,
            ):
                now = time.monotonic()
                if changes or self._files.waits or now - last >= rest_s:
                    last = now
                    self._look()
        except FileNotFoundError:
            # A folder has gone just now.
            return
        except Exception as error:
            # Too many watches for this machine, or none at all.
            self._say(f"py-auto-reload: its files are looked at every {self._interval_s:g} s from now on: {error}")
            self._watch = self._by_clock


class _Asked:
    """Asks a function whether `watch` shall end."""

    def __init__(self, is_over: Callable[[], bool]) -> None:
        self.is_set = is_over
