"""System checks: what `penstock doctor` finds in Django's settings, where `manage.py check` is asked.

Judged in `penstock.doctor.checks.django`; here is only what this process knows: the settings, which are set up already,
and the configuration beside manage.py, if there is one. Nothing is an error for Django: a finding about a server must
not keep `manage.py migrate` from running.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator

from django.conf import settings
from django.core import checks as system

from penstock.config.argv import parse_argv
from penstock.config.collect import Sources
from penstock.config.files import FileReader
from penstock.config.surroundings import NowhereError, Surroundings
from penstock.django.apps import TAG
from penstock.doctor.checks.django import Check, Served
from penstock.doctor.diagnosis import Diagnosis
from penstock.doctor.report import examine
from penstock.options.secrets import without_secrets
from penstock.plan.access import Person
from penstock.plan.machine import Machine, find_user
from penstock.plan.types import Plan
from penstock.project import ask_django
from penstock.project.django_facts import Wanted, from_json

CONFIGURATIONS = ("penstock.ini", "penstock.toml", "penstock.yaml", "penstock.yml", "penstock.json", "uwsgi.ini")
"""What is looked for beside manage.py and in BASE_DIR."""


def messages(checks: Iterable[Check], *wanted: Wanted) -> list[system.CheckMessage]:
    """Judge the settings of this process, and look at what is `wanted` beside them."""
    facts = from_json(ask_django.describe(frozenset(wanted)))
    served = _served()
    return [_message(each) for check in checks for each in check(facts, served)]


def _message(told: Diagnosis) -> system.CheckMessage:
    kind = system.Info if told.level == "note" else system.Warning
    seen = "; ".join(f"{one.place}: {one.value}" if one.place else one.value for one in told.evidence)
    hint = "\n".join(part for part in (told.cure, *told.commands, seen) if part)
    return kind(without_secrets(told.cause), hint=without_secrets(hint), id=f"{TAG}.{told.code}")


def _served() -> Served:
    """Read how the project is served from its configuration; of one process if there is none.

    Who stands in front is not known: this may well be another machine, or be run before the proxy is there.
    """
    plan = next(_plans(), None)
    if plan is None:
        return Served()
    uid = find_user(plan.uid) if plan.uid is not None else os.geteuid()
    return Served(
        processes=plan.processes,
        threads=plan.engine.threads,
        limit_post_bytes=plan.engine.body_limit_bytes,
        person=Person(uid, Machine.here().groups(uid)) if uid is not None else None,
    )


def _plans() -> Iterator[Plan]:
    """Read the configurations that are there; one that can not be read is `penstock check`'s to tell of."""
    try:
        surroundings = Surroundings.here()
    except NowhereError:
        return
    folders = [os.path.dirname(os.path.abspath(sys.argv[0])), str(getattr(settings, "BASE_DIR", "")), surroundings.cwd]
    for folder in dict.fromkeys(filter(None, folders)):
        for name in CONFIGURATIONS:
            path = os.path.join(folder, name)
            if not os.path.isfile(path):
                continue
            reader = FileReader(surroundings.cwd, runs_commands=False)
            plan = examine(Sources(parse_argv([path]), dict(os.environ), surroundings, reader), Machine.here()).plan
            if plan is not None:
                yield plan
