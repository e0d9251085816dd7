"""Nomad: a job for the docker driver, in HCL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from penstock.deploy.artifact import Artifact
from penstock.deploy.export.config import config
from penstock.deploy.export.image import LONGEST_START_S
from penstock.deploy.export.service import USER, VENV, Service

CPU_FOR_A_WORKER_MHZ = 500
_INDENT = "  "


def nomad(service: Service) -> list[Artifact]:
    """Make the job."""
    made = []
    if service.manage:
        name = f"{service.name}-migrate.nomad.hcl"
        lines = ["# Before each release; once, where a task of the other job would run for each allocation:"]
        lines += [f"# nomad job run {name}", *_migration(service)]
        made.append(Artifact(f"/{name}", "\n".join(lines) + "\n", why="the job that migrates"))
    name = f"{service.name}.nomad.hcl"
    lines = [f"# {service.name}, served by Penstock: nomad job run {name}", *_job(service)]
    return [*made, Artifact(f"/{name}", "\n".join(lines) + "\n", why="the job")]


def quoted(text: str) -> str:
    """Write a string of HCL, in which `${` and `%{` would begin a template."""
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def _value(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_value, value))}]"
    return str(value)


def _block(head: str, *lines: str | Iterator[str] | tuple[str, Any]) -> Iterator[str]:
    """Write a block: pairs, lines that stand as they are, and blocks within it."""
    yield f"{head} {{"
    for line in lines:
        if isinstance(line, str):
            yield _INDENT + line if line else ""
        elif isinstance(line, tuple):
            yield f"{_INDENT}{line[0]} = {_value(line[1])}"
        else:
            # What is between the marks of a text is not indented: it stands there as it is.
            inside = False
            for each in line:
                yield each if inside or not each else _INDENT + each
                inside = (inside or each.endswith("<<EOT")) and each.strip() != "EOT"
    yield "}"


def _container(service: Service, **more: Any) -> Iterator[str]:
    return _block(
        "config",
        ("image", service.image),
        *more.items(),
        ("readonly_rootfs", True),
        ("cap_drop", ["all"]),
        ("security_opt", ["no-new-privileges"]),
        _block("mount", ("type", "tmpfs"), ("target", "/tmp")),
    )


def _migration(service: Service) -> Iterator[str]:
    task = _block(
        'task "migrate"',
        ("driver", "docker"),
        ("user", str(USER)),
        _container(service, entrypoint=[f"{VENV}/bin/python", service.manage], args=["migrate", "--noinput"]),
        _block("resources", ("cpu", 200), ("memory", 512)),
    )
    again = _block("restart", ("attempts", 2), ("mode", "fail"))
    group = _block('group "migrate"', again, _block("reschedule", ("attempts", 0), ("unlimited", False)), task)
    return _block(f"job {quoted(f'{service.name}-migrate')}", ("type", "batch"), "", group)


def _job(service: Service) -> Iterator[str]:
    web = f"{VENV}/bin/penstock"
    settings = config(service).replace("${", "$${").replace("%{", "%%{").splitlines()
    text = ["data = <<EOT", *settings, "EOT"]
    # Marks that no option has, so that nothing in the text is read as a template.
    marks = (("left_delimiter", "<[<["), ("right_delimiter", "]>]>"))
    stop = (
        f"# drain-delay ({service.drain_delay_s} s) + worker-reload-mercy ({service.mercy_s} s) + the end itself;"
        " max_kill_timeout of the clients must allow it."
    )
    task = _block(
        'task "web"',
        ("driver", "docker"),
        ("user", str(USER)),
        stop,
        ("kill_signal", "SIGTERM"),
        ("kill_timeout", f"{service.stop_s}s"),
        _container(service, entrypoint=[web], args=["/local/penstock.ini"], ports=["http", "admin"]),
        _block("template", ("destination", "local/penstock.ini"), ("change_mode", "noop"), *marks, iter(text)),
        "# A CPU is more than this on most machines; memory as it is counted for the workers.",
        _block("resources", ("cpu", CPU_FOR_A_WORKER_MHZ * service.processes), ("memory", service.memory_mib)),
    )
    check = _block(
        "check",
        ("type", "http"),
        ("port", "admin"),
        ("path", "/readyz"),
        ("interval", "5s"),
        ("timeout", "3s"),
    )
    group = _block(
        'group "web"',
        ("count", service.wishes.replicas),
        "",
        _block(
            "network",
            _block('port "http"', ("to", service.wishes.http_port)),
            _block('port "admin"', ("to", service.wishes.admin_port)),
        ),
        "",
        "# The master answers the check, never the application: a busy one stays in service.",
        _block("service", ("name", service.name), ("port", "http"), ("provider", "nomad"), check),
        "",
        "# A new allocation serves before an old one leaves, and the old job comes back where it does not.",
        _block(
            "update",
            ("max_parallel", 1),
            ("canary", 1),
            ("auto_promote", True),
            ("auto_revert", True),
            ("min_healthy_time", "10s"),
            ("healthy_deadline", f"{2 * LONGEST_START_S}s"),
            ("progress_deadline", f"{4 * LONGEST_START_S}s"),
        ),
        task,
    )
    return _block(f"job {quoted(service.name)}", ("type", "service"), "", group)
