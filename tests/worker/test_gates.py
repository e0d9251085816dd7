"""Warm-up requests and health checks, in a real generation with a fake engine; and what an app sees of them."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from penstock.plan.process_types import GatesPlan, ProbePlan
from penstock.plan.types import to_json_value
from penstock.worker.apps import Apps
from penstock.worker.gates import choose, usual_host
from tests.worker.fake_master import FakeMaster, app_plan, value

Write = Callable[..., None]

APP = """
import os, sys, threading
asked = []
def application(environ, start_response):
    path = environ["PATH_INFO"]
    asked.append((environ["penstock.probe"], path, environ["QUERY_STRING"], environ["HTTP_HOST"]))
    if path == "/raises":
        raise ValueError("no database")
    if path == "/leaves":
        sys.exit(3)
    if path == "/hangs":
        threading.Event().wait(1000)
    if path == "/silent":
        return [b"x"]
    if path == "/text":
        start_response("200 OK", [])
        return ["x"]
    if path == "/late":
        def body():
            yield b"a"
            raise ValueError("late")
        start_response("200 OK", [])
        return body()
    if path == "/forks":
        if os.fork() == 0:
            start_response("200 OK", [])
            return [b"child"]
        os.wait()
    if path == "/logs":
        import logging
        try:
            {}["key"]
        except KeyError:
            logging.getLogger("framework").error("oops", exc_info=True)
        start_response("500 Internal Server Error", [])
        return [b"sorry"]
    if path == "/second":
        ready = len(asked) > 1
        start_response("200 OK" if ready else "503 Service Unavailable", [])
        return [b"warming"]
    start_response("404 Not Found" if path == "/none" else "302 Found" if path == "/moved" else "200 OK", [])
    return [b"fine"]
"""


def gates(*warmups: str, checks: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    """A plan with a request for each path."""
    made = GatesPlan(
        tuple(ProbePlan(uri) for uri in warmups),
        checks=tuple(ProbePlan(uri) for uri in checks),
        **{"warmup_timeout_s": 20.0, "check_timeout_s": 20.0, **changes},
    )
    return to_json_value(made)  # type: ignore[no-any-return]


def come(
    master: FakeMaster, project: Path, plan: dict[str, Any], entry: str = "start", **changes: Any
) -> socket.socket:
    """Start a worker that has gates; return its control pair after `checking`."""
    master.start(app_plan(project), gates=plan, **changes)
    assert master.event()["event"] == "imported", master.log()
    control = master.spawn(ready=False, entry=entry)
    assert control.recv(65536) == b"checking"
    return control


def verdict(control: socket.socket) -> tuple[str, str]:
    """What the worker tells of itself: the first line and the rest."""
    first, _, rest = control.recv(65536).decode().partition("\n")
    return first, rest


def test_every_path_is_asked_for_in_its_order_before_the_worker_is_ready(
    master: FakeMaster, project: Path, write: Write
) -> None:
    write(APP)
    control = come(master, project, gates("/a?b=c", "/caf%C3%A9", checks=("/health",)))
    assert verdict(control) == ("ready", "")
    asked = value(control, "sys.modules['shop_site'].asked")
    assert [each[:3] for each in asked] == [
        ["warmup", "/a", "b=c"], ["warmup", "/caf\u00c3\u00a9", ""], ["health-check", "/health", ""],
    ]  # fmt: skip
    assert {each[3] for each in asked} == {"localhost"}
    assert "warmup /a?b=c: 200 OK in 0." in master.log() and f"(worker 1, pid: {master.pids[0]})" in master.log()


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("/raises", "was answered 500 Internal Server Error: ValueError: no database at "),
        ("/leaves", "SystemExit: 3 at "),
        ("/silent", "AssertionError: the app did not call start_response"),
        ("/text", "TypeError: a piece of the body is of type str, not bytes"),
        ("/late", "ValueError: late at "),
        ("/logs", "was answered 500 Internal Server Error: KeyError: 'key' at "),
    ],
)
@pytest.mark.parametrize("option", ["warmup", "health-check"])
def test_an_app_that_fails_is_not_let_through_and_its_cause_comes_first(
    master: FakeMaster, project: Path, write: Write, option: str, path: str, cause: str
) -> None:
    write(APP)
    control = come(master, project, gates(path) if option == "warmup" else gates(checks=(path,)), "reload")
    first, rest = verdict(control)
    assert first.startswith(f"unfit {option} {path} ") and cause in first
    if path not in ("/silent", "/text"):
        assert "Traceback" in rest and "shop_site.py" in rest and "penstock/worker" not in rest
    assert os.waitstatus_to_exitcode(master.event()["status"]) == 22
    assert cause in master.log()


@pytest.mark.parametrize(("path", "fits"), [("/none", False), ("/moved", True), ("/ok", True)])
def test_which_statuses_pass_a_health_check(
    master: FakeMaster, project: Path, write: Write, path: str, fits: bool
) -> None:
    write(APP)
    first, rest = verdict(come(master, project, gates(checks=(path,))))
    if fits:
        assert first == "ready"
    else:
        assert first == "unfit health-check /none was answered 404 Not Found" and rest == "the answer begins:\nfine"


def test_statuses_of_ones_own(master: FakeMaster, project: Path, write: Write) -> None:
    write(APP)
    first, _ = verdict(come(master, project, gates(checks=("/none", "/ok"), statuses=((404, 404),))))
    assert first == "unfit health-check /ok was answered 200 OK"


def test_a_warm_up_page_that_is_not_there_is_mentioned_and_no_more(
    master: FakeMaster, project: Path, write: Write
) -> None:
    write(APP)
    assert verdict(come(master, project, gates("/none")))[0] == "ready"
    assert "*** warmup /none was answered 404 Not Found: is it the right page?" in master.log()


def test_a_health_check_is_tried_again(master: FakeMaster, project: Path, write: Write) -> None:
    write(APP)
    control = come(master, project, gates(checks=("/second",), check_retries=1))
    assert verdict(control)[0] == "ready"
    assert "health-check /second was answered 503 Service Unavailable: it is tried again" in master.log()


@pytest.mark.parametrize("option", ["warmup", "health-check"])
def test_an_answer_that_takes_too_long_shows_where(
    master: FakeMaster, project: Path, write: Write, option: str
) -> None:
    write(APP)
    plan = (
        gates("/hangs", warmup_timeout_s=0.2) if option == "warmup" else gates(checks=("/hangs",), check_timeout_s=0.2)
    )
    first, rest = verdict(come(master, project, plan, "reload"))
    assert first.startswith(f"unfit {option} /hangs was not answered within 0.2 seconds at ")
    assert "threading.Event().wait(1000)" in first and "threading.Event().wait(1000)" in rest
    assert os.waitstatus_to_exitcode(master.event()["status"]) == 22


def test_a_replacement_warms_up_and_serves_whatever_comes_of_it(
    master: FakeMaster, project: Path, write: Write
) -> None:
    write(APP)
    control = come(master, project, gates("/raises", checks=("/health",)), "replacement")
    assert verdict(control)[0] == "ready"
    assert "ValueError: no database" in master.log() and "it serves all the same ***" in master.log()
    assert [each[0] for each in value(control, "sys.modules['shop_site'].asked")] == ["warmup"]


def test_without_need_app_a_start_goes_on(master: FakeMaster, project: Path, write: Write) -> None:
    write(APP)
    assert verdict(come(master, project, gates(checks=("/raises",)), need_app=False))[0] == "ready"
    assert "it serves all the same ***" in master.log()


def test_a_child_that_the_app_forks_does_not_become_a_second_worker(
    master: FakeMaster, project: Path, write: Write
) -> None:
    write(APP)
    control = come(master, project, gates("/forks"))
    assert verdict(control)[0] == "ready"
    assert value(control, "os.getpid()") == master.pids[0]


def test_the_end_of_the_master_ends_a_worker_that_waits_for_its_app(
    master: FakeMaster, project: Path, write: Write
) -> None:
    write(APP)
    control = come(master, project, gates("/hangs"))
    master.cut_lifeline()
    assert control.recv(1) == b"", "it has gone"


def test_variables_of_the_log_are_not_kept_for_the_first_request(
    master: FakeMaster, project: Path, write: Write
) -> None:
    write(
        "import uwsgi\n"
        "def application(environ, start_response):\n"
        "    uwsgi.set_logvar('user', 'warm')\n"
        "    assert uwsgi.get_logvar('user') == b'warm' and uwsgi.get_logvar('none') is None\n"
        "    uwsgi.log_this_request()\n"
        "    start_response('200 OK', [])\n"
        "    return [b'']\n"
    )
    assert verdict(come(master, project, gates("/")))[0] == "ready"


def test_a_slow_import_of_a_reload_ends_in_time(master: FakeMaster, project: Path, write: Write) -> None:
    write("import threading\nthreading.Event().wait(1000)\n")
    master.start(app_plan(project), is_reload=True, import_limit_s=0.3)
    failed = master.event()
    assert failed["event"] == "import-failed"
    assert failed["reason"].startswith("still importing module shop_site after 0.3 seconds at ")
    assert "threading.Event().wait(1000)" in failed["reason"] and "threading.Event().wait(1000)" in failed["traceback"]
    assert master.exit_code() == 22


def test_a_slow_import_of_a_worker_ends_in_time(master: FakeMaster, project: Path, write: Write) -> None:
    write("import threading\nthreading.Event().wait(1000)\n")
    master.start(app_plan(project), lazy_apps=True, is_reload=True, import_limit_s=0.3)
    master.event()
    first, rest = verdict(master.spawn(ready=False, entry="reload"))
    assert first.startswith("failed could not import the app: worker 1 (pid: ")
    assert "threading.Event().wait(1000)" in rest
    assert os.waitstatus_to_exitcode(master.event()["status"]) == 22


def test_the_longest_mountpoint_answers() -> None:
    def app(environ: Any, start_response: Any) -> Any: ...

    def shop(environ: Any, start_response: Any) -> Any: ...

    apps = Apps(app, (("/shop", shop), ("/caf\u00e9", app)), ())
    assert choose(apps, "/shop/cart") == (shop, "/shop")
    assert choose(apps, "/shop") == (shop, "/shop")
    assert choose(apps, "/shopping") == (app, "")
    assert choose(apps, "/caf\u00c3\u00a9/x") == (app, "/caf\u00c3\u00a9")
    assert choose(Apps(None, (("/shop", shop),), ()), "/") == (None, "")


@pytest.mark.parametrize(
    ("hosts", "host"),
    [
        ([], "localhost"),
        (["*"], "localhost"),
        ([".example.org", "b"], "example.org"),
        (["*", "www.b.example"], "www.b.example"),
    ],
)
def test_a_django_project_is_asked_under_a_name_that_it_allows(
    monkeypatch: pytest.MonkeyPatch, hosts: list[str], host: str
) -> None:
    conf = ModuleType("django.conf")
    conf.settings = SimpleNamespace(configured=True, ALLOWED_HOSTS=hosts)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "django.conf", conf)
    assert usual_host() == host
