"""The server's own lines, in every process of it: descriptor 2, and what stands before each line.

Where descriptor 2 leads is the master's business. One write for each call keeps a line, or a block of lines, whole
among processes that append to the same file; and the app may replace `sys.stderr`.
"""

from __future__ import annotations

import os
import time


class ServerLog:
    """The server's log as this process writes it."""

    def __init__(self, fd: int = 2) -> None:
        self._fd = fd
        self.prefix = ""
        """`log-date`, for strftime; empty for nothing."""
        self._held: list[str] | None = None

    def hold(self) -> None:
        """Keep lines back until `release`, which writes them, or `drop`, which does not."""
        self._held = []

    def release(self) -> None:
        """Write what was kept back, and from now on at once."""
        held, self._held = self._held, None
        for text in held or ():
            self._write(text)

    def drop(self) -> None:
        """Forget what was kept back, and write from now on at once."""
        self._held = None

    def write(self, text: str) -> None:
        """Write lines. A log that can not be written is not a reason to stop serving."""
        lines = text.rstrip("\n")
        if self.prefix:
            stamp = time.strftime(self.prefix)
            lines = "\n".join(stamp + line for line in lines.split("\n"))
        if self._held is None:
            self._write(lines)
        else:
            self._held.append(lines)

    def _write(self, lines: str) -> None:
        data = (lines + "\n").encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            # The reader of a pipe has left, or the disk is full: nobody can be told.
            return


LOG = ServerLog()
"""A process has one, as it has one descriptor 2; the prefix is set once, where the process learns of its plan."""
