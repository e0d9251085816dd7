"""Standing by after a reload, and going back, with a fake clock."""

from __future__ import annotations

import pytest

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.master.watch import Tally, Watch, summary, verdict
from penstock.plan.process_types import ProgramPlan, ScalingPlan, WatchPlan
from tests.master.world import EXIT_22, KILLED, World, of, only, told

WATCH = WatchPlan(seconds=30.0, errors_percent=5, requests=20)


def watched(**changes: object) -> World:
    """Two generations: 2 serves and is watched, 1 stands by."""
    world = World(watch=WATCH, **changes).serve()
    world.now += 600
    world.reload()
    world.asked.clear()
    return world


def counted(world: World, new: tuple[int, int], old: tuple[int, int] = (1000, 0)) -> list[act.Action]:
    return world.send(ev.AnswersCounted((ev.Answered(1, *old), ev.Answered(2, *new))))


def states(world: World) -> dict[int, str]:
    return {one.number: one.state for one in world.fleet.generations}


# --- standing by


def test_the_generation_before_stands_by_and_leaves_when_the_watch_is_over() -> None:
    world = World(watch=WATCH).serve()
    asked = world.send(ev.ReloadRequested("test", 7))
    world.started(2)
    world.imported(2)
    asked = world.ready(2)
    assert told(asked, "park") == [(1, 0), (1, 1)]
    assert told(asked, "retire") == of(asked, act.EndGeneration) == []
    assert only(asked, act.AnswerReload).ok
    assert states(world) == {1: "parked", 2: "serving"}
    assert "generation 1 stands by for 30 seconds (reload-watch)" in world.log
    counted(world, (50, 1))
    assert told(world.advance(29.9), "retire") == []
    asked = world.advance(0.2)
    assert told(asked, "retire") == [(1, 0), (1, 1)]
    assert only(asked, act.EndGeneration).generation == 1
    assert "generation 2 has served for 30 seconds (1 of 50 failed with 5xx, 2.0 %; before 0.0 %)" in world.log
    world.exit_all(1)
    assert states(world) == {2: "serving"} and world.fleet.timers == ()


def test_without_reload_watch_nothing_stands_by() -> None:
    world = World().serve()
    world.reload()
    assert states(world) == {1: "retiring", 2: "serving"}


def test_workers_that_stand_by_are_left_alone() -> None:
    world = watched(drain_timeout_s=5.0)
    assert told(world.send(ev.Signal("SIGTSTP")), "pause") == [(2, 0), (2, 1)]
    assert told(world.send(ev.Signal("SIGTSTP")), "resume") == [(2, 0), (2, 1)]
    assert of(world.send(ev.WorkerRecycle(1, 0, "max-requests")), act.SpawnWorker) == []
    assert of(world.advance(20), act.SignalWorker) == []


def test_a_worker_that_dies_while_it_stands_by_is_not_replaced() -> None:
    world = watched()
    assert of(world.exits(world.fleet.workers_of(1)[0], KILLED), act.SpawnWorker) == []
    assert "of generation 1, which stands by, is gone" in world.log
    assert states(world)[1] == "parked"


def test_without_its_process_a_generation_does_not_stand_by() -> None:
    world = watched()
    asked = world.send(ev.GenerationExited(1, KILLED))
    assert told(asked, "retire") == [(1, 0), (1, 1)]
    assert "nothing is left of it" in world.log
    assert not only(world.send(ev.RollbackRequested("rollback command", 3)), act.AnswerReload).ok


def test_the_watch_ends_though_the_watched_generation_lost_its_process() -> None:
    world = watched()
    world.advance(10)
    number = only(world.send(ev.GenerationExited(2, KILLED)), act.StartGeneration).generation
    world.started(number)
    world.imported(number)
    world.ready(number)
    for handle in world.fleet.workers_of(2):
        world.exits(handle)
    assert states(world) == {1: "parked", 3: "serving"}
    assert told(world.advance(19.9), "retire") == []
    assert told(world.advance(0.2), "retire") == [(1, 0), (1, 1)]


def test_a_worker_with_a_thread_that_never_came_back_is_replaced_when_it_serves_again() -> None:
    world = World(watch=WATCH).serve()
    world.now += 600
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    world.imported(2)
    stuck = ev.RequestDetached(1, 0, 0, "GET /slow", "client", 1, 30.0, 0, "option", was_cut=False)
    assert of(world.send(stuck), act.SpawnWorker) == [act.SpawnWorker(1, 1, 2, "replacement")]
    world.ready(2)
    assert states(world) == {1: "parked", 2: "serving"}
    asked = world.send(ev.RollbackRequested("rollback command", 3))
    assert [one.worker for one in of(asked, act.SpawnWorker)] == [1]


def test_the_number_of_workers_stays_at_a_rollback_to_a_generation_that_began_with_none() -> None:
    world = World(watch=WATCH, processes=4, scaling=ScalingPlan(least=1, initial=2, starts_asleep=True))
    world.send(ev.Begin())
    world.started(1)
    world.imported(1)
    world.send(ev.ConnectionWaiting())
    world.ready(1)
    world.reload()
    world.send(ev.RollbackRequested("rollback command", 3))
    assert states(world) == {1: "serving", 2: "retiring"}
    assert [one.state for one in world.fleet.workers_of(1)] == ["ready", "ready"]
    assert not world.fleet.scaling.is_asleep


def test_a_stop_ends_what_stands_by_too() -> None:
    world = watched()
    asked = world.send(ev.Signal("SIGTERM"))
    assert told(asked, "drain") == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert {one.generation for one in of(asked, act.EndGeneration)} == {1, 2}
    world.exit_all(1)
    assert only(world.exit_all(2), act.Exit).status == 0


# --- crashes


def test_crashes_of_the_new_workers_bring_the_old_ones_back() -> None:
    world = watched()
    world.now += 3
    assert told(world.exits(world.fleet.workers_of(2)[0], 11), "resume") == [], "one may be an accident"
    world.now += 1
    asked = world.exits(world.fleet.workers_of(2)[0], 11)
    assert told(asked, "resume") == [(1, 0), (1, 1)]
    assert only(asked, act.CommitGeneration).generation == 1
    assert only(asked, act.EndGeneration).generation == 2
    assert of(asked, act.SpawnWorker) == []
    assert "rollback from generation 2 to generation 1: 2 of its workers died within 4 seconds" in world.log
    assert "killed by signal 11 (SIGSEGV)" in world.log
    assert states(world) == {1: "serving", 2: "retiring"}
    world.exit_all(2)
    assert states(world) == {1: "serving"} and world.fleet.timers == ()


def test_missing_workers_are_forked_when_the_old_generation_comes_back() -> None:
    world = watched()
    world.exits(world.fleet.workers_of(1)[0], KILLED)
    asked = world.send(ev.RollbackRequested("rollback command", 3))
    assert only(asked, act.SpawnWorker).generation == 1 and only(asked, act.SpawnWorker).entry == "replacement"
    assert only(asked, act.AnswerReload) == act.AnswerReload((3,), 1, ok=True)


def test_without_workers_the_new_ones_serve_until_the_old_ones_are_there() -> None:
    world = watched()
    for handle in world.fleet.workers_of(1):
        world.exits(handle, KILLED)
    asked = world.send(ev.RollbackRequested("rollback command"))
    assert len(of(asked, act.SpawnWorker)) == 2 and told(asked, "retire") == []
    world.spawned(1)
    first, second = world.fleet.workers_of(1)
    assert told(world.send(ev.WorkerReady(1, first.slot)), "retire") == [(2, 0)]
    assert told(world.send(ev.WorkerReady(1, second.slot)), "retire") == [(2, 1)]
    world.exit_all(2)
    assert states(world) == {1: "serving"}


def test_a_lazy_worker_that_can_not_import_any_more_counts() -> None:
    world = watched(lazy=True)
    world.now += 20
    world.exits(world.fleet.workers_of(2)[0], KILLED)
    world.spawned(2)
    handle = next(one for one in world.fleet.workers_of(2) if one.worker == 1)
    world.send(ev.WorkerFailed(2, handle.slot, "Traceback"))
    world.exits(handle, EXIT_22)
    assert "the last one: could not import the app" in world.log
    assert states(world) == {1: "serving", 2: "retiring"}


# --- errors


def test_a_share_of_errors_that_rises_brings_the_old_generation_back() -> None:
    world = watched()
    world.now += 8
    assert counted(world, (19, 19)) == [], "too few requests to judge"
    assert counted(world, (200, 10), (1000, 10)) == [], "5 percent, and 1 before"
    world.now += 1
    asked = counted(world, (220, 30), (1000, 10))
    assert told(asked, "resume") == [(1, 0), (1, 1)] and told(asked, "retire") == [(2, 0), (2, 1)]
    assert (
        "30 of 220 requests failed with 5xx in 9 seconds, 13.6 %; before it were 1.0 %, and "
        "reload-watch-errors = 5 more are allowed" in world.log
    )
    assert only(asked, act.NotifySupervisor).status == "rolled back: generation 1 serves"


def test_errors_that_were_there_before_are_no_reason() -> None:
    world = watched()
    assert counted(world, (100, 24), (1000, 200)) == []
    assert told(counted(world, (200, 60), (1000, 200)), "resume") == [(1, 0), (1, 1)]


def test_errors_after_a_good_beginning_are_noticed() -> None:
    plan = WATCH
    watch = Watch(2, 1, 0.0)
    for second in range(1, 21):
        watch = watch.noted(Tally(float(second), second * 1000, 0), Tally(0.0, 1000, 0))
        assert verdict(plan, watch) == ""
    for second in range(21, 26):
        watch = watch.noted(
            Tally(float(second), 20_000 + (second - 20) * 100, (second - 20) * 100), Tally(0.0, 1000, 0)
        )
    assert "in 10 seconds" in verdict(plan, watch)
    assert len(watch.tallies) <= 12


def test_what_a_watch_says_without_requests() -> None:
    assert summary(Watch()) == "no request came"
    assert verdict(WATCH, Watch()) == ""


def test_counts_that_come_late_do_nothing() -> None:
    world = watched()
    world.send(ev.RollbackRequested("test"))
    assert counted(world, (100, 100)) == []
    assert world.send(ev.AnswersCounted(())) == []


# --- by hand, and what comes together


@pytest.mark.parametrize("seconds", [0.0, 30.0])
def test_going_back_to_nothing_says_why(seconds: float) -> None:
    world = World(watch=WatchPlan(seconds=seconds)).serve()
    answer = only(world.send(ev.RollbackRequested("rollback command", 5)), act.AnswerReload)
    assert not answer.ok
    assert ("reload-watch = 30s" in answer.reason) == (not seconds)
    if seconds:
        world.reload()
        world.advance(31)
        answer = only(world.send(ev.RollbackRequested("rollback command", 6)), act.AnswerReload)
        assert not answer.ok and "generation 1 stands by no longer" in answer.reason


def test_a_second_reload_keeps_what_has_stood_its_watch() -> None:
    world = watched()
    world.now += 5
    asked = world.send(ev.Signal("SIGHUP"))
    assert only(asked, act.StartGeneration).generation == 3
    world.started(3)
    world.imported(3)
    asked = world.ready(3)
    assert told(asked, "retire") == [(2, 0), (2, 1)] and told(asked, "park") == []
    assert states(world) == {1: "parked", 2: "retiring", 3: "serving"}
    world.exit_all(2)
    assert told(world.advance(29), "retire") == [], "the watch begins anew"
    world.send(ev.RollbackRequested("rollback command"))
    assert states(world) == {1: "serving", 3: "retiring"}


def test_a_rollback_during_a_reload_gives_the_reload_up() -> None:
    world = World(watch=WATCH).serve()
    world.send(ev.ReloadRequested("reload command", 1))
    world.started(2)
    asked = world.send(ev.RollbackRequested("rollback command", 2))
    answers = of(asked, act.AnswerReload)
    assert [(one.tickets, one.ok) for one in answers] == [((1,), False), ((2,), True)]
    assert states(world)[1] == "serving" and world.fleet.mode == "serving"


def test_crashes_of_the_new_code_during_another_reload_bring_the_old_one_back() -> None:
    world = watched()
    world.send(ev.Signal("SIGHUP"))
    world.started(3)
    for _ in range(2):
        asked = world.exits(world.fleet.workers_of(2)[0], KILLED)
    assert told(asked, "resume") == [(1, 0), (1, 1)] and world.fleet.mode == "reloading"
    world.imported(3)
    world.ready(3)
    assert states(world) == {1: "parked", 2: "retiring", 3: "serving"}


def test_a_failed_reload_does_not_end_the_watch() -> None:
    world = watched()
    world.send(ev.Signal("SIGHUP"))
    world.started(3)
    world.send(ev.ImportFailed(3, "broken", logged=True))
    world.send(ev.GenerationExited(3, EXIT_22))
    assert states(world) == {1: "parked", 2: "serving"}
    world.send(ev.RollbackRequested("rollback command"))
    assert states(world)[1] == "serving"


def test_a_generation_that_replaces_a_lost_one_is_no_new_code() -> None:
    world = watched()
    world.now += 20
    world.send(ev.GenerationExited(2, KILLED))
    world.started(3)
    world.imported(3)
    world.ready(3)
    assert states(world) == {1: "parked", 2: "retiring", 3: "serving"}
    assert world.fleet.watch.generation == 3
    assert told(world.advance(11), "retire") == [(1, 0), (1, 1)], "the watch goes on as it began"


def test_programs_go_back_too() -> None:
    old, new = ProgramPlan("old"), ProgramPlan("new")
    world = World(watch=WATCH, programs=(old,)).serve()
    world.send(ev.ProgramStarted(1, 900))
    world.send(ev.Signal("SIGHUP"))
    world.started(2, programs=(new,))
    world.imported(2)
    world.ready(2)
    world.send(ev.ProgramExited(1, 0))
    world.send(ev.ProgramStarted(2, 901))
    world.asked.clear()
    world.send(ev.RollbackRequested("rollback command"))
    world.send(ev.ProgramExited(2, 0))
    assert [one.program for one in of(world.asked, act.StartProgram)] == [old]


def test_rules_of_the_old_configuration_count_again() -> None:
    world = World(watch=WATCH, processes=2).serve()
    world.send(ev.Signal("SIGHUP"))
    world.started(2, processes=4)
    world.imported(2)
    world.ready(2)
    assert world.fleet.rules.processes == 4
    world.send(ev.RollbackRequested("rollback command"))
    assert world.fleet.rules.processes == 2 and world.fleet.scaling.wanted == 2
