"""Options that decide about requests before the application is asked: rules, in the order in which they are written.

Three lists of rules have the same forms: those about requests, about responses (`response-`) and about finished
requests (`final-`). What a rule may say is in `penstock.plan.routes`, which makes the lists.
"""

from __future__ import annotations

from typing import Literal

from penstock.options.option import Option, not_empty

TITLE = "Routing"

Stage = Literal["request", "response", "last"]

PREFIXES: dict[Stage, str] = {"request": "", "response": "response-", "last": "final-"}
"""How the options of a stage begin."""

SUBJECTS: dict[str, tuple[str, str]] = {
    "route": ("PATH_INFO", "the path matches"),
    "route-host": ("HTTP_HOST", "the Host header matches"),
    "route-qs": ("QUERY_STRING", "the query string matches"),
    "route-referer": ("HTTP_REFERER", "the Referer header matches"),
    "route-remote-addr": ("REMOTE_ADDR", "the client's address matches"),
    "route-remote-user": ("REMOTE_USER", "the user's name matches"),
    "route-uri": ("REQUEST_URI", "the target, as it was sent, matches"),
    "route-user-agent": ("HTTP_USER_AGENT", "the User-Agent header matches"),
    "route-status": ("", "the status of the response matches"),
}
"""The options that compare something with a pattern: the variable (none for the status), and when the rule is meant."""

_WHAT: dict[Stage, str] = {"request": "", "response": "of the response: ", "last": "of finished requests: "}
_NOTE = "what it can not do is an error at start, not a rule left out: docs/guides/routing.md"


def _rule(stage: Stage, name: str, metavar: str, text: str) -> Option:
    return Option(
        name=PREFIXES[stage] + name,
        type="text",
        metavar=metavar,
        repeatable=True,
        has_variables=True,
        tier=2 if stage == "request" and name in ("route", "route-host", "route-if", "route-run") else 3,
        check=not_empty,
        help=_WHAT[stage] + text,
        verdict="differs",
        note=_NOTE,
    )


def _rules(stage: Stage) -> list[Option]:
    found = [
        _rule(stage, name, "REGEX ACTION:ARG", f"carry ACTION out where {text} REGEX")
        for name, (_, text) in SUBJECTS.items()
        if name != "route-status" or stage != "request"
    ]
    return [
        *found,
        _rule(stage, "route-if", "CONDITION:ARG ACTION:ARG", "carry ACTION out where CONDITION holds"),
        _rule(stage, "route-if-not", "CONDITION:ARG ACTION:ARG", "carry ACTION out where CONDITION does not hold"),
        _rule(stage, "route-label", "NAME", "a place in the list of rules that goto:NAME leads to"),
        _rule(stage, "route-run", "ACTION:ARG", "carry ACTION out always"),
    ]


OPTIONS = tuple(sorted((option for stage in PREFIXES for option in _rules(stage)), key=lambda option: option.name))
