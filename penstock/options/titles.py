"""Options of what ps shows for each process."""

from __future__ import annotations

from penstock.options.option import Option, not_empty

TITLE = "Titles of processes"

OPTIONS = (
    Option(
        name="auto-procname",
        type="flag",
        tier=1,
        help="leave the arguments out of the title of the master, which ps shows",
        verdict="differs",
        note="the other processes have titles without it too",
    ),
    Option(
        name="procname",
        type="text",
        tier=1,
        check=not_empty,
        help="title of every process, which ps shows",
    ),
    Option(
        name="procname-append",
        type="text",
        tier=1,
        check=not_empty,
        help="end of the title of every process",
    ),
    Option(
        name="procname-master",
        type="text",
        tier=1,
        check=not_empty,
        help="title of the master, which ps shows",
    ),
    Option(
        name="procname-prefix",
        type="text",
        tier=1,
        check=not_empty,
        help="beginning of the title of every process",
    ),
    Option(
        name="procname-prefix-spaced",
        type="text",
        tier=1,
        check=not_empty,
        help="beginning of the title of every process, with a blank after it",
    ),
)
