"""Settings and a machine that is always the same, to a plan."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

import pytest

from penstock.plan.machine import Machine
from penstock.plan.resolve import PlanError, resolve
from penstock.plan.types import Plan, StaticMapPlan, StatsFormPlan, from_json_value, to_json_value
from tests.config.support import read


class FakeMachine(Machine):
    """Three CPUs, a short backlog, and two users."""

    def mime_types(self, files: Sequence[str] = ()) -> str:
        return "css text/css\n"

    def user_id(self, name: str) -> int | None:
        return {"root": 0, "www-data": 33, "33": 33}.get(name)

    def group_id(self, name: str) -> int | None:
        return {"root": 0, "www-data": 33}.get(name)


def machine(
    cwd: Path | str, euid: int = 1000, somaxconn: int = 4096, cpus: int = 3, memory: int | None = None
) -> FakeMachine:
    return FakeMachine(
        memory_limit_bytes=memory,
        cpus=cpus,
        hostname="web1",
        cwd=str(cwd),
        euid=euid,
        somaxconn=somaxconn,
        interpreter="/usr/bin/python3",
        temp_dir="/tmp",
    )


SERVE = ("--http", ":8000", "--module", "app")


def plan(*argv: str, cwd: Path | str = "/", **about: int) -> Plan:
    """A plan for `SERVE` and some more options."""
    return resolve(read(*SERVE, *argv, cwd=cwd), machine(cwd, **about))


def refusal(*argv: str, cwd: Path | str = "/", **about: int) -> PlanError:
    """Why there is no plan for exactly these options."""
    with pytest.raises(PlanError) as caught:
        resolve(read(*argv, cwd=cwd), machine(cwd, **about))
    return caught.value


def test_the_defaults() -> None:
    made = plan()
    engine = made.engine
    assert (made.processes, engine.threads, engine.multiprocess) == (1, 1, False)
    assert made.listeners[0].backlog == 1024
    assert (engine.head_limit_bytes, engine.header_limit_count, engine.body_limit_bytes) == (65536, 128, 0)
    assert (engine.body_memory_bytes, engine.response_buffer_bytes, engine.spool_dir) == (262144, 1048576, "/tmp")
    assert (engine.header_timeout_s, engine.body_timeout_s, engine.write_timeout_s) == (10, 60, 60)
    assert (engine.keepalive_timeout_s, engine.min_worker_lifetime_s, made.drain_timeout_s) == (75, 10, 60)
    assert engine.trusted_proxies == ("unix", "127.0.0.0/8", "::1/128")
    assert engine.static.mime_types == ""
    assert made.need_app and not made.lazy_apps and not made.vacuum and engine.log.enabled
    assert (made.pidfile, made.daemonize, made.logto, made.stats) == (None, None, None, None)
    assert (made.uid, made.gid, made.umask, made.engine.harakiri.limit_s, made.term) == (None, None, None, 0, "stop")
    assert made.app.interpreter == "/usr/bin/python3" and made.app.home is None


def test_a_plan_can_be_sent_as_json_and_read_again(tmp_path: Path) -> None:
    made = plan("--static-map", f"/a={tmp_path}", "--socket", "a.sock", "--stats", ":0", "--env", "A=B")
    assert from_json_value(Plan, json.loads(json.dumps(to_json_value(made)))) == made


def test_listeners_of_both_kinds() -> None:
    made = plan("--http-socket", "[::1]:81", "--socket", "@app", "--uwsgi-socket", "a.sock", "--chmod-socket", "660")
    assert [(one.protocol, one.family, one.host, one.port) for one in made.listeners] == [
        ("http", "inet", "", 8000),
        ("http", "inet6", "::1", 81),
        ("uwsgi", "abstract", "app", 0),
        ("uwsgi", "unix", "/a.sock", 0),
    ]
    assert [one.mode for one in made.listeners] == [None, None, None, 0o660]
    assert made.listeners[1].origin == "--http-socket" and made.listeners[1].name == "[::1]:81"


def test_the_protocol_of_socket() -> None:
    assert {one.protocol for one in plan("--socket", ":3031", "--protocol", "http").listeners} == {"http"}


def test_port_0_may_be_given_twice_and_other_addresses_may_not() -> None:
    assert len(plan("--http", ":0", "--http", ":0").listeners) == 3
    assert "already served" in str(refusal(*SERVE, "--http-socket", ":8000"))
    assert "already served" in str(refusal(*SERVE, "--socket", "a", "--socket", "/a"))


def test_paths_before_and_after_chdir(tmp_path: Path) -> None:
    (tmp_path / "site" / "static").mkdir(parents=True)
    made = plan(
        *("--chdir", "site", "--pidfile", "a.pid", "--logto", "a.log", "--daemonize", "d.log", "--stats", "st.sock"),
        *(
            "--touch-reload",
            "r",
            "--socket",
            "s.sock",
            "--pythonpath",
            "lib",
            "--pythonpath",
            "/x",
            "--static-safe",
            ".",
        ),
        *("--static-map", "/static/=static/", "--spool-dir", "static"),
        cwd=tmp_path,
    )
    site = f"{tmp_path}/site"
    assert (made.pidfile, made.logto, made.daemonize) == tuple(
        f"{tmp_path}/{name}" for name in ("a.pid", "a.log", "d.log")
    )
    assert made.app.chdir == site
    assert made.stats is not None and made.stats.host == f"{site}/st.sock"
    assert made.touch_reload == (f"{site}/r",)
    assert made.listeners[1].host == f"{site}/s.sock"
    assert made.app.pythonpath == ("/x", f"{site}/lib")
    assert made.engine.static.maps == (StaticMapPlan("/static", f"{site}/static"),)
    assert made.engine.static.mime_types == "css text/css\n"
    assert made.engine.spool_dir == f"{site}/static"


def test_python_path_may_be_a_pattern(tmp_path: Path) -> None:
    for name in ("a1", "a2"):
        (tmp_path / name).mkdir()
    made = plan("--pythonpath", "a*", "--pythonpath", "none*", cwd=tmp_path)
    assert made.app.pythonpath == (f"{tmp_path}/none*", f"{tmp_path}/a2", f"{tmp_path}/a1")


@pytest.mark.parametrize(
    ("argv", "kind", "target", "name"),
    [
        (["--module", "a.b"], "module", "a.b", "application"),
        (["--module", "a.b:app"], "module", "a.b", "app"),
        (["--module", "a.b", "--callable", "app"], "module", "a.b", "app"),
        (["--module", "a.b:make()", "--callable", "app"], "module", "a.b", "make()"),
        (["--module", "a.b:"], "module", "a.b", "application"),
        (["--wsgi-file", "a/b.py"], "file", "a/b.py", "application"),
        (["--wsgi-file", "a.py", "--callable", "app"], "file", "a.py", "app"),
        (["--need-app=false"], "none", "", "application"),
    ],
)
def test_the_app(argv: list[str], kind: str, target: str, name: str) -> None:
    app = resolve(read("--http", ":0", *argv, cwd="/"), machine("/")).app
    assert (app.kind, app.target, app.callable) == (kind, target, name)


def test_environment_and_options_as_written() -> None:
    app = plan("--env", "A=1=2", "--env", "B=", "--master", "--set", "mine=x").app
    assert app.environment == (("A", "1=2"), ("B", ""))
    assert {("master", None), ("mine", "x"), ("http", ":8000")} <= set(app.options)


def test_home_must_have_an_interpreter(tmp_path: Path) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    assert "no bin/python" in str(refusal(*SERVE, "--home", "venv", cwd=tmp_path))
    os.symlink("/bin/sh", tmp_path / "venv" / "bin" / "python")
    app = plan("--home", "venv", cwd=tmp_path).app
    assert (app.home, app.interpreter) == (f"{tmp_path}/venv", f"{tmp_path}/venv/bin/python")


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        (["--buffer-size", "4096"], "head_limit_bytes", 65536),
        (["--buffer-size", "128k"], "head_limit_bytes", 131072),
        (["--header-limit", "8k"], "head_limit_bytes", 8192),
        (["--max-vars", "100"], "header_limit_count", 200),
        (["--max-vars", "10"], "header_limit_count", 128),
        ([], "underscores_in_headers", False),
        (["--underscores-in-headers"], "underscores_in_headers", True),
        (["--limit-post", "75m"], "body_limit_bytes", 78643200),
        (["--post-buffering", "1"], "body_memory_bytes", 262144),
        (["--post-buffering", "8192"], "body_memory_bytes", 8192),
        (["--socket-timeout", "4"], "header_timeout_s", 4),
        (["--socket-timeout", "600"], "header_timeout_s", 60),
        (["--socket-timeout", "600"], "body_timeout_s", 600),
        (["--socket-timeout", "600"], "write_timeout_s", 600),
        (["--socket-timeout", "30", "--http-timeout", "300"], "write_timeout_s", 300),
        (["--http-headers-timeout", "20", "--socket-timeout", "5"], "header_timeout_s", 20),
        (["--http-keepalive"], "keepalive_timeout_s", 75),
        (["--http-keepalive", "30"], "keepalive_timeout_s", 30),
        (["--http-keepalive=0"], "keepalive_timeout_s", 0),
        (["--worker-reload-mercy", "5"], "drain_timeout_s", 5),
        (["--disable-logging"], "log.enabled", False),
        (["--trusted-proxies", "10.0.0.7/8,unix"], "trusted_proxies", ("unix", "127.0.0.0/8", "::1/128", "10.0.0.0/8")),
        (["--trusted-proxies", "none"], "trusted_proxies", ()),
        (["--trusted-proxies", "10.0.0.7"], "drops_forwarded", True),
        ([], "drops_forwarded", False),
        ([], "trusted_headers", ()),
        (["--trusted-headers", "Forwarded, x-real-ip"], "trusted_headers", ("forwarded", "x-real-ip")),
        (["--trusted-headers", "Forwarded", "--trusted-headers", "forwarded"], "trusted_headers", ("forwarded",)),
        (["--trusted-proxies", "none", "--trusted-proxies", "all"], "trusted_proxies", ("unix", "0.0.0.0/0", "::/0")),
        (["-p", "2"], "multiprocess", True),
    ],
)  # fmt: skip
def test_engine_values(argv: list[str], field: str, value: object) -> None:
    assert attrgetter(field)(plan(*argv).engine) == value


@pytest.mark.parametrize(("text", "count"), [("auto", 3), ("7", 7)])
def test_processes(text: str, count: int) -> None:
    assert plan("--processes", text).processes == count


@pytest.mark.parametrize(("megabytes", "count"), [(64, 1), (256, 1), (512, 3), (1000, 6), (4096, 8)])
def test_processes_by_the_memory_limit(megabytes: int, count: int) -> None:
    made = plan("--processes", "auto", cpus=8, memory=megabytes << 20)
    assert made.processes == count
    assert any("because the memory limit is" in note for note in made.notes) == (count < 8)
    # A number is a number.
    assert plan("--processes", "7", cpus=8, memory=megabytes << 20).processes == 7


@pytest.mark.parametrize(
    ("processes", "cpus", "threads"),
    [("auto", 3, 4), ("1", 1, 4), ("1", 3, 12), ("1", 64, 16), ("2", 3, 6), ("8", 3, 2), ("5", 3, 3)],
)
def test_threads_by_cpus(processes: str, cpus: int, threads: int) -> None:
    assert plan("--processes", processes, "--threads", "auto", cpus=cpus).engine.threads == threads


def test_a_backlog_above_the_systems_is_lowered_and_said() -> None:
    made = plan("--listen", "2048", somaxconn=128)
    assert made.listeners[0].backlog == 128
    assert any("listen = 2048: the system allows 128" in note and "somaxconn=2048" in note for note in made.notes)
    assert plan("--listen", "64", somaxconn=128).listeners[0].backlog == 64
    assert plan(somaxconn=128).listeners[0].backlog == 128


@pytest.mark.parametrize(
    ("argv", "term", "said"),
    [([], "stop", True), (["--die-on-term"], "stop", False), (["--die-on-term=false"], "reload", False)],
)
def test_what_term_does(argv: list[str], term: str, said: bool) -> None:
    made = plan(*argv)
    assert made.term == term
    assert any("SIGTERM" in note for note in made.notes) == said


def test_a_bare_word_for_socket_is_a_path_and_that_is_said() -> None:
    made = plan("--socket", "app")
    assert made.listeners[1].host == "/app"
    assert any("socket = app: this is a unix socket in /; write ./app, or app:8000" in note for note in made.notes)
    assert not any("unix socket" in note for note in plan("--socket", "app.sock", "--stats", "./stats").notes)


def test_notes() -> None:
    assert any("root" in note for note in plan(euid=0).notes)
    assert not any("root" in note for note in plan("--uid", "www-data", euid=0).notes)
    assert any("always supervises" in note for note in plan("--master=false").notes)
    assert plan("--master", "--die-on-term").notes == ()
    assert any("/nowhere does not exist" in note for note in plan("--static-map", "/s=/nowhere").notes)
    assert any("one of module and wsgi-file" in note for note in plan("--wsgi-file", "a.py").notes)


@pytest.mark.parametrize(
    ("argv", "code", "status", "piece"),
    [
        (["--module", "a"], "no-listener", 1, "http = :8000"),
        (["--http", ":1"], "no-app", 22, "wsgi-file"),
        (["--module", "a", "--http", "localhost"], "bad-address", 1, "no port; did you mean localhost:8000?"),
        ([*SERVE, "--http-to", ":9"], "http-to-elsewhere", 1, "router process"),
        ([*SERVE, "--http", "8000"], "bad-address", 1, "write :8000"),
        ([*SERVE, "--stats", "9191"], "bad-address", 1, "write :9191"),
        ([*SERVE, "--chdir", "/nowhere"], "no-directory", 1, "/nowhere"),
        ([*SERVE, "--chdir", "/etc/passwd"], "no-directory", 1, "is not a directory"),
        ([*SERVE, "--spool-dir", "/nowhere"], "no-directory", 1, "spool-dir"),
        ([*SERVE, "--home", "/nowhere"], "no-interpreter", 1, "python3 -m venv /nowhere"),
        ([*SERVE, "--uid", "nobody-at-all"], "no-user", 1, "nobody-at-all"),
        ([*SERVE, "--gid", "nobody-at-all"], "no-group", 1, "nobody-at-all"),
        ([*SERVE, "--uid", "www-data"], "not-root", 1, "only root"),
        ([*SERVE, *(f"--socket=/s{n}" for n in range(240))], "too-many-addresses", 1, "second instance"),
    ],
)
def test_refused(argv: list[str], code: str, status: int, piece: str) -> None:
    error = refusal(*argv)
    assert [finding.code for finding in error.findings] == [code]
    assert error.exit_status == status
    assert piece in str(error)


def test_http_to_the_own_socket_is_fine() -> None:
    assert len(plan("--socket", "/a.sock", "--http-to", "/a.sock").listeners) == 2


def test_all_errors_at_once_and_then_the_status_is_plain() -> None:
    error = refusal("--chdir", "/nowhere")
    assert [finding.code for finding in error.findings] == ["no-listener", "no-app", "no-directory"]
    assert error.exit_status == 1


def test_the_own_user_needs_no_root() -> None:
    assert plan("--uid", "33", euid=33).uid == "33"


def test_the_real_machine() -> None:
    here = Machine.here()
    assert here.cpus >= 1 and here.somaxconn >= 1
    types = here.mime_types().splitlines()
    assert "css text/css" in types
    # The engine searches by halves.
    assert [line.split(" ")[0] for line in types] == sorted(line.split(" ")[0] for line in types)
    assert here.user_id("root") == 0 and here.group_id("root") == 0
    assert here.user_id("4711") == 4711 and here.user_id("nobody at all") is None
    assert here.group_id("4711") == 4711 and here.group_id("nobody at all") is None
    assert resolve(read(*SERVE, cwd="/"), here).listeners


def test_the_statistics_socket_is_read_as_every_address_is() -> None:
    every = plan("--stats", "*:9191").stats
    assert every is not None and (every.family, every.host, every.port) == ("inet", "", 9191)
    path = plan("--stats", "/run/stats.sock", "--chmod-socket", "660").stats
    assert path is not None and (path.family, path.mode) == ("unix", 0o660)


def test_forms_of_the_statistics() -> None:
    assert plan().stats_form == StatsFormPlan()
    made = plan("--stats-http", "--stats-min", "--stats-no-cores", "--stats-no-metrics").stats_form
    assert (made.http, made.minified, made.cores) == (True, True, False)


def test_locks_are_counted() -> None:
    assert plan("--http", ":0").app.locks == 0
    assert plan("--http", ":0", "--locks", "3").app.locks == 3


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), False),
        (("--request-id",), True),
        (("--log-format", "json"), True),
        (("--log-format", "%(uri) %(reqid)"), True),
        (("--log-format", "combined"), False),
        (("--log-format", "json", "--request-id=false"), False),
    ],
)
def test_requests_have_ids_where_they_are_wanted_or_shown(options: tuple[str, ...], expected: bool) -> None:
    made = plan("--http", ":0", *options).engine
    assert (made.request_ids, made.trace_context) == (expected, False)
    assert plan("--http", ":0", *options, "--trace-context").engine.trace_context
