"""The end of an instance, announced first (`drain-delay`) or not."""

from __future__ import annotations

import pytest

from penstock.master import actions as act
from penstock.master import events as ev
from tests.master.world import KILLED, World, of, only, told


def test_an_announced_end_goes_on_serving_and_then_drains() -> None:
    world = World(drain_delay_s=10.0).serve()
    assert not world.fleet.is_leaving
    asked = world.send(ev.Signal("SIGTERM"))
    assert told(asked, "farewell") == [(1, 0), (1, 1)]
    assert told(asked, "drain") == of(asked, act.CloseListeners) == []
    assert only(asked, act.NotifySupervisor).state == "stopping"
    assert world.fleet.is_leaving and world.fleet.mode == "serving"
    assert "drains in 10 seconds (drain-delay)" in world.log
    assert told(world.advance(9.9), "drain") == []
    asked = world.advance(0.2)
    assert told(asked, "drain") == [(1, 0), (1, 1)]
    only(asked, act.CloseListeners)
    assert only(world.exit_all(1), act.Exit).status == 0


def test_mercy_begins_when_the_delay_is_over() -> None:
    world = World(drain_delay_s=10.0, drain_timeout_s=5.0).serve()
    world.send(ev.Signal("SIGTERM"))
    assert of(world.advance(15.0), act.SignalWorker) == []
    assert len(of(world.advance(1.0), act.SignalWorker)) == 2


def test_a_worker_that_dies_meanwhile_is_replaced_and_told_too() -> None:
    world = World(drain_delay_s=10.0).serve()
    world.now += 60
    world.send(ev.Signal("SIGTERM"))
    only(world.exits(world.worker(1), KILLED), act.SpawnWorker)
    assert told(world.ready(1), "farewell") == [(1, 0)]


def test_a_second_signal_means_now_and_one_at_the_same_moment_does_not() -> None:
    world = World(drain_delay_s=10.0).serve()
    world.send(ev.Signal("SIGTERM"))
    world.now += 0.5
    assert of(world.send(ev.Signal("SIGINT")), act.SignalWorker) == []
    world.now += 0.5
    asked = world.send(ev.Signal("SIGTERM"))
    assert [one.signal for one in of(asked, act.SignalWorker)] == ["KILL", "KILL"]
    assert only(world.exit_all(1, KILLED), act.Exit).status == 0


def test_quit_does_not_wait_for_the_delay() -> None:
    world = World(drain_delay_s=10.0).serve()
    world.send(ev.Signal("SIGTERM"))
    assert told(world.send(ev.Signal("SIGQUIT")), "stop") == [(1, 0), (1, 1)]
    only(world.exit_all(1), act.Exit)


def test_a_stop_that_is_asked_for_twice_by_a_command_is_one() -> None:
    world = World().serve()
    world.send(ev.StopRequested())
    world.now += 30
    asked = world.send(ev.StopRequested())
    assert of(asked, act.SignalWorker) == []
    assert "the instance is stopping already" in world.log
    assert only(world.exit_all(1), act.Exit).status == 0


def test_no_reload_begins_when_the_end_is_announced() -> None:
    world = World(drain_delay_s=10.0).serve()
    world.send(ev.ReloadRequested("reload command", 1))
    world.started(2)
    world.send(ev.ReloadRequested("reload command", 2))
    asked = world.send(ev.Signal("SIGTERM"))
    assert only(asked, act.AnswerReload).tickets == (2,), "it would have followed"
    assert not only(world.send(ev.ReloadRequested("reload command", 3)), act.AnswerReload).ok
    world.imported(2)
    asked = world.ready(2)
    assert only(asked, act.AnswerReload).tickets == (1,), "the one under way comes through"
    assert told(asked, "farewell") == [(2, 0), (2, 1)]
    asked = world.advance(11)
    assert told(asked, "drain") == [(1, 0), (1, 1), (2, 0), (2, 1)]


@pytest.mark.parametrize("begun", [False, True])
def test_before_it_serves_there_is_nothing_to_announce(begun: bool) -> None:
    world = World(drain_delay_s=10.0)
    world.send(ev.Begin())
    if begun:
        world.started(1)
    asked = world.send(ev.Signal("SIGTERM"))
    only(asked, act.CloseListeners)
    assert world.fleet.mode in ("draining", "ended")


def test_the_kill_comes_within_a_second_of_the_mercy() -> None:
    world = World(drain_timeout_s=5.0).serve()
    world.send(ev.Signal("SIGTERM"))
    assert of(world.advance(5.0), act.SignalWorker) == []
    assert len(of(world.advance(0.8), act.SignalWorker)) == 2
