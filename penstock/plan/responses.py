"""What the plan says of every response."""

from __future__ import annotations

import os

from penstock.plan.context import Context
from penstock.plan.types import ResponsePlan

_PAGES = ((500, "error-page-500"),)


def responses(context: Context) -> ResponsePlan:
    """Headers that are added and removed, how large a head may be, pages for errors, and how files are sent."""
    said = context.said
    added = [text.partition(":") for text in said.texts("add-header")]
    return ResponsePlan(
        added_headers=tuple((name.strip(), value.strip()) for name, _, value in added),
        removed_headers=tuple(name.strip() for name in said.texts("del-header")),
        head_limit_bytes=said.number("response-headers-limit") if said.given("response-headers-limit") else 0,
        error_pages=_error_pages(context),
        files_are_read=said.flag("disable-sendfile"),
    )


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
