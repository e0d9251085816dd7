"""The id of a request in Django's log lines: no middleware, on a real server, with two threads at the same time."""

from __future__ import annotations

import concurrent.futures
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import get
from tests.e2e.harness import Penstock, until
from tests.support.projects import make_django, write_files

SETTINGS = """
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "penstock.django.logs.RequestId"}},
    "formatters": {"line": {"format": "LINE {request_id} {name} {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "filters": ["request_id"], "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
"""
VIEWS = """
import logging
import threading

from django.http import HttpResponse

together = threading.Barrier(2, timeout=30)


def note(request):
    if "together" in request.GET:
        together.wait()
    logging.getLogger("shop").info("for %s", request.headers.get("X-Request-Id"))
    return HttpResponse(request.headers.get("X-Request-Id", ""))


def fail(request):
    raise RuntimeError("it failed")
"""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    folder = make_django(tmp_path_factory.mktemp("logs") / "cmdb", settings=SETTINGS)
    urls = "from django.urls import path\nfrom shop import views\n"
    urls += "urlpatterns = [path('note/', views.note), path('fail/', views.fail)]\n"
    models = "import logging\nlogging.getLogger('shop').info('imported')\n"
    write_files(folder, {"shop/views.py": VIEWS, "cmdb/urls.py": urls, "shop/models.py": models})
    options = ("--module", "cmdb.wsgi", "--threads", "2", "--request-id")
    with Penstock("--http", "127.0.0.1:0", *options, cwd=folder) as made:
        yield made


def lines(instance: Penstock) -> list[tuple[str, str, str]]:
    return re.findall(r"^LINE (\S+) (\S+) (.*)$", instance.log, re.MULTILINE)


def test_every_line_of_a_request_has_its_id(instance: Penstock) -> None:
    given = get(instance.http, "/note/", {"Host": "localhost", "X-Request-ID": "from-nginx-1"}).text
    made = get(instance.http, "/note/", {"Host": "localhost"}).text
    assert given == "from-nginx-1" and re.fullmatch("[0-9a-f]{32}", made)
    until("both lines", lambda: {(each, "shop", f"for {each}") for each in (given, made)} <= set(lines(instance)))
    assert ("-", "shop", "imported") in lines(instance)


def test_a_failure_is_logged_by_django_with_its_id(instance: Penstock) -> None:
    assert get(instance.http, "/fail/", {"Host": "localhost", "X-Request-ID": "failing"}).status == 500
    until("the error", lambda: ("failing", "django.request", "Internal Server Error: /fail/") in lines(instance))


def test_requests_at_the_same_time_keep_their_own(instance: Penstock) -> None:
    def ask(number: int) -> str:
        return get(instance.http, "/note/?together", {"Host": "localhost", "X-Request-ID": f"pair-{number}"}).text

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        asked = list(pool.map(ask, range(10)))
    wanted = {(each, "shop", f"for {each}") for each in asked}
    until("all lines", lambda: wanted <= set(lines(instance)))
    assert all(name != "shop" or text in ("imported", f"for {each}") for each, name, text in lines(instance))


def test_what_is_no_id_is_left_out(tmp_path: Path) -> None:
    from penstock.django.logs import NONE, _id_of

    assert _id_of({"environ": {"HTTP_X_REQUEST_ID": "a b\x1b[31m"}}) == NONE
    assert _id_of({"environ": {"HTTP_X_REQUEST_ID": "x" * 129}}) == NONE
    assert _id_of({"scope": {"headers": [(b"x-request-id", b"abc-1")]}}) == "abc-1"
    assert _id_of({"scope": {"headers": []}}) == NONE and _id_of({}) == NONE
