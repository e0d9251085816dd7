"""In a container: who is process 1, how long a stop may take, what asks whether it lives, and where it listens."""

from __future__ import annotations

import os
from collections.abc import Iterator

from penstock.doctor.checks.boot import MARGIN_S, drain_s
from penstock.doctor.diagnosis import Diagnosis, Evidence
from penstock.doctor.facts import Container, Facts, Probe
from penstock.plan.findings import Row
from penstock.plan.types import Plan

TITLE = "Containers"
ROWS: tuple[Row, ...] = (
    Row(
        "shell-is-pid-1",
        "error",
        "",
        "a shell is process 1 of the container: signals do not reach the instance, and each stop ends in a kill",
        "exec before the command, or the command as a list of words",
    ),
    Row(
        "grace-too-short",
        "warning",
        "worker-reload-mercy",
        "the container is killed before its requests may have ended",
        "a longer grace period, or a lower worker-reload-mercy",
    ),
    Row(
        "liveness-on-app",
        "warning",
        "admin",
        "the application itself is asked whether the container lives: busy workers get it killed, which makes it worse",
        "admin = :PORT, and /livez there for liveness, /readyz for readiness",
    ),
    Row(
        "loopback-in-container",
        "error",
        "http",
        "in a container the instance listens on 127.0.0.1 only: nobody outside of it can connect",
        "http = :PORT",
    ),
    Row(
        "not-on-port",
        "error",
        "http",
        "the platform says in PORT where to listen, and the instance listens elsewhere",
        "http = :$(PORT)",
    ),
)
_SHELLS = frozenset({"sh", "bash", "ash", "dash", "busybox"})
_ADMIN_PATHS = frozenset({"/livez", "/readyz", "/saturation", "/version"})


def check(facts: Facts) -> Iterator[Diagnosis]:
    """Look at this container, and at the files that describe others."""
    host, plan = facts.host, facts.plan
    if host.init and os.path.basename(host.init[0]) in _SHELLS and facts.instance is not None:
        cause = "process 1 of this container is a shell: a stop does not reach the instance, which is killed in the end"
        seen = (Evidence("process 1", " ".join(host.init)[:200]), Evidence("master", f"pid {facts.instance.pid}"))
        cure = "exec penstock ... at the end of the script, or the command as a list of words"
        yield Diagnosis("shell-is-pid-1", "error", cause, seen, cure)
    for one in facts.containers:
        if one.runs_penstock:
            yield from _described(one, plan)
    if plan is not None and (host.container or facts.containers):
        yield from _listeners(facts, plan)


def _described(one: Container, plan: Plan | None) -> Iterator[Diagnosis]:
    if one.is_shell:
        cause = "a shell will be process 1 of the container, and does not pass SIGTERM on"
        cure = 'the command as a list of words, ["penstock", "app.ini"], or exec before it'
        yield Diagnosis("shell-is-pid-1", "warning", cause, (Evidence(one.place, one.command),), cure)
    if plan is None:
        return
    need = drain_s(plan)
    if one.grace_s is not None and one.grace_s < need + MARGIN_S:
        name = "terminationGracePeriodSeconds" if one.kind == "kubernetes" else "stop_grace_period"
        seen = (
            Evidence(one.grace_place, f"{name} {one.grace_s:g} s"),
            Evidence("", f"drain-delay {plan.drain_delay_s:g} s and then up to {need - plan.drain_delay_s:g} s"),
        )
        cause = f"the container is killed after {one.grace_s:g} seconds, and its requests may take {need:g}"
        cure = f"{name}: {need + 5:.0f}{'' if one.kind == 'kubernetes' else 's'}, or a lower worker-reload-mercy"
        yield Diagnosis("grace-too-short", "warning", cause, seen, cure)
    if one.liveness is not None and _asks_app(one.liveness, plan):
        cause = "the application is asked whether the container lives: when all workers are busy it is killed"
        admin = f"port {plan.admin.port}" if plan.admin is not None else "a port of its own (admin = :9180)"
        cure = f"ask /livez on {admin}, which the master answers; /readyz for readiness"
        yield Diagnosis("liveness-on-app", "warning", cause, (Evidence(one.liveness.place, one.liveness.text),), cure)


def _asks_app(probe: Probe, plan: Plan) -> bool:
    if plan.admin is not None and probe.port == plan.admin.port and probe.path.partition("?")[0] in _ADMIN_PATHS:
        return False
    return probe.port in {one.port for one in plan.listeners if one.protocol == "http"}


def _listeners(facts: Facts, plan: Plan) -> Iterator[Diagnosis]:
    tcp = [one for one in plan.listeners if one.family in ("inet", "inet6")]
    local = [one for one in tcp if one.host.startswith("127.") or one.host in ("localhost", "::1")]
    has_nginx = facts.nginx is not None or any(one.is_unix for one in plan.listeners)
    if tcp and len(local) == len(tcp) and not has_nginx:
        seen = tuple(Evidence(one.origin, one.name) for one in local)
        cause = f"nobody outside of the container can connect: {local[0].name} is the container's own loopback"
        cure = f"{local[0].protocol if local[0].protocol == 'http' else 'socket'} = :{local[0].port}"
        yield Diagnosis("loopback-in-container", "error", cause, seen, cure)
    port = facts.host.port_variable
    if facts.host.container and tcp and port.isdigit() and int(port) not in {one.port for one in tcp}:
        seen = (Evidence("environment variable PORT", port), *(Evidence(one.origin, one.name) for one in tcp))
        cause = f"the platform will connect to port {port}, and the instance listens elsewhere"
        yield Diagnosis("not-on-port", "error", cause, seen, "http = :$(PORT)")
