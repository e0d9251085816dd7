"""Django, held against what is in front of it and around it. The judgements are `django`'s; here is what they need."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.doctor.checks import django
from penstock.doctor.checks.django import Served
from penstock.doctor.diagnosis import Diagnosis
from penstock.doctor.facts import Facts
from penstock.plan.findings import Row

TITLE = django.TITLE
ROWS: tuple[Row, ...] = django.ROWS


def check(facts: Facts) -> Iterator[Diagnosis]:
    """Judge the project, if it is Django's."""
    if facts.django is not None:
        yield from django.check(facts.django, served(facts))


def served(facts: Facts) -> Served:
    """How the project is served, as far as it is known."""
    plan = facts.plan
    if plan is None:
        return Served()
    return Served(
        processes=plan.processes,
        threads=plan.engine.threads,
        limit_post_bytes=plan.engine.body_limit_bytes,
        person=facts.person,
    )
