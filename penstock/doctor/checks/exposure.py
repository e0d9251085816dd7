"""What others can reach, and what it would give them."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.config.findings import Level
from penstock.doctor.diagnosis import Diagnosis, Evidence
from penstock.doctor.facts import Facts
from penstock.plan.findings import Row

TITLE = "Exposure"
ROWS: tuple[Row, ...] = (
    Row(
        "instance-is-root",
        "warning",
        "uid",
        "the running instance, and so the application, is root: an error in it gives the whole machine away",
        "uid and gid in the configuration, or User= in the unit",
    ),
)


def check(facts: Facts) -> Iterator[Diagnosis]:
    """Look at the running instance and at what answered from outside."""
    instance, plan = facts.instance, facts.plan
    if instance is not None and instance.uid == 0 and (plan is None or plan.uid is None):
        cause = "the running instance is root, and the application with it"
        cure = "add uid = USER and gid = GROUP, or User= in the unit, and restart"
        # In a container root is less than outside, and usual.
        level: Level = "note" if facts.host.container else "warning"
        signs = (Evidence(f"pid {instance.pid}", "its user is root"),)
        yield Diagnosis("instance-is-root", level, cause, signs, cure)
    for one in facts.sockets:
        if not one.outside or not one.origin:
            continue
        if one.protocol == "uwsgi":
            cause = (
                f"the uwsgi socket {one.address} answers at {one.outside}: whoever reaches it can claim to be anybody"
            )
            code, cure = "uwsgi-socket-reachable", "listen on a unix socket or on 127.0.0.1, and restart"
        elif one.protocol == "stats":
            cause = (
                f"the statistics answer at {one.outside}, and show addresses and URLs of running requests to anybody"
            )
            code, cure = "stats-reachable", "listen on a unix socket or on 127.0.0.1, and restart"
        else:
            continue
        seen = (Evidence(one.origin, one.address), Evidence(one.outside, "a connection from here was accepted"))
        yield Diagnosis(code, "error", cause, seen, cure)
