"""What probes are told, from fleets and loads as values: readiness, saturation, and how long somebody has waited."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from penstock.master import events as ev
from penstock.master.load import LiveWorker, handed_over
from penstock.master.probes import Look, readiness, saturation
from penstock.master.waits import WaitMeter
from penstock.observe.scoreboard import DETACHED, IN_APP, ThreadRow, WorkerRow
from penstock.plan.process_types import WatchPlan
from penstock.values import replace
from tests.master.world import KILLED, World

BUSY, STUCK, FREE = ThreadRow(state=IN_APP), ThreadRow(state=DETACHED), ThreadRow()


def reason(world: World) -> Any:
    page = readiness(world.fleet)
    assert (page.status == 200) == page.content["ready"] == ("reason" not in page.content)
    return page.content.get("reason")


def test_a_start_is_not_ready_before_every_worker_is() -> None:
    world = World()
    world.send(ev.Begin())
    assert reason(world) == "starting"
    world.started(1)
    assert readiness(world.fleet).content["detail"] == "the application is being imported"
    world.imported(1)
    world.spawned(1)
    world.send(ev.WorkerReady(1, world.worker(1).slot))
    assert readiness(world.fleet).content["detail"] == "1 of 2 workers are ready"
    world.ready(1)
    assert reason(world) is None


def test_a_reload_stays_ready_whatever_becomes_of_it() -> None:
    world = World().serve()
    world.send(ev.Signal("SIGHUP"))
    assert reason(world) is None
    world.started(2)
    world.send(ev.ImportFailed(2, "broken"))
    assert reason(world) is None
    world.reload()
    assert reason(world) is None


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT"])
def test_a_stop_is_not_ready(name: str) -> None:
    world = World().serve()
    world.send(ev.Signal(name))
    assert reason(world) == "draining"
    world.exit_all(1)
    assert reason(world) == "draining"


def test_a_stop_that_is_announced_is_not_ready_before_anything_ends() -> None:
    world = World(drain_delay_s=10.0).serve()
    world.send(ev.Signal("SIGTERM"))
    assert world.fleet.mode == "serving" and reason(world) == "draining"


def test_a_pause_is_not_ready() -> None:
    world = World().serve()
    world.send(ev.PauseRequested(True))
    assert reason(world) == "paused"
    world.send(ev.PauseRequested(False))
    assert reason(world) is None


def test_one_worker_is_enough_and_none_is_not() -> None:
    world = World().serve()
    world.advance(60)
    world.exits(world.worker(1), KILLED)
    assert reason(world) is None
    world.exits(world.worker(2), KILLED)
    assert reason(world) == "no-workers"
    world.ready(1)
    assert reason(world) is None


def test_a_crash_loop_has_its_name() -> None:
    world = World(processes=1).serve()
    for _ in range(3):
        world.exits(world.worker(1), KILLED)
        world.advance(1.0)
        world.spawned(1)
    assert reason(world) == "crash-loop"
    assert "3 times in a row" in readiness(world.fleet).content["detail"]


def test_a_generation_without_its_process_is_ready_as_long_as_its_workers_are() -> None:
    world = World().serve()
    world.send(ev.GenerationExited(1, KILLED))
    assert reason(world) is None


def test_a_rollback_is_ready_though_the_old_workers_have_to_be_forked_again() -> None:
    world = World(processes=1, strategy="rolling", watch=WatchPlan(seconds=30.0)).serve()
    world.reload()
    world.exits(world.fleet.workers_of(1)[0])
    world.send(ev.RollbackRequested("rollback command", 3))
    new, old = world.fleet.workers_of(2)[0], world.fleet.workers_of(1)[0]
    assert (new.state, old.state) == ("ready", "starting") and reason(world) is None
    workers = LiveWorker(new, WorkerRow(), (BUSY, FREE)), LiveWorker(old, WorkerRow(), (FREE, FREE))
    assert saturation(look(world, workers), 0.0).content["saturation"] == 0.5


def test_workers_that_stand_by_make_nothing_ready() -> None:
    world = World(processes=1, watch=WatchPlan(seconds=30.0)).serve()
    world.reload()
    world.advance(10)
    world.exits(world.fleet.workers_of(2)[0], KILLED)
    assert world.fleet.workers_of(1)[0].state == "ready" and reason(world) == "no-workers"


def test_an_instance_that_sleeps_is_ready() -> None:
    world = World().serve()
    world.send(ev.SleepRequested("fifo"))
    for handle in world.fleet.workers:
        world.exits(handle)
    assert not world.fleet.workers and reason(world) is None
    page = saturation(look(world, ()), 0.0)
    assert page.status == 200 and page.content["saturation"] == 0.0


def look(world: World, workers: tuple[LiveWorker, ...], **changes: Any) -> Look:
    return replace(Look(world.fleet, workers, 0, 128, 0, 0, 0), **changes)


def test_saturation_is_the_share_of_busy_threads() -> None:
    world = World().serve()
    one, other = world.worker(1), world.worker(2)
    workers = (LiveWorker(one, WorkerRow(), (BUSY, FREE)), LiveWorker(other, WorkerRow(), (BUSY, STUCK)))
    page = saturation(look(world, workers), 0.0)
    assert page.status == 200
    assert (page.content["saturation"], page.content["busy"], page.content["threads"]) == (0.75, 3, 4)


def test_saturated_is_503_with_who_waits() -> None:
    world = World().serve()
    workers = (LiveWorker(world.worker(1), WorkerRow(waiting=2), (BUSY, BUSY)),)
    page = saturation(look(world, workers, backlog=5, handed_over=1), 1.2345)
    assert page.status == 503 and page.content["saturation"] == 1.0
    assert (page.content["waiting"], page.content["oldest_wait_s"], page.content["backlog"]) == (8, 1.234, 5)


def test_workers_that_leave_do_not_count_and_none_is_saturated() -> None:
    world = World().serve()
    leaving = replace(world.worker(1), state="draining")
    page = saturation(look(world, (LiveWorker(leaving, WorkerRow(), (FREE, FREE)),)), 0.0)
    assert page.status == 503 and page.content["threads"] == 0


def second(number: float) -> int:
    return int(number * 1e6)


def test_nobody_waits() -> None:
    meter = WaitMeter()
    assert [meter.look(second(n), accepted=10 * n, queue=0) for n in range(5)] == [0.0] * 5


def test_who_is_not_taken_waits_longer_and_longer() -> None:
    meter = WaitMeter()
    meter.look(second(0), 10, 0)
    assert [meter.look(second(n), 10, 1) for n in (1, 2, 3, 100)] == [1.0, 2.0, 3.0, 100.0]
    assert meter.look(second(101), 11, 0) == 0.0


def test_a_queue_that_moves_is_not_old() -> None:
    meter = WaitMeter()
    # Ten come each second and ten are taken; five always wait.
    waits = [meter.look(second(n), 10 * n, 5) for n in range(1, 100)]
    assert max(waits[1:]) <= 1.0


def test_the_age_is_that_of_the_head_of_the_queue() -> None:
    meter = WaitMeter()
    meter.look(second(0), 0, 0)
    meter.look(second(10), 0, 3)
    meter.look(second(20), 0, 6)
    assert meter.look(second(21), 3, 3) == 11.0, "those of the first ten seconds are taken; these came after them"


def test_a_queue_that_nobody_takes_costs_no_memory() -> None:
    meter = WaitMeter()
    for number in range(100_000):
        meter.look(number, 0, min(number, 128))
    assert len(meter._seen) <= 130


def test_connections_on_their_way_between_workers_are_counted_by_their_bytes() -> None:
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with receiver, sender:
        assert handed_over(receiver, ["127.0.0.1:80"]) == 0
        for _ in range(3):
            sender.send(b"\x0d\x00h127.0.0.1:80")
        assert handed_over(receiver, ["127.0.0.1:80"]) == 3
        assert handed_over(receiver, ["127.0.0.1:80", "/a/much/longer/name/that/is/not/used"]) == 1
