"""Files for other managers than systemd, used for real: an init script, runsv, supervisord; and logrotate."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.deploy import logrotate
from penstock.deploy.service import Service
from penstock.values import replace
from tests.e2e.clients import get
from tests.e2e.harness import Penstock, clean_environment, run_penstock, state, until
from tests.support.plans import plan_of
from tests.support.reachable import reachable

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start services")

APP = """
import os, resource


def application(env, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{VERSION} {os.geteuid()} {resource.getrlimit(resource.RLIMIT_NOFILE)[1]}".encode()]


VERSION = 1
"""
NOBODY = pwd.getpwnam("nobody").pw_uid


@pytest.fixture
def project() -> Iterator[Path]:
    """A project whose sockets and logs have directories of its own name, which are there only while it runs."""
    with reachable() as folder:
        (folder / "app.py").write_text(APP)
        text = f"[uwsgi]\nchdir = %d\nmodule = app\nhttp-socket = /run/{folder.name}/x.sock\nprocesses = 2\n"
        (folder / f"{folder.name}.ini").write_text(text)
        yield folder
        for place in ("/run", "/var/log"):
            shutil.rmtree(f"{place}/{folder.name}", ignore_errors=True)


def files_of(command: str, project: Path, *options: str) -> Path:
    """Have a command write its files into a folder that stands for the root."""
    done = run_penstock(
        command, project / f"{project.name}.ini", "--install", "--root", project / "out", "--program",
        project / "penstock", "--user", "nobody", "--group", "nogroup", *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return project / "out"


def run(*words: str | Path, status: int = 0) -> str:
    """Run a command, which has to end so; all it said."""
    done = subprocess.run(
        [*map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=clean_environment(), timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == status, f"{words} ended with {done.returncode}: {done.stdout}"
    return done.stdout


def change(project: Path, before: str, after: str) -> None:
    """Change the application's code."""
    (project / "app.py").write_text((project / "app.py").read_text().replace(before, after))


def address(project: Path) -> str:
    """Where it answers."""
    return f"/run/{project.name}/x.sock"


@root_only
def test_an_init_script_starts_reloads_and_stops(project: Path) -> None:
    script = files_of("sysv", project) / f"etc/init.d/{project.name}"
    assert "does not run" in run(script, "status", status=3)
    run(script, "reload", status=7)
    assert "starting" in run(script, "start")
    try:
        # The start returns when the application answers.
        version, user, files = get(address(project)).text.split()
        assert (version, int(user)) == ("1", NOBODY) and int(files) >= 8192
        assert "runs (pid" in run(script, "status") and "runs already" in run(script, "start")
        assert os.stat(address(project)).st_mode & 0o777 == 0o660
        change(project, "VERSION = 1", "VERSION = 2")
        run(script, "reload")
        assert get(address(project)).text.split()[0] == "2"
        change(project, "VERSION = 2", "VERSION =")
        assert "SyntaxError" in run(script, "reload", status=3)
        change(project, "VERSION =", "VERSION = 3")
        run(script, "restart")
        assert get(address(project)).text.split()[0] == "3"
        run(script, "try-restart")
    finally:
        pid = int(Path(f"/run/{project.name}/{project.name}.pid").read_text())
        run(script, "stop")
    assert (state(pid) or ("Z", 0))[0] in "ZX" and "does not run" in run(script, "stop")
    assert "usage" in run(script, "dance", status=2)
    change(project, "VERSION = 3", "VERSION = nothing")
    assert "NameError" in run(script, "start", status=22)


@root_only
def test_a_stale_pid_file_is_told_from_an_instance(project: Path) -> None:
    script = files_of("sysv", project) / f"etc/init.d/{project.name}"
    pidfile = Path(f"/run/{project.name}/{project.name}.pid")
    pidfile.parent.mkdir()
    pidfile.write_text(f"{os.getpid()}\n")
    assert "its pid file is there" in run(script, "status", status=1)
    assert "does not run" in run(script, "stop")
    pidfile.write_text("word\n")
    run(script, "status", status=1)


@root_only
@pytest.mark.skipif(shutil.which("runsv") is None, reason="runit is not installed")
def test_runit_runs_it(project: Path) -> None:
    folder = files_of("runit", project) / f"etc/sv/{project.name}"
    shutil.rmtree(folder / "log")
    with subprocess.Popen(["runsv", str(folder)], env=clean_environment(), stdout=subprocess.DEVNULL) as runsv:
        try:
            until("it serves", lambda: Path(address(project)).exists() and "run:" in run("sv", "status", folder), 60)
            assert get(address(project)).text.split()[:2] == ["1", str(NOBODY)]
            change(project, "VERSION = 1", "VERSION = 2")
            run("sv", "hup", folder)
            until("the new code serves", lambda: get(address(project)).text.split()[0] == "2", 60)
            assert "down:" in run("sv", "-w", "75", "stop", folder)
        finally:
            runsv.terminate()


@root_only
def test_supervisord_runs_it(project: Path) -> None:
    section = files_of("supervisor", project) / f"etc/supervisor/conf.d/{project.name}.conf"
    settings = project / "supervisord.conf"
    settings.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile={project}/supervisord.log\npidfile={project}/supervisord.pid\n"
        f"childlogdir={project}\nuser=root\n[unix_http_server]\nfile={project}/ctl.sock\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=unix://{project}/ctl.sock\n[include]\nfiles={section}\n"
    )
    own = Path(sys.executable).parent
    control = (own / "supervisorctl", "-c", settings)
    daemon = subprocess.Popen(
        [own / "supervisord", "-n", "-c", settings], env=clean_environment(), stdout=subprocess.DEVNULL
    )
    try:
        until("it serves", lambda: Path(address(project)).exists(), 60)
        until("it counts as running", lambda: "RUNNING" in supervised(*control, "status", project.name), 60)
        assert get(address(project)).text.split()[:2] == ["1", str(NOBODY)]
        change(project, "VERSION = 1", "VERSION = 2")
        run(*control, "signal", "HUP", project.name)
        until("the new code serves", lambda: get(address(project)).text.split()[0] == "2", 60)
        assert "stopped" in run(*control, "stop", project.name)
        assert not Path(address(project)).exists() or "STOPPED" in supervised(*control, "status", project.name)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(90)


def supervised(*words: str | Path) -> str:
    """What supervisorctl says, whatever it ends with."""
    return subprocess.run(
        [*map(str, words)], capture_output=True, text=True, env=clean_environment(), check=False
    ).stdout


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_the_scripts_are_without_a_fault(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    text = "[uwsgi]\nmodule = app\nhttp-socket = /run/x/$HOME.sock\npidfile = /run/x/it's.pid\n"
    (tmp_path / "a b.ini").write_text(text)
    for command in ("sysv", "runit"):
        root = tmp_path / command
        root.mkdir()
        words = (command, tmp_path / "a b.ini", "--install", "--root", root, "--no-project")
        assert run_penstock(*words).returncode == 0
        scripts = [path for path in root.rglob("*") if path.is_file() and os.access(path, os.X_OK)]
        assert scripts
        for script in scripts:
            run("shellcheck", script)


@root_only
@pytest.mark.skipif(shutil.which("logrotate") is None, reason="logrotate is not installed")
def test_logrotate_renames_a_log_and_the_instance_goes_on_in_a_new_one(short_dir: Path) -> None:
    short_dir.chmod(0o755)
    log = short_dir / "x.log"
    plan = plan_of(short_dir, f"http-socket = {short_dir}/s\nlogto = {log}\npidfile = {short_dir}/pid\n")
    program = (sys.executable, "-m", "penstock")
    service = Service(name="shop", command=(*program, str(short_dir / "shop.ini")), folder=str(short_dir), plan=plan)
    made = logrotate.rotation(service, root_owned=(str(short_dir),)).artifact
    assert made is not None
    rules = short_dir / "rules"
    rules.write_text(made.text)
    (short_dir / "app.py").write_text(APP)
    with Penstock(short_dir / "shop.ini", cwd=short_dir):
        get(f"{short_dir}/s", "/before")
        until("the line is written", lambda: "/before" in log.read_text())
        assert "error" not in run("logrotate", "-d", rules).lower()
        run("logrotate", "-f", "-s", short_dir / "state", rules)
        # It has gone on in the new file before logrotate has ended.
        get(f"{short_dir}/s", "/after")
        until("the next line is written", lambda: "/after" in log.read_text())
        assert "/before" in Path(f"{log}.1").read_text() and "/after" not in Path(f"{log}.1").read_text()
    # Nothing runs: there is nobody to be asked, and nothing wrong with that.
    run("logrotate", "-f", "-s", short_dir / "state", rules)


@root_only
@pytest.mark.skipif(shutil.which("logrotate") is None, reason="logrotate is not installed")
def test_logs_in_a_directory_of_the_user_are_rotated_as_that_user(project: Path) -> None:
    log, pidfile = Path(f"/var/log/{project.name}/x.log"), f"/run/{project.name}/x.pid"
    with (project / f"{project.name}.ini").open("a") as file:
        file.write(f"logto = {log}\npidfile = {pidfile}\n")
    script = files_of("sysv", project) / f"etc/init.d/{project.name}"
    plan = replace(plan_of(project, "http = :0\n"), logto=str(log), pidfile=pidfile)
    program = str(project / "penstock")
    service = Service(
        name="shop", command=(program,), folder=str(project), plan=plan, user="nobody", group="nogroup"
    )  # fmt: skip
    made = logrotate.rotation(service).artifact
    assert made is not None and "su nobody nogroup" in made.text
    (project / "app.py").write_text(APP)
    (project / "rules").write_text(made.text)
    run(script, "start")
    try:
        get(address(project), "/before")
        until("the line is written", lambda: "/before" in log.read_text())
        run("logrotate", "-f", "-s", project / "state", project / "rules")
        get(address(project), "/after")
        until("the next line is written", lambda: "/after" in log.read_text())
        assert "/before" in Path(f"{log}.1").read_text() and log.stat().st_uid == NOBODY
    finally:
        run(script, "stop")


def test_reopen_says_who_is_not_there(short_dir: Path) -> None:
    done = run_penstock("reopen", short_dir / "pid")
    assert done.returncode == 1 and "is the instance running?" in done.stderr
    assert run_penstock("reopen").returncode == 1
