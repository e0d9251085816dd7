"""What becomes of an exception of the application."""

from __future__ import annotations

import pytest

from penstock.plan.types import PythonPlan
from penstock.worker.exceptions import fits, make_handler


class Odd(ValueError):
    """An exception with a module of its own."""


NAME = f"{Odd.__module__}.Odd"


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("any", "", True),
        ("type", "Odd", True),
        ("type", NAME, True),
        ("type", "ValueError", False),
        ("value", "a b", True),
        ("value", "a", False),
        ("repr", f"{NAME}: a b", True),
        ("repr", "Odd: a b", False),
    ],
)
def test_which_exceptions_are_meant(kind: str, text: str, expected: bool) -> None:
    assert fits(kind, text, Odd("a b")) is expected


def test_a_built_in_type_has_no_module() -> None:
    assert fits("repr", "ValueError: x", ValueError("x")) and fits("type", "ValueError", ValueError())


def test_nothing_is_made_where_nothing_is_asked() -> None:
    assert make_handler(PythonPlan(), print) is None


def test_a_worker_is_replaced_or_the_client_is_told() -> None:
    asked: list[str] = []
    handler = make_handler(PythonPlan(recycle_on=(("type", "Odd"),)), asked.append)
    assert handler is not None
    assert handler(KeyError("x")) is None and asked == []
    assert handler(Odd("x")) is None and asked == [f"exception {NAME}"]
    handler = make_handler(PythonPlan(shows_exceptions=True), asked.append)
    assert handler is not None
    text = handler(Odd("the text"))
    assert text is not None and text.endswith(f"{NAME}: the text\n") and len(asked) == 1
