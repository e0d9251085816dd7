"""`py-auto-reload`: a worker tells the master which files its modules came from, as they are imported.

Only the worker knows: Django imports most of a project at its first request. The master looks whether they change
(`master/code_watch.py`); it has Penstock's own libraries for that, which the app's interpreter gets none of.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from types import ModuleType

LOOK_S = 0.25
"""How often new modules are looked for: a comparison of two numbers."""
TEXT_LIMIT_BYTES = 30_000
"""Of one message to the master."""


class Modules:
    """The modules of this process, and which of them have been told."""

    def __init__(self, ignored: Collection[str], modules: dict[str, ModuleType] | None = None) -> None:
        """Prepare; modules of the names `ignored` are never told."""
        self._told = set(ignored)
        self._modules = sys.modules if modules is None else modules
        self._count = 0

    def new(self) -> list[str]:
        """Tell the files of modules that are new since the last call: `TIME SIZE PATH`."""
        if len(self._modules) == self._count:
            return []
        lines = []
        found = list(self._modules.items())
        self._count = len(found)
        for name, module in found:
            if name in self._told:
                continue
            self._told.add(name)
            path = getattr(module, "__file__", None)
            if not isinstance(path, str) or "\n" in path:
                continue
            path = os.path.abspath(path)
            try:
                status = os.stat(path)
            except OSError:
                # It never was a file.
                continue
            lines.append(f"{status.st_mtime_ns} {status.st_size} {path}")
        return lines


def messages(lines: list[str]) -> Iterator[str]:
    """Make messages for the master, each of which fits into a datagram."""
    kept: list[str] = []
    size = 0
    for line in lines:
        length = len(line.encode("utf-8", "backslashreplace")) + 1
        if kept and size + length > TEXT_LIMIT_BYTES:
            yield "modules " + "\n".join(kept)
            kept, size = [], 0
        kept.append(line)
        size += length
    if kept:
        yield "modules " + "\n".join(kept)


def watch(ignored: Collection[str], tell: Callable[[str], None]) -> None:
    """Tell the master what has been imported, and start the thread that tells what will be."""
    modules = Modules(ignored)
    for text in messages(modules.new()):
        tell(text)
    never = threading.Event()

    def look() -> None:
        todo: list[str] = []
        while not never.wait(LOOK_S):
            todo += messages(modules.new())
            try:
                while todo:
                    tell(todo[0])
                    del todo[0]
            except BlockingIOError:
                # The master is busy: it is told with the next look.
                continue

    threading.Thread(target=look, daemon=True, name="penstock py-auto-reload").start()
