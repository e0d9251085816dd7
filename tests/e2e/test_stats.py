"""The stats socket, as uwsgitop and `--connect-and-read` read it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import sys
import termios
from pathlib import Path

import pytest

from tests.e2e.clients import connect, get
from tests.e2e.harness import APPS, Gate, Penstock, read_stats, run_penstock, until

TOP = {"version", "listen_queue", "listen_queue_errors", "signal_queue", "load", "pid", "uid", "gid", "cwd", "locks",
       "sockets", "workers"}  # fmt: skip
WORKER = {"id", "pid", "accepting", "requests", "delta_requests", "exceptions", "harakiri_count", "signals",
          "signal_queue", "status", "rss", "vsz", "running_time", "last_spawn", "respawn_count", "tx", "avg_rt", "apps",
          "cores"}  # fmt: skip
CORE = {"id", "requests", "static_requests", "routed_requests", "offloaded_requests", "write_errors", "read_errors",
        "in_request", "vars", "req_info"}  # fmt: skip


def start(stats: str) -> Penstock:
    return Penstock(
        "--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py", "--master", "--processes", "2", "--threads", "2",
        "--stats", stats,
    )  # fmt: skip


@pytest.mark.option("stats")
def test_every_field_that_readers_expect(short_dir: Path) -> None:
    with start(f"{short_dir}/stats") as instance:
        document = read_stats(f"{short_dir}/stats")
        assert document.keys() >= TOP
        assert document["pid"] == instance.pid
        assert [worker["id"] for worker in document["workers"]] == [1, 2]
        for worker in document["workers"]:
            assert worker.keys() >= WORKER
            assert worker["pid"] in instance.workers()
            assert (worker["accepting"], worker["status"], worker["respawn_count"]) == (1, "idle", 1)
            assert worker["rss"] > 1_000_000
            assert [core["id"] for core in worker["cores"]] == [0, 1]
            for core in worker["cores"]:
                assert core.keys() >= CORE
        (listener,) = document["sockets"]
        assert listener["name"] == instance.http
        assert listener["proto"] == "http"
        assert listener["max_queue"] > 0


def test_the_counters(short_dir: Path) -> None:
    with start(f"{short_dir}/stats") as instance:
        for target in ("/hello",) * 5 + ("/raise-before",):
            get(instance.http, target)

        def totals() -> list[int]:
            workers = read_stats(f"{short_dir}/stats")["workers"]
            return [sum(worker[key] for worker in workers) for key in ("requests", "exceptions")]

        until("6 requests, 1 exception", lambda: totals() == [6, 1])
        workers = read_stats(f"{short_dir}/stats")["workers"]
        assert sum(worker["tx"] for worker in workers) > 6 * 50
        assert sum(core["requests"] for worker in workers for core in worker["cores"]) == 6


@pytest.mark.option("stats", "route", "static-map")
def test_files_and_what_rules_answered_are_told_apart(short_dir: Path) -> None:
    (short_dir / "file.txt").write_text("text")
    rules = ("^/no return:403", f"^/own/(.*) static:{short_dir}/$1", "^/cut break:")
    options = [word for rule in rules for word in ("--route", rule)]
    arguments = ("--wsgi-file", APPS / "cases.py", "--static-map", f"/s={short_dir}", "--stats", short_dir / "stats")
    with Penstock("--http", "127.0.0.1:0", *arguments, *options) as instance:
        for target, status in (("/no", 403), ("/own/file.txt", 200), ("/own/none", 404), ("/s/file.txt", 200)):
            assert get(instance.http, target).status == status
        assert get(instance.http, "/hello").status == 200
        with connect(instance.http) as connection:
            connection.sendall(b"GET /cut HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(1) == b""
        (core,) = read_stats(f"{short_dir}/stats")["workers"][0]["cores"]
        assert (core["requests"], core["static_requests"], core["routed_requests"]) == (6, 2, 4)


def test_a_request_in_progress(short_dir: Path, gate: Gate) -> None:
    from tests.e2e.clients import Connection, request_bytes

    with start(f"{short_dir}/stats") as instance, Connection(instance.http) as connection:
        connection.send(request_bytes("GET", gate.target))
        pid = gate.entered()

        def busy() -> bool:
            (worker,) = (worker for worker in read_stats(f"{short_dir}/stats")["workers"] if worker["pid"] == pid)
            cores = [core for core in worker["cores"] if core["in_request"]]
            return bool(worker["status"] == "busy" and len(cores) == 1 and cores[0]["req_info"].get("request_start"))

        until("one busy core", busy)
        gate.open()
        assert connection.read().body == b"waited"


def test_workers_of_an_older_generation_are_shown_where_the_new_one_has_fewer(short_dir: Path) -> None:
    config, stats = short_dir / "app.ini", f"{short_dir}/stats"
    text = f"[uwsgi]\nhttp = 127.0.0.1:0\nwsgi-file = {APPS / 'cases.py'}\nstats = {stats}\nreload-watch = 600\n"
    config.write_text(f"{text}processes = 2\n")
    with Penstock("--ini", config) as instance:
        second = read_stats(stats)["workers"][1]["pid"]
        config.write_text(f"{text}processes = 1\n")
        instance.reload()
        first, other = read_stats(stats)["workers"]
        assert first["pid"] in instance.workers() and other["pid"] == second


def test_connect_and_read(short_dir: Path) -> None:
    with start(f"{short_dir}/stats") as instance:
        result = run_penstock("--connect-and-read", f"{short_dir}/stats")
        assert result.returncode == 0
        assert json.loads(result.stdout or result.stderr)["pid"] == instance.pid


def test_connect_and_read_without_a_server(short_dir: Path) -> None:
    result = run_penstock("--connect-and-read", f"{short_dir}/nobody")
    assert result.returncode == 1
    assert "nobody" in result.stderr


def test_uwsgitop_shows_the_workers(short_dir: Path) -> None:
    """The real program, in a terminal of its own."""
    with start(f"{short_dir}/stats") as instance:
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.update(TERM="xterm", LINES="40", COLUMNS="160")
            program = Path(sys.executable).with_name("uwsgitop")
            os.execv(sys.executable, [sys.executable, "-W", "ignore", str(program), f"{short_dir}/stats"])
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
        os.set_blocking(terminal, False)
        screen = b""

        def shows_both() -> bool:
            nonlocal screen
            try:
                screen += os.read(terminal, 65536)
            except (BlockingIOError, OSError):
                pass
            return all(str(worker).encode() in screen for worker in instance.workers())

        try:
            until("both workers on the screen", shows_both)
            assert b"Traceback" not in screen
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(terminal)


def test_over_tcp() -> None:
    with start("127.0.0.1:0") as instance:
        address = instance.wait_log(r"(?i)stats server.* (\S+:\d+)")[1]
        assert read_stats(address)["pid"] == instance.pid


def test_a_silent_reader_stops_nobody(short_dir: Path) -> None:
    from tests.e2e.clients import connect

    with start(f"{short_dir}/stats"):
        silent = [connect(f"{short_dir}/stats") for _ in range(20)]
        assert read_stats(f"{short_dir}/stats")["workers"]
        for sock in silent:
            sock.close()


def test_usr1_dumps_the_statistics(short_dir: Path) -> None:
    with start(f"{short_dir}/stats") as instance:
        get(instance.http, "/hello")
        since = len(instance.log)
        instance.send(signal.SIGUSR1)
        instance.wait_log(r"(?i)worker 1\b.*request", since=since)
        assert get(instance.http, "/hello").status == 200


@pytest.mark.option("stats-http", "stats-minified", "stats-no-cores")
def test_statistics_over_http_in_one_line_without_threads(short_dir: Path) -> None:
    address = f"{short_dir}/stats"
    options = ("--stats", address, "--stats-http", "--stats-min", "--stats-no-cores")
    with Penstock("--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py", *options), connect(address) as silent:
        silent.setblocking(False)
        response = get(address, "/whatever", {"Connection": "close"})
        assert (response.status, response.version) == (200, "HTTP/1.0")
        assert response.header("Content-Type") == "application/json"
        assert response.body.count(b"\n") == 1
        document = json.loads(response.body)
        assert document["workers"][0]["pid"] and "cores" not in document["workers"][0]
        # Who asks for nothing gets nothing.
        with pytest.raises(BlockingIOError):
            silent.recv(1)
