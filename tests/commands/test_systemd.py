"""`penstock systemd` as it is typed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.harness import run_penstock
from tests.support.projects import make_django, write_files


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A configuration with a small application."""
    text = "[uwsgi]\nmodule = app\nhttp-socket = /run/shop/shop.sock\nchmod-socket = 660\n"
    return write_files(tmp_path / "shop", {"app.py": "def application(env, start_response): ...\n", "shop.ini": text})


def tree(root: Path) -> dict[str, str]:
    """Everything below a folder."""
    return {
        str(path.relative_to(root)): os.readlink(path) if path.is_symlink() else path.read_text()
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_the_unit_is_printed_and_says_how_to_have_it_again(shop: Path) -> None:
    done = run_penstock("systemd", "shop.ini", "--systemd-version", "253", cwd=shop)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "# /etc/systemd/system/shop.service"
    assert lines[1] == "# Made for systemd 253 by: penstock systemd shop.ini --systemd-version 253"
    assert f"ExecStart={Path(run_python()).parent / 'penstock'} {shop}/shop.ini" in lines
    assert f"WorkingDirectory={shop}" in lines and "Type=notify-reload" in lines


def run_python() -> str:
    """The interpreter of the tests."""
    import sys

    return sys.executable


def test_options_of_a_start_are_taken_as_they_are(shop: Path) -> None:
    done = run_penstock("systemd", "--socket", "127.0.0.1:3031", "--module", "app", "--name", "x", cwd=shop)
    assert done.returncode == 0, done.stderr
    assert "penstock --socket 127.0.0.1:3031 --module app\n" in done.stdout and ".socket" not in done.stdout
    with_unit = run_penstock("systemd", "--socket", "shop.ini", cwd=shop)
    assert "# /etc/systemd/system/shop.socket" in with_unit.stdout.splitlines()


def test_what_is_installed_is_taken_away_again(shop: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    words = ("systemd", "shop.ini", "--socket", "--timer", "job=daily:/bin/true", "--root", root)
    done = run_penstock(*words, "--install", cwd=shop)
    assert done.returncode == 0, done.stderr
    found = tree(root)
    units = {name.removeprefix("etc/systemd/system/") for name in found if name.startswith("etc/")}
    assert units == {
        "shop.service", "shop.socket", "shop-job.service", "shop-job.timer", "multi-user.target.wants/shop.service",
        "sockets.target.wants/shop.socket", "timers.target.wants/shop-job.timer",
    }  # fmt: skip
    assert found["etc/systemd/system/multi-user.target.wants/shop.service"] == "/etc/systemd/system/shop.service"
    again = run_penstock(*words, "--install", cwd=shop)
    assert (again.returncode, again.stdout) == (0, "nothing to write: every file is there as it should be\n")
    assert tree(root) == found
    # What it was made of need not be there any more.
    gone = run_penstock("systemd", "--uninstall", "--name", "shop", "--root", root, cwd=tmp_path)
    assert gone.returncode == 0 and tree(root) == {} and not (root / "etc").exists()
    assert "nothing to take away" in run_penstock(*words, "--uninstall", cwd=shop).stdout


def test_a_unit_that_somebody_has_changed_stays(shop: Path, tmp_path: Path) -> None:
    words = ("systemd", "shop.ini", "--root", tmp_path / "root")
    (tmp_path / "root").mkdir()
    run_penstock(*words, "--install", cwd=shop)
    unit = tmp_path / "root/etc/systemd/system/shop.service"
    unit.write_text("mine\n")
    done = run_penstock(*words, "--uninstall", cwd=shop)
    assert done.returncode == 1 and "changed by somebody" in done.stderr and unit.read_text() == "mine\n"


def test_django_is_asked_where_it_writes_and_what_it_needs(tmp_path: Path) -> None:
    folder = make_django(
        tmp_path / "srv",
        settings="""
MEDIA_ROOT = "/srv/media"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/var/lib/cmdb/db.sqlite3"}}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:6379"}}
""",
    )
    (folder / "cmdb.ini").write_text("[uwsgi]\nmodule = cmdb.wsgi\nhttp-socket = /run/cmdb/x\nchmod-socket = 660\n")
    done = run_penstock("systemd", "cmdb.ini", "--timer", "clean=daily:clearsessions", cwd=folder)
    lines = done.stdout.splitlines()
    # The project lies in /tmp here.
    assert "ReadWritePaths=-/srv/media -/tmp" in lines and "StateDirectory=cmdb" in lines, done.stderr
    assert "After=network.target redis-server.service redis.service valkey.service" in lines
    assert any(line.endswith(f"--pyrun {folder}/manage.py --pyargv clearsessions") for line in lines)
    broken = folder / "cmdb/settings.py"
    broken.write_text(broken.read_text() + "\nimport nothing_of_this_name\n")
    done = run_penstock("systemd", "cmdb.ini", cwd=folder)
    assert done.returncode == 0 and "nothing_of_this_name" in done.stderr and "/srv/media" not in done.stdout
    assert "nothing_of_this_name" not in run_penstock("systemd", "--no-project", "cmdb.ini", cwd=folder).stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "usage: penstock systemd"),
        (("nowhere.ini",), "nowhere.ini"),
        (("shop.ini", "--name", "A b"), "a name has small letters"),
        (("shop.ini", "--systemd-version", "new"), "it is a number"),
        (("shop.ini", "--systemd-version", "200"), "older than"),
        (("shop.ini", "--timer", "x"), "write NAME=CALENDAR:COMMAND"),
        (("shop.ini", "--timer"), "--timer needs a value"),
        (("shop.ini", "--daemonize", "/x.log"), "logto = /x.log"),
        (("shop.ini", "--processes", "many"), "many"),
        (("-",), "what standard input says"),
        (("--ini", "-"), "what standard input says"),
    ],
)
def test_what_can_not_be_followed_is_said_in_a_line_or_two(words: tuple[str, ...], said: str, shop: Path) -> None:
    done = run_penstock("systemd", *words, cwd=shop)
    assert done.returncode == 2 and done.stdout == ""
    assert said in done.stderr and "Traceback" not in done.stderr


def test_who_is_not_there_or_can_not_come_in_is_said(short_dir: Path) -> None:
    short_dir.chmod(0o755)
    text = "[uwsgi]\nmodule = app\nchdir = ..\nhttp = :8000\n"
    write_files(short_dir, {"app.py": "def application(env, start_response): ...\n", "inner/shop.ini": text})
    (short_dir / "inner").chmod(0o700)
    words = ("systemd", "inner/shop.ini", "--program", "/bin/true")
    said = run_penstock(*words, "--user", "no-such-user", "--group", "no-such-group", cwd=short_dir).stderr
    assert "there is no user no-such-user; useradd" in said and "there is no group no-such-group; groupadd" in said
    said = run_penstock(*words, "--user", "nobody", cwd=short_dir).stderr
    inner = short_dir / "inner"
    interpreter = Path(os.path.realpath(run_python()))
    reachable = all(place.stat().st_mode & 0o001 for place in interpreter.parents)
    # The first that is closed is named.
    assert f"{inner} is closed to it; chmod o+x {inner}" in said if reachable else "is closed to it" in said


def test_variables_of_the_shell_are_not_the_services(shop: Path) -> None:
    done = run_penstock("systemd", "shop.ini", cwd=shop, env={"UWSGI_DAEMONIZE": "/x.log"})
    assert done.returncode == 0 and "UWSGI_DAEMONIZE is set in this shell, and not in the service" in done.stderr


def test_help() -> None:
    assert run_penstock("systemd", "--help").stdout.startswith("usage: penstock systemd")
