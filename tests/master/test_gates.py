"""What a generation has to pass before it serves, as the policy sees it: with a fake clock and without a process."""

from __future__ import annotations

from penstock.master import actions as act
from penstock.master import events as ev
from tests.master.world import KILLED, World, of, only, told

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
