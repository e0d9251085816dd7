"""What the plan says of every response."""

from __future__ import annotations

import os
from collections.abc import Iterator

from penstock.options.responses import OF_THE_CONNECTION
from penstock.plan.context import Context
from penstock.plan.types import ResponsePlan

_PAGES = ((403, "error-page-403"), (404, "error-page-404"), (500, "error-page-500"))


def responses(context: Context) -> ResponsePlan:
    """Headers that are added and removed, how large a head may be, pages for errors, and how files are sent."""
    said = context.said
    return ResponsePlan(
        added_headers=tuple(_added(context)),
        removed_headers=tuple(name.strip() for name in said.texts("del-header")),
        head_limit_bytes=said.number("response-headers-limit") if said.given("response-headers-limit") else 0,
        error_pages=_error_pages(context),
        files_are_read=said.flag("disable-sendfile"),
    )


def _added(context: Context) -> Iterator[tuple[str, str]]:
    for setting in context.said.every("add-header"):
        name, _, value = str(setting.value).partition(":")
        if name.strip().lower() in OF_THE_CONNECTION:
            message = f"add-header = {setting.value}: is ignored, the server says itself what becomes of the connection"
            cure = "remove it; http-keepalive = 0 closes every connection after its response"
            context.warn("header-of-the-connection", message, setting.origin, cure)
        else:
            yield name.strip(), value.strip()


def _error_pages(context: Context) -> tuple[tuple[int, str], ...]:
    pages: list[tuple[int, str]] = []
    for status, name in _PAGES:
        for setting in context.said.every(name):
            path = context.after_chdir(str(setting.value))
            if not os.path.isfile(path):
                message = f"{name} = {setting.value}: {path} is no file"
                cure = "create it, or correct the path; until then the answer is a line of text"
                context.warn("no-error-page", message, setting.origin, cure)
            pages.append((status, path))
    return tuple(pages)
