"""The number of workers, carried out: with a fake clock and without a process."""

from __future__ import annotations

from typing import Any

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.master.scaling import Load
from penstock.plan.process_types import ScalingPlan
from tests.master.world import KILLED, World, of, only, told

BUSY = Load(free=0, starting=0, busyness=1.0, queue=0, requests=1, busy_threads=2)
CALM = Load(free=3, starting=0, busyness=0.0, queue=0, requests=1)


def scaled(processes: int = 4, **changes: Any) -> World:
    return World(processes=processes, scaling=ScalingPlan(**{"least": 2, "overload": 0, **changes})).serve()


def look(world: World, load: Load) -> list[act.Action]:
    world.now += 1
    return world.send(ev.LoadMeasured(load))


def spawned(actions: list[act.Action]) -> list[int]:
    return [one.worker for one in of(actions, act.SpawnWorker)]


def ids(world: World) -> list[int]:
    return sorted(one.worker for one in world.fleet.workers if one.state in ("starting", "ready"))


def test_start_with_the_initial_number() -> None:
    assert ids(scaled()) == [1, 2]
    assert ids(scaled(initial=3)) == [1, 2, 3]


def test_grow_and_shrink() -> None:
    world = scaled()
    assert spawned(look(world, BUSY)) == [3]
    world.ready(1)
    assert "3 workers instead of 2: every worker was busy for 1 seconds" in world.log
    leaving = world.worker(3)
    assert told(look(world, CALM), "retire") == [(1, leaving.slot)]
    assert spawned(world.exits(leaving)) == [] and ids(world) == [1, 2]
    assert f"worker 3 cheaped (pid: {leaving.pid})" in world.log
    assert "DAMN" not in world.log


def test_worker_that_is_on_its_way_is_stopped_when_it_is_not_wanted() -> None:
    world = scaled(initial=3)
    world.exits(world.worker(3), KILLED)
    world.advance(0.2)
    assert world.worker(3).state == "starting"
    slot = world.worker(3).slot
    assert told(look(world, CALM), "stop") == [(1, slot)]
    assert world.send(ev.WorkerReady(1, slot)) == []
    assert spawned(world.exits(world.worker(3))) == []


def test_back_off_of_a_worker_that_is_not_wanted_ends() -> None:
    world = scaled(initial=3)
    world.exits(world.worker(3), KILLED)
    look(world, CALM)
    assert spawned(world.advance(60)) == []


def test_worker_that_is_wanted_again_while_it_retires() -> None:
    world = scaled(initial=3)
    old = world.worker(3)
    look(world, CALM)
    assert spawned(look(world, BUSY)) == [3]
    world.ready(1)
    assert spawned(world.exits(old)) == [] and ids(world) == [1, 2, 3]


def test_crashed_worker_of_the_wanted_ones_comes_back() -> None:
    world = scaled()
    world.now += 60
    assert spawned(world.exits(world.worker(2), KILLED)) == [2]


def test_reload_begins_with_as_many_as_there_are() -> None:
    world = scaled()
    look(world, BUSY)
    world.ready(1)
    number = world.reload()
    assert sorted(one.worker for one in world.fleet.workers_of(number)) == [1, 2, 3]
    world.exit_all(1)
    assert ids(world) == [1, 2, 3] and world.fleet.scaling.wanted == 3


def test_growth_during_a_reload_is_not_lost() -> None:
    world = scaled()
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    world.imported(2)
    look(world, BUSY)
    assert world.fleet.mode == "reloading"
    assert spawned(world.ready(2)) == [3]
    assert sorted(one.worker for one in world.fleet.workers_of(2)) == [1, 2, 3]


def test_reload_to_a_fixed_number() -> None:
    world = scaled()
    world.send(ev.Signal("SIGHUP"))
    world.started(2, scaling=ScalingPlan())
    assert spawned(world.imported(2)) == [1, 2, 3, 4]
    world.ready(2)
    assert world.fleet.scaling.wanted == 4
    assert spawned(look(world, CALM)) == [] and "cheaped" not in world.log


def test_nothing_is_scaled_while_paused_or_stopping() -> None:
    world = scaled()
    world.send(ev.PauseRequested(True))
    assert look(world, BUSY) == []
    world.send(ev.PauseRequested(False))
    world.send(ev.Signal("SIGTERM"))
    assert look(world, BUSY) == []


def test_more_and_fewer_by_hand() -> None:
    world = scaled(algorithm="manual")
    assert look(world, BUSY) == []
    assert spawned(world.send(ev.WorkersRequested(1, "fifo"))) == [3]
    world.ready(1)
    assert len(told(world.send(ev.WorkersRequested(-1, "fifo")), "retire")) == 1
    world.send(ev.WorkersRequested(-1, "fifo"))
    assert "there are 2 workers, and no fewer may be" in world.log
    fixed = World().serve()
    fixed.send(ev.WorkersRequested(1, "fifo"))
    assert "set cheaper" in fixed.log


def test_cheap_starts_workers_when_somebody_connects() -> None:
    world = World(processes=2, scaling=ScalingPlan(starts_asleep=True))
    world.send(ev.Begin())
    world.started(1)
    asked = world.imported(1)
    only(asked, act.AnnounceReady)
    assert spawned(asked) == [] and only(asked, act.WatchListeners).watched
    assert "cheap mode enabled" in world.log
    asked = world.send(ev.ConnectionWaiting())
    assert spawned(asked) == [1, 2] and not only(asked, act.WatchListeners).watched
    assert spawned(world.send(ev.ConnectionWaiting())) == []
    world.ready(1)
    assert ids(world) == [1, 2]


def test_idle_workers_leave_and_come_back() -> None:
    world = World(scaling=ScalingPlan(idle_s=10.0)).serve()
    assert look(world, CALM) == []
    world.now += 8
    assert told(look(world, CALM), "rest") == []
    world.now += 1
    asked = look(world, CALM)
    assert len(told(asked, "rest")) == 2 and only(asked, act.WatchListeners).watched
    for handle in world.fleet.workers:
        assert spawned(world.exits(handle)) == []
    assert spawned(world.send(ev.ConnectionWaiting())) == [1, 2]
    world.ready(1)
    assert "inactive for more than 10 seconds" in world.log


def test_reload_of_a_sleeping_instance_sleeps_on() -> None:
    world = World(scaling=ScalingPlan(idle_s=1.0)).serve()
    look(world, CALM)
    world.now += 1
    look(world, CALM)
    for handle in world.fleet.workers:
        world.exits(handle)
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    asked = world.imported(2)
    assert spawned(asked) == [] and only(asked, act.WatchListeners).watched
    assert world.fleet.mode == "serving"
    assert spawned(world.send(ev.ConnectionWaiting())) == [1, 2]


def test_die_on_idle_ends_the_instance() -> None:
    world = World(scaling=ScalingPlan(idle_s=2.0, ends_when_idle=True)).serve()
    look(world, CALM)
    world.now += 1
    assert len(told(look(world, CALM), "drain")) == 2
    assert only(world.exit_all(1), act.Exit).status == 0


def test_workers_are_sent_away_by_hand() -> None:
    world = World().serve()
    asked = world.send(ev.SleepRequested("master-fifo"))
    assert len(told(asked, "rest")) == 2 and only(asked, act.WatchListeners).watched
    world.send(ev.SleepRequested("master-fifo"))
    assert "can not be sent away now" in world.log
    assert spawned(world.send(ev.ConnectionWaiting())) == [1, 2]
