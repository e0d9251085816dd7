"""The server's own lines, in every process of it: descriptor 2, and what stands before each line.

Where descriptor 2 leads is the master's business. One write for each call keeps a line, or a block of lines, whole
among processes that append to the same file; and the app may replace `sys.stderr`.
"""

from __future__ import annotations

import contextlib
import os
import time


class ServerLog:
    """The server's log as this process writes it."""

    def __init__(self, fd: int = 2) -> None:
        self._fd = fd
        self.prefix = ""
        """`log-date`, for strftime; empty for nothing."""
        self.terminal_fd = -1
        """Where it is told, once, that the log can not be written; -1 for nowhere."""
        self._held: list[str] | None = None
        self._lost = 0
        self._why = ""

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
        note = f"{self._lost} log lines of this process were lost: {self._why}\n" if self._lost else ""
        data = (note + lines + "\n").encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            # The reader of a pipe has left, or the disk is full.
            self._lose(lines.count("\n") + 1, error.strerror or str(error))
            return
        self._lost = 0

    def _lose(self, count: int, why: str) -> None:
        if not self._lost and self.terminal_fd >= 0:
            text = f"*** the log can not be written: {why}; lines are lost, and counted there once it can be ***\n"
            with contextlib.suppress(OSError):
                os.write(self.terminal_fd, text.encode())
        self._lost += count
        self._why = why


LOG = ServerLog()
"""A process has one, as it has one descriptor 2; the prefix is set once, where the process learns of its plan."""
