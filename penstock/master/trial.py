"""The trial of an upgrade: the Penstock that is installed now, run once beside the master with the master's state.

It reads all of the state and the configuration, loads the engine, and says whether it could take over. It gets none of
the instance's descriptors, and what it does is of no consequence.
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import signal
import sys
from typing import Any

from penstock.config.environment import TAKE_OVER
from penstock.master import launch
from penstock.master.generation_link import memory_file
from penstock.master.handover import CHECK
from penstock.master.processes import FIRST_HIGH_FD, resettable_signals

STATE_FD = 3
MOST_OUTPUT_BYTES = 65536
MOST_REASON_LINES = 30


class Trial:
    """One trial under way."""

    def __init__(self, content: dict[str, Any], start_directory: str, selector: selectors.BaseSelector) -> None:
        """Begin.

        Raises:
            OSError: there can be no process for it.
        """
        self._selector = selector
        self._output = b""
        state = memory_file("penstock-state", json.dumps(content).encode())
        self._read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(write_end, True)
        high = -1
        try:
            high = fcntl.fcntl(state, fcntl.F_DUPFD_CLOEXEC, FIRST_HIGH_FD)
            words = [*launch.prefix(chdir=start_directory, ends_with_parent=True), sys.executable, *sys.orig_argv[1:]]
            self.pid = os.posix_spawn(
                words[0],
                words,
                {**os.environ, TAKE_OVER: f"{CHECK}:{STATE_FD}"},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, write_end, 1),
                    (os.POSIX_SPAWN_DUP2, write_end, 2),
                    (os.POSIX_SPAWN_DUP2, high, STATE_FD),
                ],
                setsigdef=resettable_signals(),
                setsigmask=[],
            )
        except OSError:
            os.close(self._read_end)
            raise
        finally:
            for fd in (state, write_end, high):
                if fd >= 0:
                    os.close(fd)
        selector.register(self._read_end, selectors.EVENT_READ, self._hear)

    def _hear(self, mask: int) -> None:
        try:
            while data := os.read(self._read_end, 65536):
                self._output = (self._output + data)[-MOST_OUTPUT_BYTES:]
        except BlockingIOError:
            return
        if self._read_end in self._selector.get_map():
            self._selector.unregister(self._read_end)

    def give_up(self) -> None:
        """Kill it. It is still reaped as any other child."""
        os.kill(self.pid, signal.SIGKILL)

    def end(self, status: int) -> tuple[bool, str]:
        """Take the outcome of a process that was reaped: whether it can take over, and its version or the reason."""
        self._hear(0)
        self.close()
        lines = self._output.decode("utf-8", "replace").strip().splitlines()
        code = os.waitstatus_to_exitcode(status)
        if code == 0 and lines:
            return True, lines[-1]
        shown = "\n".join(lines[-MOST_REASON_LINES:])
        return False, shown or f"the new Penstock ended with status {code} when it was tried"

    def close(self) -> None:
        """Give back what it holds."""
        if self._read_end in self._selector.get_map():
            self._selector.unregister(self._read_end)
        os.close(self._read_end)
