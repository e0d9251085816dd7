"""Units that `penstock systemd` writes, run by a real systemd."""

from __future__ import annotations

import contextlib
import grp
import importlib.util
import os
import pwd
import re
import shutil
import signal
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import Cut, connect, get, post
from tests.e2e.harness import run_penstock, until
from tests.support import systemd
from tests.support.projects import make_django, manage
from tests.support.reachable import reachable

pytestmark = pytest.mark.skipif(bool(systemd.why_not()), reason=systemd.why_not())

APP = """
import os, tempfile


def tried(path):
    try:
        with open(path, "a") as file:
            file.write(".")
        return "yes"
    except OSError as error:
        return os.strerror(error.errno)


def application(env, start_response):
    path = env["PATH_INFO"]
    if path == "/version":
        body = VERSION
    elif path == "/user":
        body = f"{os.geteuid()} {os.getegid()}"
    elif path == "/write":
        body = tried(env["QUERY_STRING"])
    elif path == "/slow":
        started, go = env["QUERY_STRING"].split("&")
        with open(started, "w"), open(go) as file:
            body = file.read()
    elif path == "/temporary":
        with tempfile.NamedTemporaryFile() as file:
            body = os.path.dirname(file.name)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body.encode()]


VERSION = "1"
"""


@pytest.fixture
def project() -> Iterator[Path]:
    """A project that the service's user can reach, outside of /tmp and /home, with a penstock to run it."""
    with reachable() as folder:
        (folder / "app.py").write_text(APP)
        yield folder


def units_of(project: Path, text: str, *options: str, whole: str = "") -> dict[str, str]:
    """Write a configuration, and have `penstock systemd` make units of it; name -> text."""
    (project / "shop.ini").write_text(whole or f"[uwsgi]\nchdir = %d\nmodule = app\nprocesses = 2\n{text}")
    out = project / "out"
    done = run_penstock(
        "systemd", project / "shop.ini", "--install", "--root", out, "--program", project / "penstock", "--user",
        "nobody", "--web-group", "www-data", *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_text() for path in (out / "etc/systemd/system").iterdir() if path.is_file()}


def test_a_service_starts_reloads_and_stops_in_its_sandbox(project: Path, tmp_path: Path) -> None:
    units = units_of(project, "http-socket = /run/shop/shop.sock\nchmod-socket = 660\nlogto = /var/log/shop/x.log\n")
    with systemd.Systemd(units, tmp_path) as init:
        init.ok("start", "shop.service")
        address = init.path("/run/shop/shop.sock")
        assert get(address, "/version").text == "1"
        assert get(address, "/user").text == f"{pwd.getpwnam('nobody').pw_uid} {grp.getgrnam('www-data').gr_gid}"
        for path in ("/etc/x", f"{project}/x", "/usr/x", "/var/lib/x"):
            assert get(address, f"/write?{path}").text == "Read-only file system"
        assert get(address, "/write?/var/log/shop/other").text == "yes"
        assert get(address, "/temporary").text == "/tmp"
        assert "Limit" in (limits := Path(f"/proc/{master(init)}/limits").read_text())
        assert re.search(r"Max open files +8192 +8192", limits)
        (project / "app.py").write_text(APP.replace('VERSION = "1"', 'VERSION = "2"'))
        init.ok("reload", "shop.service")
        assert get(address, "/version").text == "2"
        (project / "app.py").write_text("this is no python")
        assert init.control("reload", "shop.service").returncode != 0
        assert get(address, "/version").text == "2"
        assert "SyntaxError" in init.show("shop", "StatusText")
        init.ok("stop", "shop.service")
        assert (init.show("shop", "Result"), init.show("shop", "ActiveState")) == ("success", "inactive")
        assert not Path(init.path("/run/shop")).exists()


def test_a_stop_lets_a_request_end_and_a_restart_refuses_nobody(project: Path, tmp_path: Path) -> None:
    units = units_of(project, "http-socket = /run/shop/shop.sock\nchmod-socket = 666\nthreads = 2\n")
    for name in ("started", "go"):
        os.mkfifo(project / name)
        (project / name).chmod(0o666)
    with systemd.Systemd(units, tmp_path) as init:
        init.ok("start", "shop.service")
        address = init.path("/run/shop/shop.sock")
        answers: list[str] = []
        slow = threading.Thread(
            target=lambda: answers.append(get(address, f"/slow?{project}/started&{project}/go").text)
        )
        slow.start()
        with (project / "started").open():
            pass
        before = init.show("shop", "MainPID")
        restart = threading.Thread(target=lambda: answers.append(init.ok("restart", "shop.service")))
        restart.start()
        until("the service stops", lambda: init.show("shop", "ActiveState") == "deactivating", 30)
        # The socket is in the store: who comes now waits for the next start.
        waiting = connect(address)
        waiting.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with (project / "go").open("w") as go:
            go.write("late")
        for thread in (slow, restart):
            thread.join(60)
        assert sorted(answers) == ["", "late"]
        assert init.show("shop", "MainPID") != before
        waiting.settimeout(60)
        with waiting, waiting.makefile("rb") as answer:
            assert answer.read().endswith(b"1")
        assert get(address, "/version").text == "1"


def test_commands_from_outside_find_an_instance_with_a_private_tmp(project: Path, tmp_path: Path) -> None:
    units = units_of(project, "http-socket = /run/shop/shop.sock\n")
    with systemd.Systemd(units, tmp_path) as init:
        init.ok("start", "shop.service")
        (project / "app.py").write_text(APP.replace('VERSION = "1"', 'VERSION = "2"'))
        done = init.run(project / "penstock", "reload", "--pid", init.show("shop", "MainPID"))
        assert done.returncode == 0, done.stderr
        assert get(init.path("/run/shop/shop.sock"), "/version").text == "2"
        # So does its own user, as whom logrotate runs what it is told.
        own = ("setpriv", "--reuid=nobody", "--regid=www-data", "--clear-groups", project / "penstock")
        done = init.run(*own, "reopen", "--pid", init.show("shop", "MainPID"))
        assert done.returncode == 0, done.stderr
        init.ok("stop", "shop.service")


def test_what_hangs_or_crashes_is_started_again_and_what_can_not_start_is_given_up(
    project: Path, tmp_path: Path
) -> None:
    units = units_of(project, "http-socket = /run/shop/shop.sock\nchmod-socket = 666\n")
    # The same with less patience.
    hasty = re.sub(r"WatchdogSec=\d+", "WatchdogSec=2", units["shop.service"])
    hasty = re.sub(r"RestartSec=\d+", "RestartSec=0", hasty).replace("StartLimitBurst=10", "StartLimitBurst=4")
    with systemd.Systemd({**units, "shop.service": hasty}, tmp_path) as init:
        init.ok("start", "shop.service")
        address, first = init.path("/run/shop/shop.sock"), tell_master(init, signal.SIGSTOP)
        until("the watchdog has it started again", lambda: serves(address) and master(init) not in (0, first), 60)
        second = tell_master(init, signal.SIGKILL)
        until("it is started again", lambda: serves(address) and master(init) not in (0, second), 60)
        (project / "app.py").write_text("import nothing_of_this_name\n")
        tell_master(init, signal.SIGKILL)
        until("it is given up", lambda: init.show("shop", "ActiveState") == "failed", 60)
        assert init.show("shop", "NRestarts") == "4"
        assert "nothing_of_this_name" in init.journal("shop")


def test_a_socket_unit_starts_the_service_and_outlives_it(project: Path, tmp_path: Path) -> None:
    text = "http-socket = /run/shop/shop.sock\nhttp-socket = 127.0.0.1:8080\nchmod-socket = 660\n"
    units = units_of(project, text, "--socket")
    with systemd.Systemd(units, tmp_path) as init:
        init.ok("start", "shop.socket")
        address = init.path("/run/shop/shop.sock")
        assert init.show("shop.service", "ActiveState") == "inactive"
        assert stat.S_IMODE(os.stat(address).st_mode) == 0o660
        assert os.stat(address).st_gid == grp.getgrnam("www-data").gr_gid
        assert get(address, "/version").text == "1"
        until("the service is ready", lambda: init.show("shop.service", "ActiveState") == "active", 60)
        assert init.run("curl", "-s", "http://127.0.0.1:8080/version").stdout == "1"
        init.ok("stop", "shop.service")
        assert get(address, "/version").text == "1"
        init.ok("stop", "shop.socket", "shop.service")
        assert not Path(address).exists()


def test_a_timer_runs_its_command_as_the_service_would(project: Path, tmp_path: Path) -> None:
    (project / "note.sh").write_text(
        "#!/bin/sh\nid -un; id -gn; cat /proc/self/limits | head -1; touch /etc/x || echo no\n"
    )
    (project / "note.sh").chmod(0o755)
    # Enough to be found as Django's; its settings are nowhere, which is said and hinders nothing.
    (project / "manage.py").write_text(
        'import os, sys\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "nowhere")\n'
        'print("managed", *sys.argv[1:], os.environ["COLOUR"], os.geteuid(), flush=True)\n'
    )
    job = f"note=*-*-* 03:00:00:{project}/note.sh"
    text = "http-socket = /run/shop/shop.sock\nenv = COLOUR=teal\n"
    units = units_of(project, text, "--timer", job, "--timer", "clean=daily:clearsessions --verbosity 0")
    with systemd.Systemd(units, tmp_path) as init:
        init.ok("start", "shop-note.timer")
        assert "03:00:00" in init.show("shop-note.timer", "NextElapseUSecRealtime")
        init.ok("start", "shop-note.service")
        said = init.journal("shop-note").splitlines()
        assert said[:2] == ["nobody", "www-data"] and said[-1] == "no"
        init.ok("start", "shop-clean.service")
        assert f"managed clearsessions --verbosity 0 teal {pwd.getpwnam('nobody').pw_uid}" in init.journal("shop-clean")


DJANGO = """
MEDIA_ROOT = {folder!r} + "/media"
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {folder!r} + "/data/db.sqlite3"}}}}
LOGGING = {{
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {{"file": {{"class": "logging.FileHandler", "filename": {folder!r} + "/logs/django.log"}}}},
    "loggers": {{"django.request": {{"handlers": ["file"], "level": "WARNING"}}}},
}}
"""


def test_a_django_project_works_in_the_sandbox(project: Path, tmp_path: Path) -> None:
    # Copied, as another user may not reach the environment that the tests run in.
    packages = project / "packages"
    for name in ("django", "asgiref", "sqlparse"):
        found = importlib.util.find_spec(name)
        assert found is not None and found.origin is not None
        shutil.copytree(Path(found.origin).parent, packages / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("media", "data", "logs"):
        (project / name).mkdir()
    make_django(project / "code", settings=DJANGO.format(folder=str(project)))
    manage(project / "code", "migrate")
    for name in ("media", "data", "data/db.sqlite3", "logs", "logs/django.log"):
        os.chown(project / name, pwd.getpwnam("nobody").pw_uid, -1)
    text = (
        f"[uwsgi]\nchdir = %d/code\nmodule = cmdb.wsgi\nhttp-socket = /run/shop/shop.sock\npythonpath = {packages}\n"
        "env = DJANGO_SUPERUSER_PASSWORD=secret\nthreads = 2\n"
    )
    timer = "user=daily:createsuperuser --noinput --username ann --email ann@example.org"
    units = units_of(project, "", "--timer", timer, whole=text)
    paths = re.search(r"^ReadWritePaths=(.*)$", units["shop.service"], re.M)
    assert paths is not None and paths[1] == f"-{project}/data -{project}/logs -{project}/media"
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--b--\r\n'
    with systemd.Systemd(units, tmp_path) as init:
        init.ok("start", "shop.service")
        address = init.path("/run/shop/shop.sock")
        assert get(address, "/admin/login/").status == 200
        sent = post(address, "/upload/", body, {"Content-Type": "multipart/form-data; boundary=b"})
        assert sent.status == 200 and (project / "media/a.txt").read_bytes() == b"hello"
        assert get(address, "/nowhere").status == 404
        assert "Not Found: /nowhere" in (project / "logs/django.log").read_text()
        # The command writes to the database, with the variables of the application.
        init.ok("start", "shop-user.service")
        init.ok("stop", "shop.service")
    with contextlib.closing(sqlite3.connect(project / "data/db.sqlite3")) as base:
        assert base.execute("SELECT username FROM auth_user").fetchall() == [("ann",)]


def test_install_makes_a_service_of_this_machine_and_uninstall_takes_it_away(project: Path, tmp_path: Path) -> None:
    (project / "shop.ini").write_text("[uwsgi]\nchdir = %d\nmodule = app\nhttp-socket = /run/shop/shop.sock\n")
    words = (project / "penstock", "systemd", project / "shop.ini", "--user", "nobody", "--web-group", "www-data")
    with systemd.Systemd({}, tmp_path) as init:
        done = init.run(*words, "--socket", "--install")
        assert done.returncode == 0, done.stderr
        assert "$ systemctl enable shop.socket shop.service" in done.stdout
        assert init.ok("is-enabled", "shop.service", "shop.socket").split() == ["enabled", "enabled"]
        init.ok("start", "shop.socket", "shop.service")
        assert get(init.path("/run/shop/shop.sock"), "/version").text == "1"
        again = init.run(*words, "--socket", "--install")
        assert again.returncode == 0 and "nothing to write" in again.stdout
        # The socket is found in what was written.
        gone = init.run(*words, "--uninstall")
        assert gone.returncode == 0, gone.stderr
        assert init.show("shop.service", "LoadState") == init.show("shop.socket", "LoadState") == "not-found"
        assert list(Path(init.path("/etc/systemd/system")).rglob("*shop*")) == []
        assert not Path(init.path("/var/lib/penstock")).exists()


def master(init: systemd.Systemd) -> int:
    """The master's pid as this process sees it; 0 if there is none."""
    group = "/sys/fs/cgroup" + init.show("shop", "ControlGroup")
    found = Path(init.path(group) + "/cgroup.procs")
    pids = [int(line) for line in found.read_text().split()] if found.exists() else []
    return next((pid for pid in pids if Path(f"/proc/{pid}/comm").read_text() == "penstock-master\n"), 0)


def tell_master(init: systemd.Systemd, number: signal.Signals) -> int:
    """Send a signal to the master; its pid."""
    pid = until("there is a master", lambda: master(init), 30)
    os.kill(pid, number)
    return pid


def serves(address: str) -> bool:
    """Whether it answers."""
    try:
        return get(address, "/version").status == 200
    except (Cut, OSError, AssertionError):
        return False
