"""The id of the request that a line of a log is about, without a middleware.

    LOGGING = {
        "filters": {"request_id": {"()": "penstock.django.logs.RequestId"}},
        "formatters": {"line": {"format": "{levelname} {request_id} {name}: {message}", "style": "{"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "filters": ["request_id"], "formatter": "line"}},
        ...
    }

The id is the request's X-Request-ID, which Penstock takes from a trusted proxy or makes (`request-id = true`). Django
tells of each request that begins by a signal, in the thread or task that will answer it, so that it reaches every line
that is logged on the way, whichever middleware is there.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from django.core.signals import request_finished, request_started

NONE = "-"
"""What stands where no request is answered, or where it has no id."""
_ID = re.compile(r"[A-Za-z0-9_.~+/=:;@-]{1,128}")
"""As Penstock lets them in: other servers pass on whatever a client writes, and a log line is no place for that."""
_current: ContextVar[str] = ContextVar("penstock_request_id", default=NONE)


def request_id() -> str:
    """Return the id of the request that is being answered here; `-` if there is none."""
    return _current.get()


class RequestId(logging.Filter):
    """Gives each record a `request_id`; lets all of them through."""

    def __init__(self, name: str = "") -> None:
        super().__init__(name)
        listen()

    def filter(self, record: logging.LogRecord) -> bool:
        """Set `record.request_id`, unless whoever logs it has."""
        if not hasattr(record, "request_id"):
            record.request_id = _current.get()
        return super().filter(record)


def listen() -> None:
    """Follow Django's requests from here on; once is enough, and more do no harm."""
    request_started.connect(_begun, dispatch_uid="penstock.django.logs")
    request_finished.connect(_ended, dispatch_uid="penstock.django.logs")


def _begun(sender: Any, **signal: Any) -> None:
    _current.set(_id_of(signal))


def _ended(sender: Any, **signal: Any) -> None:
    _current.set(NONE)


def _id_of(signal: Mapping[str, Any]) -> str:
    """Read the id from an environ (WSGI) or a scope (ASGI)."""
    environ = signal.get("environ")
    if environ is not None:
        value = str(environ.get("HTTP_X_REQUEST_ID", ""))
    else:
        headers = (signal.get("scope") or {}).get("headers", ())
        value = next((text.decode("latin-1") for name, text in headers if name == b"x-request-id"), "")
    return value if _ID.fullmatch(value) else NONE
