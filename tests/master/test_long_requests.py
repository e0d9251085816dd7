"""What the master remembers of requests that take long."""

from __future__ import annotations

from penstock.master.long_requests import REPORTS_KEPT, STACKS_KEPT, LongRequests, are_limited


def test_the_last_reports_of_each_worker_are_kept() -> None:
    memory = LongRequests(0.0)
    assert memory.of(1) == ()
    for number in range(5):
        memory.keep(1, f"{number} *** GET /{number} has taken 1.0 s ***\nThread MainThread:\n  waits")
    memory.keep(2, "0 *** GET / ***\n" + "x" * (STACKS_KEPT + 1))
    kept = memory.of(1)
    assert len(kept) == REPORTS_KEPT
    assert (kept[-1].core, kept[-1].what) == (4, "GET /4 has taken 1.0 s")
    assert kept[-1].stacks == "Thread MainThread:\n  waits"
    assert len(memory.of(2)[0].stacks) == STACKS_KEPT


def test_nobody_looks_where_there_is_no_limit() -> None:
    assert not are_limited({})
    assert list(LongRequests(0.0).look(7.0, (), {}, lambda: 0)) == []
