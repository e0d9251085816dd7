"""Options of what is done at the points of an instance's life."""

from __future__ import annotations

from penstock.options.option import Option, Verdict, not_empty

TITLE = "Hooks"

AT: dict[str, str] = {
    "as-root": "before the user changes",
    "as-user": "after the user has changed",
    "as-user-atexit": "when the instance has ended",
    "asap": "before everything else",
    "in-jail": "before as-root, where no jail is made",
    "post-app": "after the application is imported",
    "post-jail": "before in-jail, where no jail is made",
    "pre-app": "before the application is imported",
    "pre-jail": "before post-jail",
}
"""Points that have both an exec-* and a hook-*."""

HOOKS: dict[str, str] = {
    "accepting": "in each worker that begins to accept",
    "accepting-once": "in each worker, only the first that has its number",
    "accepting1": "in worker 1 when it begins to accept",
    "accepting1-once": "in worker 1, only the first one",
    "master-start": "in the master before the first process is started",
    "post-fork": "in each worker when it has been forked",
}

ONCE = "done once, where uWSGI does it at each reload"
GATE = "one that fails in a reload leaves the old code serving"
NOTES: dict[str, str] = {"as-user": ONCE, "pre-app": GATE, "post-app": GATE}


LATER = ("post-app", "pre-app", "as-user-atexit", *(point for point in HOOKS if point != "master-start"))
"""Points that come again, or come late, so that a reload can change them."""


def _option(name: str, text: str, metavar: str, point: str) -> Option:
    note = NOTES.get(point, "")
    verdict: Verdict = "differs" if note else "same"
    return Option(
        name=name,
        type="text",
        metavar=metavar,
        repeatable=True,
        tier=3,
        applies="reload" if point in LATER else "restart",
        check=not_empty,
        help=text,
        verdict=verdict,
        note=note,
    )


OPTIONS = (
    *(_option(f"exec-{point}", f"run a command {when}", "COMMAND", point) for point, when in AT.items()),
    *(
        _option(f"hook-{point}", f"do something {when}", "ACTION:ARGUMENT", point)
        for point, when in sorted((AT | HOOKS).items())
    ),
    Option(
        name="hook-touch",
        type="text",
        metavar="FILE ACTION:ARGUMENT",
        repeatable=True,
        tier=3,
        check=not_empty,
        help="do something in the master when this file is touched, created or removed",
    ),
    Option(
        name="touch-exec",
        type="text",
        metavar="FILE COMMAND",
        repeatable=True,
        tier=3,
        check=not_empty,
        help="run a command when this file is touched, created or removed",
    ),
)
