"""The checks: each module is one group, with its codes (`ROWS`) and `check(facts)`, a function that only judges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from penstock.doctor.checks import (
    app,
    boot,
    chain,
    containers,
    exposure,
    host,
    limits,
    nginx,
    nginx_rules,
    project,
    sockets,
)
from penstock.doctor.diagnosis import Diagnosis
from penstock.doctor.facts import Facts
from penstock.plan.findings import Row


class Group(Protocol):
    """What a module of checks offers."""

    TITLE: str
    ROWS: tuple[Row, ...]

    def check(self, facts: Facts) -> Iterator[Diagnosis]:
        """Everything that is wrong."""
        ...


# The order within a level: causes before what comes of them.
GROUPS: Sequence[Group] = (
    app,
    sockets,
    nginx,
    chain,
    project,
    nginx_rules,
    limits,
    exposure,
    boot,
    containers,
    host,
)
