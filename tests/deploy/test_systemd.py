"""Units for systemd, as text: what follows from a plan, what systemd-analyze thinks of it, and what is refused."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.deploy import service as about
from penstock.deploy import systemd
from penstock.deploy.service import NotPossible, Service, Writable
from penstock.plan.process_types import GroupsPlan, ProgramPlan, ProgramsPlan
from penstock.plan.types import Plan
from penstock.values import replace
from tests.support.plans import plan_of

Make = Callable[..., Service]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a service of a configuration."""

    def service(text: str = "http-socket = /run/shop/shop.sock\nchmod-socket = 660\n", **changes: object) -> Service:
        plan = plan_of(tmp_path, text)
        made = Service(
            name="shop",
            command=("/srv/shop/venv/bin/penstock", "/srv/shop/shop.ini"),
            folder="/srv/shop",
            plan=replace(plan, app=replace(plan.app, chdir="/srv/shop", interpreter="/usr/bin/python3")),
            user="shop",
            web_group="www-data",
        )
        return replace(made, **changes)

    return service


def unit(service: Service, version: int = 252, **more: object) -> str:
    """The text of the service's unit."""
    return systemd.units(service, version, **more).artifacts[0].text  # type: ignore[arg-type]


def values(text: str, name: str) -> list[str]:
    """The values of a directive, in order."""
    return re.findall(rf"^{re.escape(name)}=(.*)$", text, re.M)


MATRIX: dict[str, tuple[str, dict[str, object]]] = {
    "unix": ("http-socket = /run/shop/shop.sock\nchmod-socket = 660\n", {}),
    "uwsgi on tcp": ("socket = 127.0.0.1:3031\n", {}),
    "privileged port": ("http = :80\n", {}),
    "logs and state": (
        "http = :8000\nlogto = /var/log/shop/x.log\n",
        {"writes": (Writable("/var/lib/shop/db.sqlite3", "the database", is_file=True),)},
    ),
    "home": ("http = :8000\n", {"folder": "/home/ann/shop", "reads": ("/home/ann/shop/app.py",)}),
    "strange names": (
        "http = :8000\n",
        {"folder": "/srv/a b%c", "command": ("/bin/true", '/srv/a b%c/$x "quoted" \\.ini', ";", "100%")},
    ),
    "attached": ("http = :8000\nattach-daemon = sleep 1\ndrain-delay = 5\nworker-reload-mercy = 20\n", {}),
    "dropped by itself": ("http = :80\nuid = nobody\nmaster-as-root = true\n", {}),
}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("case", MATRIX)
def test_systemd_takes_every_unit_and_finds_it_safe(case: str, make: Make, tmp_path: Path) -> None:
    text, changes = MATRIX[case]
    timers = [systemd.timer_of("clean=Mon..Fri 06:30:/bin/true 'a b'")]
    service = make(text, **changes)
    # The program of a unit has to be there for systemd-analyze.
    service = replace(service, command=("/bin/true", *service.command[1:]))
    made = systemd.units(service, 252, with_socket=not service.needs_root, timers=timers)
    files = []
    for artifact in made.artifacts:
        files.append(tmp_path / Path(artifact.path).name)
        files[-1].write_text(artifact.text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "shop" in line]
    # The folders of these services are not on this machine.
    assert [line for line in ours if "No such file" not in line] == [] and done.returncode == 0, done.stderr
    for file in files:
        if file.suffix == ".service":
            told = subprocess.run(
                ["systemd-analyze", "security", "--offline=true", "--no-pager", file],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told.stdout)
            assert level is not None and float(level[1]) <= 3.0, told.stdout


def test_the_kind_of_service_follows_the_version_of_systemd(make: Make) -> None:
    old, new = unit(make(), 252), unit(make(), 253)
    assert values(old, "Type") == ["notify"]
    assert values(old, "ExecReload") == ["/srv/shop/venv/bin/penstock reload --pid $MAINPID"]
    assert values(new, "Type") == ["notify-reload"] and values(new, "ExecReload") == []
    assert values(old, "Environment") == ["FDSTORE=9"] and values(unit(make(), 254), "Environment") == []
    assert "RestartSteps" not in new and "RestartSteps" in unit(make(), 254)
    for name, since in systemd.SINCE.items():
        if name not in ("Type=notify-reload", "FDSTORE"):
            assert f"\n{name}=" not in unit(make(), since - 1) and f"\n{name}=" in unit(make(), since)
    with pytest.raises(NotPossible, match="234 is older"):
        unit(make(), 234)


@pytest.mark.parametrize(
    ("text", "stop_s"),
    [
        ("", 75),
        ("worker-reload-mercy = 10\n", 25),
        ("worker-reload-mercy = 10\ndrain-delay = 7\n", 32),
        ("worker-reload-mercy = 10\nattach-daemon = sleep 9\nreload-mercy = 20\n", 45),
    ],
)
def test_a_stop_has_the_time_that_the_plan_gives_it(text: str, stop_s: int, make: Make) -> None:
    made = unit(make(f"http = :8000\n{text}"))
    assert values(made, "TimeoutStopSec") == [str(stop_s)] and values(made, "KillMode") == ["mixed"]


def test_what_may_be_cut_at_a_stop_is_said(make: Make) -> None:
    said = systemd.units(make("http = :8000\nharakiri = 100\n"), 252).remarks
    assert [one.cure for one in said] == ["worker-reload-mercy = 105 lets them end"]
    assert systemd.units(make("http = :8000\nharakiri = 60\n"), 252).remarks == ()


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("http-socket = /run/shop/x\nlisten = 100\n", 4096),
        ("http = :8000\n", 32768),
        ("http = :80\nmax-fd = 99999\n", 131072),
    ],
)
def test_open_files_follow_the_listeners(text: str, files: int, make: Make) -> None:
    assert values(unit(make(text)), "LimitNOFILE") == [str(files)]


def test_what_is_written_to_is_writable_and_nothing_else(make: Make) -> None:
    writes = (
        Writable("/srv/shop/media", "media files"),
        Writable("/srv/shop/media/cache", "the cache"),
        Writable("/var/lib/shop/db.sqlite3", "the database", is_file=True),
        Writable("/var/log/nginx/shop.log", "a log", is_file=True),
        Writable("/tmp/uploads", "uploads"),
    )
    service = make(
        "http-socket = /run/shop/a/x.sock\nchmod-socket = 666\npidfile = /var/run/shop/x.pid\n", writes=writes
    )
    made = systemd.units(service, 252)
    text = made.artifacts[0].text
    assert values(text, "ReadWritePaths") == ["-/srv/shop/media -/var/log/nginx"]
    assert values(text, "RuntimeDirectory") == ["shop shop/a"] and values(text, "StateDirectory") == ["shop"]
    assert values(text, "RuntimeDirectoryPreserve") == ["restart"]
    assert values(text, "ProtectSystem") == ["strict"]
    assert [one.text for one in made.remarks] == [
        "a log /var/log/nginx/shop.log lies in the directory of something else"
    ]


def test_a_socket_in_tmp_is_said_and_not_hidden(make: Make) -> None:
    made = systemd.units(make("http-socket = /tmp/shop.sock\nchmod-socket = 666\n"), 252)
    assert values(made.artifacts[0].text, "PrivateTmp") == ["no"]
    assert values(made.artifacts[0].text, "ReadWritePaths") == ["-/tmp"], "for the control socket, too"
    assert any("/tmp/shop.sock" in one.text and one.cure == "move it to /run/shop/" for one in made.remarks)
    assert values(unit(make()), "PrivateTmp") == ["yes"]


def test_the_web_server_gets_in(make: Make) -> None:
    text = unit(make("http-socket = /run/shop/x\n"))
    assert values(text, "Group") == ["www-data"] and values(text, "UMask") == ["0007"]
    open_to_all = unit(make("http-socket = /run/shop/x\nchmod-socket = 666\n"))
    # Media files in directories that the application makes are read by the web server, too.
    assert values(open_to_all, "Group") == [] and values(open_to_all, "UMask") == []
    assert values(unit(make(group="www-data")), "UMask") == ["0027"]
    given_away = unit(make("http-socket = /run/shop/x\nchmod-socket = 660\nchown-socket = :www-data\n"))
    assert values(given_away, "SupplementaryGroups") == ["www-data"]
    shut = systemd.units(make("http-socket = /run/shop/x\nchmod-socket = 600\n"), 252)
    assert any("can not connect to /run/shop/x" in one.text for one in shut.remarks)
    root_only = systemd.units(make("http-socket = /run/x\nchmod-socket = 660\n"), 252)
    assert any(one.text == "only root may make /run/x" for one in root_only.remarks)


def test_rights_are_what_the_plan_needs(make: Make) -> None:
    assert values(unit(make()), "CapabilityBoundingSet") == [""]
    port = unit(make("http = :80\n"))
    assert values(port, "AmbientCapabilities") == ["CAP_NET_BIND_SERVICE"]
    service = make("http = :8000\n")
    rooted = replace(service, plan=replace(service.plan, groups=GroupsPlan(master_stays_root=True)))
    text = unit(rooted)
    assert values(text, "User") == [] and "CAP_SETUID" in values(text, "CapabilityBoundingSet")[0]
    assert values(unit(make("http = :8000\nprio = -5\n")), "Nice") == ["-5"]


def test_a_socket_unit_has_the_addresses_of_the_plan(make: Make) -> None:
    service = make(
        "http-socket = /run/shop/x.sock\nchmod-socket = 660\nhttp = :80\nsocket = [::1]:99\nhttp = 127.0.0.1:0\n"
        "so-keepalive = true\n"
    )
    made = systemd.units(service, 252, with_socket=True)
    text = made.artifacts[1].text
    assert set(values(text, "ListenStream")) == {"0.0.0.0:80", "/run/shop/x.sock", "[::1]:99"}
    assert values(text, "SocketGroup") == ["www-data"] and values(text, "SocketMode") == ["0660"]
    assert values(text, "KeepAlive") == ["yes"]
    assert values(made.artifacts[0].text, "Requires") == ["shop.socket"]
    assert made.enabled == ("shop.socket", "shop.service")
    assert any("kernel chooses" in one.text for one in made.remarks)


def test_what_can_not_work_is_refused_with_its_cure(make: Make) -> None:
    with pytest.raises(NotPossible, match=r"daemonize = /var/log/x.log.*logto = /var/log/x.log"):
        unit(make("http = :8000\ndaemonize = /var/log/x.log\n"))
    with pytest.raises(NotPossible, match="no absolute path, and the project has no manage"):
        systemd.units(make(), 252, timers=[systemd.timer_of("a=daily:clearsessions")])
    with pytest.raises(NotPossible, match="can not stand in a unit"):
        unit(make(folder="/srv/a\nUser=root"))


def test_a_management_command_runs_in_the_surroundings_of_the_application(make: Make) -> None:
    service = make(manage="/srv/shop/manage.py")
    made = systemd.units(service, 252, timers=[systemd.timer_of("clean=daily:manage.py clearsessions --verbosity 0")])
    job, timer = made.artifacts[1].text, made.artifacts[2].text
    command = '/srv/shop/shop.ini --pyrun /srv/shop/manage.py --pyargv "clearsessions --verbosity 0"'
    assert values(job, "ExecStart") == [f"/srv/shop/venv/bin/penstock {command}"] and values(job, "User") == ["shop"]
    assert values(timer, "OnCalendar") == ["daily"] and values(timer, "Persistent") == ["yes"]


@pytest.mark.parametrize(
    ("text", "calendar", "command"),
    [
        ("a=daily:x", "daily", ("x",)),
        ("a=*-*-* 03:00:00:x y", "*-*-* 03:00:00", ("x", "y")),
        ("a=Mon..Fri 06:30:/bin/x 'a b'", "Mon..Fri 06:30", ("/bin/x", "a b")),
        ("a=*:0/15:x:y", "*:0/15", ("x:y",)),
        ("a=Sat,Sun 2026-*-01 04:00 Europe/Berlin:x", "Sat,Sun 2026-*-01 04:00 Europe/Berlin", ("x",)),
    ],
)
def test_timers_are_read(text: str, calendar: str, command: tuple[str, ...]) -> None:
    timer = systemd.timer_of(text)
    assert (timer.calendar, timer.command) == (calendar, command)
    if shutil.which("systemd-analyze"):
        assert (
            subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True, check=False).returncode == 0
        )


@pytest.mark.parametrize(
    "text", ["", "daily:x", "a=daily", "a=:x", "a=daily:", "A b=daily:x", "a=sometimes:x", "a=daily:'"]
)
def test_what_is_no_timer_is_refused(text: str) -> None:
    with pytest.raises(NotPossible, match="--timer"):
        systemd.timer_of(text)


@given(st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" \"'\\$%;"), min_size=1))
def test_a_word_of_a_command_stays_one_word(word: str) -> None:
    line = systemd.command_line(["/bin/true", word]).removeprefix("/bin/true ")
    assert unquote(line) == word.replace("$", "$$").replace("%", "%%")


def unquote(text: str) -> str:
    """What systemd.syntax(7) makes of one word."""
    if not text.startswith('"'):
        assert not re.search(r"[\s\"'\\;]", text)
        return text
    assert text.endswith('"')
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def test_more_processes_than_workers_are_counted(make: Make) -> None:
    plan: Plan = make("http = :8000\nprocesses = 3\n").plan
    plan = replace(plan, programs=ProgramsPlan(each=(ProgramPlan("x"),)))
    assert about.processes(plan) == 2 * 4 + 1 + 1
