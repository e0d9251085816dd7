"""Reload strategies, with a fake clock: one by one, back again, and when that is chosen."""

from __future__ import annotations

import pytest

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.master.rolling import choose
from penstock.plan.process_types import WatchPlan
from penstock.values import replace
from tests.master.world import KILLED, World, of, only, told

MB = 1 << 20


def rolling(strategy: str = "rolling", processes: int = 3, **changes: object) -> World:
    """A reload whose new generation has imported the app."""
    world = World(strategy=strategy, processes=processes, **changes).serve()
    world.now += 60
    world.send(ev.ReloadRequested("reload command", 7))
    world.started(2)
    world.imported(2)
    return world


def next_ready(world: World) -> list[act.Action]:
    """The worker that is being started becomes ready."""
    world.spawned(2)
    (handle,) = (one for one in world.fleet.workers_of(2) if one.state == "starting")
    return world.send(ev.WorkerReady(2, handle.slot))


def serving(world: World) -> list[tuple[int, int]]:
    """(generation, worker) of each worker that takes requests."""
    found = [one for one in world.fleet.workers if one.state == "ready" and not one.is_held]
    return sorted((one.generation, one.worker) for one in found)


def test_rolling_waits_until_each_old_worker_is_gone() -> None:
    world = rolling()
    assert [one.worker for one in of(world.asked, act.SpawnWorker) if one.generation == 2] == [1]
    for worker in (1, 2):
        asked = next_ready(world)
        assert told(asked, "resume") == [(2, worker - 1)], "it takes requests at once"
        assert told(asked, "retire") == [(1, worker - 1)]
        assert of(asked, act.SpawnWorker) == of(asked, act.CommitGeneration) == []
        old = world.fleet.worker(1, worker - 1)
        assert old is not None
        asked = world.exits(old)
        assert [(one.generation, one.worker) for one in of(asked, act.SpawnWorker)] == [(2, worker + 1)]
    asked = next_ready(world)
    assert only(asked, act.AnswerReload).ok and only(asked, act.CommitGeneration).generation == 2
    assert only(asked, act.EndGeneration).generation == 1
    world.exit_all(1)
    assert serving(world) == [(2, 1), (2, 2), (2, 3)]
    assert world.fleet.mode == "serving" and world.fleet.timers == ()


def test_chain_goes_on_as_soon_as_each_new_worker_is_ready() -> None:
    world = rolling("chain")
    for worker in (1, 2):
        asked = next_ready(world)
        assert told(asked, "retire") == [(1, worker - 1)]
        assert [(one.generation, one.worker) for one in of(asked, act.SpawnWorker)] == [(2, worker + 1)]
    assert only(next_ready(world), act.AnswerReload).ok


@pytest.mark.parametrize("watch", [0.0, 30.0])
@pytest.mark.parametrize("strategy", ["rolling", "chain"])
def test_old_worker_comes_back_when_the_only_new_one_dies(strategy: str, watch: float) -> None:
    world = rolling(strategy, processes=2, watch=WatchPlan(seconds=watch))
    next_ready(world)
    world.spawned(2)
    new = world.fleet.worker(2, 0)
    assert new is not None and new.state == "ready"
    assert not only(world.exits(new, KILLED), act.AnswerReload).ok
    world.ready(1)
    assert serving(world) == [(1, 1), (1, 2)]


@pytest.mark.parametrize("strategy", ["rolling", "chain"])
def test_each_new_worker_has_its_time_and_the_requests_of_old_ones_have_theirs(strategy: str) -> None:
    world = rolling(strategy, processes=2, reload_timeout_s=100.0, drain_timeout_s=1000.0)
    world.advance(90)
    next_ready(world)
    old = world.fleet.worker(1, 0)
    assert old is not None
    if strategy == "rolling":
        world.advance(500)
        assert world.fleet.mode == "reloading"
        world.exits(old)
    world.spawned(2)
    assert of(world.advance(101), act.AnswerReload) == []
    asked = world.advance(2)
    assert "worker 2 was not ready after 100 seconds" in only(asked, act.AnswerReload).reason
    assert world.fleet.mode == "serving"


@pytest.mark.parametrize("strategy", ["rolling", "chain"])
def test_old_workers_that_die_before_their_turn_come_back(strategy: str) -> None:
    world = rolling(strategy)
    victim = world.fleet.worker(1, 2)
    assert victim is not None
    assert only(world.exits(victim, KILLED), act.SpawnWorker).generation == 1
    next_ready(world)
    old = world.fleet.worker(1, 0)
    assert old is not None
    assert [one for one in of(world.exits(old), act.SpawnWorker) if one.generation == 1] == []


@pytest.mark.parametrize("strategy", ["rolling", "chain"])
def test_a_first_worker_that_fails_changes_nothing(strategy: str) -> None:
    world = rolling(strategy)
    world.spawned(2)
    asked = world.send(ev.WorkerFailed(2, 0, "Traceback: broken"))
    assert not only(asked, act.AnswerReload).ok
    assert told(asked, "retire") == [] and of(asked, act.SpawnWorker) == []
    assert serving(world) == [(1, 1), (1, 2), (1, 3)]
    world.exit_all(2)
    assert world.fleet.mode == "serving"


def test_a_later_worker_that_fails_brings_the_old_ones_back_before_the_new_ones_leave() -> None:
    world = rolling()
    next_ready(world)
    old = world.fleet.worker(1, 0)
    assert old is not None
    world.exits(old)
    world.spawned(2)
    asked = world.exits(world.fleet.workers_of(2)[1], KILLED)
    assert not only(asked, act.AnswerReload).ok
    assert told(asked, "retire") == told(asked, "stop") == []
    spawn = only(asked, act.SpawnWorker)
    assert (spawn.generation, spawn.worker, spawn.entry) == (1, 1, "replacement")
    assert serving(world) == [(1, 2), (1, 3), (2, 1)], "nobody is missed"
    assert told(world.ready(1), "retire") == [(2, 0)]
    world.exit_all(2)
    assert serving(world) == [(1, 1), (1, 2), (1, 3)] and world.fleet.mode == "serving"


def test_a_new_generation_that_loses_its_process_goes_back_too() -> None:
    world = rolling("chain")
    next_ready(world)
    world.send(ev.GenerationExited(2, KILLED))
    assert serving(world) == [(1, 2), (1, 3), (2, 1)]
    assert told(world.ready(1), "retire") == [(2, 0)]


def test_a_stop_in_the_middle_drains_both() -> None:
    world = rolling("chain")
    next_ready(world)
    asked = world.send(ev.Signal("SIGTERM"))
    assert set(told(asked, "drain")) == {(one.generation, one.slot) for one in world.fleet.workers}
    world.exit_all(1)
    assert only(world.exit_all(2), act.Exit).status == 0


def test_another_reload_does_not_give_one_up_that_has_begun_to_serve() -> None:
    world = rolling()
    next_ready(world)
    world.advance(45)
    assert of(world.send(ev.Signal("SIGHUP")), act.StartGeneration) == []
    assert world.fleet.reload_queued and world.fleet.mode == "reloading"


def test_fewer_workers_end_the_others_at_last() -> None:
    world = World(strategy="chain", processes=3).serve()
    world.send(ev.Signal("SIGHUP"))
    world.started(2, processes=1)
    world.imported(2)
    asked = next_ready(world)
    assert only(asked, act.CommitGeneration).generation == 2
    assert set(told(asked, "retire")) == {(1, 0), (1, 1), (1, 2)}


def test_with_a_watch_a_chain_parks_and_rolling_keeps_the_process_only() -> None:
    watch = WatchPlan(seconds=30.0)
    world = rolling("chain", 2, watch=watch)
    assert told(next_ready(world), "park") == [(1, 0)]
    next_ready(world)
    assert world.fleet.watch.before == 1
    assert told(world.send(ev.RollbackRequested("rollback command")), "resume") == [(1, 0), (1, 1)]

    world = rolling("rolling", 1, watch=watch)
    next_ready(world)
    world.exits(world.fleet.workers_of(1)[0])
    asked = world.send(ev.RollbackRequested("rollback command"))
    assert only(asked, act.SpawnWorker).generation == 1
    assert told(world.ready(1), "retire") == [(2, 0)]

    world = rolling("rolling", 1, watch=watch, lazy=True)
    next_ready(world)
    assert "with lazy-apps they can not come back" in world.fleet.watch.over or world.fleet.watch.before == 1


def test_two_generations_where_they_fit_and_one_by_one_where_they_do_not() -> None:
    fits = ev.Room(free_bytes=500 * MB, needed_bytes=400 * MB, source="MemAvailable of the machine")
    short = replace(fits, free_bytes=430 * MB)
    assert choose("auto", None) == choose("auto", fits) == ("beside", "")
    assert choose("beside", short) == ("beside", "") and choose("chain", fits) == ("chain", "")
    strategy, reason = choose("auto", short)
    assert strategy == "rolling"
    assert "400 MB" in reason and "430 MB" in reason and "MemAvailable" in reason


def test_short_memory_is_said_with_its_numbers() -> None:
    world = World().serve()
    world.send(ev.Signal("SIGHUP"))
    room = ev.Room(100 * MB, 300 * MB, "memory.max of the control group /sys/fs/cgroup")
    world.send(ev.GenerationStarted(2, world.pid(), world.rules, room))
    assert "generation 2 replaces the workers one by one (rolling)" in world.log
    assert "300 MB" in world.log and "100 MB" in world.log and "memory.max" in world.log
    assert only(world.imported(2), act.SpawnWorker).worker == 1


def test_a_first_start_does_not_roll() -> None:
    world = World(strategy="rolling", processes=3)
    world.send(ev.Begin())
    world.started(1)
    assert len(of(world.imported(1), act.SpawnWorker)) == 3
