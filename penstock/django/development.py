"""The application that `manage.py penstock` serves: the project's own, as `runserver` has it.

With static files of all apps where DEBUG is on, one line in the log of `django.server` for each request, and templates
that are read anew, because Django's own reloader, which sees to that otherwise, does not run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

Application = Callable[..., Iterable[bytes]]

_log = logging.getLogger("django.server")


def with_static() -> Application:
    """Make the application with static files, whatever DEBUG says."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler

    return _logged(StaticFilesHandler(plain_handler()))


def plain() -> Application:
    """Make the application without static files."""
    return _logged(plain_handler())


def plain_handler() -> Any:
    """Make the project's WSGI_APPLICATION."""
    from django.conf import settings
    from django.core.servers.basehttp import get_internal_wsgi_application
    from django.core.signals import request_started

    application = get_internal_wsgi_application()
    if settings.DEBUG:
        request_started.connect(_forget_templates, dispatch_uid="penstock.django.development")
    return application


def _forget_templates(sender: Any, **signal: Any) -> None:
    from django.template import engines
    from django.template.backends.django import DjangoTemplates
    from django.template.loaders.cached import Loader

    for backend in engines.all():
        for loader in backend.engine.template_loaders if isinstance(backend, DjangoTemplates) else ():
            if isinstance(loader, Loader):
                loader.reset()


def _logged(application: Application) -> Application:
    """Write the line of each request when its status is known, as `runserver` does; the body is left alone."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            code = int(status.split(None, 1)[0])
            length = next((value for name, value in headers if name.lower() == "content-length"), "-")
            query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
            path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}{query}"
            line = f"{environ['REQUEST_METHOD']} {path} {environ['SERVER_PROTOCOL']}"
            level = _log.error if code >= 500 else _log.warning if code >= 400 else _log.info
            # The formatter of django.server colours by the status, on a terminal.
            shown = line.encode("latin-1", "replace").decode("utf-8", "backslashreplace")
            level('"%s" %s %s', _printable(shown), code, length, extra={"status_code": code})
            return start_response(status, headers, *error)

        return application(environ, start)

    return answer


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)
