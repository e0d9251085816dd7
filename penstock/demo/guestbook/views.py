"""One view for each thing that a server has to get right.

The tests of the server use them too, so what a view answers is kept stable.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator

from django.core.paginator import Paginator
from django.db.models import Count
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt

from penstock.demo.guestbook.forms import EntryForm
from penstock.demo.guestbook.models import Entry

LONGEST_SLEEP_S = 60.0
LARGEST_STREAM_BYTES = 1 << 30
PIECE = bytes(range(32, 96)) * 1024
"""64 KiB of printable text."""


class BadParameter(ValueError):
    """A number in the query string that can not be taken."""


def _number(request: HttpRequest, name: str, default: float, most: float) -> float:
    try:
        value = float(request.GET.get(name, default))
    except ValueError as error:
        raise BadParameter(f"{name} is not a number") from error
    if not 0 <= value <= most:
        raise BadParameter(f"{name} must lie between 0 and {most:g}")
    return value


def index(request: HttpRequest) -> HttpResponse:
    """Link to everything there is."""
    return render(request, "guestbook/index.html", {"pid": os.getpid()})


def entries(request: HttpRequest) -> HttpResponse:
    """Show the guest book: queries, a template, pages of ten."""
    page = Paginator(Entry.objects.all(), 10).get_page(request.GET.get("page"))
    authors = Entry.objects.values("author").annotate(entries=Count("id")).order_by("-entries", "author")[:5]
    return render(request, "guestbook/entries.html", {"page": page, "authors": authors})


def new_entry(request: HttpRequest) -> HttpResponse:
    """Take a form with an uploaded file."""
    form = EntryForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect("entries")
    return render(request, "guestbook/new_entry.html", {"form": form})


def plain(request: HttpRequest) -> HttpResponse:
    """Answer without template, database or session: what the server and Django cost by themselves."""
    return HttpResponse("Hello from Django\n", content_type="text/plain")


def whoami(request: HttpRequest) -> JsonResponse:
    """Tell what the server told about the client and about itself."""
    environ = request.META
    return JsonResponse(
        {
            "remote_addr": environ.get("REMOTE_ADDR", ""),
            "remote_port": environ.get("REMOTE_PORT", ""),
            "scheme": request.scheme,
            "secure": request.is_secure(),
            "host": request.get_host(),
            "method": request.method,
            "path": request.path,
            "query": environ.get("QUERY_STRING", ""),
            "protocol": environ.get("SERVER_PROTOCOL", ""),
            "server_name": environ.get("SERVER_NAME", ""),
            "server_port": environ.get("SERVER_PORT", ""),
            "server_software": environ.get("SERVER_SOFTWARE", ""),
            "script_name": environ.get("SCRIPT_NAME", ""),
            "multithread": environ.get("wsgi.multithread", False),
            "multiprocess": environ.get("wsgi.multiprocess", False),
            "cookies": {name: len(value) for name, value in request.COOKIES.items()},
            "pid": os.getpid(),
            "thread": threading.current_thread().name,
        }
    )


def slow(request: HttpRequest) -> HttpResponse:
    """Answer after `seconds`, as a view does that waits for something else."""
    try:
        seconds = _number(request, "seconds", 2, LONGEST_SLEEP_S)
    except BadParameter as error:
        return HttpResponseBadRequest(str(error), content_type="text/plain")
    time.sleep(seconds)
    return HttpResponse(f"Slept for {seconds:g} seconds in process {os.getpid()}\n", content_type="text/plain")


def stream(request: HttpRequest) -> HttpResponseBase:
    """Stream `lines` numbered lines with a `pause` between them, or, with `bytes`, that much text without a pause."""
    try:
        size = int(_number(request, "bytes", 0, LARGEST_STREAM_BYTES))
        lines = int(_number(request, "lines", 10, 10_000))
        pause = _number(request, "pause", 0.3, LONGEST_SLEEP_S)
    except BadParameter as error:
        return HttpResponseBadRequest(str(error), content_type="text/plain")
    pieces = _bulk(size) if size else _lines(lines, pause)
    return StreamingHttpResponse(pieces, content_type="text/plain")


def _lines(lines: int, pause: float) -> Iterator[bytes]:
    for number in range(1, lines + 1):
        yield f"line {number} of {lines}\n".encode()
        if number < lines:
            time.sleep(pause)


def _bulk(size: int) -> Iterator[bytes]:
    while size > 0:
        yield PIECE[:size]
        size -= len(PIECE)


@csrf_exempt
def count(request: HttpRequest) -> JsonResponse:
    """Read whatever body there is and tell its length and SHA-256, without keeping it."""
    digest, length = hashlib.sha256(), 0
    while piece := request.read(65536):
        digest.update(piece)
        length += len(piece)
    return JsonResponse({"bytes": length, "sha256": digest.hexdigest()})


def error(request: HttpRequest) -> HttpResponse:
    """Fail as code fails: the log gets the traceback, the visitor a plain 500."""
    raise RuntimeError("this view always fails")
