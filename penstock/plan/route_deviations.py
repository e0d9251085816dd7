"""Where the same rules do something else than in uWSGI, and why: the whole list, as data.

What is refused at start, because it does nothing or something else in uWSGI, is not here: its message says it.
"""

from __future__ import annotations

from penstock.config.deviations import Deviation

ROUTE_DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        "location-encoded",
        "a Location is sent as it comes out of the rule: blanks, quotes and bytes that no URI has",
        "what may not stand in a URI is written %XX",
        "browsers read such addresses differently, and a \\ as a /",
        "redirect",
    ),
    Deviation(
        "location-own-host",
        "redirect:/$1 with /evil.example in $1 leads to another site",
        "several slashes at the beginning are one, unless the rule itself is written with two",
        "a link to the site must not lead out of it by what somebody added to it",
        "redirect",
    ),
    Deviation(
        "client-is-no-template",
        "${NAME} in what a client sent is filled in, too",
        "only what the configuration says is filled in",
        "a client could have variables of its choice sent to wherever the rule sends its path",
        "redirect",
    ),
    Deviation(
        "header-line-ends",
        "a header is added with a carriage return or NUL in it",
        "the header is left out, and the log says so",
        "what stands behind it may be read as another header",
        "headers",
    ),
    Deviation(
        "whole-match",
        "$0 of a pattern without groups kills the worker",
        "$0 is what the pattern matched",
        "nobody can want that",
        "crash",
    ),
    Deviation(
        "static-answers",
        "static without a file, with a directory or with POST ends the connection without an answer",
        "404, or 405 with Allow",
        "a proxy in front makes 502 of it",
        "static",
    ),
    Deviation(
        "error-pages",
        "return and break answer with their own text, whatever error-page-403, -404 and -500 say",
        "they answer with the page",
        "that is what it is for",
        "pages",
    ),
    Deviation(
        "fixpathinfo",
        "fixpathinfo takes as many bytes off PATH_INFO as SCRIPT_NAME has, whatever they are, or gives no answer",
        "it takes SCRIPT_NAME off where PATH_INFO begins with it",
        "that is what it is for",
        "changes",
    ),
    Deviation(
        "response-delheader",
        "response-route with delheader comes too late for headers of the application",
        "the header is left out",
        "that is what it is for",
        "response_delheader",
    ),
    Deviation(
        "response-status",
        "response-route-status sees the status of the server's own responses only",
        "it sees the status of every response",
        "that is what it is for",
        "response_status",
    ),
)
