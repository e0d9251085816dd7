"""The statistics document: uWSGI's fields in uWSGI's order, and the sums over workers that are gone."""

from __future__ import annotations

import json

from penstock.observe.scoreboard import ACCEPTING, DETACHED, DRAINING, IN_APP, PAUSED, STARTING, ThreadRow, WorkerRow
from penstock.observe.stats import (
    Ended,
    IdView,
    InstanceView,
    SocketView,
    StuckView,
    WorkerView,
    add_threads,
    document,
    dump_lines,
    to_text,
)
from penstock.values import replace

TOP = [
    "version",
    "listen_queue",
    "listen_queue_errors",
    "signal_queue",
    "load",
    "pid",
    "uid",
    "gid",
    "cwd",
    "locks",
    "sockets",
    "workers",
]
SOCKET = ["name", "proto", "queue", "max_queue", "shared", "can_offload"]
WORKER = [
    "id",
    "pid",
    "accepting",
    "requests",
    "delta_requests",
    "exceptions",
    "harakiri_count",
    "signals",
    "signal_queue",
    "status",
    "rss",
    "vsz",
    "running_time",
    "last_spawn",
    "respawn_count",
    "tx",
    "avg_rt",
    "apps",
    "cores",
]
OURS = ["queued_requests", "queue_wait"]
APP = ["id", "modifier1", "mountpoint", "startup_time", "requests", "exceptions", "chdir"]
CORE = [
    "id",
    "requests",
    "static_requests",
    "routed_requests",
    "offloaded_requests",
    "write_errors",
    "read_errors",
    "in_request",
    "vars",
    "req_info",
]


def worker(pid: int = 10, state: int = ACCEPTING, is_current: bool = True, busy: bool = False) -> WorkerView:
    row = WorkerRow(pid, state, 0, 5, 1, 1000, 2000, 300, 2, 3, 4)
    threads = (
        ThreadRow(IN_APP if busy else 0, 7, 1_700_000_000_000_000, 3, 1, 5, 2, 4, 1, "GET /"),
        ThreadRow(requests=2),
    )
    return WorkerView(pid, is_current, row, threads, 1 << 20, 1 << 30)


NOBODY = Ended()


def view(*workers: WorkerView, ended: Ended = NOBODY, paused: bool = False) -> InstanceView:
    one = IdView(1, workers, ended, spawns=3, harakiris=1, last_spawn_epoch_s=99, startup_s=(2,), is_paused=paused)
    sockets = (SocketView("127.0.0.1:80", "http", 3, 100), SocketView("/run/a", "uwsgi", 7, 50))
    return InstanceView("1.2", 1, 2, 3, "/cwd", "/app", sockets, (one,), threads=2)


def test_fields_and_their_order_are_uwsgis() -> None:
    made = document(view(worker(busy=True)))
    assert list(made) == TOP
    assert list(made["sockets"][0]) == SOCKET
    assert list(made["workers"][0]) == [*WORKER, *OURS]
    assert list(made["workers"][0]["apps"][0]) == APP
    assert [list(core) for core in made["workers"][0]["cores"]] == [CORE, CORE]


def test_several_apps_have_their_own_numbers() -> None:
    row = WorkerRow(requests=9, app_requests=(4, 3), app_exceptions=(0, 1))
    some = WorkerView(10, True, row, ())
    gone = Ended().plus(row, ())
    shown = replace(view(some, ended=gone), mountpoints=("", "/shop", "/new"))
    apps = document(shown)["workers"][0]["apps"]
    assert [(app["id"], app["mountpoint"], app["startup_time"]) for app in apps] == [
        (0, "", 2), (1, "/shop", 0), (2, "/new", 0),
    ]  # fmt: skip
    assert [app["requests"] for app in apps] == [8, 6, 0]
    assert [app["exceptions"] for app in apps] == [0, 2, 0]


def test_listen_queue_is_the_longest() -> None:
    assert document(view())["listen_queue"] == document(view())["load"] == 7


def test_counters_sum_up_what_is_gone_and_what_lives() -> None:
    gone = Ended().plus(worker().row, worker().threads).plus(worker().row, worker().threads)
    made = document(view(worker(pid=10), worker(pid=9, is_current=False), ended=gone))["workers"][0]
    assert made["requests"] == 20 and made["delta_requests"] == 5 and made["exceptions"] == 4
    assert made["tx"] == 4000 and made["running_time"] == 8000 and made["signals"] == 16
    assert made["cores"][0]["requests"] == 12 and made["cores"][0]["write_errors"] == 16
    assert made["pid"] == 10 and made["respawn_count"] == 3 and made["harakiri_count"] == 1


def test_worker_between_death_and_respawn_keeps_its_sums() -> None:
    made = document(view(ended=Ended(requests=5, average_response_us=44)))["workers"][0]
    assert (made["pid"], made["requests"], made["avg_rt"], made["status"]) == (0, 5, 44, "cheap")
    assert len(made["cores"]) == 2


def test_status_is_one_word() -> None:
    def status(*workers: WorkerView, paused: bool = False) -> object:
        return document(view(*workers, paused=paused))["workers"][0]["status"]

    assert status(worker()) == "idle"
    assert status(worker(busy=True)) == "busy"
    assert status(worker(state=PAUSED)) == status(worker(state=DRAINING)) == "pause"
    assert status(worker(), paused=True) == "pause"
    assert status(worker(state=STARTING)) == "idle"


def test_variables_are_never_shown() -> None:
    core = document(view(worker(busy=True)))["workers"][0]["cores"][0]
    assert core["vars"] == [] and core["in_request"] == 1 and core["req_info"] == {"request_start": 1_700_000_000}
    assert document(view(worker()))["workers"][0]["cores"][0]["req_info"] == {}


def test_text_is_indented_with_tabs_and_without_spaces() -> None:
    text = to_text(document(view(worker())))
    assert '\n\t"version":"1.2",\n' in text
    assert json.loads(text)["workers"][0]["id"] == 1


def test_requests_that_took_long_are_shown_where_there_are_some() -> None:
    shown = view(worker())
    assert "stuck" not in document(shown)["workers"][0]
    stuck = StuckView(1, "GET /slow has taken 30.0 s", "Thread MainThread:\n  ...", 1_700_000_000)
    made = document(replace(shown, workers=(replace(shown.workers[0], stuck=(stuck,)),)))["workers"][0]
    assert list(made) == [*WORKER, *OURS, "stuck"], "behind all that uWSGI has"
    assert made["stuck"] == [
        {"core": 1, "at": 1_700_000_000, "what": stuck.what, "stacks": "Thread MainThread:\n  ..."},
    ]


def test_thread_with_a_request_that_was_answered_without_it_is_busy() -> None:
    lost = WorkerView(10, True, WorkerRow(state=ACCEPTING), (ThreadRow(state=DETACHED),))
    made = document(view(lost))["workers"][0]
    assert made["status"] == "busy" and made["cores"][0]["in_request"] == 1


def test_uwsgitop_reads_it() -> None:
    """The keys that uwsgitop 0.12 can not do without."""
    made = document(view(worker()))["workers"][0]
    needed = "id requests exceptions pid status rss vsz tx avg_rt running_time respawn_count harakiri_count last_spawn"
    assert all(made[key] is not None for key in needed.split())


def test_threads_of_different_numbers_add_up() -> None:
    assert [row.requests for row in add_threads((ThreadRow(requests=1),), (ThreadRow(requests=2),) * 2)] == [3, 2]


def test_dump_names_what_is_stuck() -> None:
    stuck = WorkerView(10, True, WorkerRow(), (ThreadRow(state=DETACHED, line="GET /stuck"),))
    assert any("core 0 (pid: 10) GET /stuck since" in line for line in dump_lines(view(stuck)))


def test_dump_names_what_is_busy() -> None:
    text = "\n".join(dump_lines(view(worker(busy=True))))
    assert "worker 1 (pid: 10, busy) total requests: 5" in text
    assert "core 0 (pid: 10) GET / since 1700000000" in text
    assert "uwsgi socket /run/a: 7 of 50 connections waiting" in text
    assert "total requests: 5, refused by the engine: 3" in text


def test_queue_wait_is_shown_where_it_is_measured_and_that_of_ended_workers_counts() -> None:
    shown = view(worker())
    assert "queue_wait" not in document(shown)
    made = document(replace(shown, queue_wait_us=120_000))
    assert list(made) == [*TOP, "queue_wait"] and made["queue_wait"] == 120_000
    ended = Ended().plus(WorkerRow(waited=2, waited_us=300), ()).plus(WorkerRow(waited=1, waited_us=50), ())
    one = replace(shown.workers[0], ended=ended)
    got = document(replace(shown, workers=(one,)))["workers"][0]
    assert (got["queued_requests"], got["queue_wait"]) == (3, 350)
