"""The configuration, read in a process of its own, seen from the master: it ends in every way that there is."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator

import pytest

from penstock.master.reading import Outcome, Reading
from penstock.master.rereading import Note
from penstock.plan.types import Plan
from tests.master.plans import make_plan


@pytest.fixture
def begun() -> Iterator[list[Reading]]:
    made: list[Reading] = []
    yield made
    for reading in made:
        reading.close()


def outcome_of(reading: Reading) -> Outcome:
    while True:
        assert select.select([reading], [], [], 20)[0]
        if outcome := reading.hear():
            return outcome


def test_the_plan_comes_whole_with_its_notes(begun: list[Reading]) -> None:
    # More than a pipe holds at once.
    wanted = make_plan("x" * 300_000)

    def make(note: Note) -> Plan:
        note("there is more")
        return wanted

    begun.append(Reading(make, lambda: None, 0.0))
    outcome = outcome_of(begun[0])
    os.wait()
    assert (outcome.plan, outcome.notes, outcome.reason) == (wanted, ("there is more",), "")


def test_one_that_dies_is_a_reload_that_fails(begun: list[Reading]) -> None:
    def make(note: Note) -> Plan:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    begun.append(Reading(make, lambda: None, 0.0))
    outcome = outcome_of(begun[0])
    os.wait()
    assert outcome.plan is None and "the process that read it has died" in outcome.reason


def test_one_that_has_been_reaped_is_given_up_like_any_other(begun: list[Reading]) -> None:
    """A stop comes in the same moment as its end; or the master was stopped itself, past the deadline."""
    begun.append(Reading(lambda note: make_plan("x"), lambda: None, 0.0))
    os.wait()
    assert "took longer" in begun[0].give_up().reason


def test_one_that_waits_ends_when_it_is_given_up(begun: list[Reading]) -> None:
    def make(note: Note) -> Plan:
        while True:
            signal.pause()

    begun.append(Reading(make, lambda: None, 0.0))
    begun[0].give_up()
    os.wait()
    assert outcome_of(begun[0]).plan is None
