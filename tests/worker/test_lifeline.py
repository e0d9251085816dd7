"""Watching over an import: what is said when it lasts."""

from __future__ import annotations

import itertools
import os
import threading
from queue import SimpleQueue

from penstock.worker.lifeline import Watch, after
from penstock.worker.loader import place_in_thread


def test_a_long_import_is_mentioned_now_and_then() -> None:
    assert [after(10), after(30), after(60), after(120)] == [30, 60, 120, 180]
    read_end, write_end = os.pipe()
    said: SimpleQueue[int] = SimpleQueue()
    ticks = itertools.count(0, 7)
    with Watch(read_end, notice=said.put, clock=lambda: float(next(ticks))):
        assert [said.get(timeout=30) for _ in range(3)] == [10, 30, 60]
    os.close(read_end)
    os.close(write_end)


def test_the_user_s_line_and_the_library_s_are_named() -> None:
    here = place_in_thread(threading.get_ident())
    assert here.startswith(f" at {__file__}:") and "place_in_thread(threading.get_ident())" in here
    assert place_in_thread(0) == ""
    gate = threading.Event()
    entered = threading.Event()

    def wait() -> None:
        entered.set()
        gate.wait()

    thread = threading.Thread(target=wait)
    thread.start()
    entered.wait()
    while "(gate.wait())" not in (there := place_in_thread(thread.ident or 0)):
        pass
    gate.set()
    thread.join()
    assert there.startswith(f" at {__file__}:")
