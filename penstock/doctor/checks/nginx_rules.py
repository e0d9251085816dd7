"""nginx's files against the rules of safety, as far as they are about this instance. The rules are `deploy.nginx`'s."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.config.findings import Finding
from penstock.deploy.nginx import rules
from penstock.deploy.nginx.reading import Configuration
from penstock.deploy.nginx.servers import http
from penstock.doctor.checks.nginx import reloads
from penstock.doctor.diagnosis import Diagnosis, Edit, Mend, of_finding
from penstock.doctor.facts import Facts, NginxFacts
from penstock.plan.findings import Row
from penstock.values import replace

TITLE = "nginx: what is unsafe"
ROWS: tuple[Row, ...] = rules.ROWS


def check(facts: Facts) -> Iterator[Diagnosis]:
    """Hold the servers that pass to this instance against every rule."""
    nginx = facts.nginx
    if nginx is None or not nginx.mine:
        return
    ours = {id(block) for one in nginx.mine for block in one.scope.chain if block.name == "server"}
    private = (facts.chdir,) if facts.plan is not None else ()
    for finding in rules.judge(_without_others(nginx.configuration, ours), private):
        made = of_finding(finding, nginx.lines.get(str(finding.origin), "").strip())
        edit = None if facts.is_elsewhere else _edit(finding, nginx)
        yield made if edit is None else replace(made, mend=Mend((edit,), reloads(nginx)))


_HEADERS = {
    "nginx-host-missing": "proxy_set_header Host $host;",
    "nginx-scheme-missing": "proxy_set_header X-Forwarded-Proto $scheme;",
}


def _edit(finding: Finding, nginx: NginxFacts) -> Edit | None:
    """The change of a line that mends it, where that is certain; nginx tries it before it counts."""
    origin = finding.origin
    if origin is None:
        return None
    line = nginx.lines.get(str(origin), "")
    if finding.code == "nginx-alias-traversal":
        # Several may stand on one line.
        whole = http(nginx.configuration)
        there = [one.here for one in whole.walk() if one.here.origin == origin] if whole is not None else []
        meant = [one.text for one in there if one.first("alias") is not None and not one.text.endswith("/")]
        old = f"location {meant[0]} {{" if len(meant) == 1 else ""
        return Edit(origin.name, origin.line, old, f"location {meant[0]}/ {{") if old and line.count(old) == 1 else None
    if finding.code in _HEADERS and line.count("proxy_pass ") == 1:
        passing = next((one for one in nginx.mine if one.directive.origin == origin), None)
        if passing is None:
            return None
        scope = passing.scope
        # One header here takes those of the blocks around away.
        if scope.values("proxy_set_header") and not any(scope.here.every("proxy_set_header")):
            return None
        return Edit(origin.name, origin.line, "proxy_pass ", f"{_HEADERS[finding.code]} proxy_pass ")
    return None


def _without_others(configuration: Configuration, ours: set[int]) -> Configuration:
    """Leave out the servers that are about something else."""
    main = configuration.main
    blocks = tuple(
        replace(each, block=tuple(one for one in each.block or () if one.name != "server" or id(one) in ours))
        if each.name == "http"
        else each
        for each in main.block or ()
    )
    return replace(configuration, main=replace(main, block=blocks))
