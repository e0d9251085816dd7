"""What Python gives the engine for requests that take too long."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from penstock.worker import signals
from penstock.worker.stuck import FRAMES_SHOWN, TEXT_LIMIT, HarakiriError, Lookout


class Engine:
    """Says what a test wants."""

    def __init__(self) -> None:
        self.wants_interruption = False

    def is_interrupted(self) -> bool:
        return self.wants_interruption


@pytest.fixture
def lookout() -> Iterator[Lookout]:
    made = Lookout()
    yield made
    faulthandler.unregister(signals.STUCK_DUMP)
    signal.signal(signals.INTERRUPT, signal.SIG_DFL)
    os.close(made.dump_fd)


def stand_still(depth: int, ready: threading.Event, over: threading.Event) -> None:
    if depth:
        stand_still(depth - 1, ready, over)
    else:
        ready.set()
        over.wait()


@pytest.mark.parametrize("depth", [0, 200])
def test_every_other_thread_is_described_with_its_name_and_lines(lookout: Lookout, depth: int) -> None:
    ready, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=stand_still, args=(depth, ready, over), name="uWSGIWorker1Core1")
    thread.start()
    try:
        assert ready.wait(10)
        text = lookout.describe()
    finally:
        over.set()
        thread.join()
    assert "Thread uWSGIWorker1Core1:" in text
    assert ", in stand_still\n    over.wait()" in text, "the innermost call, with its line"
    assert "describe" not in text, "who asks is left out"
    assert (f"[... {depth + 1 - FRAMES_SHOWN} outer calls left out ...]" in text) == bool(depth)
    assert len(text) < TEXT_LIMIT + 100


def test_the_signal_interrupts_only_what_the_engine_means(lookout: Lookout) -> None:
    os.kill(os.getpid(), signals.INTERRUPT)  # Before there is an engine.
    engine = Engine()
    lookout.engine = engine
    os.kill(os.getpid(), signals.INTERRUPT)
    engine.wants_interruption = True
    with pytest.raises(HarakiriError, match="longer than harakiri allows"):
        signal.raise_signal(signals.INTERRUPT)
    assert not issubclass(HarakiriError, Exception), "`except Exception` lets it through"


def test_the_dump_goes_to_the_file_in_memory(lookout: Lookout) -> None:
    signal.raise_signal(signals.STUCK_DUMP)
    text = os.pread(lookout.dump_fd, 100_000, 0).decode()
    assert "test_the_dump_goes_to_the_file_in_memory" in text


def test_a_graceful_signal_is_left_to_a_handler_of_the_app() -> None:
    number = int(signal.SIGUSR2)
    before = signal.getsignal(number)
    seen: list[int] = []
    try:
        signal.signal(number, lambda number, frame: seen.append(number))
        signals.ignore()
        os.kill(os.getpid(), number)
        assert seen == []
        signals.leave_to_app(number)
        signal.raise_signal(number)
        assert seen == [number]
        signal.signal(number, signal.SIG_DFL)
        signals.leave_to_app(number)
        os.kill(os.getpid(), number)  # It would end this process.
    finally:
        signals.restore()
        signal.signal(number, before)
