"""Sockets that nobody answers, that another program has, that were left behind."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.doctor.support import evidence, examination, only, serious, write_app, write_configuration
from tests.e2e.harness import Penstock, until


def test_a_running_instance_is_found_by_its_pid_file(running: tuple[Path, Penstock]) -> None:
    folder, instance = running
    found = examination(folder, "app.ini")
    assert serious(found) == set()
    assert found.facts.instance is not None and found.facts.instance.pid == instance.pid
    (one,) = found.facts.sockets
    assert (one.presence, one.speaks, one.master) == ("accepts", "uwsgi", instance.pid)


def test_one_without_a_pid_file_is_found_by_its_socket(running: tuple[Path, Penstock]) -> None:
    folder, instance = running
    text = (folder / "app.ini").read_text()
    (folder / "other.ini").write_text("\n".join(line for line in text.splitlines() if "pidfile" not in line))
    found = examination(folder, "other.ini")
    assert found.facts.instance is not None and found.facts.instance.pid == instance.pid


def test_an_instance_that_does_not_run(folder: Path) -> None:
    one = only(examination(folder, "app.ini"), "not-running")
    assert one.level == "error" and one.commands == ("penstock app.ini",)
    assert "app.sock: there is no such file" in evidence(one)


def test_what_a_killed_instance_leaves_behind(folder: Path) -> None:
    with Penstock("app.ini", cwd=folder) as instance:
        instance.kill_all()
        instance.wait_exit()
        until("the end of all", lambda: not instance.processes())
        one = only(examination(folder, "app.ini"), "stale-socket")
        assert f"process {instance.pid}, which is gone" in evidence(one)
        assert "app.sock: connection refused" in evidence(one)
        instance.clean()


def test_a_pid_file_that_names_nobody(running: tuple[Path, Penstock]) -> None:
    folder, _ = running
    stale = folder / "stale.pid"
    write_configuration(folder, name="stale.ini")
    text = (folder / "stale.ini").read_text().replace("app.pid", "stale.pid")
    (folder / "stale.ini").write_text(text)
    stale.write_text("4194304\n")
    one = only(examination(folder, "stale.ini"), "stale-pid-file")
    assert one.mend is not None and one.mend.commands == (("rm", "--", str(stale)),)


def test_a_pid_file_of_another_program(running: tuple[Path, Penstock]) -> None:
    folder, _ = running
    (folder / "init.ini").write_text((folder / "app.ini").read_text().replace("app.pid", "init.pid"))
    (folder / "init.pid").write_text("1\n")
    one = only(examination(folder, "init.ini"), "stale-pid-file")
    assert "init.pid" in evidence(one)


def test_a_socket_that_was_added_since_the_start(running: tuple[Path, Penstock]) -> None:
    folder, instance = running
    write_configuration(folder, name="new.ini", socket="new.sock")
    one = only(examination(folder, "new.ini"), "nothing-listens")
    assert "new.sock" in one.cause and f"pid {instance.pid}" in evidence(one)
    assert "app.sock" in evidence(one)


def test_a_port_that_another_program_has(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        write_configuration(folder, f"socket = 127.0.0.1:{port}\n")
        found = examination(folder, "app.ini")
        one = next(each for each in found.diagnoses if each.code == "address-taken")
        assert f"127.0.0.1:{port} is taken" in one.cause and "pid " in one.cause
        assert serious(found) == {"address-taken", "not-running"}


@pytest.mark.parametrize(("more", "code"), [("vacuum = true\n", "not-running"), ("", "stale-socket")])
def test_an_instance_that_ends_is_missed_at_once(folder: Path, more: str, code: str) -> None:
    write_configuration(folder, more)
    with Penstock("app.ini", cwd=folder) as instance:
        assert serious(examination(folder, "app.ini")) == set()
        instance.stop(signal.SIGTERM)
        until("the end", lambda: not instance.processes())
        found = examination(folder, "app.ini")
    assert found.facts.instance is None
    assert only(found, code).commands == ("penstock app.ini",)


def test_the_end_of_its_log_tells_why_an_instance_is_gone(folder: Path) -> None:
    write_configuration(folder, f"logto = {folder}/app.log\n")
    (folder / "app.log").write_text("first\n" * 9 + "*** no app loaded. GAME OVER ***\n")
    one = only(examination(folder, "app.ini"), "not-running")
    assert "app.log *** no app loaded. GAME OVER ***" in evidence(one) and evidence(one).count("first") == 2


def test_an_application_that_fails_without_nginx(folder: Path) -> None:
    write_app(folder, "def application(environ, start_response):\n    raise RuntimeError('of the test')\n")
    with Penstock("app.ini", cwd=folder):
        found = examination(folder, "app.ini", requests=True)
        one = only(found, "chain-app-fails")
        assert "answers 500" in one.cause
        assert found.as_json_value()["chain"][0]["reaches"] == f"client -> {folder}/app.sock -> app: 500"
