"""The checks: each module is one group, with its codes (`ROWS`) and `check(facts)`, a function that only judges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from penstock.doctor.checks import app, boot, containers, exposure, host, limits, project, sockets
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


GROUPS: Sequence[Group] = (app, sockets, project, limits, exposure, boot, containers, host)
