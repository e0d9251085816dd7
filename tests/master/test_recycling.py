"""Planned replacement, with a fake clock: by age and by memory."""

from __future__ import annotations

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.plan.process_types import RecyclingPlan
from tests.master.world import EXIT_22, KILLED, World, of, only, told

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


def test_workers_reload_replaces_all_whatever_their_age() -> None:
    world = World(processes=8).serve()
    asked = world.send(ev.WorkersReload("x has been touched"))
    assert [one.worker for one in of(asked, act.SpawnWorker)] == [1, 2], "a quarter at a time"
    assert "starts workers with the code that is loaded" in world.log
    for _ in range(4):
        world.ready(1)
    assert sorted(one.worker for one in world.fleet.workers if one.state == "ready") == list(range(1, 9))
    assert sum(one.state == "draining" for one in world.fleet.workers) == 8


def test_chain_goes_one_by_one_to_its_end() -> None:
    world = World(processes=8, lazy=True).serve()
    asked = world.send(ev.WorkersReload("chain reload", chain=True))
    for worker in range(1, 9):
        assert only(asked, act.SpawnWorker).worker == worker
        old = next(one for one in world.fleet.workers if one.worker == worker and one.state == "ready")
        asked = world.ready(1)
        world.exits(next(one for one in world.fleet.workers if one.slot == old.slot and one.state == "draining"))
    assert "chain reloading complete" in world.log and not world.fleet.is_chain
    assert "code that is loaded" not in world.log


def test_chain_ends_at_the_first_that_can_not_be_replaced() -> None:
    world = World(processes=3, lazy=True).serve()
    world.send(ev.WorkersReload("chain reload", chain=True))
    world.ready(1)
    world.spawned(1)
    failing = next(one for one in world.fleet.workers if one.state == "starting")
    world.send(ev.WorkerFailed(1, failing.slot, "Traceback"))
    assert "the chain reload ends: worker 2 could not be replaced" in world.log
    world.exits(failing, EXIT_22)
    assert of(world.advance(60), act.SpawnWorker) == []
    assert sorted(one.worker for one in world.fleet.workers if one.state == "ready") == [1, 2, 3]


def test_chain_ends_when_a_replacement_dies() -> None:
    world = World(processes=2).serve()
    world.send(ev.WorkersReload("chain reload", chain=True))
    world.spawned(1)
    world.exits(next(one for one in world.fleet.workers if one.state == "starting"), KILLED)
    assert not world.fleet.is_chain and of(world.advance(60), act.SpawnWorker) == []


def test_workers_are_not_reloaded_while_the_instance_ends() -> None:
    world = World().serve()
    world.send(ev.Signal("SIGTERM"))
    assert of(world.send(ev.WorkersReload("fifo")), act.SpawnWorker) == []
    assert "can not be replaced now" in world.log


def test_changed_code_is_a_reload() -> None:
    world = World().serve()
    only(world.send(ev.CodeChanged("/srv/views.py has changed", 2)), act.StartGeneration)
    assert "[py-auto-reload] /srv/views.py has changed (and 2 more): reloading" in world.log
