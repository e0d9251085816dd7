"""An app whose requests differ in what the log can tell of them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import uwsgi


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer by the first part of the path."""
    _, kind, *rest = environ["PATH_INFO"].split("/")
    status, body = "200 OK", b"hello world"
    match kind:
        case "status":
            status = f"{rest[0]} As Asked"
        case "empty":
            body = b""
        case "slow":
            threading.Event().wait(0.05)
        case "big":
            body = b"x" * 10_000
        case "var":
            uwsgi.set_logvar("who", rest[0])
            body = uwsgi.get_logvar("who") or b"nobody"
        case "this":
            uwsgi.log_this_request()
        case "print":
            # Not print(), which writes its newline apart, where another thread may come between.
            sys.stdout.write(f"{environ['QUERY_STRING']}\n")
        case "raise":
            raise ValueError("a reason\nin two lines")
        case "file":
            start_response("200 OK", [("Content-Type", "text/plain")])
            wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](open(__file__, "rb"))  # noqa: SIM115
            return wrapped
        case "stream":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return (b"x" * 65536 for _ in range(2000))
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
