"""Planned replacement, with a fake clock: by age and by memory."""

from __future__ import annotations

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.plan.process_types import RecyclingPlan
from tests.master.world import KILLED, World, of, only, told

MB = 1 << 20


def recycling(**changes: float) -> World:
    return World(recycling=RecyclingPlan(**changes)).serve()  # type: ignore[arg-type]


def measured(world: World, worker: int, rss_mb: int, as_mb: int = 0) -> list[act.Action]:
    """Tell the policy the size of one worker."""
    handle = world.worker(worker)
    size = ev.WorkerMemory(handle.generation, handle.slot, rss_mb * MB, as_mb * MB)
    return world.send(ev.MemoryMeasured((size,)))


def test_worker_that_has_reached_its_age_leaves_when_its_replacement_is_ready() -> None:
    world = recycling(lifetime_s=60)
    assert of(world.advance(59), act.SpawnWorker) == []
    spawned = of(world.advance(2), act.SpawnWorker)
    assert [one.worker for one in spawned] == [1], "few at a time"
    assert "worker 1 lifetime reached, it was running for 60 second(s)" in world.log
    assert told(world.ready(1), "retire") == [(1, 0)]
    assert "is replaced (max-worker-lifetime, 60 seconds old)" in world.log


def test_each_worker_lives_longer_than_the_one_before() -> None:
    world = recycling(lifetime_s=60, lifetime_delta_s=30)
    assert [one.worker for one in of(world.advance(61), act.SpawnWorker)] == [1]
    world.ready(1)
    world.exits(next(one for one in world.fleet.workers if one.state == "draining"))
    assert of(world.advance(28), act.SpawnWorker) == []
    assert [one.worker for one in of(world.advance(2), act.SpawnWorker)] == [2]


def test_shortest_lifetime_counts_for_memory_too() -> None:
    world = recycling(rss_bytes=100 * MB)
    assert of(measured(world, 1, 100), act.SpawnWorker) == []
    assert of(world.advance(9), act.SpawnWorker) == []
    only(world.advance(2), act.SpawnWorker)
    world.ready(1)
    assert "reload-on-rss = 100 MB, and it has 100 MB, 0 s after its start: is the limit below" in world.log


def test_worker_over_its_limit_is_replaced_and_not_killed() -> None:
    world = recycling(as_bytes=500 * MB)
    world.now += 60
    assert of(measured(world, 2, 900, 499), act.SpawnWorker) == []
    assert only(measured(world, 2, 1, 512), act.SpawnWorker).worker == 2
    assert of(measured(world, 2, 1, 600), act.SpawnWorker) == [], "it is being replaced"
    assert of(world.asked, act.SignalWorker) == []
    world.ready(1)
    assert "is replaced (reload-on-as = 500 MB, and it has 512 MB)" in world.log


def test_evil_limit_kills_and_the_worker_comes_back() -> None:
    world = recycling(rss_bytes=100 * MB, evil_rss_bytes=200 * MB)
    world.now += 60
    old = world.worker(1)
    assert only(measured(world, 1, 201), act.SignalWorker).signal == "KILL"
    assert f"*** EVIL RELOAD ON WORKER 1 RSS: {201 * MB} (pid: {old.pid}) ***" in world.log
    assert of(measured(world, 1, 201), act.SignalWorker) == [], "once"
    assert only(world.exits(world.worker(1), KILLED), act.SpawnWorker).worker == 1


def test_worker_that_is_too_large_from_its_start_backs_off() -> None:
    world = recycling(evil_as_bytes=MB)
    for _ in range(3):
        measured(world, 1, 0, 2)
        assert of(world.exits(world.worker(1), KILLED), act.SpawnWorker) == []
        only(world.advance(1.1), act.SpawnWorker)
        world.ready(1)


def test_memory_of_a_worker_that_is_gone_means_nothing() -> None:
    world = recycling(rss_bytes=MB, evil_rss_bytes=MB)
    assert world.send(ev.MemoryMeasured((ev.WorkerMemory(7, 3, MB, MB),))) == []
    world.send(ev.Signal("SIGTERM"))
    assert of(measured(world, 1, 9), act.SignalWorker) == []


def test_exit_on_reload_ends_the_instance_and_lets_requests_end() -> None:
    world = World(exit_on_reload=True).serve()
    asked = world.send(ev.ReloadRequested("reload command", 7))
    assert len(told(asked, "drain")) == 2 and of(asked, act.StartGeneration) == []
    assert only(asked, act.AnswerReload).ok is False
    assert only(world.exit_all(1), act.Exit).status == 0
    assert "exit-on-reload" in world.log
