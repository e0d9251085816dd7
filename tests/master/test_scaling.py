"""The cheaper algorithms, second by second."""

from __future__ import annotations

from typing import Any

from penstock.master.load import LiveWorker, LoadMeter
from penstock.master.scaling import WAIT_S, Load, Scaling, at_start, bounded, decide, is_idle, window_note
from penstock.master.waits import Queued, QueueMeter
from penstock.observe.scoreboard import WorkerRow
from penstock.plan.process_types import ScalingPlan
from penstock.values import replace
from tests.master.world import World

PROCESSES = 8
BUSY = Load(free=0, starting=0, busyness=1.0, queue=0, requests=0, busy_threads=4)
CALM = Load(free=3, starting=0, busyness=0.1, queue=0, requests=0)


def plan(**changes: Any) -> ScalingPlan:
    return ScalingPlan(**{"least": 2, "initial": 2, **changes})


def load(base: Load = CALM, **changes: Any) -> Load:
    return replace(base, **changes)


class Clock:
    """One look after the other."""

    def __init__(self, made: ScalingPlan, wanted: int) -> None:
        self.plan, self.state, self.now = made, Scaling(wanted=wanted), 100.0
        self.reasons: list[str] = []

    def look(self, measured: Load, times: int = 1) -> int:
        for _ in range(times):
            self.now += 1
            self.state, reason = decide(self.plan, PROCESSES, self.state, measured, self.now)
            self.reasons += [reason] if reason else []
        return self.state.wanted


def test_bounds() -> None:
    assert bounded(plan(), 8, 1) == 2 and bounded(plan(), 8, 9) == 8
    assert bounded(ScalingPlan(), 8, 3) == 8, "the number is fixed"
    assert at_start(plan(initial=5), 8) == 5 and at_start(ScalingPlan(), 8) == 8


def test_spare_grows_after_more_looks_than_overload() -> None:
    clock = Clock(plan(overload=3, step=2), 2)
    assert [clock.look(BUSY) for _ in range(4)] == [2, 2, 2, 4]
    assert clock.reasons == ["every worker was busy for 4 seconds, queue wait 0 ms"]
    assert clock.look(BUSY, 20) == 8, "never above processes"


def test_spare_forgets_overload_when_somebody_is_free() -> None:
    clock = Clock(plan(overload=3), 2)
    clock.look(BUSY, 3)
    clock.look(load(free=1))
    assert clock.look(BUSY, 3) == 2


def test_spare_waits_for_workers_that_are_on_their_way() -> None:
    assert Clock(plan(overload=1), 2).look(load(BUSY, starting=1), 10) == 2


def test_spare_takes_one_away_at_a_time_and_keeps_one_free() -> None:
    clock = Clock(plan(overload=3), 6)
    assert [clock.look(CALM) for _ in range(6)] == [6, 6, 5, 5, 5, 4]
    assert clock.look(load(free=1), 30) == 4
    assert clock.look(CALM, 30) == 2, "never below cheaper"
    assert clock.reasons[0] == "3 workers are free, queue wait 0 ms"


def test_backlog_follows_the_queue() -> None:
    clock = Clock(plan(algorithm="backlog", overload=10), 2)
    assert clock.look(load(BUSY, queue=10)) == 2
    assert clock.look(load(BUSY, queue=11)) == 3
    assert clock.look(load(BUSY, queue=11, starting=1)) == 3
    assert clock.look(load(queue=0, free=1)) == 3
    assert clock.look(load(queue=0, free=2)) == 2
    assert clock.reasons == [
        "11 connections wait, queue wait 0 ms",
        "0 connections wait, and 2 workers are free, queue wait 0 ms",
    ]


WAITED = load(wait_s=WAIT_S)


def test_spare_does_not_believe_one_look_that_finds_somebody_free_where_requests_waited() -> None:
    clock = Clock(plan(overload=3), 2)
    assert [clock.look(measured) for measured in (BUSY, WAITED, BUSY, WAITED)] == [2, 2, 2, 3]
    assert clock.reasons == ["requests waited for 4 seconds, queue wait 100 ms"]
    clock = Clock(plan(overload=3), 2)
    assert clock.look(load(wait_s=WAIT_S - 0.001), 20) == 2, "that short a wait is none"


def test_no_algorithm_takes_a_worker_away_while_requests_wait() -> None:
    for made in (plan(overload=1), plan(algorithm="backlog", overload=10), busyness(alert_queue=0)):
        clock = Clock(made, 6)
        for _ in range(30):
            assert clock.look(load(busyness=0.0, wait_s=0.5)) >= 6
            assert clock.look(load(busyness=0.0, wait_s=0.5, free=0)) >= 6
        assert clock.look(load(busyness=0.0), 60) == 2, "but then it does"


def test_backlog_counts_connections_and_not_how_long_they_wait() -> None:
    clock = Clock(plan(algorithm="backlog", overload=10), 2)
    assert clock.look(load(BUSY, queue=10, wait_s=5.0), 9) == 2
    assert clock.look(load(BUSY, queue=11, wait_s=5.0)) == 3
    assert clock.reasons == ["11 connections wait, queue wait 5000 ms"]


def test_manual_changes_nothing() -> None:
    clock = Clock(plan(algorithm="manual"), 3)
    assert clock.look(BUSY, 50) == 3 and clock.look(CALM, 50) == 3


def busyness(**changes: Any) -> ScalingPlan:
    return plan(algorithm="busyness", overload=2, idle_windows=3, **changes)


def test_busyness_is_the_average_of_a_window() -> None:
    clock = Clock(busyness(), 2)
    clock.look(load(busyness=0.9))
    assert clock.look(load(busyness=0.05)) == 2
    clock.look(load(busyness=0.9))
    assert clock.look(load(busyness=0.2)) == 3
    assert clock.reasons == ["busyness is 55 %, above 50 %, queue wait 0 ms"]


def test_busyness_takes_one_away_after_enough_low_windows_in_a_row() -> None:
    clock = Clock(busyness(), 4)
    assert clock.look(load(busyness=0.1), 4) == 4
    clock.look(load(busyness=0.3), 2)
    assert clock.look(load(busyness=0.1), 5) == 4
    assert clock.look(load(busyness=0.1)) == 3


def test_window_in_which_requests_always_waited_is_a_busy_one() -> None:
    clock = Clock(busyness(), 2)
    assert [clock.look(measured) for measured in (load(busyness=0.3), WAITED)] == [2, 2]
    assert clock.look(replace(WAITED, busyness=0.3), 2) == 3
    assert clock.reasons == ["requests waited in all of a window, though busyness is 30 %, queue wait 100 ms"]
    clock = Clock(busyness(), 4)
    clock.look(load(busyness=0.1), 4)
    clock.look(WAITED)
    clock.look(load(busyness=0.1))
    assert clock.look(load(busyness=0.1), 5) == 4, "calm windows are counted anew"
    assert clock.look(load(busyness=0.1)) == 3


def test_worker_that_is_missed_soon_makes_the_next_one_stay_longer() -> None:
    clock = Clock(busyness(penalty_windows=2), 4)
    assert clock.look(load(busyness=0.1), 6) == 3
    assert clock.look(load(busyness=0.9), 2) == 4
    assert clock.look(load(busyness=0.1), 9) == 4, "five windows now"
    assert clock.look(load(busyness=0.1)) == 3
    # Nobody is missed for longer than that: the penalty is over.
    assert clock.look(load(busyness=0.3), 12) == 3
    assert clock.look(load(busyness=0.1), 6) == 2


def test_queue_starts_workers_at_once_and_they_leave_sooner() -> None:
    clock = Clock(busyness(alert_queue=10, alert_step=3, alert_idle_windows=1), 2)
    assert clock.look(load(BUSY, queue=11)) == 5
    assert clock.look(load(busyness=0.3, queue=11, starting=3), 2) == 5
    assert "11 connections wait" in clock.reasons[0]
    assert clock.look(load(busyness=0.1), 2) == 4
    assert clock.look(load(busyness=0.1), 4) == 2


def test_queue_that_never_empties_starts_a_worker() -> None:
    clock = Clock(busyness(alert_nonzero_s=5.0), 2)
    assert clock.look(load(queue=1, busyness=0.3), 5) == 2
    clock.look(load(queue=0, busyness=0.3))
    assert clock.look(load(queue=1, busyness=0.3), 5) == 2
    assert clock.look(load(queue=1, busyness=0.3)) == 3
    assert Clock(busyness(alert_nonzero_s=0.0), 2).look(load(queue=1, busyness=0.3), 500) == 2


def test_alert_that_can_not_be_followed_leaves_no_debt() -> None:
    clock = Clock(busyness(alert_queue=1, alert_idle_windows=1), PROCESSES)
    clock.look(load(BUSY, queue=50), 20)
    assert clock.state.emergency == 0 and clock.state.wanted == PROCESSES


def test_memory_limits_overrule_the_load() -> None:
    clock = Clock(plan(overload=0, rss_soft_bytes=100, rss_hard_bytes=200), 4)
    assert clock.look(load(BUSY, rss_bytes=99)) == 5
    assert clock.look(load(BUSY, rss_bytes=100), 5) == 5
    assert [reason for reason in clock.reasons if "cheaper-rss-limit-soft" in reason] == clock.reasons[1:]
    assert len(clock.reasons) == 2, "said once"
    assert clock.look(load(BUSY, rss_bytes=200)) == 4
    assert clock.look(load(BUSY, rss_bytes=300), 9) == 2
    assert "cheaper-rss-limit-hard" in clock.reasons[-1]
    assert clock.look(load(BUSY, rss_bytes=0)) == 3


def test_windows_are_told_to_who_wants_to_know() -> None:
    quiet, verbose = busyness(), busyness(is_verbose=True)
    state = Scaling(wanted=3, looks=1, busyness=0.5)
    assert window_note(quiet, state, load(busyness=0.3)) == ""
    assert "3 workers, 40 % busy in 2 seconds, 0 connections wait, 0 of 3 calm windows before" in window_note(
        verbose, state, load(busyness=0.3)
    )
    assert window_note(verbose, Scaling(wanted=3), load(busyness=0.3)) == ""


def test_idle_counts_from_the_last_request() -> None:
    made = ScalingPlan(idle_s=5.0)
    clock = Clock(made, PROCESSES)
    clock.look(load(requests=3))
    clock.look(load(requests=3), 4)
    assert not is_idle(made, clock.state, clock.now)
    clock.look(load(requests=3))
    assert is_idle(made, clock.state, clock.now)
    for sign_of_life in (load(requests=4), load(requests=4, busy_threads=1), load(requests=4, queue=1)):
        clock.look(sign_of_life)
        assert not is_idle(made, clock.state, clock.now)
    assert not is_idle(ScalingPlan(), clock.state, clock.now + 1000)


def test_requests_that_wait_inside_a_worker_are_a_queue_too() -> None:
    world = World().serve()
    workers = [LiveWorker(world.worker(1), WorkerRow(waiting=3), ())]
    assert LoadMeter().measure(world.fleet, workers, Queued(backlog=2), ended=0, now_us=1).queue == 5


SECOND = 1_000_000
ONE = (1, 0, 100)


def test_wait_inside_a_worker_is_an_average_over_all_requests() -> None:
    meter = QueueMeter()
    assert meter.look(SECOND, {ONE: WorkerRow(requests=50, waited=50, waited_us=50 * SECOND)}, Queued()) == 0.0, (
        "nobody knows when that was"
    )
    row = WorkerRow(requests=60, waited=55, waited_us=52 * SECOND)
    assert meter.look(2 * SECOND, {ONE: row}, Queued()) == 0.2
    assert meter.look(3 * SECOND, {ONE: row}, Queued()) == 0.0
    assert meter.look(4 * SECOND, {(1, 0, 101): WorkerRow(waited=9, waited_us=SECOND)}, Queued()) == 0.0, "another"


def test_the_oldest_that_still_waits_counts_for_itself() -> None:
    meter = QueueMeter()
    meter.look(SECOND, {}, Queued())
    row = WorkerRow(waiting=1, waiting_since_us=SECOND // 2)
    assert meter.look(2 * SECOND, {ONE: row}, Queued()) == 1.5


def test_what_stands_in_the_kernels_queue_waits_as_long_as_its_workers_need_for_it() -> None:
    meter = QueueMeter()

    def second(number: int, backlog: int) -> float:
        row = WorkerRow(requests=20 * number, accepted=20 * number)
        return meter.look(number * SECOND, {ONE: row}, Queued(backlog=backlog))

    assert second(1, 0) == 0.0
    assert second(2, 5) == 0.0, "they may have come just now"
    assert second(3, 4) == 0.2
    assert second(4, 0) == 0.0


def test_age_of_the_head_of_the_queue_is_known_to_a_second() -> None:
    meter = QueueMeter()
    row = {ONE: WorkerRow(requests=5, accepted=5)}
    meter.look(SECOND, row, Queued())
    waits = [meter.look(number * SECOND, row, Queued(backlog=1)) for number in (2, 3, 4)]
    assert waits == [0.0, 1.0, 2.0]


def test_connections_between_workers_wait_while_none_is_taken() -> None:
    meter = QueueMeter()
    row = {ONE: WorkerRow(requests=5, accepted=5)}
    waits = [meter.look(number * SECOND, row, Queued(handed_over=2)) for number in (1, 2, 3)]
    assert waits[0] == 0.0 and min(waits[1:]) == 1.0
