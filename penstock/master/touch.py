"""Files whose touching asks for a reload, looked at once a second as uWSGI does.

Appearing, disappearing and a modification time that goes back count too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

INTERVAL_S = 1.0


class TouchWatch:
    """The files of `touch-reload`."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._seen = {path: _look(path) for path in paths}

    def __bool__(self) -> bool:
        """Whether there is anything to watch."""
        return bool(self._seen)

    def watch(self, paths: Iterable[str]) -> None:
        """Watch these from now on; what is known of a file is kept."""
        self._seen = {path: self._seen[path] if path in self._seen else _look(path) for path in paths}

    def pack(self) -> dict[str, Any]:
        """Pack what is known of the files for an upgrade."""
        return dict(self._seen)

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Go on from what `pack` has packed."""
        self._seen = {path: None if seen is None else tuple(seen) for path, seen in packed.items()}

    def changed(self) -> list[str]:
        """Tell which files have changed since the last call."""
        found = []
        for path, before in self._seen.items():
            now = _look(path)
            if now != before:
                self._seen[path] = now
                found.append(path)
        return found


def _look(path: str) -> tuple[int, int, int] | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return (state.st_mtime_ns, state.st_ino, state.st_size)
