"""Locks that the threads of several processes share, as one process sees them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from penstock.worker.app_locks import Locks

DEADLINE_S = 10.0


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = os.memfd_create("locks")
    os.ftruncate(descriptor, 2)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_threads_that_use_the_locks_first_at_the_same_moment_have_the_same_ones(memory: int) -> None:
    for _ in range(100):
        locks, start = Locks(memory, 2), threading.Barrier(4)
        inside, most = 0, 0

        def take(locks: Locks = locks, start: threading.Barrier = start) -> None:
            nonlocal inside, most
            start.wait()
            locks.lock()
            inside += 1
            most = max(most, inside)
            os.sched_yield()
            inside -= 1
            locks.unlock()

        threads = [threading.Thread(target=take, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        assert not any(thread.is_alive() for thread in threads), "one waits for a lock that nobody can open"
        assert most == 1 and not Locks(memory, 2).is_locked()
        locks.forget()


def test_a_wait_that_is_interrupted_holds_nothing(memory: int) -> None:
    ours, theirs = Locks(memory, 2), Locks(memory, 2)

    class InterruptionError(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise InterruptionError

    theirs.lock()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(InterruptionError):
            ours.lock()
    finally:
        signal.signal(signal.SIGALRM, before)
    theirs.unlock()
    assert not theirs.is_locked()
    ours.lock()
    ours.unlock()
    for locks in (ours, theirs):
        locks.forget()
