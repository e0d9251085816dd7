"""What becomes of an exception that the application lets out, beside the log and the answer 500.

The engine asks for it when that has happened already (`Engine(..., failed=...)`); a request that does not fail never
comes here.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

from penstock.plan.types import PythonPlan

Failed = Callable[[BaseException], str | None]


def make_handler(plan: PythonPlan, recycle: Callable[[str], None]) -> Failed | None:
    """Make what the engine calls with an exception: it returns the text for the client, if it is to get one.

    `recycle` asks for a new worker, and is given the reason.
    """
    if not plan.shows_exceptions and not plan.recycle_on:
        return None

    def failed(error: BaseException) -> str | None:
        name = qualified_name(type(error))
        if any(fits(kind, wanted, error) for kind, wanted in plan.recycle_on):
            recycle(f"exception {name}")
        return "".join(traceback.format_exception(error)) if plan.shows_exceptions else None

    return failed


def qualified_name(kind: type) -> str:
    """Name a type as the last line of a traceback does."""
    is_bare = kind.__module__ in ("builtins", "__main__")
    return kind.__qualname__ if is_bare else f"{kind.__module__}.{kind.__qualname__}"


def fits(kind: str, wanted: str, error: BaseException) -> bool:
    """Whether an exception is one of those that a row of `recycle_on` means."""
    name = qualified_name(type(error))
    if kind == "any":
        return True
    if kind == "type":
        return wanted in (name, type(error).__qualname__)
    text = str(error)
    return wanted == (text if kind == "value" else f"{name}: {text}")
