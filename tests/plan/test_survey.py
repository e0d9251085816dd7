"""What is looked at on the machine: each finding where it belongs, and nothing about a good configuration."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from penstock.config.findings import Finding
from penstock.plan.access import Person, first_closed
from penstock.plan.findings import CODES
from penstock.plan.survey import survey
from penstock.values import replace
from tests.config.support import read
from tests.plan.test_resolve import FakeMachine, machine


class Here(FakeMachine):
    """A machine whose Penstock is for Python 3.11, and that has no other modules."""

    def engine_versions(self) -> tuple[str, ...]:
        return ("3.11",)

    def site_directories(self) -> list[str]:
        return []

    def groups(self, uid: int) -> frozenset[int]:
        return frozenset({uid})


def here(cwd: Path, **about: Any) -> Here:
    about = {"nginx_dir": "/no/nginx", "units_dir": "/no/units", **about}
    made = machine(cwd)
    return replace(Here(**{name: getattr(made, name) for name in made.__slots__}), **about)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that is as it should be, and that the user of `machine` may write to."""
    tmp_path.chmod(0o777)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "wsgi.py").write_text("def application(environ, start_response): ...\n")
    (tmp_path / "shop" / "settings.py").touch()
    return tmp_path


def look(cwd: Path, *argv: str, **about: Any) -> list[Finding]:
    return list(survey(read(*argv, cwd=cwd), here(cwd, **about)))


def codes(cwd: Path, *argv: str, **about: Any) -> list[str]:
    found = look(cwd, *argv, **about)
    assert {finding.code for finding in found} <= CODES.keys()
    return [finding.code for finding in found]


GOOD = ("--socket", "a.sock", "--module", "shop.wsgi", "--pidfile", "a.pid", "--logto", "a.log", "--stats", "s.sock")


def test_nothing_is_said_about_a_good_configuration(project: Path) -> None:
    assert codes(project, *GOOD) == []
    assert codes(project, *GOOD, "--env", "DJANGO_SETTINGS_MODULE=shop.settings", "--pythonpath", "shop") == []
    assert codes(project, "--http", ":0", "--wsgi-file", "shop/wsgi.py", "--touch-reload", "none") == []


@pytest.mark.parametrize(
    "option", ["pidfile", "pidfile2", "logto", "logto2", "daemonize", "socket", "http", "http-socket", "stats"]
)
def test_a_directory_that_is_missing(project: Path, option: str) -> None:
    (found,) = look(project, *GOOD, f"--{option}", "/no/where/x.y")
    assert (found.level, found.code) == ("error", "no-directory")
    assert "/no/where" in found.message and "mkdir -p /no/where" in found.cure


def test_a_log_that_is_sent_is_no_file(project: Path) -> None:
    assert codes(project, "--http", ":0", "--module", "shop.wsgi", "--logto", "/no/where:514") == []


def test_a_log_variable_that_nothing_fills_in(project: Path) -> None:
    (found,) = look(project, *GOOD, "--log-format", "%(stauts) %(var.HTTP_HOST) %(status) %(stauts)")
    assert (found.level, found.code, found.cure) == ("note", "log-variable-unknown", "did you mean %(status)?")
    assert "%(stauts)" in found.message
    assert codes(project, *GOOD, "--log-format", "%(tenant)") == ["log-variable-unknown"]
    assert codes(project, *GOOD, "--log-format", "combined") == []


def test_below_run_a_directory_comes_with_the_service(project: Path) -> None:
    (found,) = look(project, "--module", "shop.wsgi", "--socket", "/run/penstock-test-none/a.sock")
    assert (found.level, found.code) == ("warning", "no-directory")
    assert "RuntimeDirectory=penstock-test-none" in found.cure


def test_what_is_in_the_way_of_a_file(project: Path) -> None:
    (project / "a.file").touch()
    assert codes(project, "--module", "shop.wsgi", "--socket", "a.file") == ["not-a-socket"]
    assert codes(project, "--module", "shop.wsgi", "--http", ":0", "--logto", "shop") == ["is-directory"]


def test_a_socket_that_is_there_is_no_matter(project: Path, short_dir: Path) -> None:
    short_dir.chmod(0o777)
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(short_dir / "a.sock"))
        assert codes(project, "--module", "shop.wsgi", "--socket", str(short_dir / "a.sock")) == []


def test_a_directory_that_can_not_be_written_to(project: Path) -> None:
    closed = project / "closed"
    closed.mkdir(mode=0o755)
    stranger = 4242
    argv = ("--http", ":0", "--module", "shop.wsgi", "--pidfile", "closed/a.pid")
    (found,) = look(project, *argv, euid=stranger)
    assert found.code == "not-writable" and f"may not write to {closed}" in found.message
    closed.chmod(0o777)
    assert codes(project, *argv, euid=stranger) == []
    closed.chmod(0o755)
    assert codes(project, *argv, "--uid", "www-data", euid=stranger) == [], "root will start it"


def test_rights_by_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    closed = tmp_path / "closed"
    (closed / "deep").mkdir(parents=True)
    closed.chmod(0o710)
    stranger, member = Person(4242, frozenset()), Person(4242, frozenset({os.stat(closed).st_gid}))
    # The directories of tests may be closed already further up.
    on_the_way = [str(place) for place in (closed, *closed.parents)]
    assert first_closed(str(closed / "deep" / "file"), stranger) in on_the_way
    assert first_closed(str(closed / "deep" / "file"), Person(0, frozenset())) is None
    assert not stranger.may_enter(str(closed))
    assert member.may_enter(str(closed)) and not member.may_write(str(closed))
    assert Person(os.stat(closed).st_uid, frozenset()).may_write(str(closed))
    assert Person(0, frozenset()).may_write("/proc")
    assert stranger.may_enter(str(tmp_path / "none")), "what is not there is somebody else's finding"


def test_started_by_root_the_user_must_come_through(project: Path) -> None:
    (project / "shop").chmod(0o700)
    argv = ("--http", ":0", "--chdir", str(project / "shop"), "--module", "wsgi", "--uid", "www-data")
    allowed = [str(place) for place in project.parents if not os.stat(place).st_mode & stat.S_IXOTH]
    (found,) = look(project, *argv, euid=0)
    assert found.code == "not-reachable"
    assert any(f"may not enter {place}" in found.message for place in [*allowed, str(project / "shop")])
    assert codes(project, *argv, euid=1000) == []


def test_started_by_root_the_user_must_come_to_the_interpreter(project: Path) -> None:
    store = project / "store"
    store.mkdir()
    (store / "python").touch()
    (project / "python").symlink_to("store/python")
    argv = ("--http", ":0", "--module", "shop.wsgi", "--uid", "www-data")
    store.chmod(0o700)
    (found,) = look(project, *argv, euid=0, interpreter=str(project / "python"))
    assert found.code == "not-reachable" and f"{project}/python would run the application" in found.message
    closed = [str(place) for place in (store, *store.parents) if not os.stat(place).st_mode & stat.S_IXOTH]
    assert any(f"user www-data may not enter {place}" in found.message for place in closed)
    assert codes(project, *argv, euid=1000, interpreter=str(project / "python")) == []
    assert codes(project, *argv, euid=0, interpreter="/usr/bin/env") == []


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--daemonize", "a.log"], "daemonize-under-systemd"),
        (["--die-on-term=false"], "term-reloads-under-systemd"),
    ],
)
def test_under_systemd(project: Path, argv: list[str], code: str) -> None:
    serve = ("--http", ":0", "--module", "shop.wsgi", *argv)
    assert codes(project, *serve, is_under_systemd=True) == [code]
    assert codes(project, *serve) == []


@pytest.mark.parametrize(
    ("command", "is_found"),
    [
        ("ExecStart=/usr/bin/uwsgi --ini {project}/app.ini", True),
        ("ExecStart=/usr/bin/uwsgi --ini {project}/app.ini.old", False),
        ("# ExecStart=/usr/bin/uwsgi --ini {project}/app.ini", False),
    ],
)
def test_a_service_that_starts_the_file(project: Path, command: str, is_found: bool) -> None:
    units = project / "units"
    units.mkdir()
    unit = units / "shop.service"
    unit.write_text(f"[Service]\nUser=shop\n{command.format(project=project)}\n")
    (project / "app.ini").write_text("[uwsgi]\nhttp = :0\nmodule = shop.wsgi\ndaemonize = a.log\n")
    (project / "app.ini").chmod(0o640)
    found = look(project, "app.ini", units_dir=str(units))
    assert [finding.code for finding in found] == (["daemonize-under-systemd"] if is_found else [])
    assert all(f"{unit} starts it" in finding.message for finding in found)


def test_many_workers(project: Path) -> None:
    serve = ("--http", ":0", "--module", "shop.wsgi", "--processes")
    assert codes(project, *serve, "13") == ["many-workers"]
    assert codes(project, *serve, "12") == []
    assert codes(project, *serve, "auto") == []


def test_a_virtual_environment_of_another_python(project: Path) -> None:
    (project / "venv").mkdir()
    (project / "venv" / "pyvenv.cfg").write_text("version = 3.9.1\n")
    serve = ("--http", ":0", "--module", "shop.wsgi")
    assert codes(project, *serve, "--home", "venv") == ["other-python"]
    (project / "venv" / "pyvenv.cfg").write_text("version = 3.11.9\n")
    assert codes(project, *serve, "--home", "venv") == []
    (found,) = look(project, *serve)
    assert found.code == "venv-not-used" and f"home = {project}/venv" in found.cure
    assert codes(project, *serve, interpreter=f"{project}/venv/bin/python") == []


@pytest.mark.parametrize(
    ("argv", "code", "piece"),
    [
        (["--wsgi-file", "shop/wsgy.py"], "no-app-file", "did you mean {project}/shop/wsgi.py?"),
        (["--wsgi-file", "wsgi.py"], "no-app-file", "did you mean {project}/shop/wsgi.py?"),
        (["--wsgi-file", "shop"], "no-app-file", "is a directory"),
        (["--wsgi-file", "/none/at/all.py"], "no-app-file", "correct the path"),
        (["--wsgi-file", "none/at/all.py"], "no-app-file", "it counts from chdir, {project}"),
        (["--module", "shp.wsgi"], "no-module", "did you mean shop?"),
        (["--module", "shop.wsgy"], "no-module", "did you mean shop.wsgi?"),
        (["--module", "wsgi"], "no-module", "there is one in {project}/shop: chdir = {project}/shop"),
        (["--module", "zzz.qqq"], "no-module", "there is no zzz in {project}"),
        (["--module", "shop.wsgi", "--callable", "app"], "no-callable", "callable = application"),
        (["--module", "shop.wsgi:create_app()"], "no-callable", "has no create_app"),
        (["--wsgi-file", "broken.py"], "app-syntax", "broken.py:2 is not valid Python"),
        (["--wsgi-file", "threads.py"], "thread-before-fork", "threads.py:3 starts a thread"),
        (
            ["--mount", "/a=shop/wsgy.py"],
            "no-app-file",
            "mount = /a=shop/wsgy.py: {project}/shop/wsgy.py does not exist",
        ),
        (["--mount", "/a=shop.wsgi", "--mount", "/b=shop.wsgi:app"], "no-callable", "has no app at its top level"),
        (["--mount", "/a=zzz"], "no-module", "mount = /a=zzz: there is no zzz"),
        (["--module", "shop.wsgi", "--pythonpath", "none"], "no-python-path", "{project}/none does not exist"),
        (
            ["--module", "shop.wsgi", "--env", "DJANGO_SETTINGS_MODULE=shop.setings"],
            "no-settings-module",
            "there is no shop.setings in {project}/shop",
        ),
    ],
)
def test_the_application(project: Path, argv: list[str], code: str, piece: str) -> None:
    (project / "broken.py").write_text("x = 1\ndef\n")
    (project / "threads.py").write_text("import threading\n\nthreading.Thread(target=print).start()\napplication = 1\n")
    (found,) = look(project, "--http", ":0", *argv)
    assert found.code == code
    assert piece.format(project=project) in f"{found.message}; {found.cure}"


@pytest.mark.parametrize(
    "argv",
    [
        ["--module", "somewhere.wsgi", "--pythonpath", "*"],
        ["--module", "somewhere.wsgi", "--home", "venv"],
        ["--module", "not a name"],
        ["--module", "shop.wsgi.deeper"],
        ["--module", "os.path:join"],
        ["--wsgi-file", "dynamic.py"],
        ["--wsgi-file", "threads.py", "--lazy-apps"],
        ["--need-app=false"],
    ],
)
def test_where_nobody_can_know_nothing_is_said(project: Path, argv: list[str]) -> None:
    (project / "dynamic.py").write_text("from elsewhere import *\n")
    (project / "threads.py").write_text("import threading\nthreading.Thread().start()\napplication = 1\n")
    assert codes(project, "--http", ":0", *argv) == []


def test_a_module_on_the_python_path_of_the_environment(project: Path) -> None:
    serve = ("--http", ":0", "--module", "wsgi")
    assert codes(project, *serve, "--env", f"PYTHONPATH={project}/shop") == []
    assert codes(project, *serve, python_path=f"/none:{project}/shop") == []


def test_syntax_of_another_python_is_not_judged(project: Path) -> None:
    (project / "broken.py").write_text("def\n")
    (project / "venv").mkdir()
    (project / "venv" / "pyvenv.cfg").write_text("version = 3.99.0\n")
    found = codes(project, "--http", ":0", "--wsgi-file", "broken.py", "--home", "venv")
    assert found == ["other-python"]


@pytest.mark.parametrize(
    ("mapped", "shown"),
    [("/static=.", "shop/wsgi.py"), ("/=/", "shop/wsgi.py"), ("/x=other", "other/.env"), ("/x=static", "")],
)
def test_static_files_that_hold_code(project: Path, mapped: str, shown: str) -> None:
    for name in ("other/.env", "static/a.css"):
        (project / name).parent.mkdir()
        (project / name).touch()
    found = look(project, "--http", ":0", "--module", "shop.wsgi", "--static-map", mapped)
    assert [finding.code for finding in found] == (["static-exposes-code"] if shown else [])
    assert all(f"{project}/{shown}" in finding.message for finding in found)


@pytest.mark.parametrize(
    ("argv", "site", "code"),
    [
        (["--socket", "a.sock"], "proxy_pass http://unix:{project}/a.sock:/app;", "nginx-speaks-http"),
        (["--socket", "127.0.0.1:3031"], "proxy_pass http://127.0.0.1:3031/;", "nginx-speaks-http"),
        (["--socket", ":3031"], "proxy_pass http://shop;", "nginx-speaks-http"),
        (["--http", "127.0.0.1:3031"], "uwsgi_pass localhost:3031;", "nginx-speaks-uwsgi"),
        (["--http-socket", ":3031"], "uwsgi_pass shop;", "nginx-speaks-uwsgi"),
        (["--socket", ":3031", "--protocol", "http"], "uwsgi_pass uwsgi://127.0.0.1:3031;", "nginx-speaks-uwsgi"),
        (["--socket", "a.sock"], "uwsgi_pass unix:{project}/a.sock;", ""),
        (["--http", ":3031"], "proxy_pass http://shop;", ""),
        (["--socket", ":3031"], "# proxy_pass http://shop;", ""),
        (["--socket", ":3031"], "proxy_pass http://127.0.0.1:8000; proxy_pass http://$host:3031;", ""),
        (["--socket", ":3031"], "proxy_pass http://10.1.1.1:3031;", ""),
        (["--socket", "@a"], "proxy_pass http://a;", ""),
    ],
)
def test_what_nginx_sends(project: Path, argv: list[str], site: str, code: str) -> None:
    nginx = project / "nginx"
    (nginx / "sites-enabled").mkdir(parents=True)
    (nginx / "nginx.conf").write_text("http {\n  upstream shop {\n    server 127.0.0.1:3031 weight=2;\n  }\n}\n")
    (nginx / "sites-enabled" / "shop").write_text(f"server {{\n  location / {{ {site.format(project=project)} }}\n}}\n")
    found = look(project, "--module", "shop.wsgi", *argv, nginx_dir=str(nginx))
    assert [finding.code for finding in found] == ([code] if code else [])
    assert all(f"{nginx}/sites-enabled/shop:2" in finding.message for finding in found)


@pytest.mark.parametrize(
    ("harakiri", "site", "seconds"),
    [
        (120, "location / {{ uwsgi_read_timeout 90; {pass_on} }}", "90"),
        (120, "uwsgi_read_timeout 1m30s; location / {{ {pass_on} }}", "90"),
        (120, "location / {{ {pass_on} }} uwsgi_read_timeout 500ms;", "0.5"),
        (120, "uwsgi_read_timeout 5m; location / {{ {pass_on} uwsgi_read_timeout 90s; }}", "90"),
        (120, "uwsgi_read_timeout 90; location / {{ uwsgi_read_timeout 2h; {pass_on} }}", ""),
        (120, "location /other {{ uwsgi_read_timeout 9; }} location / {{ {pass_on} }}", ""),
        (120, "location / {{ {pass_on} location /slow {{ uwsgi_read_timeout 9; }} }}", ""),
        (120, "location / {{ proxy_read_timeout 9; {pass_on} }}", ""),
        (120, "location / {{ # uwsgi_read_timeout 9;\n {pass_on} }}", ""),
        (120, "location / {{ uwsgi_read_timeout soon; uwsgi_read_timeout s; {pass_on} }}", ""),
        (90, "location / {{ uwsgi_read_timeout 90; {pass_on} }}", ""),
        (0, "location / {{ uwsgi_read_timeout 90; {pass_on} }}", ""),
        (120, "location / {{ {pass_on} }} }} }} }}", ""),
    ],
)
def test_nginx_that_gives_up_first(project: Path, harakiri: int, site: str, seconds: str) -> None:
    nginx = project / "nginx"
    (nginx / "sites-enabled").mkdir(parents=True)
    text = site.format(pass_on=f"uwsgi_pass unix:{project}/a.sock;")
    (nginx / "sites-enabled" / "shop").write_text(f"server {{ {text} }}\n")
    found = look(project, *GOOD, "--harakiri", str(harakiri), nginx_dir=str(nginx))
    assert [finding.code for finding in found] == (["nginx-gives-up-first"] if seconds else [])
    assert all(f"after {seconds} seconds ({nginx}/sites-enabled/shop:1: uwsgi" in one.message for one in found)


@pytest.mark.parametrize(
    ("argv", "code", "level"),
    [
        (["--logger", "file:/no/where/a.log"], "no-directory", "error"),
        (["--logger", "name file:/no/where/a.log"], "no-directory", "error"),
        (["--req-logger", "file:logfile=/no/where/a.log,maxsize=5"], "no-directory", "error"),
        (["--req-logger", "file:shop"], "is-directory", "error"),
        (["--logger", "file:logfile=a.log,backupname=/no/where/b"], "no-directory", "warning"),
        (["--log-backupname", "/no/where/b"], "no-directory", "warning"),
        (["--log-backupname", "shop"], "is-directory", "warning"),
        (["--logger", "file:new.log", "--req-logger", "syslog", "--log-backupname", "old.log"], "", ""),
        (["--logger", "file:", "--logger", "nothing:/no/where/x"], "", ""),
    ],
)
def test_files_of_loggers(project: Path, argv: list[str], code: str, level: str) -> None:
    found = look(project, *GOOD, *argv)
    assert [(one.code, one.level) for one in found] == ([(code, level)] if code else [])
    assert all(str(one.origin) in argv for one in found)


def test_static_files_that_hold_the_configuration(project: Path) -> None:
    (project / "conf").mkdir()
    (project / "conf" / "app.ini").write_text("[uwsgi]\nhttp = :0\nneed-app = false\nstatic-map = /c=conf\n")
    assert codes(project, "--ini", "conf/app.ini") == ["static-exposes-code"]


def test_who_may_read_and_change_the_configuration(project: Path) -> None:
    file = project / "app.ini"
    file.write_text("[uwsgi]\nhttp = :0\nmodule = shop.wsgi\nenv = SECRET_KEY=x\n")
    file.chmod(0o640)
    assert codes(project, "app.ini") == []
    file.chmod(0o644)
    (found,) = look(project, "app.ini")
    assert (found.code, found.level) == ("secret-readable", "note") and found.origin is not None
    assert str(found.origin) == "app.ini:4"
    file.chmod(0o642)
    assert codes(project, "app.ini") == ["config-writable"]


def test_a_chdir_that_is_missing_is_not_said_again(project: Path) -> None:
    assert codes(project, "--http", ":0", "--chdir", "/none", "--module", "shop.wsgi") == []


def test_every_code_of_the_survey_is_tested() -> None:
    text = Path(__file__).read_text()
    source = "".join(path.read_text() for path in Path(survey.__code__.co_filename).parent.glob("survey*.py"))
    assert [code for code in CODES if f'"{code}"' in source and f'"{code}"' not in text] == []
