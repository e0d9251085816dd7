"""The statistics document, with the fields of uWSGI's stats server: its tools (uwsgitop, exporters) go on working.

Pure: numbers in, document out. Differences, all on purpose: the variables of requests in progress are never shown
(they hold cookies and passwords), counters survive a reload, and unix sockets have a queue too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from penstock.observe.scoreboard import ACCEPTING, DRAINING, PAUSED, ThreadRow, WorkerRow
from penstock.values import dataclass

LOCK_NAMES = ("user 0", "signal", "filemon", "timer", "rbtimer", "cron", "rpc", "snmp")
"""The locks that every uWSGI has; Penstock has none of them, and shows them free."""


@dataclass(frozen=True, slots=True)
class SocketView:
    """A listening socket."""

    name: str
    protocol: str
    queue: int
    max_queue: int


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A living worker: its handle, its cells of the scoreboard, and what the kernel says."""

    pid: int
    is_current: bool
    """Whether it takes new requests, or will: among the workers of one id it gives pid and status."""
    row: WorkerRow
    threads: tuple[ThreadRow, ...]
    rss_bytes: int = 0
    vsz_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """The sums of one id's workers that are gone."""

    requests: int = 0
    exceptions: int = 0
    tx_bytes: int = 0
    running_time_us: int = 0
    average_response_us: int = 0
    signals: int = 0
    refused: int = 0
    threads: tuple[ThreadRow, ...] = ()
    app_requests: tuple[int, ...] = ()
    app_exceptions: tuple[int, ...] = ()
    accepted: int = 0
    waited: int = 0
    waited_us: int = 0

    def plus(self, row: WorkerRow, threads: Sequence[ThreadRow]) -> Ended:
        """Add a worker that has just gone."""
        return Ended(
            self.requests + row.requests,
            self.exceptions + row.exceptions,
            self.tx_bytes + row.tx_bytes,
            self.running_time_us + row.running_time_us,
            row.average_response_us or self.average_response_us,
            self.signals + row.signals,
            self.refused + row.refused,
            add_threads(self.threads, threads),
            add_counts(self.app_requests, row.app_requests),
            add_counts(self.app_exceptions, row.app_exceptions),
            self.accepted + row.accepted,
            self.waited + row.waited,
            self.waited_us + row.waited_us,
        )


@dataclass(frozen=True, slots=True)
class StuckView:
    """A request that took half of `harakiri`, or all of it."""

    core: int
    what: str
    stacks: str
    """Of all threads of its worker."""
    at_epoch_s: int


@dataclass(frozen=True, slots=True)
class IdView:
    """One worker id: the workers that have it now, and the sums of those that had it."""

    worker: int
    workers: tuple[WorkerView, ...]
    ended: Ended
    spawns: int
    harakiris: int
    last_spawn_epoch_s: int
    startup_s: tuple[int, ...]
    """Of each app, as far as it is known."""
    is_paused: bool = False
    stuck: tuple[StuckView, ...] = ()


@dataclass(frozen=True, slots=True)
class ProgramView:
    """A program beside the workers."""

    command: str
    pid: int
    """0 if it does not run."""
    respawns: int


@dataclass(frozen=True, slots=True)
class InstanceView:
    """Everything that the document is made of."""

    version: str
    pid: int
    uid: int
    gid: int
    cwd: str
    chdir: str
    sockets: tuple[SocketView, ...]
    workers: tuple[IdView, ...]
    threads: int = 1
    mountpoints: tuple[str, ...] = ("",)
    """Of each app, by their ids."""
    programs: tuple[ProgramView, ...] = ()
    queue_wait_us: int | None = None
    """How long requests waited for a thread in the last second; None where that is not measured."""


def add_counts(*lists: Sequence[int]) -> tuple[int, ...]:
    """Add up counters, place by place."""
    return tuple(sum(places) for places in zip_longest(*lists, fillvalue=0))


def add_threads(some: Sequence[ThreadRow], more: Sequence[ThreadRow]) -> tuple[ThreadRow, ...]:
    """Add up the counters of threads, number by number."""
    longest = max(len(some), len(more))
    blank = ThreadRow()
    pairs = [(some[n] if n < len(some) else blank, more[n] if n < len(more) else blank) for n in range(longest)]
    return tuple(
        ThreadRow(
            requests=one.requests + other.requests,
            static_requests=one.static_requests + other.static_requests,
            routed_requests=one.routed_requests + other.routed_requests,
            read_errors=one.read_errors + other.read_errors,
            write_errors=one.write_errors + other.write_errors,
            exceptions=one.exceptions + other.exceptions,
        )
        for one, other in pairs
    )


def document(view: InstanceView, has_cores: bool = True) -> dict[str, Any]:
    """Make the document, with single threads or without. The order of the keys is uWSGI's."""
    load = max((one.queue for one in view.sockets), default=0)
    return {
        "version": view.version,
        "listen_queue": load,
        "listen_queue_errors": 0,
        "signal_queue": 0,
        "load": load,
        "pid": view.pid,
        "uid": view.uid,
        "gid": view.gid,
        "cwd": view.cwd,
        **({"daemons": [_program(one) for one in view.programs]} if view.programs else {}),
        "locks": [{name: 0} for name in LOCK_NAMES],
        "sockets": [
            {
                "name": one.name,
                "proto": one.protocol,
                "queue": one.queue,
                "max_queue": one.max_queue,
                "shared": 0,
                "can_offload": 0,
            }
            for one in view.sockets
        ],
        "workers": [
            {key: value for key, value in _worker(one, view).items() if has_cores or key != "cores"}
            for one in view.workers
        ],
        # Of Penstock's own, as is what workers have behind their cores.
        **({} if view.queue_wait_us is None else {"queue_wait": view.queue_wait_us}),
    }


def _program(one: ProgramView) -> dict[str, Any]:
    return {"cmd": one.command, "pid": one.pid, "respawns": one.respawns}


def to_text(value: dict[str, Any], is_minified: bool = False) -> str:
    """Write the document as uWSGI does: a tab for each level, nothing after the colons; or all of it in one line."""
    return json.dumps(value, indent=None if is_minified else "\t", separators=(",", ":")) + "\n"


def dump_lines(view: InstanceView) -> list[str]:
    """Make the lines that SIGUSR1 puts into the log."""
    made = document(view)
    lines = [
        f"*** statistics: Penstock {view.version} (pid: {view.pid}), {len(made['workers'])} workers, "
        f"{view.threads} threads each ***"
    ]
    for one in made["sockets"]:
        lines.append(f"{one['proto']} socket {one['name']}: {one['queue']} of {one['max_queue']} connections waiting")
    total = refused = 0
    for one, source in zip(made["workers"], view.workers, strict=True):
        total += one["requests"]
        refused += source.ended.refused + sum(worker.row.refused for worker in source.workers)
        lines.append(
            f"worker {one['id']} (pid: {one['pid']}, {one['status']}) total requests: {one['requests']}, "
            f"exceptions: {one['exceptions']}, respawns: {max(0, one['respawn_count'] - 1)}, "
            f"harakiri: {one['harakiri_count']}, rss: {one['rss'] >> 20} MB, average: {one['avg_rt'] / 1000:.1f} ms"
        )
        for worker in source.workers:
            for number, thread in enumerate(worker.threads):
                if thread.is_busy:
                    lines.append(
                        f"  core {number} (pid: {worker.pid}) {thread.line} since {thread.since_epoch_us // 1_000_000}"
                    )
    lines.append(f"total requests: {total}, refused by the engine: {refused}")
    return lines


def _worker(one: IdView, view: InstanceView) -> dict[str, Any]:
    current = next((worker for worker in one.workers if worker.is_current), None)
    row = current.row if current else WorkerRow()
    rows = [worker.row for worker in one.workers]
    threads = one.ended.threads
    for worker in one.workers:
        threads = add_threads(threads, worker.threads)
    live = current.threads if current else ()
    requests = one.ended.requests + sum(other.requests for other in rows)
    exceptions = one.ended.exceptions + sum(other.exceptions for other in rows)
    # Where there is one app only, its numbers are the worker's.
    app_requests: Sequence[int] = (requests,)
    app_exceptions: Sequence[int] = (exceptions,)
    if len(view.mountpoints) > 1:
        app_requests = add_counts(one.ended.app_requests, *(other.app_requests for other in rows))
        app_exceptions = add_counts(one.ended.app_exceptions, *(other.app_exceptions for other in rows))
    return {
        "id": one.worker,
        "pid": current.pid if current else 0,
        "accepting": int(row.state == ACCEPTING),
        "requests": requests,
        "delta_requests": row.requests,
        "exceptions": exceptions,
        "harakiri_count": one.harakiris,
        "signals": one.ended.signals + sum(other.signals for other in rows),
        "signal_queue": 0,
        "status": _status(one, current),
        "rss": current.rss_bytes if current else 0,
        "vsz": current.vsz_bytes if current else 0,
        "running_time": one.ended.running_time_us + sum(other.running_time_us for other in rows),
        "last_spawn": one.last_spawn_epoch_s,
        "respawn_count": one.spawns,
        "tx": one.ended.tx_bytes + sum(other.tx_bytes for other in rows),
        "avg_rt": row.average_response_us or one.ended.average_response_us,
        "apps": [
            {
                "id": app,
                "modifier1": 0,
                "mountpoint": mountpoint,
                "startup_time": one.startup_s[app] if app < len(one.startup_s) else 0,
                "requests": app_requests[app] if app < len(app_requests) else 0,
                "exceptions": app_exceptions[app] if app < len(app_exceptions) else 0,
                "chdir": view.chdir,
            }
            for app, mountpoint in enumerate(view.mountpoints)
        ],
        "cores": [_core(number, thread, live) for number, thread in enumerate(_padded(threads, view.threads))],
        # Of Penstock's own; tools of uWSGI look at the names that they know.
        "queued_requests": one.ended.waited + sum(other.waited for other in rows),
        "queue_wait": one.ended.waited_us + sum(other.waited_us for other in rows),
        **({"stuck": [_stuck(stuck) for stuck in one.stuck]} if one.stuck else {}),
    }


def _stuck(one: StuckView) -> dict[str, Any]:
    return {"core": one.core, "at": one.at_epoch_s, "what": one.what, "stacks": one.stacks}


def _padded(threads: Sequence[ThreadRow], count: int) -> list[ThreadRow]:
    """Every thread of the configuration has an entry, whether a worker lives or not."""
    return [threads[n] if n < len(threads) else ThreadRow() for n in range(count)]


def _core(number: int, sums: ThreadRow, live: Sequence[ThreadRow]) -> dict[str, Any]:
    now = live[number] if number < len(live) else ThreadRow()
    busy = now.is_busy
    return {
        "id": number,
        "requests": sums.requests,
        "static_requests": sums.static_requests,
        "routed_requests": sums.routed_requests,
        # No thread is occupied by sending, so that there are none to pass it to.
        "offloaded_requests": 0,
        "write_errors": sums.write_errors,
        "read_errors": sums.read_errors,
        "in_request": int(busy),
        "vars": [],
        "req_info": {"request_start": now.since_epoch_us // 1_000_000} if busy else {},
    }


def _status(one: IdView, current: WorkerView | None) -> str:
    if current is None:
        return "cheap"
    if any(thread.is_busy for thread in current.threads):
        return "busy"
    if one.is_paused or current.row.state in (PAUSED, DRAINING):
        return "pause"
    return "idle"
