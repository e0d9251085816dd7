"""What the policy does about requests that take too long."""

from __future__ import annotations

import pytest

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.master.stuck import engine_limit_s, parse_detached
from penstock.plan.types import HarakiriPlan, RoutesPlan, RulePlan
from penstock.values import replace
from tests.master.plans import engine_plan
from tests.master.world import KILLED, World, of, only, told


def detached(generation: int = 1, slot: int = 0, **changes: object) -> ev.RequestDetached:
    event = ev.RequestDetached(generation, slot, 1, "GET /slow", "192.0.2.7", 17, 20.3, 1_700_000_000, "option", False)
    return replace(event, **changes)  # type: ignore[arg-type]


def replacement_of(world: World, slot: int) -> list[int]:
    return [one.slot for one in world.fleet.workers if one.replaces == slot and one.state == "starting"]


def test_a_worker_with_a_stuck_request_is_replaced_and_finishes_its_others() -> None:
    world = World().serve()
    world.now += 1
    asked = world.send(detached())
    assert only(asked, act.SpawnWorker).worker == 1, "at once, however young it is"
    assert told(asked, "retire") == [] and of(asked, act.SignalWorker) == [], "the replacement first"
    (slot,) = replacement_of(world, 0)
    world.send(ev.WorkerSpawned(1, slot, 500))
    asked = world.send(ev.WorkerReady(1, slot))
    assert told(asked, "retire") == [(1, 0)] and of(asked, act.SignalWorker) == []
    assert "is replaced (harakiri) and finishes its requests" in world.log
    assert of(world.advance(59), act.SignalWorker) == []
    assert of(world.advance(10), act.SignalWorker) == [act.SignalWorker(1, 0, "KILL")], "its mercy is over"
    old = world.fleet.worker(1, 0)
    assert old is not None
    assert of(world.exits(old, KILLED), act.SpawnWorker) == []


def test_the_log_has_the_lines_that_people_look_for() -> None:
    world = World().serve()
    world.send(detached())
    world.send(detached(source="user", was_cut=True, core=0))
    assert "*** HARAKIRI ON WORKER 1 (pid: 102, try: 1, graceful: yes) ***" in world.log
    assert "HARAKIRI [core 1] 192.0.2.7 - GET /slow since 1700000000 (20.3 s, request 17, answered" in world.log
    assert "\nHARAKIRI triggered by worker 1 core 1 !!!" in world.log
    assert "try: 2" in world.log and "request 17, cut off)" in world.log
    assert "\nHARAKIRI (user) triggered by worker 1 core 0 !!!" in world.log
    assert world.fleet.record(1).harakiris == 2
    assert len(replacement_of(world, 0)) == 1, "one replacement is enough"


def test_stuck_workers_are_replaced_all_at_once() -> None:
    world = World(processes=4).serve()
    for slot in range(4):
        world.send(detached(slot=slot))
    assert [len(replacement_of(world, slot)) for slot in range(4)] == [1, 1, 1, 1]


def test_a_stuck_worker_does_not_wait_for_a_planned_replacement() -> None:
    world = World().serve()
    world.now += 60
    world.send(ev.WorkerRecycle(1, 1, "max-requests"))
    world.send(detached())
    assert replacement_of(world, 0) and replacement_of(world, 1)


def test_a_chain_reload_that_breaks_still_replaces_stuck_workers() -> None:
    world = World(lazy=True, processes=3).serve()
    world.now += 60
    world.send(ev.WorkersReload("test", chain=True))
    (first,) = [one for one in world.fleet.workers if one.replaces >= 0]
    world.send(detached(slot=2))
    assert replacement_of(world, 2)
    world.send(ev.WorkerSpawned(1, first.slot, 600))
    world.send(ev.WorkerFailed(1, first.slot, "Traceback"))
    stuck = world.fleet.worker(1, 2)
    assert stuck is not None and stuck.recycle == "harakiri"


def test_repeated_harakiri_is_no_crash_loop() -> None:
    world = World(processes=1).serve()
    slot = 0
    for _ in range(10):
        world.now += 1.5
        world.send(detached(slot=slot))
        (new,) = replacement_of(world, slot)
        world.send(ev.WorkerSpawned(1, new, world.pid()))
        world.send(ev.WorkerReady(1, new))
        old = world.fleet.worker(1, slot)
        assert old is not None
        assert of(world.exits(old), act.SpawnWorker) == []
        slot = new
    assert world.fleet.record(1).failures == 0 and world.fleet.record(1).harakiris == 10
    assert "too fast" not in world.log


def test_a_replacement_that_dies_is_tried_again_later() -> None:
    world = World().serve()
    world.now += 60
    world.send(detached())
    (new,) = replacement_of(world, 0)
    world.send(ev.WorkerSpawned(1, new, 700))
    handle = world.fleet.worker(1, new)
    assert handle is not None
    assert of(world.exits(handle, KILLED), act.SpawnWorker) == []
    world.advance(1)
    assert replacement_of(world, 0), "after a pause"


@pytest.mark.parametrize("mode", ["reload", "stop"])
def test_a_worker_that_leaves_anyway_is_not_replaced(mode: str) -> None:
    world = World().serve()
    world.now += 60
    if mode == "reload":
        world.reload()
    else:
        world.send(ev.Signal("SIGTERM"))
    asked = world.send(detached())
    assert of(asked, act.SpawnWorker) == [] and of(asked, act.SignalWorker) == []
    assert "HARAKIRI ON WORKER 1" in world.log and world.fleet.record(1).harakiris == 1


def test_what_a_worker_says_is_read() -> None:
    said = "1 17 1700000000 20300 option answered 192.0.2.7 GET /slow down"
    assert parse_detached(1, 0, said) == detached(line="GET /slow down")
    said = "0 3 1700000000 1000 user cut - GET /"
    assert parse_detached(2, 4, said) == ev.RequestDetached(
        2, 4, 0, "GET /", "-", 3, 1.0, 1_700_000_000, "user", was_cut=True
    )
    assert parse_detached(1, 0, "0 3 1700000000 1000 rule cut -").line == ""
    for nonsense in ("", "1", "1 2 3 4 nobody cut - GET /", "x 17 1700000000 20300 option answered - GET /"):
        with pytest.raises(ValueError):
            parse_detached(1, 0, nonsense)


def test_the_master_leaves_requests_alone_whose_limit_it_can_not_know() -> None:
    plan = replace(engine_plan(), harakiri=HarakiriPlan(limit_s=20))
    assert engine_limit_s(engine_plan()) == 0
    assert engine_limit_s(plan) == 23
    assert engine_limit_s(replace(plan, harakiri=HarakiriPlan(limit_s=20, queue_threshold=1))) == 0
    rule = RulePlan("x:1", "", False, (), "", "harakiri", (), 0)
    assert engine_limit_s(replace(plan, routes=RoutesPlan(request=(rule,)))) == 0


# --- a worker whose engine does nothing


def seen(slot: int = 0) -> ev.RequestStuck:
    cores = (
        ev.BusyCore(0, "GET /slow", 21.0, 1_700_000_000, stuck=True),
        ev.BusyCore(1, "GET /fast", 0.1, 1_700_000_020, stuck=False),
    )
    return ev.RequestStuck(1, slot, cores)


def test_harakiri_dumps_stacks_then_kills_then_respawns() -> None:
    world = World().serve()
    world.now += 60
    asked = world.send(seen())
    assert of(asked, act.SignalWorker) == [act.SignalWorker(1, 0, "STACKS")]
    assert told(asked, "retire") == [(1, 0)]
    assert "HARAKIRI ON WORKER 1 (pid: 102, try: 1" in world.log
    assert "HARAKIRI [core 0] GET /slow since 1700000000 (21.0 s)" in world.log
    assert "triggered by worker 1 core 0" in world.log and "triggered by worker 1 core 1" not in world.log
    assert world.send(seen()) == [], "once is enough"
    assert of(world.advance(0.4), act.SignalWorker) == [act.SignalWorker(1, 0, "KILL")]
    only(world.exits(world.worker(1), KILLED), act.SpawnWorker)
    assert world.fleet.record(1).harakiris == 1


def test_harakiri_right_after_the_spawn_does_not_back_off() -> None:
    world = World().serve()
    world.now += 2
    world.send(seen())
    world.advance(0.4)
    only(world.exits(world.worker(1), KILLED), act.SpawnWorker)


def test_harakiri_works_in_a_worker_that_drains() -> None:
    world = World().serve()
    world.reload()
    asked = world.send(seen())
    assert of(asked, act.SignalWorker) == [act.SignalWorker(1, 0, "STACKS")]
    assert of(world.advance(0.4), act.SignalWorker) == [act.SignalWorker(1, 0, "KILL")]
