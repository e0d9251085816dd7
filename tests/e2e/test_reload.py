"""Reloads: what new code has to pass before it serves, and what the one who asked for it is told."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.clients import Cut, get
from tests.e2e.harness import Penstock, read_stats, run_penstock, until
from tests.e2e.load import Load

HTTP = ("--http", "127.0.0.1:0")

VERSIONED = """
VERSION = {version!r}
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", str(len(VERSION)))])
    return [VERSION.encode()]
"""


def get_or_none(address: str, path: str) -> bytes | None:
    """The body of an answer; None while there is nobody to answer."""
    try:
        return get(address, path).body
    except (Cut, OSError):
        return None


@pytest.fixture
def deploy(short_dir: Path) -> Callable[..., Path]:
    """Writes an app that answers with its version, behind other lines; call it again to deploy another one."""

    def write(version: str, before: str = "") -> Path:
        path, new = short_dir / "app.py", short_dir / "app.new"
        new.write_text(before + VERSIONED.format(version=version))
        new.rename(path)
        return path

    return write


# -- workers stand ready before the switch -----------------------------------------------------------------------------


def test_no_request_meets_new_code_before_all_of_it_is_ready(deploy: Callable[..., Path], short_dir: Path) -> None:
    gate = short_dir / "gate"
    os.mkfifo(gate)
    app = deploy("old")
    with Penstock(*HTTP, "--wsgi-file", app, "--processes", "2", "--lazy-apps", "--disable-logging") as instance:
        waits = f"import uwsgi\nif uwsgi.worker_id() == 2:\n    open({str(gate)!r}).close()\n"
        deploy("new", before=waits)
        with Load(instance.http, "/") as load:
            before = len(instance.log)
            instance.send(signal.SIGHUP)
            until("worker 1 is ready", lambda: instance.log[before:].count("ready in") == 1)
            load.more(100)
            assert set(load.answers) == {b"old"}
            gate.write_text("")
            until("the new code", lambda: load.answers[b"new"] > 50)
        assert load.failures == []


# -- the app has to answer before it serves ----------------------------------------------------------------------------

PROBED = """
import json
import os
import re
VERSION = {version!r}
PROBES = {probes!r}
def application(environ, start_response):
    if environ["PATH_INFO"] == "/seen":
        start_response("200 OK", [])
        return [" ".join(asked).encode()]
    if "penstock.probe" in environ:
        asked.append(environ["penstock.probe"] + environ["PATH_INFO"])
        status = PROBES.get(environ["PATH_INFO"], "200 OK")
        if status == "raise":
            raise LookupError("the table is missing")
        if status == "hang":
            open({fifo!r}).close()
        start_response(status, [])
        return [b"probed"]
    start_response("200 OK", [("Content-Length", str(len(VERSION)))])
    return [VERSION.encode()]
asked = []
"""


@pytest.fixture
def probed(short_dir: Path) -> Callable[..., Path]:
    """Writes an app that answers the server's own requests as it is told; call it again to deploy another one."""
    fifo = short_dir / "hang"
    os.mkfifo(fifo)

    def write(version: str, **probes: str) -> Path:
        path, new = short_dir / "probed.py", short_dir / "probed.new"
        paths = {f"/{name}": status for name, status in probes.items()}
        new.write_text(PROBED.format(version=version, probes=paths, fifo=str(fifo)))
        new.rename(path)
        return path

    return write


@pytest.mark.option("warmup", "health-check")
def test_every_new_worker_warms_up_before_its_first_request(probed: Callable[..., Path], short_dir: Path) -> None:
    stats = short_dir / "stats"
    with Penstock(
        *HTTP, "--wsgi-file", probed("1"), "--warmup", "/a", "--warmup", "/b?c=d", "--health-check", "/health",
        "--stats", stats,
    ) as instance:  # fmt: skip
        assert get(instance.http, "/seen").body == b"warmup/a warmup/b health-check/health"

        def counted() -> list[int]:
            return [worker["requests"] for worker in read_stats(str(stats))["workers"]]

        until("the request is counted, and the server's own are not", lambda: counted() == [1])
        assert "GET /a" not in instance.log, "and are not logged as requests"
        os.kill(instance.workers()[0], signal.SIGKILL)
        until("another worker", lambda: instance.log.count("spawned worker 1 ") == 2)
        assert until("an answer", lambda: get_or_none(instance.http, "/seen")) == b"warmup/a warmup/b"


@pytest.mark.event("reload-unfit", "reload-stuck")
@pytest.mark.option("health-check", "health-check-status", "health-check-retries", "health-check-timeout")
@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ("503 Service Unavailable", "health-check /health was answered 503 Service Unavailable"),
        ("302 Found", "health-check /health was answered 302 Found"),
        ("raise", "LookupError: the table is missing at "),
        ("hang", "health-check /health was not answered within 1 seconds at "),
    ],
)
def test_new_code_that_fails_its_health_check_never_serves(
    probed: Callable[..., Path], answer: str, cause: str
) -> None:
    with Penstock(
        *HTTP, "--wsgi-file", probed("old"), "--processes", "2", "--disable-logging", "--health-check", "/health",
        "--health-check-status", "200", "--health-check-timeout", "1", "--health-check-retries", "1",
    ) as instance:  # fmt: skip
        before = instance.workers()
        with Load(instance.http, "/") as load:
            load.more(20)
            probed("new", health=answer)
            since = len(instance.log)
            instance.reload()
            load.more(20)
        assert load.failures == [] and set(load.answers) == {b"old"}
        log = instance.log[since:]
        assert cause in log and "generation 1 keeps serving" in log
        assert ("it is tried again" in log) == (answer != "hang")
        until("nothing is left of the try", lambda: instance.workers() == before and len(instance.generations()) == 1)
        probed("new")
        instance.reload()
        assert get(instance.http).body == b"new"


@pytest.mark.event("reload-unfit")
@pytest.mark.option("warmup", "warmup-timeout")
@pytest.mark.parametrize("answer", ["500 Internal Server Error", "raise", "hang"])
def test_new_code_that_fails_its_warm_up_never_serves(probed: Callable[..., Path], answer: str) -> None:
    with Penstock(
        *HTTP, "--wsgi-file", probed("old"), "--warmup", "/warm", "--warmup-timeout", "1", "--disable-logging"
    ) as instance:  # fmt: skip
        with Load(instance.http, "/") as load:
            load.more(20)
            probed("new", warm=answer)
            instance.reload()
            load.more(20)
        assert load.failures == [] and set(load.answers) == {b"old"}
        instance.wait_log("warmup /warm was (answered 500|not answered within 1 seconds)")


@pytest.mark.option("health-check")
def test_a_first_start_whose_health_check_fails_ends_with_22(probed: Callable[..., Path]) -> None:
    app = probed("1", health="503 Service Unavailable")
    arguments = (*HTTP, "--wsgi-file", app, "--health-check", "/health", "--health-check-retries", "0")
    result = run_penstock(*arguments)
    assert result.returncode == 22
    assert "health-check /health was answered 503 Service Unavailable" in result.stderr
    with Penstock(*arguments, "--need-app=false") as instance:
        assert get(instance.http).body == b"1"


@pytest.mark.option("health-check")
def test_code_in_c_that_keeps_the_interpreter_is_killed_at_the_gate(
    deploy: Callable[..., Path], short_dir: Path
) -> None:
    stuck = """
import ctypes
real = None
def application(environ, start_response):
    if "penstock.probe" in environ:
        ctypes.PyDLL(None).sleep(1000)
"""
    with Penstock(
        *HTTP, "--wsgi-file", deploy("old"), "--health-check", "/", "--health-check-timeout", "1",
        "--health-check-retries", "0", "--disable-logging",
    ) as instance:  # fmt: skip
        (short_dir / "app.py").write_text(stuck)
        with Load(instance.http, "/") as load:
            instance.reload()
            load.more(20)
        assert load.failures == [] and set(load.answers) == {b"old"}
        instance.wait_log("has not passed its warm-up and health check after 2 seconds; its stacks are in the log")
        instance.wait_log(r'File ".*app\.py", line 6 in application')
        until("nothing is left of the try", lambda: len(instance.generations()) == len(instance.workers()) == 1)


@pytest.mark.event("reload-stuck")
@pytest.mark.option("reload-timeout")
@pytest.mark.parametrize("lazy", [(), ("--lazy-apps",)])
@pytest.mark.parametrize(
    ("hangs", "cause"),
    [
        (
            "import threading\nthreading.Event().wait(1000)\n",
            r"still importing file .*after 1 seconds at .*app\.py:2 \(threading\.Event",
        ),
        ("import ctypes\nctypes.PyDLL(None).sleep(1000)\n", r'File ".*app\.py", line 2 in <module>'),
    ],
)
def test_an_import_that_hangs_is_given_up(
    deploy: Callable[..., Path], hangs: str, cause: str, lazy: tuple[str, ...]
) -> None:
    with Penstock(*HTTP, "--wsgi-file", deploy("old"), "--reload-timeout", "1", "--disable-logging", *lazy) as instance:
        deploy("new", before=hangs)
        since = len(instance.log)
        with Load(instance.http, "/") as load:
            instance.reload()
            load.more(20)
        assert load.failures == [] and set(load.answers) == {b"old"}
        instance.wait_log(cause, since=since)
        instance.wait_log("generation 1 keeps serving", since=since)
        until("nothing is left of the try", lambda: len(instance.generations()) == len(instance.workers()) == 1, 20)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_an_app_sees_in_a_warm_up_what_it_sees_in_a_request(short_dir: Path, threads: str) -> None:
    app = short_dir / "environ.py"
    app.write_text(
        """
import json
warm = {}
def application(environ, start_response):
    kinds = {key: type(value).__name__ for key, value in environ.items()}
    if "penstock.probe" in environ:
        warm.update(kinds)
    start_response("200 OK", [])
    return [json.dumps([warm, kinds]).encode()]
"""
    )
    with Penstock(*HTTP, "--wsgi-file", app, "--warmup", "/a?b", "--threads", threads) as instance:
        warm, real = json.loads(get(instance.http, "/a?b", {"User-Agent": "x"}).body)
        assert warm.pop("penstock.probe") == "str"
        # An in-memory file for the engine's own, which is made of a request.
        assert (warm.pop("wsgi.input"), real.pop("wsgi.input")) == ("BytesIO", "RequestBody")
        assert warm == real


@pytest.mark.option("warmup")
def test_each_thread_is_warm_before_the_first_client_comes(short_dir: Path) -> None:
    app = short_dir / "threads.py"
    app.write_text(
        """
import threading, uwsgi
own, warm = threading.local(), []
def application(environ, start_response):
    start_response("200 OK", [])
    if "penstock.probe" in environ:
        own.is_warm = True
        warm.append(f"{environ['uwsgi.core']} {threading.current_thread().name[-5:]}")
    return [str(getattr(own, "is_warm", False)).encode(), b" ", ",".join(sorted(warm)).encode()]
"""
    )
    with Penstock(*HTTP, "--wsgi-file", app, "--warmup", "/", "--threads", "4", "--processes", "2") as instance:
        assert len(re.findall(r"^warmup /: 200 OK", instance.log, re.M)) == 8
        threads = ",".join(["0 hread", *(f"{number} Core{number}" for number in (1, 2, 3))])
        with Load(instance.http, "/", clients=6) as load:
            load.more(500)
        assert load.failures == [] and set(load.answers) == {f"True {threads}".encode()}


DJANGO = """
from django.conf import settings
settings.configure(
    ALLOWED_HOSTS=[".shop.example"], SECURE_SSL_REDIRECT=True, ROOT_URLCONF=__name__, SECRET_KEY="x",
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
)
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
def page(request):
    return HttpResponse(request.build_absolute_uri())
def broken(request):
    raise LookupError("no such table: cart")
urlpatterns = [path("page", page), path("broken", broken)]
application = get_wsgi_application()
"""


@pytest.mark.option("warmup", "health-check")
def test_a_django_project_is_asked_under_its_own_name_and_tells_its_cause(short_dir: Path) -> None:
    app = short_dir / "shop.py"
    app.write_text(DJANGO)
    with Penstock(*HTTP, "--wsgi-file", app, "--warmup", "/page") as instance:
        assert "warmup /page: 200 OK in " in instance.log
    for probe, cause in (
        ("/broken", r"answered 500 Internal Server Error: LookupError: no such table: cart at .*/shop\.py:14 "),
        ("other.example/page", "answered 400 Bad Request"),
        ("http://shop.example/page", "answered 301 Moved Permanently"),
    ):
        status = ("--health-check-status", "200", "--health-check-retries", "0")
        result = run_penstock(*HTTP, "--wsgi-file", app, "--health-check", probe, *status)
        assert result.returncode == 22 and re.search(cause, result.stderr), result.stderr
