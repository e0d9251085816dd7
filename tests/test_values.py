"""Values behave as those of the standard library do, wherever Penstock relies on it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from penstock import values


def make(module: Any) -> Any:
    """The same classes, made by `penstock.values` or by `dataclasses`."""

    class Made:
        @module.dataclass(frozen=True, slots=True)
        class Point:
            """A place."""

            x: int
            y: int = 2

            @property
            def sum(self) -> int:
                return self.x + self.y

        @module.dataclass(frozen=True, slots=True, kw_only=True)
        class Named:
            a: int
            b: tuple[Any, ...] = ()

        @module.dataclass(slots=True)
        class Open:
            x: int = 1

        @module.dataclass(frozen=True)
        class Failure(Exception):
            reason: str
            more: tuple[str, ...] = ()

            def __str__(self) -> str:
                return f"because {self.reason}"

    return Made


@pytest.fixture(params=[values, dataclasses], ids=["penstock", "standard"])
def made(request: pytest.FixtureRequest) -> Any:
    made = make(request.param)
    made.module = request.param
    return made


def test_values_are_made_by_place_and_by_name(made: Any) -> None:
    assert made.Point(1) == made.Point(x=1) == made.Point(1, 2) == made.Point(1, y=2) == made.Point(y=2, x=1)
    assert made.Point(1).sum == 3
    assert made.Named(a=1) == made.Named(a=1, b=())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda made: made.Point(),
        lambda made: made.Point(1, 2, 3),
        lambda made: made.Point(1, x=1),
        lambda made: made.Point(1, z=1),
        lambda made: made.Named(1),
        lambda made: made.Named(a=1, c=1),
        lambda made: made.module.replace(made.Point(1), z=1),
    ],
)
def test_wrong_values_are_refused(made: Any, wrong: Any) -> None:
    with pytest.raises(TypeError):
        wrong(made)


def test_equality_is_of_one_class_and_hashes_agree(made: Any) -> None:
    assert made.Point(1) != made.Point(2) and made.Point(1) != (1, 2)
    assert hash(made.Point(1)) == hash(made.Point(1, 2))
    assert {made.Point(1), made.Point(1)} == {made.Point(1)}
    with pytest.raises(TypeError):
        hash(made.Open())


def test_frozen_values_can_not_be_changed(made: Any) -> None:
    point = made.Point(1)
    with pytest.raises(AttributeError):
        point.x = 2
    with pytest.raises(AttributeError):
        del point.x
    opened = made.Open()
    opened.x = 5
    assert opened == made.Open(5)
    assert not hasattr(point, "__dict__") and not hasattr(opened, "__dict__")


def test_an_exception_can_be_one(made: Any) -> None:
    with pytest.raises(made.Failure, match="because of that") as caught:
        raise made.Failure("of that") from KeyError()
    assert caught.value.more == () and isinstance(caught.value.__cause__, KeyError)


def test_patterns_match_by_place(made: Any) -> None:
    match made.Point(1, 5):
        case made.Point(1, y):
            assert y == 5
        case _:
            pytest.fail("no match")


def test_copies_and_dictionaries(made: Any) -> None:
    replace, asdict, fields = made.module.replace, made.module.asdict, made.module.fields
    assert replace(made.Point(1), y=7) == made.Point(1, 7)
    nested = made.Named(a=1, b=(made.Point(1), [made.Point(2)], {"k": made.Open()}))
    assert asdict(nested) == {"a": 1, "b": ({"x": 1, "y": 2}, [{"x": 2, "y": 2}], {"k": {"x": 1}})}
    assert [each.name for each in fields(made.Point)] == [each.name for each in fields(made.Point(1))] == ["x", "y"]


def test_how_they_show_themselves(made: Any) -> None:
    assert repr(made.Point(1)).endswith("Point(x=1, y=2)")
    assert made.Point.__qualname__.endswith("Made.Point") and made.Point.__doc__ == "A place."
    assert made.Point.__module__ == __name__


def test_the_master_starts_without_what_it_does_not_need() -> None:
    """Each of these costs milliseconds before the first request, and memory in a process that lives for months."""
    needless = {"argparse", "logging", "subprocess", "asyncio", "email", "importlib.metadata"}
    code = "import sys, penstock.cli, penstock.commands.serve; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not needless & set(run.stdout.split())
