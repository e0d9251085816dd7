"""Options of what new code has to pass before it serves: an import in time, warm-up requests, a health check."""

from __future__ import annotations

from penstock.options.option import Option, Value, at_least, not_empty

TITLE = "Warm-up and health checks"


def is_status_list(value: Value) -> str | None:
    """Accept statuses and ranges of them, separated by commas: `200,204` or `200-399`."""
    for word in str(value).split(","):
        first, dash, last = (part.strip() for part in word.partition("-"))
        numbers = [first, last] if dash else [first]
        if not all(each.isascii() and each.isdigit() and 100 <= int(each) <= 599 for each in numbers):
            return "must be statuses from 100 to 599, as in 200,204 or 200-399"
        if dash and int(first) > int(last):
            return f"the range {word.strip()} is the wrong way round"
    return None


OPTIONS = (
    Option(
        name="health-check",
        type="text",
        metavar="URL",
        repeatable=True,
        verdict="new",
        check=not_empty,
        help="path, or HOST/PATH, that the app has to answer well in each new worker before new code serves",
    ),
    Option(
        name="health-check-retries",
        type="integer",
        default=2,
        verdict="new",
        check=at_least(0),
        help="how many more times a health check is tried, a second apart, before it has failed",
    ),
    Option(
        name="health-check-status",
        type="text",
        metavar="STATUSES",
        default="200-399",
        verdict="new",
        check=is_status_list,
        help="statuses that pass a health check, as in 200,204 or 200-399",
    ),
    Option(
        name="health-check-timeout",
        type="seconds",
        default=10,
        verdict="new",
        check=at_least(1),
        help="how long the answer to a health check may take",
    ),
    Option(
        name="reload-timeout",
        type="seconds",
        default=600,
        verdict="new",
        check=at_least(0),
        help="how long new code may take until it serves, before the reload is given up; 0 for any time",
    ),
    Option(
        name="warmup",
        type="text",
        metavar="URL",
        repeatable=True,
        verdict="new",
        check=not_empty,
        help="path, or HOST/PATH, that the app is asked for in each new worker before it takes requests",
    ),
    Option(
        name="warmup-timeout",
        type="seconds",
        default=60,
        verdict="new",
        check=at_least(1),
        help="how long the answer to a warm-up request may take",
    ),
)
