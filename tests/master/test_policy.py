"""The policy, with a fake clock and without a process: starts, reloads, deaths, stops."""

from __future__ import annotations

import json

import pytest

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.master.fleet import from_json, slots_for, to_json
from penstock.master.policy import backoff_s, with_traceback
from penstock.master.turn import describe_status
from tests.master.test_stuck import detached
from tests.master.world import EXIT_22, KILLED, World, of, only, rules, told

# --- start


def test_start_goes_from_import_to_workers_to_ready() -> None:
    world = World()
    assert only(world.send(ev.Begin()), act.StartGeneration) == act.StartGeneration(1, first=True, reread=False)
    assert world.started(1) == []
    spawns = of(world.imported(1), act.SpawnWorker)
    assert spawns == [act.SpawnWorker(1, 1, 0, "start"), act.SpawnWorker(1, 2, 1, "start")]
    world.spawned(1)
    assert of(world.send(ev.WorkerReady(1, 0)), act.AnnounceReady) == []
    asked = world.send(ev.WorkerReady(1, 1))
    only(asked, act.AnnounceReady)
    assert only(asked, act.NotifySupervisor).state == "ready"
    assert only(asked, act.CommitGeneration).generation == 1
    assert world.fleet.mode == "serving"
    assert "spawned worker 1 (pid: 102, cores: 2)" in world.log


def test_ready_may_come_before_the_report_of_the_fork() -> None:
    world = World(processes=1)
    world.send(ev.Begin())
    world.started(1)
    world.imported(1)
    assert world.send(ev.WorkerReady(1, 0)) == []
    only(world.send(ev.WorkerSpawned(1, 0, 500)), act.AnnounceReady)
    assert world.worker(1).pid == 500 and world.worker(1).state == "ready"


def test_failed_import_at_start_ends_with_22() -> None:
    world = World()
    world.send(ev.Begin())
    world.started(1)
    failed = ev.ImportFailed(1, "ModuleNotFoundError: no module named nope", "Traceback ...", None, logged=True)
    asked = world.send(failed)
    announced = only(asked, act.AnnounceFailure)
    assert announced.status == 22 and "nope" in announced.text and "Traceback" in announced.text
    assert of(asked, act.Exit) == [], "its process is still there"
    assert only(world.send(ev.GenerationExited(1, EXIT_22)), act.Exit).status == 22
    assert world.log == "", "the generation has logged it"


def test_sys_exit_at_import_is_named_and_still_22() -> None:
    world = World()
    world.send(ev.Begin())
    world.started(1)
    world.send(ev.ImportFailed(1, "SystemExit", "", 5))
    assert "sys.exit(5)" in world.log
    assert only(world.send(ev.GenerationExited(1, EXIT_22)), act.Exit).status == 22


def test_interpreter_that_can_not_be_started_ends_with_1() -> None:
    world = World()
    world.send(ev.Begin())
    asked = world.send(ev.ImportFailed(1, "no such interpreter", status=1))
    assert only(asked, act.Exit).status == 1
    assert "no such interpreter" in world.log


def test_generation_that_dies_during_the_first_import_ends_with_22() -> None:
    world = World()
    world.send(ev.Begin())
    world.started(1)
    asked = world.send(ev.GenerationExited(1, 11))
    assert only(asked, act.Exit).status == 22
    assert "killed by signal 11 (SIGSEGV)" in world.log


def test_process_that_does_not_leave_after_a_failed_import_is_killed() -> None:
    world = World()
    world.send(ev.Begin())
    world.started(1)
    world.send(ev.ImportFailed(1, "no", logged=True))
    assert act.KillGeneration(1) in world.advance(10)


def test_long_import_is_mentioned() -> None:
    world = World()
    world.send(ev.Begin())
    world.started(1)
    world.advance(65)
    assert world.log.count("still importing") == 2
    world.imported(1)
    world.advance(65)
    assert world.log.count("still importing") == 2


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_lazy_app_that_fails_in_every_worker_ends_with_22(order: tuple[int, int]) -> None:
    world = World()
    world.send(ev.Begin())
    world.started(1)
    world.send(ev.Imported(1, 0.0, lazy=True))
    world.spawned(1)
    first = world.send(ev.WorkerFailed(1, order[0], "Traceback one"))
    assert of(first, act.AnnounceFailure) == []
    asked = world.send(ev.WorkerFailed(1, order[1], "Traceback two"))
    assert only(asked, act.AnnounceFailure).status == 22
    assert "Traceback two" in only(asked, act.AnnounceFailure).text
    assert only(world.exit_all(1, EXIT_22), act.Exit).status == 22


def test_lazy_app_that_fails_in_one_worker_is_tried_again() -> None:
    world = World()
    world.send(ev.Begin())
    world.started(1)
    world.send(ev.Imported(1, 0.0, lazy=True))
    world.spawned(1)
    world.send(ev.WorkerReady(1, 1))
    world.send(ev.WorkerFailed(1, 0, "Traceback"))
    asked = world.exits(world.worker(1), EXIT_22)
    assert of(asked, act.SpawnWorker) == [], "not at once"
    only(world.advance(0.2), act.SpawnWorker)
    assert "DAMN" not in world.log and "OOPS" in world.log
    assert world.fleet.mode == "starting"
    only(world.ready(1), act.AnnounceReady)


def test_lazy_app_without_need_app_goes_on_trying() -> None:
    world = World(need_app=False)
    world.send(ev.Begin())
    world.started(1)
    world.send(ev.Imported(1, 0.0, lazy=True))
    world.spawned(1)
    for slot in (0, 1):
        assert of(world.send(ev.WorkerFailed(1, slot, "Traceback")), act.AnnounceFailure) == []
    assert world.fleet.mode == "starting"


# --- deaths of workers


def test_worker_that_served_long_is_respawned_at_once() -> None:
    world = World().serve()
    world.now += 60
    asked = world.exits(world.worker(1), KILLED)
    assert only(asked, act.ReleaseSlot) == act.ReleaseSlot(1, 0, 1)
    assert only(asked, act.SpawnWorker) == act.SpawnWorker(1, 1, 0, "replacement")
    assert "DAMN ! worker 1 (pid: 102) died, killed by signal 9 (SIGKILL) :( trying respawn ..." in world.log
    world.ready(1)
    assert world.fleet.record(1).spawns == 2 and world.fleet.record(1).failures == 0


def test_crash_loop_backs_off_for_this_id_only() -> None:
    world = World().serve()
    delays = []
    for _ in range(12):
        world.now += 0.01
        assert of(world.exits(world.worker(1), KILLED), act.SpawnWorker) == []
        before = world.now
        deadline = world.fleet.next_deadline()
        assert deadline is not None
        delays.append(round(deadline - before, 3))
        only(world.advance(delays[-1] + 0.001), act.SpawnWorker)
        world.spawned(1)
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8] and delays[-1] == 30.0
    assert world.worker(2).state == "ready"
    world.now += 60
    only(world.exits(world.worker(2), KILLED), act.SpawnWorker)


def test_a_crash_loop_names_its_first_cause() -> None:
    world = World().serve()
    for status in (11, KILLED, KILLED):
        world.exits(world.worker(1), status)
        world.advance(0.5)
        world.spawned(1)
    assert (
        "worker 1 dies too fast (3 times in a row, the first time: killed by signal 11 (SIGSEGV)): "
        "the next try is in 0.4 seconds" in world.log
    )
    world.ready(1)
    world.now += 60
    world.exits(world.worker(1), KILLED)
    assert world.fleet.record(1).cause == ""


def test_a_crash_loop_of_new_code_leaves_no_trace_in_the_old() -> None:
    world = World().serve()
    world.now += 60
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    world.imported(2)
    world.spawned(2)
    asked = world.exits(world.fleet.workers_of(2)[0], KILLED)
    assert of(asked, act.SpawnWorker) == []
    world.exit_all(2)
    assert world.fleet.record(1).failures == 0
    only(world.exits(world.worker(1), KILLED), act.SpawnWorker)


def test_a_start_whose_workers_die_again_and_again_fails_with_its_first_cause() -> None:
    world = World()
    world.send(ev.Begin())
    world.started(1)
    world.imported(1)
    for status in (7 << 8, KILLED, KILLED, KILLED):
        world.spawned(1)
        assert of(world.exits(world.worker(1), status), act.AnnounceFailure) == []
        world.advance(1.0)
    world.spawned(1)
    asked = world.exits(world.worker(1), KILLED)
    failure = only(asked, act.AnnounceFailure)
    assert failure.status == 1
    assert "worker 1 died 5 times in a row before it was ready, the first time: exit status 7" in failure.text
    assert only(world.exit_all(1), act.Exit).status == 1


def test_without_need_app_a_start_goes_on_trying() -> None:
    world = World(need_app=False)
    world.send(ev.Begin())
    world.started(1)
    world.imported(1)
    for _ in range(9):
        world.spawned(1)
        assert of(world.exits(world.worker(1), KILLED), act.AnnounceFailure) == []
        world.advance(31.0)


def test_crashes_of_a_worker_that_served_do_not_take_the_site_away() -> None:
    world = World().serve()
    for _ in range(20):
        world.exits(world.worker(1), KILLED)
        only(world.advance(1.001), act.SpawnWorker)
        world.ready(1)


def test_backoff_is_forgotten_by_a_worker_that_lives() -> None:
    world = World().serve()
    world.exits(world.worker(1), KILLED)
    world.advance(0.2)
    world.ready(1)
    world.now += 60
    only(world.exits(world.worker(1), KILLED), act.SpawnWorker)


def test_end_of_an_earlier_worker_in_the_slot_is_not_taken_for_its_successors() -> None:
    world = World().serve()
    world.now += 60
    old = world.worker(1)
    world.exits(old, KILLED)
    world.ready(1)
    assert world.exits(old, KILLED) == []


def test_worker_that_closed_its_pair_and_is_never_reported_is_killed_and_replaced() -> None:
    world = World().serve()
    world.now += 60
    assert world.send(ev.WorkerClosed(1, 0)) == []
    asked = world.advance(11)
    assert of(asked, act.SignalWorker) == [act.SignalWorker(1, 0, "KILL")]
    only(asked, act.SpawnWorker)


def test_failing_to_fork_counts_as_a_death() -> None:
    world = World().serve()
    world.now += 60
    world.exits(world.worker(1), KILLED)
    asked = world.send(ev.WorkerExited(1, 0, 0, 256))
    assert of(asked, act.SpawnWorker) == []
    only(world.advance(0.2), act.SpawnWorker)


# --- reloads


def test_reload_starts_the_new_generation_before_the_old_one_leaves() -> None:
    world = World().serve()
    asked = world.send(ev.Signal("SIGHUP"))
    assert only(asked, act.StartGeneration) == act.StartGeneration(2, first=False, reread=True)
    assert only(asked, act.NotifySupervisor).state == "reloading"
    world.started(2)
    assert told(world.imported(2), "retire") == []
    world.spawned(2)
    assert told(world.send(ev.WorkerReady(2, 0)), "retire") == []
    asked = world.send(ev.WorkerReady(2, 1))
    assert told(asked, "retire") == [(1, 0), (1, 1)]
    assert only(asked, act.CommitGeneration).generation == 2
    assert only(asked, act.EndGeneration).generation == 1
    assert world.fleet.mode == "serving"
    assert only(world.exit_all(1), act.ForgetGeneration).generation == 1
    assert [one.number for one in world.fleet.generations] == [2]
    assert world.fleet.timers == ()


@pytest.mark.parametrize(
    "event", [ev.Signal("SIGHUP"), ev.Touched("/srv/app/reload"), ev.ReloadRequested("reload command", 7)]
)
def test_everything_that_asks_for_a_reload_gets_one(event: ev.Event) -> None:
    world = World().serve()
    assert only(world.send(event), act.StartGeneration).reread


def test_reload_with_a_broken_import_keeps_the_old_generation() -> None:
    world = World().serve()
    world.send(ev.ReloadRequested("reload command", 7))
    world.started(2)
    asked = world.send(ev.ImportFailed(2, "SyntaxError", "Traceback: SyntaxError", logged=True))
    answer = only(asked, act.AnswerReload)
    assert answer.tickets == (7,) and not answer.ok and "SyntaxError" in answer.error and answer.generation == 1
    assert told(asked, "drain") == told(asked, "stop") == [] and of(asked, act.Exit) == []
    assert "generation 1 keeps serving ***" in world.log
    assert "SyntaxError" not in world.log, "the generation has logged the cause itself"
    assert world.fleet.mode == "serving"
    assert only(asked, act.NotifySupervisor).state == "ready"
    only(world.send(ev.GenerationExited(2, EXIT_22)), act.ForgetGeneration)
    assert world.reload() == 3


def test_configuration_that_can_not_be_read_again_fails_the_reload_only() -> None:
    world = World().serve()
    world.send(ev.Signal("SIGHUP"))
    asked = world.send(ev.ImportFailed(2, "the configuration could not be read again: x.ini:3", status=1))
    only(asked, act.ForgetGeneration)
    assert world.log.count("x.ini:3") == 1 and world.fleet.mode == "serving"


def test_death_during_an_import_names_what_was_imported() -> None:
    world = World(app="module shop.wsgi")
    world.send(ev.Begin())
    world.started(1)
    asked = world.send(ev.GenerationExited(1, 11))
    assert "died while it was importing module shop.wsgi: killed by signal 11 (SIGSEGV)" in world.log
    assert only(asked, act.AnnounceFailure).status == 22


def test_last_line_of_a_traceback_is_not_said_twice() -> None:
    assert with_traceback("", "why") == "why"
    assert with_traceback("T\nE: x\n", "E: x at a.py:1") == "T\nE: x at a.py:1"
    assert with_traceback("T\nE: x\n", "sys.exit(1)") == "T\nE: x\nsys.exit(1)"


def test_new_generation_that_dies_during_its_import_fails_the_reload() -> None:
    world = World().serve()
    world.send(ev.ReloadRequested("reload command", 7))
    world.started(2)
    asked = world.send(ev.GenerationExited(2, KILLED))
    assert not only(asked, act.AnswerReload).ok
    only(asked, act.ForgetGeneration)


def test_new_worker_that_dies_before_it_is_ready_fails_the_reload() -> None:
    world = World().serve()
    world.send(ev.ReloadRequested("reload command", 7))
    world.started(2)
    world.imported(2)
    world.spawned(2)
    world.send(ev.WorkerReady(2, 0))
    victim = world.fleet.worker(2, 1)
    assert victim is not None
    asked = world.exits(victim, KILLED)
    assert not only(asked, act.AnswerReload).ok
    assert told(asked, "stop") == [(2, 0)]
    assert only(asked, act.EndGeneration).generation == 2
    assert told(asked, "retire") == []
    world.exit_all(2)
    assert [one.number for one in world.fleet.generations] == [1]


def test_lazy_worker_that_can_not_import_fails_the_reload() -> None:
    world = World().serve()
    world.send(ev.ReloadRequested("reload command", 7))
    world.started(2)
    world.send(ev.Imported(2, 0.0, lazy=True))
    world.spawned(2)
    asked = world.send(ev.WorkerFailed(2, 0, "Traceback: broken"))
    assert "broken" in only(asked, act.AnswerReload).error
    world.exit_all(2, EXIT_22)
    assert world.fleet.mode == "serving" and len(world.fleet.workers) == 2


def test_workers_of_a_failed_reload_that_do_not_leave_are_killed() -> None:
    world = World().serve()
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    world.imported(2)
    world.spawned(2)
    world.send(ev.WorkerFailed(2, 0, "Traceback"))
    killed = of(world.advance(10), act.SignalWorker)
    assert {(one.generation, one.slot) for one in killed} == {(2, 0), (2, 1)}


def test_reloads_that_come_during_a_reload_become_one() -> None:
    world = World().serve()
    world.send(ev.ReloadRequested("reload command", 1))
    for ticket in (2, 3):
        assert of(world.send(ev.ReloadRequested("reload command", ticket)), act.StartGeneration) == []
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    world.imported(2)
    asked = world.ready(2)
    assert only(asked, act.AnswerReload).tickets == (1,)
    assert only(asked, act.StartGeneration).generation == 3
    world.started(3)
    world.imported(3)
    asked = world.ready(3)
    assert only(asked, act.AnswerReload).tickets == (2, 3)
    assert of(asked, act.StartGeneration) == []


def test_reload_that_follows_a_failed_one_is_done() -> None:
    world = World().serve()
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    world.send(ev.Signal("SIGHUP"))
    asked = world.send(ev.ImportFailed(2, "broken", logged=True))
    assert only(asked, act.StartGeneration).generation == 3


def test_reload_during_the_start_comes_after_it() -> None:
    world = World()
    world.send(ev.Begin())
    world.started(1)
    assert of(world.send(ev.Signal("SIGHUP")), act.StartGeneration) == []
    world.imported(1)
    assert only(world.ready(1), act.StartGeneration).generation == 2


def test_generations_that_finish_slowly_do_not_pile_up() -> None:
    world = World().serve()
    for number in (2, 3, 4):
        assert world.reload() == number
    assert of(world.send(ev.Signal("SIGHUP")), act.StartGeneration) == []
    assert only(world.exit_all(1), act.StartGeneration).generation == 5


def test_old_workers_have_the_drain_timeout_and_no_more() -> None:
    world = World(drain_timeout_s=30.0).serve()
    world.reload()
    assert of(world.advance(30), act.SignalWorker) == []
    killed = of(world.advance(5), act.SignalWorker)
    assert {(one.generation, one.slot, one.signal) for one in killed} == {(1, 0, "KILL"), (1, 1, "KILL")}
    assert "NO MERCY" in world.log


def test_process_of_an_old_generation_that_stays_is_killed() -> None:
    world = World().serve()
    world.reload()
    for handle in world.fleet.workers_of(1):
        world.exits(handle)
    assert of(world.advance(6), act.KillGeneration) == [act.KillGeneration(1)]


def test_worker_of_the_old_generation_is_not_respawned() -> None:
    world = World().serve()
    world.reload()
    assert of(world.exits(world.fleet.workers_of(1)[0], KILLED), act.SpawnWorker) == []


def test_reload_takes_the_new_configuration() -> None:
    world = World(processes=2).serve()
    world.send(ev.Signal("SIGHUP"))
    world.started(2, processes=3, drain_timeout_s=7.0)
    assert len(of(world.imported(2), act.SpawnWorker)) == 3
    world.ready(2)
    assert world.fleet.rules.processes == 3 and world.fleet.rules.drain_timeout_s == 7.0


def test_old_worker_is_still_respawned_while_a_reload_goes_on() -> None:
    world = World().serve()
    world.now += 60
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    assert only(world.exits(world.worker(1), KILLED), act.SpawnWorker).generation == 1


# --- a generation's process dies


def test_workers_live_on_and_a_replacement_starts_when_the_generation_dies() -> None:
    world = World().serve()
    world.now += 60
    asked = world.send(ev.GenerationExited(1, KILLED))
    assert only(asked, act.StartGeneration) == act.StartGeneration(2, first=False, reread=False)
    assert told(asked, "retire") == [] and of(asked, act.Exit) == []
    world.started(2)
    world.imported(2)
    assert told(world.ready(2), "retire") == [(1, 0), (1, 1)]
    assert world.exit_all(1)
    assert [one.number for one in world.fleet.generations] == [2]


def test_worker_that_dies_without_its_generation_waits_for_the_replacement() -> None:
    world = World().serve()
    world.now += 60
    world.send(ev.GenerationExited(1, KILLED))
    assert of(world.exits(world.worker(1), KILLED), act.SpawnWorker) == []
    world.started(2)
    world.imported(2)
    world.ready(2)
    assert world.fleet.mode == "serving" and {one.worker for one in world.fleet.workers_of(2)} == {1, 2}


def test_replacement_that_fails_is_tried_again_later() -> None:
    world = World().serve()
    world.now += 60
    world.send(ev.GenerationExited(1, KILLED))
    world.started(2)
    asked = world.send(ev.ImportFailed(2, "broken", logged=True))
    assert of(asked, act.StartGeneration) == [] and "generation 1 keeps serving" in world.log
    assert only(world.advance(1), act.StartGeneration).generation == 3


def test_reload_of_a_person_replaces_the_lost_generation_too() -> None:
    world = World().serve()
    world.now += 60
    world.send(ev.GenerationExited(1, KILLED))
    world.started(2)
    world.send(ev.ImportFailed(2, "broken", logged=True))
    assert only(world.send(ev.Signal("SIGHUP")), act.StartGeneration).reread
    world.started(3)
    world.imported(3)
    world.ready(3)
    assert of(world.advance(100), act.StartGeneration) == []


def test_generation_lost_during_a_reload_is_replaced_by_that_reload() -> None:
    world = World().serve()
    world.now += 60
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    assert of(world.send(ev.GenerationExited(1, KILLED)), act.StartGeneration) == []
    world.imported(2)
    world.ready(2)
    world.exit_all(1)
    assert [one.number for one in world.fleet.generations] == [2]


def test_generation_that_dies_again_and_again_backs_off() -> None:
    world = World().serve()
    asked = world.send(ev.GenerationExited(1, KILLED))
    assert of(asked, act.StartGeneration) == []
    only(world.advance(0.2), act.StartGeneration)


def test_worker_that_was_never_forked_is_forgotten_with_its_generation() -> None:
    world = World().serve()
    world.now += 60
    world.exits(world.worker(1), KILLED)
    assert world.worker(1).pid == 0
    world.send(ev.WorkerClosed(1, world.worker(1).slot))
    world.send(ev.GenerationExited(1, KILLED))
    assert [one.worker for one in world.fleet.workers] == [2]


# --- recycling


def test_recycled_worker_leaves_when_its_replacement_is_ready() -> None:
    world = World().serve()
    world.now += 60
    asked = world.send(ev.WorkerRecycle(1, 0, "max-requests 500"))
    spawn = only(asked, act.SpawnWorker)
    assert (spawn.worker, spawn.slot) == (1, 2)
    assert told(asked, "retire") == []
    world.spawned(1)
    asked = world.send(ev.WorkerReady(1, 2))
    assert told(asked, "retire") == [(1, 0)]
    old = world.fleet.worker(1, 0)
    assert old is not None
    assert of(world.exits(old), act.SpawnWorker) == []
    assert [(one.worker, one.slot) for one in world.fleet.workers] == [(2, 1), (1, 2)]
    assert "max-requests 500" in world.log and "DAMN" not in world.log


def test_recycling_goes_few_at_a_time() -> None:
    world = World(processes=8).serve()
    world.now += 60
    for slot in range(8):
        world.send(ev.WorkerRecycle(1, slot, "max-requests 500"))
    starting = [one for one in world.fleet.workers if one.state == "starting"]
    assert len(starting) == 2
    world.spawned(1)
    world.send(ev.WorkerReady(1, starting[0].slot))
    assert sum(one.state == "starting" for one in world.fleet.workers) == 2
    for _ in range(20):
        world.ready(1)
        for handle in world.fleet.workers:
            if handle.state == "draining":
                world.exits(handle)
    assert sorted(one.worker for one in world.fleet.workers) == list(range(1, 9))
    assert all(one.state == "ready" and not one.recycle for one in world.fleet.workers)


def test_recycling_waits_for_the_shortest_lifetime() -> None:
    world = World(min_worker_lifetime_s=10.0).serve()
    world.now += 4
    assert of(world.send(ev.WorkerRecycle(1, 0, "max-requests 5")), act.SpawnWorker) == []
    assert of(world.advance(5), act.SpawnWorker) == []
    only(world.advance(1.1), act.SpawnWorker)


def test_replacement_that_dies_is_tried_again_while_the_old_worker_serves() -> None:
    world = World().serve()
    world.now += 60
    world.send(ev.WorkerRecycle(1, 0, "max-requests 500"))
    world.spawned(1)
    replacement = world.fleet.worker(1, 2)
    assert replacement is not None
    asked = world.exits(replacement, KILLED)
    assert told(asked, "retire") == [] and of(asked, act.SpawnWorker) == []
    only(world.advance(0.2), act.SpawnWorker)
    assert told(world.ready(1), "retire") == [(1, 0)]


def test_worker_that_dies_while_it_is_being_replaced_has_its_successor_already() -> None:
    world = World().serve()
    world.now += 60
    old = world.worker(1)
    world.send(ev.WorkerRecycle(1, 0, "max-requests 500"))
    assert of(world.exits(old, KILLED), act.SpawnWorker) == []
    world.ready(1)
    assert [one.worker for one in world.fleet.workers if one.state == "ready"] == [2, 1]


def test_reload_makes_recycling_superfluous() -> None:
    world = World().serve()
    world.now += 60
    world.send(ev.WorkerRecycle(1, 0, "max-requests 500"))
    world.spawned(1)
    world.reload()
    assert {one.state for one in world.fleet.workers_of(1)} == {"draining"}
    world.exit_all(1)
    assert len(world.fleet.workers) == 2


def test_recycling_never_runs_out_of_slots() -> None:
    world = World(processes=1, drain_timeout_s=1000.0, min_worker_lifetime_s=0.0).serve()
    for _ in range(10):
        world.now += 10
        ready = next(one for one in world.fleet.workers if one.state == "ready")
        world.send(ev.WorkerRecycle(1, ready.slot, "max-requests 1"))
        world.ready(1)
    assert len(world.fleet.workers) == slots_for(1)
    oldest = next(one for one in world.fleet.workers if one.state == "draining")
    only(world.exits(oldest), act.SpawnWorker)


# --- stops


@pytest.mark.parametrize("event", [ev.Signal("SIGTERM"), ev.Signal("SIGINT"), ev.StopRequested()])
def test_stop_lets_requests_end_and_exits_with_0(event: ev.Event) -> None:
    world = World().serve()
    asked = world.send(event)
    assert told(asked, "drain") == [(1, 0), (1, 1)]
    only(asked, act.CloseListeners)
    assert only(asked, act.NotifySupervisor).state == "stopping"
    assert only(asked, act.EndGeneration).generation == 1
    world.now += 3
    assert only(world.exit_all(1), act.Exit).status == 0
    assert "worker 1 buried after 3 seconds" in world.log
    assert world.send(ev.Signal("SIGTERM")) == []


def test_drain_ends_with_the_mercy() -> None:
    world = World(drain_timeout_s=5.0).serve()
    world.send(ev.Signal("SIGTERM"))
    assert of(world.advance(5), act.SignalWorker) == []
    assert len(of(world.advance(3), act.SignalWorker)) == 2
    assert only(world.exit_all(1, KILLED), act.Exit).status == 0


@pytest.mark.parametrize("second", ["SIGTERM", "SIGINT"])
def test_second_stop_kills(second: str) -> None:
    world = World().serve()
    world.send(ev.Signal("SIGTERM"))
    world.now += 1.0
    asked = world.send(ev.Signal(second))
    assert [one.signal for one in of(asked, act.SignalWorker)] == ["KILL", "KILL"]
    only(asked, act.KillGeneration)
    assert only(world.exit_all(1, KILLED), act.Exit).status == 0


def test_stop_that_arrives_twice_at_once_is_one_stop() -> None:
    """A Ctrl-C in a process group with a manager that passes it on (honcho, timeout) must not cut requests."""
    world = World().serve()
    world.send(ev.Signal("SIGINT"))
    for second in ("SIGINT", "SIGTERM"):
        world.now += 0.4
        asked = world.send(ev.Signal(second))
        assert of(asked, act.SignalWorker) == of(asked, act.KillGeneration) == []
        assert f"{second} received at the same moment" in world.log
    assert world.fleet.mode == "draining"
    assert only(world.exit_all(1), act.Exit).status == 0


@pytest.mark.parametrize("event", [ev.Signal("SIGQUIT"), ev.StopRequested(now=True)])
def test_quit_stops_without_waiting_for_requests(event: ev.Event) -> None:
    world = World().serve()
    asked = world.send(event)
    assert told(asked, "stop") == [(1, 0), (1, 1)] and told(asked, "drain") == []
    assert len(of(world.advance(3), act.SignalWorker)) == 2
    assert only(world.exit_all(1, KILLED), act.Exit).status == 0


def test_quit_cuts_a_drain_short() -> None:
    world = World().serve()
    world.send(ev.Signal("SIGTERM"))
    assert told(world.send(ev.Signal("SIGQUIT")), "stop") == [(1, 0), (1, 1)]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT"])
def test_stop_during_the_first_import_kills_it(name: str) -> None:
    world = World()
    world.send(ev.Begin())
    world.started(1)
    asked = world.send(ev.Signal(name))
    only(asked, act.KillGeneration)
    assert only(asked, act.AnnounceFailure).status == 1
    assert only(world.send(ev.GenerationExited(1, KILLED)), act.Exit).status == 0


def test_stop_before_the_workers_are_ready_does_not_take_the_whole_mercy() -> None:
    world = World().serve()
    world.now += 60
    world.exits(world.worker(1), KILLED)
    world.spawned(1)
    world.send(ev.Signal("SIGTERM"))
    killed = of(world.advance(3), act.SignalWorker)
    assert len(killed) == 1


def test_stop_during_a_reload_ends_both_generations() -> None:
    world = World().serve()
    world.send(ev.ReloadRequested("reload command", 7))
    world.started(2)
    asked = world.send(ev.Signal("SIGTERM"))
    assert only(asked, act.AnswerReload).tickets == (7,) and not only(asked, act.AnswerReload).ok
    assert only(asked, act.KillGeneration).generation == 2
    assert only(asked, act.EndGeneration).generation == 1
    world.send(ev.GenerationExited(2, KILLED))
    assert only(world.exit_all(1), act.Exit).status == 0


def test_reload_during_a_stop_is_refused() -> None:
    world = World().serve()
    world.send(ev.Signal("SIGTERM"))
    asked = world.send(ev.ReloadRequested("reload command", 9))
    assert of(asked, act.StartGeneration) == [] and not only(asked, act.AnswerReload).ok


def test_worker_reported_after_the_kill_is_killed_then() -> None:
    world = World().serve()
    world.now += 60
    world.exits(world.worker(1), KILLED)
    world.send(ev.Signal("SIGTERM"))
    world.now += 1.5
    world.send(ev.Signal("SIGTERM"))
    handle = world.worker(1)
    assert handle.pid == 0
    asked = world.send(ev.WorkerSpawned(1, handle.slot, 900))
    assert of(asked, act.SignalWorker) == [act.SignalWorker(1, handle.slot, "KILL")]


def test_nothing_is_respawned_during_a_stop() -> None:
    world = World().serve()
    world.exits(world.worker(1), KILLED)
    world.send(ev.Signal("SIGTERM"))
    assert of(world.advance(5), act.SpawnWorker) == []
    assert of(world.exits(world.worker(2), KILLED), act.SpawnWorker) == []


def test_term_reloads_where_the_configuration_says_so() -> None:
    world = World(term="reload").serve()
    only(world.send(ev.Signal("SIGTERM")), act.StartGeneration)
    assert told(world.send(ev.Signal("SIGINT")), "drain") == [(1, 0), (1, 1)]


# --- the other signals


def test_usr1_dumps_statistics() -> None:
    assert World().serve().send(ev.Signal("SIGUSR1")) == [act.DumpStatistics()]


@pytest.mark.parametrize("name", ["SIGUSR2", "SIGALRM", "SIGTTIN", "SIGPWR", "SIGRTMIN+3"])
def test_other_signals_are_logged_and_ignored(name: str) -> None:
    world = World().serve()
    before = world.fleet
    for _ in range(2):
        asked = world.send(ev.Signal(name))
        assert name in only(asked, act.Log).text
    assert world.fleet == before


@pytest.mark.parametrize("name", ["SIGWINCH", "SIGURG", "SIGCHLD"])
def test_signals_of_no_interest_are_not_even_logged(name: str) -> None:
    assert World().serve().send(ev.Signal(name)) == []


def test_tstp_pauses_and_resumes() -> None:
    world = World().serve()
    assert told(world.send(ev.Signal("SIGTSTP")), "pause") == [(1, 0), (1, 1)]
    assert world.fleet.paused
    assert told(world.send(ev.Signal("SIGTSTP")), "resume") == [(1, 0), (1, 1)]


def test_workers_that_come_during_a_pause_are_paused() -> None:
    world = World().serve()
    world.send(ev.PauseRequested(True))
    assert world.send(ev.PauseRequested(True)) == []
    world.now += 60
    assert only(world.exits(world.worker(1), KILLED), act.SpawnWorker).is_paused
    assert told(world.ready(1), "pause") == [(1, 0)]
    assert sorted(told(world.send(ev.PauseRequested(False)), "resume")) == [(1, 0), (1, 1)]


def test_a_worker_that_starts_while_a_pause_begins_or_ends_hears_of_it() -> None:
    world = World().serve()
    world.now += 60
    assert not only(world.exits(world.worker(1), KILLED), act.SpawnWorker).is_paused
    assert sorted(told(world.send(ev.PauseRequested(True)), "pause")) == [(1, 0), (1, 1)]
    assert sorted(told(world.send(ev.PauseRequested(False)), "resume")) == [(1, 0), (1, 1)]


def test_what_does_not_serve_yet_is_not_let_in_by_the_end_of_a_pause() -> None:
    world = World().serve()
    world.send(ev.PauseRequested(True))
    world.send(ev.ReloadRequested("test"))
    world.started(2)
    assert all(one.is_paused for one in of(world.imported(2), act.SpawnWorker))
    assert {generation for generation, _ in told(world.send(ev.PauseRequested(False)), "resume")} == {1}


# --- odds and ends


def test_events_of_what_is_gone_do_nothing() -> None:
    world = World().serve()
    for event in (
        ev.GenerationStarted(9, 1, rules()),
        ev.Imported(9, 1.0),
        ev.ImportFailed(9, "x"),
        ev.GenerationExited(9, 0),
        ev.WorkerSpawned(9, 0, 1),
        ev.WorkerReady(9, 0),
        ev.WorkerFailed(9, 0, "x"),
        ev.WorkerRecycle(9, 0, "x"),
        ev.WorkerClosed(9, 0),
        ev.WorkerExited(9, 0, 1, 0),
        ev.RequestStuck(9, 0, ()),
        detached(9),
        ev.Tick(),
    ):
        assert world.send(event) == [], event


def test_fleet_survives_json() -> None:
    world = World().serve()
    world.now += 60
    world.send(ev.ReloadRequested("reload command", 7))
    world.started(2)
    world.send(ev.ReloadRequested("reload command", 8))
    world.send(ev.WorkerRecycle(1, 0, "max-requests"))
    world.send(ev.WorkerClosed(1, 1))
    assert from_json(json.loads(json.dumps(to_json(world.fleet)))) == world.fleet
    assert world.fleet.timers and world.fleet.records and world.fleet.queued_tickets == (8,)


def test_backoff_grows_to_its_longest_and_stays() -> None:
    assert [backoff_s(n) for n in range(5)] == [0.0, 0.1, 0.2, 0.4, 0.8]
    assert backoff_s(10_000) == 30.0


def test_ends_are_described() -> None:
    assert describe_status(EXIT_22) == "exit status 22"
    assert describe_status(None) == "nobody saw how"
    assert "SIGKILL" in describe_status(KILLED)
    assert describe_status(40) == "killed by signal 40 (unnamed)"


def test_end_of_an_earlier_worker_is_not_taken_for_one_that_is_not_forked_yet() -> None:
    world = World().serve()
    world.now += 60
    old = world.worker(1)
    only(world.exits(old, KILLED), act.SpawnWorker)
    assert world.worker(1).pid == 0
    assert world.exits(old, KILLED) == []


def test_reload_that_hangs_is_given_up_for_the_next_one() -> None:
    """Code that never ends its import must not keep its own cure out."""
    world = World().serve()
    world.send(ev.ReloadRequested("test", 7))
    world.started(2)
    assert of(world.send(ev.Signal("SIGHUP")), act.KillGeneration) == []
    world.advance(31)
    assert "another reload would give it up" in world.log
    asked = world.send(ev.Signal("SIGHUP"))
    assert only(asked, act.KillGeneration).generation == 2
    assert only(asked, act.AnswerReload) == act.AnswerReload(
        (7,), 1, ok=False, reason=only(asked, act.AnswerReload).reason
    )
    assert only(asked, act.StartGeneration).generation == 3
    world.send(ev.GenerationExited(2, KILLED))
    world.started(3)
    world.imported(3)
    world.ready(3)
    assert world.fleet.mode == "serving" and not world.fleet.reload_queued


def test_worker_that_is_never_ready_is_mentioned_and_given_up_for_the_next_reload() -> None:
    world = World().serve()
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    world.imported(2)
    world.spawned(2)
    world.send(ev.WorkerReady(2, 0))
    world.advance(31)
    assert "generation 2" in world.log and "still waits for worker 2 after 30 seconds" in world.log
    asked = world.send(ev.Signal("SIGHUP"))
    assert told(asked, "stop") == [(2, 0), (2, 1)]
    assert only(asked, act.StartGeneration).generation == 3


def test_worker_over_its_limit_is_killed_though_the_start_fails_meanwhile() -> None:
    world = World()
    world.send(ev.Begin())
    world.started(1)
    world.imported(1)
    world.spawned(1)
    world.send(ev.WorkerReady(1, 0))
    world.send(ev.RequestStuck(1, 0, ()))
    world.send(ev.GenerationExited(1, KILLED))
    assert act.SignalWorker(1, 0, "KILL") in world.advance(1)
