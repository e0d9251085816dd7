"""Files for managers beside systemd, and for logrotate: what follows from a plan, and what is refused."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.deploy import logrotate, runit, shell, supervisor, sysv
from penstock.deploy.service import NotPossible, Service, Writable
from penstock.project.django_facts import LogFile
from penstock.titles import NAMES
from penstock.values import replace
from tests.support.plans import plan_of

Make = Callable[..., Service]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a service of a configuration."""

    def service(text: str = "http-socket = /run/shop/x.sock\nchmod-socket = 660\n", **changes: object) -> Service:
        made = Service(
            name="shop",
            command=("/srv/shop/bin/penstock", "/srv/shop/shop.ini"),
            folder="/srv/shop",
            plan=plan_of(tmp_path, text),
            user="shop",
            web_group="www-data",
        )
        return replace(made, **changes)

    return service


def test_the_short_name_of_a_master_is_the_one_that_the_script_looks_for() -> None:
    assert NAMES["master"] == sysv.MASTER


def test_root_starts_what_becomes_its_user(make: Make) -> None:
    assert shell.words(make()) == ["/srv/shop/bin/penstock", "/srv/shop/shop.ini", "--uid", "shop", "--gid", "www-data"]
    text = "http-socket = /run/shop/x.sock\nuid = nobody\ngid = nogroup\n"
    assert shell.words(make(text, user="nobody", group="nogroup"))[2:] == ["--chmod-socket=660"]
    assert shell.words(make("http = :8000\n", user=""))[2:] == []


def test_directories_of_its_own_are_made_and_nobody_elses(make: Make) -> None:
    text = "http-socket = /var/run/shop/a/x.sock\nlogto = /var/log/nginx/x.log\npidfile = /run/x.pid\n"
    service = make(text, writes=(Writable("/var/lib/shop", "state"), Writable("/srv/media", "media files")))
    assert shell.directories(service) == ["/run/shop/a", "/var/lib/shop"]
    command = shell.make_directories(service, ["/run/a b"])
    assert shlex.split(command) == ["install", "-d", "-m", "0755", "-o", "shop", "-g", "www-data", "/run/a b"]


def test_an_init_script_keeps_what_the_configuration_says(make: Make) -> None:
    own = sysv.script(make("http = :8000\npidfile = /run/a/b.pid\ndaemonize = /var/log/a.log\n")).text
    assert "\nPIDFILE=/run/a/b.pid\n" in own and "--daemonize" not in own and "--pidfile" not in own
    added = sysv.script(make("http = :8000\nlogto = /var/log/a.log\n", after=("postgresql.service",))).text
    assert "--daemonize /var/log/a.log --pidfile /run/shop/shop.pid\n" in added
    assert "# Should-Start:      postgresql\n" in added
    assert re.search(r"^STOP_TIMEOUT=75$", added, re.M) and re.search(r"^OPEN_FILES=32768$", added, re.M)


def test_supervisord_waits_as_long_as_requests_may_last(make: Make) -> None:
    text = supervisor.program(make("http = :8000\nworker-reload-mercy = 5\ndie-on-term = false\n")).text
    assert "\nstopwaitsecs=20\n" in text and "\nstopsignal=INT\n" in text and "\nautorestart=unexpected\n" in text
    again = supervisor.program(make("http = :8000\nexit-on-reload = true\n"), is_rhel=True)
    assert "\nautorestart=true\n" in again.text and again.path == "/etc/supervisord.d/shop.ini"
    percent = supervisor.program(make("http = :8000\n", command=("/bin/penstock", "/srv/100%.ini"))).text
    assert "/srv/100%%.ini" in percent


def test_runsv_asks_by_the_signal_that_stops(make: Make) -> None:
    assert [each.path for each in runit.files(make())] == ["/etc/sv/shop/run", "/etc/sv/shop/log/run"]
    *_, control = runit.files(make("http = :8000\ndie-on-term = false\n"))
    assert control.path == "/etc/sv/shop/control/t" and "kill -INT" in control.text


@pytest.mark.parametrize("write", [supervisor.program, runit.files])
def test_what_leaves_the_foreground_is_refused(write: Callable[[Service], object], make: Make) -> None:
    with pytest.raises(NotPossible, match="logto = /x/y"):
        write(make("http = :8000\ndaemonize = /x/y\n"))


@pytest.mark.parametrize(
    ("write", "command"),
    [
        (supervisor.program, "/srv/a;b.ini"),
        (supervisor.program, "/srv/a\nuser=root"),
        (sysv.script, "/srv/a\nrm"),
        (runit.files, "/srv/a\x1b"),
    ],
)
def test_names_that_would_mean_something_else_are_refused(
    write: Callable[[Service], object], command: str, make: Make
) -> None:
    with pytest.raises(NotPossible):
        write(make("http = :8000\n", command=("/bin/penstock", command)))


def test_logs_are_renamed_and_the_instance_is_asked(make: Make) -> None:
    text = "http = :8000\nlogto = /var/log/shop/x.log\nreq-logger = file:/var/log/shop/requests.log\n"
    text += "pidfile = /run/x.pid\n"
    made = logrotate.rotation(make(text))
    assert made.artifact is not None and made.remarks == () and made.artifact.path == "/etc/logrotate.d/shop"
    lines = made.artifact.text.splitlines()
    assert "/var/log/shop/x.log" in lines and "/var/log/shop/requests.log {" in lines
    assert "    su shop shop" in lines and "    create 0640 shop shop" in lines
    assert "        ! [ -s /run/x.pid ] || /srv/shop/bin/penstock reopen /run/x.pid" in lines
    unit = logrotate.rotation(make(text), unit="shop.service").artifact
    assert unit is not None and 'reopen --pid "$(systemctl show --value -p MainPID shop.service)"' in unit.text


def test_what_penstock_or_the_application_rotates_is_left_alone(make: Make) -> None:
    assert logrotate.rotation(make()).artifact is None
    made = logrotate.rotation(make("http = :8000\nlogto = /x/y.log\nlog-maxsize = 1000000\n"))
    assert made.artifact is None and "rotated by Penstock itself" in made.remarks[0].text
    handlers = (
        LogFile("a", "logging.handlers.WatchedFileHandler", "/x/watched.log"),
        LogFile("b", "logging.handlers.RotatingFileHandler", "/x/rotating.log"),
        LogFile("c", "logging.FileHandler", "/x/plain.log"),
    )
    made = logrotate.rotation(make(), handlers)
    assert made.artifact is not None and "rotating" not in made.artifact.text
    assert re.search(r"^/x/watched.log \{[^}]*create[^}]*\}", made.artifact.text, re.M)
    assert re.search(r"^/x/plain.log \{[^}]*copytruncate[^}]*\}", made.artifact.text, re.M)
    assert [one.cure for one in made.remarks] == ["logging.handlers.WatchedFileHandler goes on in a new file by itself"]
    with pytest.raises(NotPossible, match="add pidfile"):
        logrotate.rotation(make("http = :8000\nlogto = /x/y.log\n"))


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="logrotate is not installed")
@pytest.mark.parametrize("name", ["x.log", "a b.log", "it's [1] * ? #.log"])
def test_logrotate_takes_every_name_for_itself(name: str, tmp_path: Path, make: Make) -> None:
    log = tmp_path / name
    log.write_text("line\n")
    service = make("http = :8000\n", user="")
    made = logrotate.rotation(service, [LogFile("a", "logging.handlers.WatchedFileHandler", str(log))])
    assert made.artifact is not None
    rules = tmp_path / "rules"
    rules.write_text(made.artifact.text)
    done = subprocess.run(["logrotate", "-d", "-f", rules], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and f"considering log {log}" in done.stdout + done.stderr
    assert "error" not in (done.stdout + done.stderr).lower()


@pytest.mark.parametrize("path", ["/x/a\nb.log", '/x/a"b.log', "/x/{a}.log"])
def test_logs_that_logrotate_can_not_name_are_refused(path: str, make: Make) -> None:
    with pytest.raises(NotPossible, match="another name for the log"):
        logrotate.rotation(make(), [LogFile("a", "logging.FileHandler", path)])
