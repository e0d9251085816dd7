"""What Python has to give for requests that take too long: where each thread is, and what interrupts one.

The engine decides and keeps the time (`harakiri`); nothing here runs before some request has taken half of its time.
Threads are interrupted by the interpreter (`PyThreadState_SetAsyncExc`), which does so when they come back to Python
code. The main thread is interrupted by a signal, whose handler runs also where a system call waits, and within much of
C code that computes: in `time.sleep`, in a read from a socket, in a regular expression.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import traceback
from types import FrameType
from typing import Protocol

from penstock.worker import signals
from penstock.worker.channel import shorten

TEXT_LIMIT = 30_000
"""Characters of a description of all threads."""
FRAMES_SHOWN = 60
"""Of each thread: the innermost ones."""
OWN_FILES = (os.path.dirname(__file__) + os.sep, threading.__file__)


class HarakiriError(BaseException):
    """Raised in a request that has taken longer than `harakiri` allows, whose client was answered already.

    No subclass of Exception, so that `except Exception` does not keep it from ending the request. `finally` and `with`
    clean up as always. Importable as `uwsgi.HarakiriError`.
    """

    def __str__(self) -> str:
        return "the request has taken longer than harakiri allows"


class Interruptible(Protocol):
    """What is needed of the engine."""

    def is_interrupted(self) -> bool:
        """Whether the main thread runs a request that is to be interrupted."""


class Lookout:
    """What the engine is given; it reads the attributes."""

    interruption = HarakiriError

    def __init__(self) -> None:
        """Let the two signals do what the engine sends them for. For the main thread of a worker."""
        self.engine: Interruptible | None = None
        """None before there are requests."""
        self.dump_fd = os.memfd_create("penstock-stacks", os.MFD_CLOEXEC)
        self.dump_signal = int(signals.STUCK_DUMP)
        self.interrupt_signal = int(signals.INTERRUPT)
        faulthandler.register(signals.STUCK_DUMP, file=self.dump_fd, all_threads=True)
        signals.on_interrupt(self._interrupt)

    def describe(self) -> str:
        """Tell where every thread is, the innermost call last, as tracebacks do."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        blocks = []
        for number, frame in sys._current_frames().items():
            if number == threading.get_ident():
                continue
            blocks.append(f"Thread {names.get(number, number)}:\n{_stack_of(frame)}")
        return shorten("\n".join(blocks), TEXT_LIMIT)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.engine is not None and self.engine.is_interrupted():
            raise HarakiriError


def _stack_of(frame: FrameType) -> str:
    # Not `extract_stack`, which looks at each file on the disk for each thread: each look gives the interpreter's lock
    # away, and beside many threads that compute it comes back late.
    stack = [
        traceback.FrameSummary(each.f_code.co_filename, number, each.f_code.co_name, lookup_line=False)
        for each, number in traceback.walk_stack(frame)
        if not each.f_code.co_filename.startswith(OWN_FILES)
    ]
    shown = stack[::-1]
    left_out = len(shown) - FRAMES_SHOWN
    lines = [f"  [... {left_out} outer calls left out ...]\n"] if left_out > 0 else []
    lines += traceback.StackSummary.from_list(shown[-FRAMES_SHOWN:]).format()
    return "".join(lines).rstrip("\n") or "  waits for a request"
