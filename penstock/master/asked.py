"""A stop that is asked for while the start waits for a command: it is not put off until that ends.

The loop is not there yet, and nobody reads what `SignalReader` gets.
"""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)


class Asked:
    """Notes which signal has asked for the end, for the length of a `with` block. Only in the main thread."""

    def __init__(self) -> None:
        self.name = ""
        """The first such signal; empty for none."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Asked:
        self._before = {number: signal.signal(number, self._note) for number in STOPPING}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.name = self.name or signal.Signals(number).name
