"""What the statistics are made of, gathered from what the master knows: its fleet, the scoreboards, the sockets."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

import penstock
from penstock.master.fleet import Fleet, WorkerHandle
from penstock.master.generation_link import GenerationLink
from penstock.master.long_requests import LongRequests
from penstock.master.sockets import BoundListener
from penstock.observe.proc import listen_queue, memory_bytes
from penstock.observe.stats import Ended, IdView, InstanceView, ProgramView, SocketView, WorkerView
from penstock.plan.types import Plan


def overview(
    fleet: Fleet,
    plan: Plan,
    links: Mapping[int, GenerationLink],
    ended: Mapping[int, Ended],
    listeners: Sequence[BoundListener],
    long_requests: LongRequests,
    now: float,
) -> InstanceView:
    """Gather it at one moment; `now` is in seconds of CLOCK_MONOTONIC."""
    now_epoch = time.time()
    serving = fleet.serving()
    ids = []
    # A generation that stands by, or still finishes requests, may have had more of them.
    last = max((fleet.rules.processes, *(one.worker for one in fleet.workers)))
    for worker in range(1, last + 1):
        handles = [one for one in fleet.workers if one.worker == worker]
        current = max(
            handles,
            key=lambda one: (
                serving is not None and one.generation == serving.number,
                one.state == "ready",
                one.spawned_at,
            ),
            default=None,
        )
        record = fleet.record(worker)
        ids.append(
            IdView(
                worker,
                tuple(_worker_view(links, one, one is current) for one in handles),
                ended.get(worker, Ended()),
                record.spawns,
                record.harakiris,
                int(now_epoch - (now - record.spawned_at)) if record.spawns else 0,
                tuple(map(int, serving.app_import_s)) if serving else (),
                fleet.paused,
                long_requests.of(worker),
            )
        )
    sockets = [
        SocketView(one.name, one.plan.protocol, *listen_queue(one.socket))
        for one in listeners
        if one.socket.fileno() >= 0
    ]
    return InstanceView(
        penstock.__version__,
        os.getpid(),
        os.geteuid(),
        os.getegid(),
        plan.app.chdir,
        plan.app.chdir,
        tuple(sockets),
        tuple(ids),
        fleet.rules.threads,
        mountpoints(links[serving.number].plan if serving else plan),
        tuple(ProgramView(one.plan.command, one.pid, max(0, one.starts - 1)) for one in fleet.programs),
    )


def _worker_view(links: Mapping[int, GenerationLink], handle: WorkerHandle, is_current: bool) -> WorkerView:
    scoreboard = links[handle.generation].scoreboard
    rss, vsz = memory_bytes(handle.pid) if handle.pid else (0, 0)
    return WorkerView(
        handle.pid, is_current, scoreboard.worker(handle.slot), scoreboard.threads_of(handle.slot), rss, vsz
    )


def mountpoints(plan: Plan) -> tuple[str, ...]:
    """List where the apps are mounted, by their ids."""
    first = ("",) * plan.engine.mounting.first_id
    return (*first, *(mount.point for mount in plan.app.mounts)) or ("",)
