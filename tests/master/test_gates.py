"""What a generation has to pass before it serves, as the policy sees it: with a fake clock and without a process."""

from __future__ import annotations

from penstock.master import actions as act
from penstock.master import events as ev
from tests.master.world import EXIT_22, KILLED, World, of, only, told

# --- workers stand ready before the switch


def test_new_workers_take_no_request_before_all_of_them_are_ready() -> None:
    world = World().serve()
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    assert [one.entry for one in of(world.imported(2), act.SpawnWorker)] == ["reload", "reload"]
    world.spawned(2)
    assert told(world.send(ev.WorkerReady(2, 0)), "resume") == []
    asked = world.send(ev.WorkerReady(2, 1))
    assert told(asked, "resume") == [(2, 0), (2, 1)]
    words = [one.word for one in of(asked, act.TellWorker)]
    assert words == ["resume", "resume", "retire", "retire"], "nobody is missed in between"
    world.now += 60
    assert only(world.exits(world.fleet.workers_of(2)[0], KILLED), act.SpawnWorker).entry == "replacement"


def test_the_first_workers_serve_as_soon_as_they_are_ready() -> None:
    world = World()
    world.send(ev.Begin())
    world.started(1)
    assert [one.entry for one in of(world.imported(1), act.SpawnWorker)] == ["start", "start"]
    assert told(world.ready(1), "resume") == []


def test_a_reload_while_the_instance_is_paused_leaves_it_paused() -> None:
    world = World().serve()
    world.send(ev.PauseRequested(True))
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    world.imported(2)
    asked = world.ready(2)
    assert told(asked, "pause") == told(asked, "resume") == [], "they stand still already"
    assert told(asked, "retire") == [(1, 0), (1, 1)]
    assert told(world.send(ev.PauseRequested(False)), "resume") == [(2, 0), (2, 1)]


def test_a_resume_does_not_let_workers_in_before_their_generation_serves() -> None:
    world = World().serve()
    world.send(ev.PauseRequested(True))
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    world.imported(2)
    world.spawned(2)
    world.send(ev.WorkerReady(2, 0))
    assert told(world.send(ev.PauseRequested(False)), "resume") == [(1, 0), (1, 1)]
    assert told(world.send(ev.WorkerReady(2, 1)), "resume") == [(2, 0), (2, 1)]


# --- the app has to answer before it serves


def at_the_gate(world: World) -> World:
    """A reload whose workers ask the app what it has to answer."""
    world.send(ev.ReloadRequested("reload command", 7))
    world.started(2)
    world.imported(2)
    world.spawned(2)
    for slot in (0, 1):
        world.send(ev.WorkerChecking(2, slot))
    return world


def test_a_worker_that_does_not_pass_fails_the_reload_with_its_cause_first() -> None:
    world = at_the_gate(World(gates_s=10.0).serve())
    reason = "health-check /status was answered 503 Service Unavailable: ValueError: no database at views.py:3"
    asked = world.send(ev.WorkerFailed(2, 0, "Traceback: ValueError", reason, is_import=False))
    answer = only(asked, act.AnswerReload)
    assert answer.tickets == (7,) and not answer.ok and answer.generation == 1
    assert reason in answer.reason.partition("; generation 1 keeps serving")[0] and "ValueError" in answer.error
    assert told(asked, "stop") == [(2, 0), (2, 1)] and told(asked, "retire") == []
    assert world.fleet.mode == "serving" and "OOPS" not in world.log
    assert world.send(ev.WorkerFailed(2, 1, "", reason, is_import=False)) == [], "nobody is told twice"
    world.exit_all(2, EXIT_22)
    assert [one.number for one in world.fleet.generations] == [1] and world.fleet.timers == ()


def test_a_worker_that_passes_is_given_no_more_time() -> None:
    world = at_the_gate(World(gates_s=10.0).serve())
    world.ready(2)
    assert world.fleet.serving() and world.fleet.serving().number == 2  # type: ignore[union-attr]
    world.exit_all(1)
    assert world.fleet.timers == ()


def test_a_worker_that_is_stuck_at_the_gate_shows_its_stacks_and_fails_the_reload() -> None:
    world = at_the_gate(World(gates_s=10.0).serve())
    assert of(world.advance(11.9), act.AnswerReload) == [], "it has a moment to say so itself"
    asked = world.advance(0.2)
    assert act.SignalWorker(2, 0, "STACKS") in asked
    assert "after 10 seconds; its stacks are in the log" in only(asked, act.AnswerReload).reason
    assert world.fleet.mode == "serving"
    killed = {one.slot for one in of(world.advance(3), act.SignalWorker) if one.signal == "KILL"}
    assert killed == {0, 1}


def test_a_replacement_that_is_stuck_at_the_gate_is_tried_again_later() -> None:
    world = World(gates_s=10.0).serve()
    world.now += 60
    world.send(ev.WorkerRecycle(1, 0, "max-requests"))
    new = world.fleet.workers_of(1)[2]
    world.spawned(1)
    world.send(ev.WorkerChecking(1, new.slot))
    asked = world.advance(13)
    assert [(one.slot, one.signal) for one in of(asked, act.SignalWorker)] == [(new.slot, "STACKS"), (new.slot, "KILL")]
    assert told(world.asked, "retire") == [], "the one that it should replace serves on"
    assert "OOPS ! the app does not pass in worker 1" in world.log
    assert of(world.exits(world.fleet.workers_of(1)[2], KILLED), act.SpawnWorker) == []
    assert only(world.advance(5), act.SpawnWorker).worker == 1


def test_a_first_start_whose_every_worker_does_not_pass_ends_with_22() -> None:
    world = World(gates_s=10.0)
    world.send(ev.Begin())
    world.started(1)
    world.imported(1)
    world.spawned(1)
    for slot in (0, 1):
        world.send(ev.WorkerChecking(1, slot))
    assert of(world.send(ev.WorkerFailed(1, 0, "", "health-check /: no", is_import=False)), act.AnnounceFailure) == []
    asked = world.send(ev.WorkerFailed(1, 1, "", "health-check /: no", is_import=False))
    announced = only(asked, act.AnnounceFailure)
    assert announced.status == 22 and "health-check /: no" in announced.text


# --- time limits of a reload


def test_an_import_that_hangs_is_given_up_after_reload_timeout() -> None:
    world = World(reload_timeout_s=100.0).serve()
    world.send(ev.ReloadRequested("reload command", 7))
    world.started(2)
    world.advance(101)
    assert of(world.asked, act.AnswerReload) == [], "the generation has a moment to say so itself"
    asked = world.advance(2)
    answer = only(asked, act.AnswerReload)
    assert not answer.ok and "still importing the app after 100 seconds" in answer.reason
    kinds = [type(one) for one in asked]
    assert act.ShowImport in kinds and act.KillGeneration not in kinds, "it has to write its stacks first"
    assert world.fleet.mode == "serving"
    assert act.KillGeneration(2) in world.advance(10)


def test_the_shorter_of_both_time_limits_counts() -> None:
    world = World(reload_timeout_s=600.0).serve()
    asked = world.send(ev.ReloadRequested("reload command", 7, 20.0))
    assert only(asked, act.StartGeneration).timeout_s == 20.0
    world.started(2)
    asked = world.advance(23)
    assert "after 20 seconds" in only(asked, act.AnswerReload).reason


def test_a_worker_that_is_not_ready_in_time_is_named() -> None:
    world = World(reload_timeout_s=100.0).serve()
    world.send(ev.ReloadRequested("reload command", 7))
    world.started(2)
    world.send(ev.Imported(2, 0.0, lazy=True))
    world.spawned(2)
    world.send(ev.WorkerReady(2, 0))
    asked = world.advance(103)
    assert "worker 2 was not ready after 100 seconds" in only(asked, act.AnswerReload).reason
    assert act.SignalWorker(2, 1, "STACKS") in asked


def test_a_first_start_has_all_the_time_it_wants() -> None:
    world = World(reload_timeout_s=100.0)
    world.send(ev.Begin())
    world.started(1)
    world.advance(1000)
    assert world.fleet.mode == "starting"
    world.imported(1)
    only(world.ready(1), act.AnnounceReady)


def test_a_reload_that_comes_through_leaves_no_time_limit_behind() -> None:
    world = World(reload_timeout_s=100.0, gates_s=10.0).serve()
    world.reload()
    world.exit_all(1)
    assert world.fleet.timers == ()
    world.advance(1000)
    assert world.fleet.mode == "serving"


def test_a_queued_reload_has_its_own_time_limit() -> None:
    world = World(reload_timeout_s=0.0).serve()
    world.send(ev.ReloadRequested("reload command", 7))
    world.send(ev.ReloadRequested("reload command", 8, 30.0))
    world.send(ev.ReloadRequested("reload command", 9, 20.0))
    world.started(2)
    world.imported(2)
    asked = world.ready(2)
    assert only(asked, act.AnswerReload).tickets == (7,)
    assert only(asked, act.StartGeneration).timeout_s == 20.0
    world.started(3)
    answer = only(world.advance(23), act.AnswerReload)
    assert answer.tickets == (8, 9) and not answer.ok
    assert only(world.send(ev.ReloadRequested("reload command", 10)), act.StartGeneration).timeout_s == 0.0


# --- who asked is told of the generation that has what he asked for


def test_reloads_that_are_asked_for_during_one_are_one_more_and_each_hears_of_his_own() -> None:
    world = World().serve()
    world.send(ev.ReloadRequested("reload command", 1))
    for ticket in (2, 3, 4):
        assert of(world.send(ev.ReloadRequested("reload command", ticket)), act.StartGeneration) == []
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    asked = world.send(ev.ImportFailed(2, "SyntaxError", logged=True))
    assert only(asked, act.AnswerReload).tickets == (1,) and not only(asked, act.AnswerReload).ok
    assert only(asked, act.StartGeneration).generation == 3
    world.send(ev.GenerationExited(2, EXIT_22))
    world.started(3)
    world.imported(3)
    asked = world.ready(3)
    assert only(asked, act.AnswerReload) == act.AnswerReload((2, 3, 4), 3, ok=True)
    assert of(asked, act.StartGeneration) == [], "and no further one"
