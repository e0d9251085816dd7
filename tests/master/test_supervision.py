"""What the policy has a supervisor told: reloads, long starts, the end, and whether all is well."""

from __future__ import annotations

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.master.supervision import EXTEND_MOST_S, is_healthy
from tests.master.world import EXIT_0, KILLED, World, of


def told(actions: list[act.Action]) -> list[str]:
    return [one.state for one in of(actions, act.NotifySupervisor)]


def test_reload_is_told_at_its_beginning_and_when_the_new_code_serves() -> None:
    world = World().serve()
    assert told(world.asked) == ["ready"]
    assert told(world.send(ev.Signal("SIGHUP"))) == ["reloading"]
    world.started(2)
    assert told(world.imported(2)) == []
    assert told(world.ready(2)) == ["ready"]


def test_reload_that_fails_ends_too() -> None:
    world = World().serve()
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    assert told(world.send(ev.ImportFailed(2, "no", "Traceback"))) == ["ready"]


def test_each_reload_that_was_asked_for_meanwhile_begins_after_it_was_asked_for() -> None:
    # systemd waits for RELOADING=1 with a time after its signal.
    world = World().serve()
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    assert told(world.send(ev.Signal("SIGHUP"))) == []
    world.imported(2)
    assert told(world.ready(2)) == ["ready", "reloading"]


def test_start_that_lasts_is_given_more_time_but_not_for_ever() -> None:
    world = World()
    world.send(ev.Begin())
    world.started(1)
    assert told(world.advance(4.9)) == []
    assert told(world.advance(0.2)) == ["importing"]
    assert told(world.advance(30.0)) == ["importing"] * 6
    world.advance(EXTEND_MOST_S)
    assert told(world.advance(60.0)) == []


def test_long_reload_is_given_more_time_and_none_when_it_is_over() -> None:
    world = World().serve()
    world.advance(3600)
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    assert told(world.advance(6.0)) == ["importing"]
    world.imported(2)
    assert told(world.advance(5.0)) == ["importing"]
    world.ready(2)
    assert told(world.advance(60.0)) == []


def test_end_is_told_with_the_status_of_a_start_that_failed() -> None:
    world = World()
    world.send(ev.Begin())
    world.started(1)
    actions = world.send(ev.ImportFailed(1, "no module named shop", "Traceback"))
    assert of(actions, act.NotifySupervisor) == [act.NotifySupervisor("stopping", "no module named shop", 22)]
    assert told(World().serve().send(ev.Signal("SIGTERM"))) == ["stopping"]


def test_pause_is_told() -> None:
    world = World().serve()
    assert told(world.send(ev.Signal("SIGTSTP"))) == ["status"]
    assert is_healthy(world.fleet)


def test_instance_without_a_ready_worker_is_not_healthy() -> None:
    world = World()
    assert is_healthy(world.fleet)
    world.serve()
    assert is_healthy(world.fleet)
    world.exits(world.worker(1), KILLED)
    assert is_healthy(world.fleet)
    world.exits(world.worker(2), KILLED)
    assert not is_healthy(world.fleet)
    world.advance(10.0)
    world.ready(1)
    assert is_healthy(world.fleet)


def test_instance_that_ends_or_sleeps_is_healthy() -> None:
    world = World().serve()
    world.send(ev.SleepRequested("test"))
    for handle in world.fleet.workers_of(1):
        world.exits(handle, EXIT_0)
    assert not world.fleet.workers and is_healthy(world.fleet)
    world = World().serve()
    world.send(ev.Signal("SIGTERM"))
    for handle in world.fleet.workers_of(1):
        world.exits(handle, EXIT_0)
    assert is_healthy(world.fleet)
