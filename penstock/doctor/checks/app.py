"""The application: whether it imports, where it would be served, as whom it would be served."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.doctor.diagnosis import Diagnosis, Evidence
from penstock.doctor.facts import Facts
from penstock.plan.findings import Row

TITLE = "The application"
ROWS: tuple[Row, ...] = (
    Row(
        "no-configuration",
        "warning",
        "",
        "the project has no configuration of Penstock, so that nothing but the project could be looked at",
        "penstock init writes one that fits it",
    ),
    Row(
        "app-import-fails",
        "error",
        "module",
        "the application does not import: a start fails, and so does the next reload",
        "correct the line that is named; the innermost frame of your own code is shown",
    ),
    Row(
        "app-import-late",
        "error",
        "module",
        "the import of the application does not end",
        "look for what it waits for: a database or a network that does not answer",
    ),
)


def check(facts: Facts) -> Iterator[Diagnosis]:
    """What came out of the import."""
    app, plan = facts.app, facts.plan
    if facts.report is None:
        cause = "there is no configuration: only the project was looked at"
        cure = "make one, or name the one that there is: penstock doctor FILE"
        command = (f"penstock init {facts.chdir}",)
        yield Diagnosis("no-configuration", "warning", cause, (Evidence(facts.chdir, "the project"),), cure, command)
    if app is None or plan is None:
        return
    what = plan.app.description
    who = f"as user {app.user}" if app.user else "as this user"
    by = Evidence(app.interpreter, f"imported {what} {who} in {plan.app.chdir}")
    if app.is_late:
        cause = f"the import of {what} was given up after {app.seconds:.0f} seconds"
        cure = "look for what it waits for: a database or a network that does not answer"
        yield Diagnosis("app-import-late", "error", cause, (by,), cure)
    elif app.status:
        running = "; the running instance goes on with what it has, and its next reload fails" if facts.instance else ""
        seen = [by]
        if app.place:
            seen.insert(0, Evidence(app.place, _source(app.reason)))
        last = app.traceback.strip().splitlines()[-1:] if app.traceback else []
        if last and last[0] not in app.reason:
            seen.append(Evidence("", last[0]))
        cure = app.cures[0] if app.cures else "correct it; penstock check tells more about the configuration"
        yield Diagnosis("app-import-fails", "error", f"{app.reason}{running}", tuple(seen), cure)


def _source(reason: str) -> str:
    """The line of source that stands in parentheses at the end of a reason."""
    return reason.rpartition(" (")[2].removesuffix(")") if reason.endswith(")") else "the innermost frame of your code"
