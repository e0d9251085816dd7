"""`py-auto-reload`: a worker looks at the files of its modules, and tells the master when one of them has changed.

In the worker, because only it knows what has been imported: Django imports most of a project at its first request. For
development: looking at a thousand files takes a few milliseconds each time.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Collection
from types import ModuleType


class CodeWatch:
    """The files of this process's modules, and when they were changed."""

    def __init__(self, ignored: Collection[str], modules: dict[str, ModuleType] | None = None) -> None:
        """Begin with what is imported now, without the modules of these names."""
        self._ignored = frozenset(ignored)
        self._modules = sys.modules if modules is None else modules
        self._seen: dict[str, int] = {}
        self.changed()

    def changed(self) -> list[tuple[str, int]]:
        """Tell the files that have changed since the last call, with the time of the change in nanoseconds."""
        found = []
        for name, module in list(self._modules.items()):
            path = getattr(module, "__file__", None)
            if not isinstance(path, str) or name in self._ignored:
                continue
            try:
                time_ns = os.stat(path).st_mtime_ns
            except OSError:
                # It is being written anew, or was never a file: the next look tells.
                continue
            if self._seen.setdefault(path, time_ns) != time_ns:
                self._seen[path] = time_ns
                found.append((path, time_ns))
        return found


def watch(interval_s: float, ignored: Collection[str], tell: Callable[[str], None]) -> None:
    """Start the thread that looks every `interval_s` seconds and tells what it finds in words for the master."""
    files = CodeWatch(ignored)
    never = threading.Event()

    def look() -> None:
        while not never.wait(interval_s):
            for path, time_ns in files.changed():
                tell(f"code {time_ns} {path}")

    threading.Thread(target=look, daemon=True, name="penstock py-auto-reload").start()
