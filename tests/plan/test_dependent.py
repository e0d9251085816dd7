"""Options that belong to another one."""

from __future__ import annotations

import pytest

from penstock.options.table import BY_NAME
from penstock.plan.dependent import NEEDS
from tests.plan.test_resolve import plan


def test_every_name_is_an_option() -> None:
    assert {*NEEDS, *(other for needed in NEEDS.values() for other in needed)} <= BY_NAME.keys()


@pytest.mark.parametrize(
    ("alone", "with_it"),
    [
        (("--cheaper-algo", "busyness"), ("--processes", "4", "--cheaper", "2")),
        (("--die-on-idle",), ("--idle", "5")),
        (("--stats-http",), ("--stats", "127.0.0.1:0")),
        (("--mem-collector-freq", "5"), ("--reload-on-as", "512")),
    ],
)
def test_an_option_without_the_one_that_it_belongs_to_says_so(alone: tuple[str, ...], with_it: tuple[str, ...]) -> None:
    name = alone[0].removeprefix("--")
    (told,) = [note for note in plan(*alone).notes if "changes nothing" in note]
    assert f"{name} changes nothing without {NEEDS[name][0]}" in told
    assert not any("changes nothing" in note for note in plan(*alone, *with_it).notes)
