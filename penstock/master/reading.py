"""The configuration, read again for a reload in a process of its own.

Reading may take its time: a command of `exec://`, a file on a share that does not answer. The master stands by for
everything else meanwhile. It is forked from the master, which has all that is needed; the result comes back as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from penstock.master.processes import ProcessRef, end_with_parent
from penstock.master.rereading import NotReread, Reread, reread
from penstock.master.signals import taken
from penstock.plan.types import Plan, from_json_value, to_json_value
from penstock.values import dataclass

READ_MOST_S = 60.0
"""How long it may take in all; a single command has less than that by itself."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    plan: Plan | None
    notes: tuple[str, ...]
    """What was found that hinders nothing."""
    reason: str = ""
    """Why there is no plan, in one line."""
    more: str = ""


class Reading:
    """One reading under way."""

    def __init__(self, make: Reread, let_go: Callable[[], None], now: float, most_s: float = READ_MOST_S) -> None:
        """Begin. `let_go` closes what the other process must not hold; it may take `most_s` seconds.

        Raises:
            OSError: there can be no process for it.
        """
        self.deadline = now + most_s
        self._most_s = most_s
        self._output = b""
        self._read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(write_end, True)
        try:
            with warnings.catch_warnings():
                # Python warns where there are threads: nothing that is used there waits for one of them.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
        except OSError:
            os.close(self._read_end)
            os.close(write_end)
            raise
        if pid == 0:
            _read(make, let_go, write_end)
        os.close(write_end)
        self._process = ProcessRef(pid)

    def fileno(self) -> int:
        """Return the descriptor that has something to read, at the end too."""
        return self._read_end

    def hear(self) -> Outcome | None:
        """Read what has come; the outcome when that was all."""
        try:
            while data := os.read(self._read_end, 1 << 16):
                self._output += data
        except BlockingIOError:
            return None
        try:
            told: dict[str, Any] = json.loads(self._output)
        except ValueError:
            return _failed("the process that read it has died")
        plan = from_json_value(Plan, told["plan"]) if told["plan"] is not None else None
        return Outcome(plan, tuple(told["notes"]), told["reason"], told["more"])

    def give_up(self) -> Outcome:
        """End it, with what it has started: it took too long. It is reaped as any other child, perhaps before this."""
        self._process.send(signal.SIGTERM)
        return _failed(f"that took longer than {self._most_s:g} seconds")

    def close(self) -> None:
        """Give back what it holds here."""
        self._process.close()
        os.close(self._read_end)


def _failed(why: str) -> Outcome:
    return Outcome(None, (), NotReread(OSError(why)).reason)


def _read(make: Reread, let_go: Callable[[], None], write_end: int) -> NoReturn:
    """Read, tell, and end: in the other process."""
    try:
        signal.set_wakeup_fd(-1)
        for number in taken():
            signal.signal(number, signal.SIG_DFL)
        # What the reading has started is ended on the way out.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        let_go()
        end_with_parent()
        notes: list[str] = []
        told: dict[str, Any] = {"plan": None, "notes": notes, "reason": "", "more": ""}
        try:
            told["plan"] = to_json_value(reread(make, notes.append))
        except NotReread as error:
            told |= {"reason": error.reason, "more": error.more}
        content = json.dumps(told).encode()
        while content:
            content = content[os.write(write_end, content) :]
    finally:
        os._exit(0)
