"""The master as a process: real signals, forks, descriptors and files, with a generation that needs no engine."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.master import control_client
from penstock.master.control_path import directories
from penstock.master.rereading import fixed_parts
from penstock.options.table import OPTIONS
from penstock.plan.types import HarakiriPlan
from penstock.values import replace
from tests.e2e.harness import until
from tests.master.instance import PATIENCE_S, Instance, is_alive, read_all, wait_until_gone
from tests.master.plans import engine_plan, listener_plan, unix_plan

Make = Callable[..., Instance]


@pytest.fixture
def make(short_dir: Path) -> Iterator[Make]:
    """Make instances that are gone after the test."""
    made: list[Instance] = []

    def make_one(app: str = "fine hello", **changes: Any) -> Instance:
        directory = short_dir / str(len(made))
        directory.mkdir()
        made.append(Instance(directory, app, **changes))
        return made[-1]

    yield make_one
    for one in made:
        one.__exit__(None, None, None)


def workers_of(instance: Instance) -> dict[int, int]:
    """Worker id -> pid of the workers that serve."""
    fleet = instance.fleet()
    serving = next(one["number"] for one in fleet["generations"] if one["state"] == "serving")
    return {one["worker"]: one["pid"] for one in fleet["workers"] if one["generation"] == serving}


def test_serves_and_stops(make: Make) -> None:
    instance = make().serve()
    assert instance.ask().startswith("hello generation=1 pid=")
    assert instance.stop() == 0
    assert "spawned Penstock master process (pid: " in instance.log
    assert "spawned worker 1 (pid: " in instance.log and ", cores: 2)" in instance.log
    ready = next(line for line in instance.log.splitlines() if " is ready: " in line)
    assert f"http://127.0.0.1:{instance.port()} (pid {instance.pid}, 2 workers, 2 threads each)" in ready
    assert instance.log.rstrip().endswith("goodbye to Penstock.")
    assert "worker 1 buried after 0 seconds" in instance.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_signals_that_stop_exit_with_0_and_leave_no_process(make: Make, number: int) -> None:
    instance = make().serve()
    workers = workers_of(instance)
    generation = instance.fleet()["generations"][0]["pid"]
    instance.signal(number)
    assert instance.wait_exit() == 0
    assert not any(is_alive(pid) for pid in (*workers.values(), generation))
    instance.notify.settimeout(1)
    instance.wait_notified("STOPPING=1")


def test_request_in_flight_ends_before_the_instance(make: Make) -> None:
    instance = make(processes=1).serve()
    with instance.connect("hold") as connection:
        assert connection.recv(100) == b"held\n"
        instance.signal(signal.SIGTERM)
        instance.wait_line("gracefully killing workers")
        connection.sendall(b"go\n")
        assert read_all(connection).startswith("hello generation=1")
    assert instance.wait_exit() == 0


def test_second_stop_does_not_wait_for_requests(make: Make) -> None:
    instance = make(processes=1).serve()
    with instance.connect("stick"):
        instance.wait_line("stuck now")
        instance.signal(signal.SIGTERM)
        instance.wait_line("gracefully killing workers")
        # One that comes at the same moment as the first does not count.
        while "killing workers now" not in instance.log:
            instance.signal(signal.SIGINT)
            instance.read_log(0.1)
        assert instance.wait_exit() == 0


def test_drain_is_bounded(make: Make) -> None:
    instance = make(processes=1, drain_timeout_s=0.1).serve()
    with instance.connect("stick"):
        instance.wait_line("stuck now")
        instance.signal(signal.SIGTERM)
        assert instance.wait_exit() == 0
    assert "NO MERCY" in instance.log


@pytest.mark.parametrize("name", ["SIGUSR2", "SIGALRM", "SIGTTIN", "SIGIO", "SIGVTALRM"])
def test_other_signals_change_nothing(make: Make, name: str) -> None:
    instance = make().serve()
    instance.signal(getattr(signal, name))
    instance.wait_line(f"{'SIGIO' if name == 'SIGIO' else name} received: it means nothing here")
    assert instance.ask().startswith("hello")


def test_real_time_signals_and_broken_pipes_change_nothing(make: Make) -> None:
    instance = make().serve()
    instance.signal(signal.SIGPIPE)
    instance.signal(signal.SIGTTOU)
    instance.signal(signal.SIGRTMIN + 3)
    instance.wait_line("SIGRTMIN+3 received")
    assert instance.ask().startswith("hello")


def test_usr1_writes_statistics_to_the_log(make: Make) -> None:
    instance = make().serve()
    for _ in range(3):
        instance.ask()
    instance.signal(signal.SIGUSR1)
    instance.wait_line("total requests: 3, refused")


def test_tstp_pauses_and_resumes(make: Make) -> None:
    instance = make().serve()
    instance.signal(signal.SIGTSTP)
    instance.wait_line("*** PAUSE")
    assert instance.fleet()["paused"]
    with instance.connect() as connection:
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(100)
        instance.signal(signal.SIGTSTP)
        connection.settimeout(PATIENCE_S)
        assert read_all(connection).startswith("hello")


# --- reloads


def test_hup_brings_new_code_and_keeps_the_socket_and_the_master(make: Make) -> None:
    instance = make().serve()
    instance.app.write_text("fine goodbye")
    instance.signal(signal.SIGHUP)
    instance.wait_notified("RELOADING=1")
    instance.wait_notified("READY=1")
    assert instance.ask().startswith("goodbye generation=2")
    assert instance.process is not None and instance.process.poll() is None


def test_no_connection_is_refused_during_reloads(make: Make) -> None:
    instance = make().serve()
    for number in range(2, 6):
        instance.signal(signal.SIGHUP)
        while f"generation={number}" not in instance.ask():
            pass
        instance.wait_notified("READY=1")


def test_broken_code_keeps_the_old_generation(make: Make) -> None:
    instance = make().serve()
    instance.app.write_text("broken")
    progress: list[str] = []
    answer = control_client.request(instance.pid, "reload", wait=True, progress=progress.append, timeout_s=PATIENCE_S)
    assert answer["ok"] is False and answer["status"] == 3
    assert answer["error"] == "Traceback: SyntaxError in views.py" and "SyntaxError" in answer["reason"]
    assert any("starting generation 2" in line for line in progress)
    assert instance.ask().startswith("hello generation=1")
    instance.app.write_text("fine mended")
    answer = instance.command("reload", wait=True)
    assert answer["ok"] is True and answer["status"] == 0 and answer["generation"] == 3
    assert instance.ask().startswith("mended generation=3")


def test_configuration_that_can_not_be_read_keeps_the_old_generation(make: Make) -> None:
    instance = make().serve()
    instance.plan_file.write_text("{ not json")
    answer = instance.command("reload", wait=True)
    assert answer["status"] == 3 and "configuration could not be read again" in answer["reason"]
    assert instance.ask().startswith("hello generation=1")


def test_interpreter_that_is_gone_keeps_the_old_generation(make: Make) -> None:
    instance = make().serve()
    instance.change(app=replace(instance.plan.app, interpreter="/nonexistent/python"))
    answer = instance.command("reload", wait=True)
    assert answer["status"] == 3 and "/nonexistent/python can not be started" in answer["reason"]
    assert instance.ask().startswith("hello generation=1")


def test_reload_takes_the_new_configuration(make: Make) -> None:
    instance = make().serve()
    before = instance.port()
    instance.change(processes=3, listeners=(listener_plan(), listener_plan("127.0.0.1", 0, protocol="uwsgi")))
    assert instance.command("reload", wait=True)["ok"]
    assert len(workers_of(instance)) == 3
    assert instance.ask().startswith("hello generation=2") and before == instance.port()
    added = instance.port(1)
    with socket.create_connection(("127.0.0.1", added), timeout=PATIENCE_S) as connection:
        connection.sendall(b"x\n")
        assert read_all(connection).startswith("hello generation=2")
    instance.change(listeners=(listener_plan(),))
    assert instance.command("reload", wait=True)["ok"]
    instance.wait_line(f"socket 127.0.0.1:{added} is closed")
    assert instance.ask().startswith("hello generation=3")


def test_address_in_use_fails_the_reload_only(make: Make) -> None:
    instance = make().serve()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        instance.change(listeners=(listener_plan(), listener_plan("127.0.0.1", taken.getsockname()[1])))
        answer = instance.command("reload", wait=True)
    assert answer["status"] == 3 and "another instance is running on the same address" in answer["reason"]
    assert instance.ask().startswith("hello generation=1")


def test_touched_file_reloads(make: Make, short_dir: Path) -> None:
    touched = short_dir / "touch"
    instance = make(touch_reload=(str(touched),)).serve()
    touched.write_text("")
    instance.wait_line("has been touched")
    instance.wait_notified("READY=1")
    assert "generation=2" in instance.ask()


def test_term_reloads_where_it_is_configured_to(make: Make) -> None:
    instance = make(term="reload").serve()
    instance.signal(signal.SIGTERM)
    instance.wait_notified("READY=1")
    assert "generation=2" in instance.ask()
    instance.signal(signal.SIGINT)
    assert instance.wait_exit() == 0


# --- deaths


def test_killed_worker_is_respawned(make: Make) -> None:
    instance = make().serve()
    before = workers_of(instance)
    os.kill(before[1], signal.SIGKILL)
    instance.wait_line(f"DAMN ! worker 1 (pid: {before[1]}) died, killed by signal 9")
    instance.wait_line("spawned worker 1 (pid: ", times=2)
    after = workers_of(instance)
    assert after[1] != before[1] and after[2] == before[2]


def test_killed_generation_is_replaced_and_its_workers_serve_on(make: Make) -> None:
    instance = make().serve()
    before = workers_of(instance)
    generation = instance.fleet()["generations"][0]["pid"]
    instance.app.write_text("hang")
    os.kill(generation, signal.SIGKILL)
    instance.wait_line("import hangs")
    assert "generation=1" in instance.ask()
    assert workers_of(instance) == before
    # The master sees the end of an orphan by itself.
    os.kill(before[1], signal.SIGKILL)
    instance.wait_line("worker 1 comes back when generation 1 is replaced")
    assert "generation=1" in instance.ask()
    assert instance.stop() == 0
    assert not any(is_alive(pid) for pid in before.values())


def test_replacement_of_a_killed_generation_takes_over(make: Make) -> None:
    instance = make().serve()
    old = workers_of(instance)
    instance.wait_line(" is ready: ")
    os.kill(instance.fleet()["generations"][0]["pid"], signal.SIGKILL)
    instance.wait_line("generation 2 serves")
    assert "generation=2" in instance.ask()
    for pid in old.values():
        assert wait_until_gone(pid, PATIENCE_S)
    instance.wait_line("killed successfully", times=2)
    assert [one["number"] for one in instance.fleet()["generations"]] == [2]


def test_everything_ends_when_the_master_is_killed(make: Make) -> None:
    instance = make().serve()
    pids = [*workers_of(instance).values(), instance.fleet()["generations"][0]["pid"]]
    instance.signal(signal.SIGKILL)
    for pid in pids:
        assert wait_until_gone(pid, 2.0)


@pytest.mark.parametrize("words", ["harakiri", "harakiri 0 1 x 3 option answered -", "stacks x", "what?"])
def test_worker_that_says_what_nobody_understands_is_logged(make: Make, words: str) -> None:
    instance = make().serve()
    with instance.connect(f"say {words}") as connection:
        assert read_all(connection).startswith("hello ")
    instance.wait_line(f"said what nobody understands: '{words}'")
    assert instance.ask().startswith("hello ")


def test_worker_that_has_served_enough_is_recycled_without_a_gap(make: Make) -> None:
    instance = make(processes=1, engine=replace(engine_plan(), max_requests=3, threads=1)).serve()
    first = workers_of(instance)[1]
    seen = {re.search(r"pid=(\d+)", instance.ask()).group(1) for _ in range(3)}  # type: ignore[union-attr]
    assert seen == {str(first)}
    instance.wait_line(f"worker 1 (pid: {first}) is replaced (max-requests 3)")
    instance.wait_line(f"worker 1 killed successfully (pid: {first})")
    assert instance.ask().startswith("hello generation=1")
    assert "DAMN" not in instance.log


def test_worker_whose_engine_does_nothing_about_a_stuck_request_is_killed(make: Make) -> None:
    instance = make(processes=1, engine=replace(engine_plan(), harakiri=HarakiriPlan(limit_s=1))).serve()
    worker = workers_of(instance)[1]
    with instance.connect("stick"):
        instance.wait_line(f"HARAKIRI ON WORKER 1 (pid: {worker}, try: 1")
        instance.wait_line("HARAKIRI [core 0] GET /stick since ")
        instance.wait_line("HARAKIRI triggered by worker 1 core 0")
        instance.wait_line("stacks are here")
        instance.wait_line("killed by signal 9 (SIGKILL)")
    instance.wait_line("spawned worker 1 (pid: ", times=2)
    assert instance.ask().startswith("hello")


# --- starts that fail


@pytest.mark.parametrize(
    ("app", "says"),
    [("broken", ""), ("exit", ""), ("crash", "killed by signal 11")],
)
def test_app_that_does_not_import_ends_with_22(make: Make, app: str, says: str) -> None:
    instance = make(app).start()
    assert instance.wait_exit() == 22
    assert says in instance.log and "Traceback (most recent" not in instance.log


def test_lazy_app_that_does_not_import_ends_with_22(make: Make) -> None:
    instance = make("lazybroken", lazy_apps=True).start()
    assert instance.wait_exit() == 22


def test_lazy_app_that_stops_importing_keeps_the_old_generation(make: Make) -> None:
    instance = make(lazy_apps=True).serve()
    instance.app.write_text("lazybroken")
    answer = instance.command("reload", wait=True)
    assert answer["status"] == 3 and answer["error"] == "Traceback: lazy SyntaxError"
    assert "generation=1" in instance.ask()


def test_address_in_use_ends_with_1(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        instance = make(listeners=(listener_plan("127.0.0.1", port),)).start()
        assert instance.wait_exit() == 1
    assert f"probably another instance is running on the same address (127.0.0.1:{port})" in instance.log


def test_interpreter_that_does_not_exist_ends_with_1(make: Make) -> None:
    instance = make()
    instance.change(app=replace(instance.plan.app, interpreter="/nonexistent/python"))
    instance.start()
    assert instance.wait_exit() == 1
    assert "/nonexistent/python can not be started: No such file or directory" in instance.log


def test_stop_during_the_import_is_obeyed_at_once(make: Make) -> None:
    instance = make("hang").start()
    instance.wait_line("import hangs")
    instance.signal(signal.SIGTERM)
    assert instance.wait_exit() == 0


# --- files


def test_pid_file_names_the_master_and_goes_at_the_end(make: Make, short_dir: Path) -> None:
    path = short_dir / "pid"
    instance = make(pidfile=str(path)).serve()
    assert path.read_text() == f"{instance.pid}\n"
    inode = path.stat().st_ino
    assert instance.command("reload", wait=True)["ok"]
    assert path.stat().st_ino == inode and path.read_text() == f"{instance.pid}\n"
    assert instance.stop() == 0
    assert not path.exists()


def test_pid_file_of_a_living_instance_refuses_a_second_one(make: Make, short_dir: Path) -> None:
    path = short_dir / "pid"
    first = make(pidfile=str(path)).serve()
    second = make(pidfile=str(path)).start()
    assert second.wait_exit() == 1
    assert f"belongs to an instance that is running (pid {first.pid})" in second.log
    assert path.read_text() == f"{first.pid}\n"


def test_pid_file_of_a_killed_instance_is_replaced(make: Make, short_dir: Path) -> None:
    path = short_dir / "pid"
    first = make(pidfile=str(path)).serve()
    first.signal(signal.SIGKILL)
    first.wait_exit()
    second = make(pidfile=str(path)).serve()
    assert path.read_text() == f"{second.pid}\n"


def test_unix_socket_goes_with_vacuum(make: Make, short_dir: Path) -> None:
    path = short_dir / "app.sock"
    instance = make(listeners=(unix_plan(str(path), mode=0o666),), vacuum=True).serve()
    assert path.stat().st_mode & 0o777 == 0o666
    instance.wait_line(f"uwsgi socket 0 bound to UNIX address {path} fd ")
    assert instance.stop() == 0
    assert not path.exists()


def test_unix_socket_stays_without_vacuum_and_is_replaced_later(make: Make, short_dir: Path) -> None:
    path = short_dir / "app.sock"
    instance = make(listeners=(unix_plan(str(path)),), vacuum=False).serve()
    assert instance.stop() == 0
    assert path.exists()
    make(listeners=(unix_plan(str(path)),)).serve()


def test_log_file_takes_everything_and_errors_still_reach_the_terminal(make: Make, short_dir: Path) -> None:
    path = short_dir / "log"
    instance = make("broken", logto=str(path)).start()
    assert instance.wait_exit() == 22
    assert "Traceback: SyntaxError in views.py" in instance.log
    assert "Starting Penstock" in path.read_text() and "Starting Penstock" not in instance.log
    assert path.stat().st_mode & 0o777 == 0o640


# --- daemonize


def test_daemonize_returns_when_the_instance_is_ready(make: Make, short_dir: Path) -> None:
    log, pid_file = short_dir / "log", short_dir / "pid"
    instance = make(daemonize=str(log), pidfile=str(pid_file)).start()
    assert instance.wait_exit() == 0 and instance.log.endswith(f"; its log is {log}\n")
    master = int(pid_file.read_text())
    try:
        assert " is ready: " in log.read_text()
        assert os.getsid(master) != master and os.getpgid(master) != os.getpgid(0)
        umask = next(line for line in Path(f"/proc/{master}/status").read_text().splitlines() if "Umask" in line)
        assert umask.split()[1] == f"{current_umask():04o}"
    finally:
        os.kill(master, signal.SIGTERM)
        assert wait_until_gone(master, PATIENCE_S)
    assert not pid_file.exists()


def test_daemonize_tells_the_shell_why_it_failed(make: Make, short_dir: Path) -> None:
    instance = make("broken", daemonize=str(short_dir / "log")).start()
    assert instance.wait_exit() == 22
    assert "Traceback: SyntaxError in views.py" in instance.log


def test_daemonize_with_a_bind_error_fails_with_1(make: Make, short_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listeners = (listener_plan("127.0.0.1", taken.getsockname()[1]),)
        instance = make(daemonize=str(short_dir / "log"), listeners=listeners).start()
        assert instance.wait_exit() == 1
    assert "another instance is running on the same address" in instance.log


def test_log_that_can_not_be_opened_ends_with_1(make: Make, short_dir: Path) -> None:
    instance = make(daemonize=str(short_dir / "no" / "log")).start()
    assert instance.wait_exit() == 1
    assert "create the directory" in instance.log


def test_daemonize_outlives_ctrl_c_while_the_shell_waits(make: Make, short_dir: Path) -> None:
    log = short_dir / "log"
    instance = make("hang", daemonize=str(log), pidfile=str(short_dir / "pid")).start()
    until("the import hangs", lambda: log.exists() and "import hangs" in log.read_text())
    instance.signal(signal.SIGINT)
    assert instance.wait_exit() == 130
    assert "the start goes on in the background" in instance.log and "Traceback" not in instance.log
    master = int((short_dir / "pid").read_text())
    os.kill(master, signal.SIGTERM)
    assert wait_until_gone(master, PATIENCE_S)


def current_umask() -> int:
    value = os.umask(0o22)
    os.umask(value)
    return value


# --- control socket


def test_control_socket_is_private_and_goes_at_the_end(make: Make) -> None:
    instance = make().serve()
    path = control_client.find(instance.pid)
    assert path.parent in directories(os.geteuid())
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    status = instance.command("status")
    assert status["version"] and status["addresses"] == [f"http://127.0.0.1:{instance.port()}"]
    assert instance.stop() == 0
    assert not path.exists()


def test_control_socket_of_a_killed_master_is_cleared_away(make: Make) -> None:
    first = make().serve()
    path = control_client.find(first.pid)
    first.signal(signal.SIGKILL)
    first.wait_exit()
    living = make().serve()
    assert not path.exists() and control_client.find(living.pid).exists()


def test_control_stop_waits_for_the_end(make: Make, short_dir: Path) -> None:
    instance = make(pidfile=str(short_dir / "pid")).serve()
    assert instance.command("stop", wait=True)["ok"]
    assert not (short_dir / "pid").exists()
    assert instance.wait_exit() == 0


def test_control_stop_without_waiting_answers_at_once(make: Make) -> None:
    instance = make().serve()
    assert instance.command("stop", now=True)["ok"]
    assert instance.wait_exit() == 0


def test_control_pause_resume_and_stacks(make: Make) -> None:
    instance = make().serve()
    assert instance.command("pause")["ok"] and instance.fleet()["paused"]
    assert instance.command("resume")["ok"] and not instance.fleet()["paused"]
    assert instance.command("stacks")["ok"]
    instance.wait_line("stacks are here", times=2)


def test_control_answers_nonsense_and_survives_bad_clients(make: Make) -> None:
    instance = make().serve()
    path = str(control_client.find(instance.pid))
    clients = []
    for sent in (b"", b"\x00\xff\xfe", b'{"command": "sta', b"x" * 70_000, b"[" * 30_000 + b"\n", b"{}\n[1]\n7\n"):
        for _ in range(10):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.connect(path)
            client.setblocking(False)
            client.send(sent)
            clients.append(client)
    assert instance.command("status")["ok"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE_S)
        client.connect(path)
        client.sendall(b'nonsense\n{"command": "dance"}\n{"command": "sta')
        client.sendall(b'tus"}\n')
        with client.makefile() as lines:
            answers = [json.loads(next(lines)) for _ in range(3)]
    assert [one["ok"] for one in answers] == [False, False, True]
    assert "dance" in answers[1]["reason"]
    for client in clients:
        client.close()


def test_two_clients_wait_for_two_reloads(make: Make) -> None:
    instance = make().serve()
    path = str(control_client.find(instance.pid))
    clients = []
    for _ in range(3):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(PATIENCE_S)
        client.connect(path)
        client.sendall(b'{"command": "reload", "wait": true}\n')
        clients.append(client)
    generations = []
    for client in clients:
        with client.makefile() as lines:
            answer = next(one for one in map(json.loads, lines) if "ok" in one)
        assert answer["ok"]
        generations.append(answer["generation"])
        client.close()
    assert generations == [2, 3, 3]


def test_client_that_leaves_during_a_reload_harms_nobody(make: Make) -> None:
    instance = make().serve()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(control_client.find(instance.pid)))
        client.sendall(b'{"command": "reload", "wait": true}\n')
    instance.wait_line("generation 2 serves")
    assert "generation=2" in instance.ask()


def test_asking_a_process_without_a_control_socket_is_explained() -> None:
    with pytest.raises(control_client.ControlError, match="no control socket"):
        control_client.request(os.getpid(), "status")
    with pytest.raises(control_client.ControlError, match="no process"):
        control_client.request(2**22 + 5, "status")


# --- statistics


def read_stats(instance: Instance) -> dict[str, Any]:
    line = instance.wait_line("*** Stats server enabled on ")
    port = int(line.rpartition(" fd:")[0].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        document: dict[str, Any] = json.loads(read_all(connection))
    return document


def test_statistics_count_over_respawns_and_reloads(make: Make) -> None:
    instance = make(processes=1, stats=listener_plan()).serve()
    for _ in range(4):
        instance.ask()
    os.kill(workers_of(instance)[1], signal.SIGKILL)
    instance.wait_line("spawned worker 1 (pid: ", times=2)
    instance.ask()
    assert instance.command("reload", wait=True)["ok"]
    instance.wait_line("killed successfully")
    instance.ask()
    made = read_stats(instance)
    worker = made["workers"][0]
    assert worker["requests"] == 6 and worker["delta_requests"] == 1
    assert worker["respawn_count"] == 3 and worker["status"] == "idle" and worker["accepting"] == 1
    assert worker["rss"] > 1_000_000 and worker["cores"][0]["requests"] == 6
    assert made["pid"] == instance.pid
    assert [one["name"] for one in made["sockets"]] == [f"127.0.0.1:{instance.port()}"]


def test_statistics_show_a_request_without_its_secrets(make: Make) -> None:
    instance = make(processes=1, stats=listener_plan()).serve()
    with instance.connect("stick"):
        instance.wait_line("stuck now")
        worker = read_stats(instance)["workers"][0]
    core = worker["cores"][0]
    assert worker["status"] == "busy" and core["in_request"] == 1 and core["vars"] == []
    assert core["req_info"]["request_start"] > 1_600_000_000


def test_silent_statistics_clients_block_nobody(make: Make) -> None:
    instance = make(stats=listener_plan()).serve()
    line = instance.wait_line("*** Stats server enabled on ")
    port = int(line.rpartition(" fd:")[0].rpartition(":")[2])
    silent = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) for _ in range(100)]
    assert read_stats(instance)["workers"]
    assert instance.ask().startswith("hello")
    for one in silent:
        one.close()


def test_connections_that_wait_are_counted(make: Make, short_dir: Path) -> None:
    listeners = (listener_plan(), unix_plan(str(short_dir / "app.sock"), backlog=33))
    instance = make(listeners=listeners, stats=listener_plan()).serve()
    instance.command("pause")
    waiting = [instance.connect() for _ in range(3)]
    for _ in range(2):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(str(short_dir / "app.sock"))
        waiting.append(client)
    made = read_stats(instance)
    assert made["sockets"][0]["queue"] == 3 and made["sockets"][0]["max_queue"] == 64
    assert (made["sockets"][1]["queue"], made["sockets"][1]["max_queue"]) in ((2, 33), (0, 0))
    assert made["listen_queue"] == 3
    assert {one["status"] for one in made["workers"]} == {"pause"}
    for one in waiting:
        one.close()


# --- surroundings


def test_works_as_pid_1_and_reaps_strangers(make: Make) -> None:
    probe = subprocess.run(["unshare", "--fork", "--pid", "--mount-proc", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("no pid namespaces here")
    instance = make()
    # The shell becomes the master by `exec`, with a child that it has left behind.
    script = f"sleep 0.2 & exec {sys.executable} {instance.script} {instance.plan_file}"
    instance.process = subprocess.Popen(
        ["unshare", "--fork", "--kill-child", "--pid", "--mount-proc", "sh", "-c", script],
        stderr=subprocess.PIPE,
        env={**os.environ, "NOTIFY_SOCKET": str(instance.directory / "notify")},
    )
    said = instance.wait_notified("READY=1")
    assert "MAINPID=1\n" in said
    assert "generation=1" in instance.ask()
    children = Path(f"/proc/{instance.pid}/task/{instance.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    assert instance.wait_exit() == 0
    assert "goodbye" in instance.log


def test_works_under_a_shell_and_takes_ctrl_c_once(make: Make) -> None:
    instance = make()
    instance.process = subprocess.Popen(
        ["sh", "-c", f"{sys.executable} {instance.script} {instance.plan_file}; exit $?"],
        stderr=subprocess.PIPE,
        env={**os.environ, "NOTIFY_SOCKET": str(instance.directory / "notify")},
        start_new_session=True,
    )
    instance.wait_notified("READY=1")
    # A terminal sends the signal to the whole group; only the master may care.
    os.killpg(instance.pid, signal.SIGINT)
    instance.wait_exit()
    assert "received again" not in instance.log and "goodbye" in instance.log


def test_signal_mask_of_the_parent_does_not_matter(make: Make) -> None:
    instance = make()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD})
    try:
        instance.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    instance.wait_notified("READY=1")
    assert instance.stop() == 0


def may_nobody_run(program: str) -> bool:
    """Whether user 65534 may run it: a virtual environment under /root is not for everybody."""
    try:
        done = subprocess.run([program, "-c", ""], user=65534, group=65534, extra_groups=())
    except PermissionError:
        return False
    return done.returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_becomes_the_user_that_is_configured(make: Make, short_dir: Path) -> None:
    short_dir.chmod(0o755)
    directory = short_dir / "run"
    directory.mkdir()
    os.chown(directory, 65534, 65534)
    sock = directory / "app.sock"
    listeners = (listener_plan(), unix_plan(str(sock)))
    instance = make(uid="nobody", gid="65534", listeners=listeners, pidfile=str(directory / "pid"))
    interpreter = next((one for one in (sys.executable, "/usr/bin/python3") if may_nobody_run(one)), None)
    if interpreter is None:
        pytest.skip("no interpreter that everybody may run")
    instance.change(app=replace(instance.plan.app, interpreter=interpreter))
    instance.directory.chmod(0o777)
    Path(instance.directory / "notify").chmod(0o777)
    instance.serve()
    for pid in (instance.pid, *workers_of(instance).values()):
        status = Path(f"/proc/{pid}/status").read_text()
        assert "\nUid:\t65534\t65534\t65534\t65534\n" in status and "\nGid:\t65534\t65534\t65534\t65534\n" in status
    assert sock.stat().st_uid == 65534
    assert instance.command("reload", wait=True)["ok"]
    assert instance.stop() == 0
    assert not sock.exists() and not (directory / "pid").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_control_socket_refuses_other_users(make: Make) -> None:
    instance = make().serve()
    path = control_client.find(instance.pid)
    script = (
        "import os, socket, sys\n"
        "os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "try: s.connect(sys.argv[1])\n"
        "except PermissionError: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


def test_peer_credentials_are_checked_beside_the_mode() -> None:
    from penstock.master.control import peer_uid

    one, other = socket.socketpair()
    with one, other:
        assert peer_uid(one) == os.geteuid()
        assert len(one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("=iII"))) == 12


# --- what a reload can not change, and the edges of a start


def test_rows_of_the_table_that_need_a_restart_are_the_ones_that_a_reload_leaves(make: Make) -> None:
    rows = {one.name for one in OPTIONS if one.applies == "restart" and one.verdict != "not-needed"}
    # Each socket says for itself that it keeps these.
    sockets = {"chmod-socket", "chown-socket", "freebind", "reuse-port", "so-keepalive"}
    sockets |= {"socket-rcvbuf", "socket-sndbuf", "tcp-fastopen"}
    assert rows == {*fixed_parts(make().plan), *sockets, "log-socket", "log-syslog"}


def test_reload_says_what_it_can_not_change_and_what_is_new(make: Make) -> None:
    instance = make(notes=("an old note",), stats=listener_plan(origin="app.ini:3")).serve()
    same_stats = listener_plan(origin="app.ini:4")
    instance.change(umask=0o27, vacuum=False, notes=("an old note", "a new note"), stats=same_stats)
    assert instance.command("reload", wait=True)["ok"]
    assert "can not change umask: stop" in instance.wait_line("a reload can not change")
    instance.wait_line("a new note")
    assert instance.log.count("an old note") == 1


def test_umask_reaches_the_app(make: Make) -> None:
    instance = make(umask=0o27).serve()
    for pid in workers_of(instance).values():
        assert "\nUmask:\t0027\n" in Path(f"/proc/{pid}/status").read_text()


def test_error_of_the_log_file_is_told_once(make: Make, short_dir: Path) -> None:
    for option in ("daemonize", "logto"):
        instance = make(**{option: str(short_dir / "no" / "log")}).start()
        assert instance.wait_exit() == 1
        assert instance.log.count("create the directory") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_start_that_fails_late_leaves_no_control_socket(make: Make) -> None:
    """The user changes after the sockets are made; here root may not become anybody else (capabilities(7))."""
    instance = make(uid="nobody").start("setpriv", "--bounding-set", "-setuid,-setgid")
    assert instance.wait_exit() == 1
    assert "becoming user" in instance.log
    found = [path for place in directories(65534) for path in place.glob(f"{instance.pid}.ctl")]
    assert found == []


def test_waiting_command_shows_how_a_reload_went(make: Make, short_dir: Path) -> None:
    instance = make(pidfile=str(short_dir / "pid")).serve()
    command = [sys.executable, "-m", "penstock", "reload", "--wait", str(short_dir / "pid")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0 and "generation 2 serves" in done.stdout
    instance.app.write_text("broken")
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 3 and "Traceback: SyntaxError in views.py" in done.stderr
    assert "generation 2 keeps serving" in done.stderr
    assert instance.ask().startswith("hello generation=2")
