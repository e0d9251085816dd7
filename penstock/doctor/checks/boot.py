"""Who starts, stops and rotates: the service manager, and logrotate."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.doctor.diagnosis import Diagnosis, Evidence, Mend
from penstock.doctor.facts import Facts, Service
from penstock.plan.findings import Row
from penstock.plan.types import Plan

TITLE = "Services and boot"
ROWS: tuple[Row, ...] = (
    Row(
        "not-enabled",
        "warning",
        "",
        "a service is there, and nothing starts it when the machine boots",
        "systemctl enable NAME, or what the service manager has for it",
    ),
    Row(
        "two-managers",
        "warning",
        "",
        "two service managers start the same configuration: the second fails, or takes the socket away",
        "keep one of them",
    ),
    Row(
        "stop-too-short",
        "warning",
        "worker-reload-mercy",
        "the service manager kills the instance before its requests may have ended",
        "raise TimeoutStopSec= above drain-delay and worker-reload-mercy together",
    ),
    Row(
        "logrotate-without-reopen",
        "warning",
        "logto",
        "the log is renamed, and nobody tells the instance: it goes on writing to the old file, which fills the disk",
        "postrotate with penstock reopen PIDFILE, a file for touch-logreopen, or copytruncate",
    ),
)
_TELLS = ("penstock", "reload", "kill", "touch ", "HUP", "fifo")
"""Words of scripts that tell an instance to open its log again."""
MARGIN_S = 1.0


def check(facts: Facts) -> Iterator[Diagnosis]:
    """Look at who has this configuration."""
    services = facts.services
    yield from _enabled(services)
    managers = list(dict.fromkeys(one.manager for one in services if one.is_enabled is not False))
    if len(managers) > 1:
        seen = tuple(Evidence(one.place, f"{one.manager}: {one.command}") for one in services)
        cause = f"{' and '.join(managers)} start the same configuration"
        yield Diagnosis("two-managers", "warning", cause, seen, "keep one of them, and remove or disable the others")
    for service in services:
        if facts.plan is not None:
            yield from _under(facts, service, facts.plan)
    yield from _rotation(facts)


def _enabled(services: tuple[Service, ...]) -> Iterator[Diagnosis]:
    if not services or any(one.is_enabled is not False for one in services):
        return
    one = services[0]
    words = ("systemctl", "enable", one.name) if one.manager == "systemd" else ("update-rc.d", one.name, "enable")
    cause = f"{one.name} is not started at boot"
    seen = (Evidence(one.place, one.command),)
    cure = "enable it"
    yield Diagnosis("not-enabled", "warning", cause, seen, cure, (" ".join(words),), Mend(commands=(words,)))


def drain_s(plan: Plan) -> float:
    """How long a stop may take: a request that harakiri ends needs no more than that."""
    longest = plan.drain_timeout_s
    if plan.engine.harakiri.limit_s:
        longest = min(longest, float(plan.engine.harakiri.limit_s))
    return plan.drain_delay_s + longest


def _under(facts: Facts, service: Service, plan: Plan) -> Iterator[Diagnosis]:
    if service.manager != "systemd":
        return
    seen = [Evidence(service.place, service.command)]
    if plan.daemonize is not None and service.type != "forking":
        cause = f"daemonize under systemd ({service.name}): the instance leaves its service, which counts as ended"
        cure = "remove daemonize: the journal keeps the log, and Type=notify waits for the application"
        seen.insert(0, Evidence(facts.place_of("daemonize"), f"daemonize = {plan.daemonize}"))
        yield Diagnosis("daemonize-under-systemd", "warning", cause, tuple(seen), cure)
    need, has = drain_s(plan), service.stop_timeout_s
    if has is not None and has < need + MARGIN_S:
        seen.append(Evidence(service.stop_place or "default of systemd", f"TimeoutStopSec={has:g}"))
        seen.append(
            Evidence("", f"drain-delay {plan.drain_delay_s:g} s and then up to {need - plan.drain_delay_s:g} s")
        )
        cause = f"systemd kills {service.name} {has:g} seconds after a stop, and requests may take {need:g}"
        cure = f"TimeoutStopSec={need + 5:.0f} in the unit, or a lower worker-reload-mercy"
        commands = (f"systemctl edit {service.name}", "systemctl daemon-reload")
        yield Diagnosis("stop-too-short", "warning", cause, tuple(seen), cure, commands)


def _rotation(facts: Facts) -> Iterator[Diagnosis]:
    for one in facts.rotations:
        if one.copies or any(word in one.script for word in _TELLS):
            continue
        seen = (Evidence(one.place, f"rotates {one.log}"), Evidence("", one.script or "no postrotate script"))
        cause = f"logrotate renames {one.log}, and nobody tells the instance, which goes on writing to the old file"
        pidfile = facts.plan.pidfile if facts.plan is not None else None
        command = f"penstock reopen {pidfile}" if pidfile else "systemctl reload NAME"
        cure = f"postrotate, a line with {command}, endscript in that block; or copytruncate"
        yield Diagnosis("logrotate-without-reopen", "warning", cause, seen, cure)
