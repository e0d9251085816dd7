"""No request hides inside another one: the corpus and several requests on a connection, sent over real sockets.

A canary follows every case. What the app saw is compared with what a strict reader sees in the bytes; what has to be
refused gets one answer and the end of the connection. In `make stress` each case is also cut at random places and sent
byte by byte.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.e2e.abuse import cases, judge
from tests.e2e.harness import Penstock

ALL = [(group, case) for group, make in cases.HTTP.items() for case in make()]
IDS = [f"{group.replace(' ', '-')}-{case.name}" for group, case in ALL]


def strictly(case: judge.Case) -> bool:
    # -1: several rules are violated at once, and any of them may be named.
    return case.status >= 0


@pytest.mark.parametrize("case", [case for _, case in ALL], ids=IDS)
def test_over_a_socket(unharmed: Penstock, case: judge.Case) -> None:
    assert judge.judge(unharmed.http, case, strict=strictly(case)) == ""


@pytest.mark.parametrize("group", cases.HTTP)
def test_cut_at_a_random_place(unharmed: Penstock, group: str) -> None:
    every_case(unharmed, cases.HTTP[group], cut_once(random.Random(group)))


def cut_once(choice: random.Random) -> Callable[[bytes], list[int]]:
    return lambda data: [choice.randrange(1, len(data))]


def every_case(server: Penstock, make: Callable[..., object], cuts: Callable[[bytes], list[int]]) -> None:
    found = {}
    for case in make():  # type: ignore[attr-defined]
        if fault := judge.judge(server.http, case, cuts(case.data + judge.CANARY), strict=strictly(case)):
            found[case.name] = fault
    assert found == {}


@pytest.mark.stress
@pytest.mark.parametrize("group", cases.HTTP)
def test_stress_cut_at_many_places(unharmed: Penstock, group: str) -> None:
    choice = random.Random(group)
    for _ in range(10):
        every_case(unharmed, cases.HTTP[group], lambda data: sorted(choice.sample(range(1, len(data)), 4)))


@pytest.mark.stress
@pytest.mark.parametrize("group", cases.HTTP)
def test_stress_byte_by_byte(unharmed: Penstock, group: str) -> None:
    every_case(unharmed, cases.HTTP[group], lambda data: list(range(1, min(len(data), 3000))))
