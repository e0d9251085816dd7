"""Options of every response, whoever makes it: the application, a static file, or the server itself."""

from __future__ import annotations

import re

from penstock.options.option import Option, Value, at_least, not_empty

TITLE = "Responses"

_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_FRAMING = frozenset({"content-length", "transfer-encoding"})
OF_THE_CONNECTION = frozenset({"connection", "keep-alive"})
"""Headers that people add for a server without keep-alive; here they follow what the connection does."""


def is_header(value: Value) -> str | None:
    """Accept `Name: value`, unless it is about how the response ends."""
    name, colon, text = str(value).partition(":")
    name = name.strip()
    if not colon or not re.fullmatch(_TOKEN, name):
        return "must be written Name: value, for example X-Frame-Options: DENY"
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text):
        return "must not have line ends or other control characters in it"
    if name.lower() in _FRAMING:
        return f"{name} is the server's to set: it tells where the response ends"
    if name.lower() == "date":
        return "Date is the server's to set: it is the time of each response; remove this"
    return None


def is_header_name(value: Value) -> str | None:
    """Accept the name of a header."""
    return None if re.fullmatch(_TOKEN, str(value).strip()) else "must be the name of a header, such as X-Powered-By"


OPTIONS = (
    Option(
        name="add-header",
        type="text",
        metavar="HEADER",
        repeatable=True,
        check=is_header,
        help="add this header to every response, written Name: value",
    ),
    Option(
        name="del-header",
        aliases=("rem-header",),
        type="text",
        metavar="NAME",
        repeatable=True,
        tier=3,
        check=is_header_name,
        help="leave this header out of the responses of the application and of static files",
    ),
    Option(
        name="disable-sendfile",
        type="flag",
        help="read files and send them, instead of having the kernel do it",
    ),
    Option(
        name="error-page-403",
        type="path",
        metavar="FILE",
        repeatable=True,
        tier=3,
        check=not_empty,
        help="answer with this HTML file where a rule of route refuses with 403; of several with the first to be read",
        verdict="differs",
        note="rules of route answer with it, too",
    ),
    Option(
        name="error-page-404",
        type="path",
        metavar="FILE",
        repeatable=True,
        tier=3,
        check=not_empty,
        help="answer with this HTML file where a rule says 404, or no application is for the path",
        verdict="differs",
        note="rules of route answer with it, too",
    ),
    Option(
        name="error-page-500",
        type="path",
        metavar="FILE",
        repeatable=True,
        tier=3,
        check=not_empty,
        help="answer with this HTML file where the application fails; of several with the first that can be read",
    ),
    Option(
        name="response-headers-limit",
        type="bytes",
        tier=3,
        check=at_least(256),
        help="let the headers that the application gives take no more than this (default: no limit)",
        verdict="differs",
        note="the application gets a ValueError, and there is no limit unless it is given",
    ),
)
