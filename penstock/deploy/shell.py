"""What stands around an instance that root starts by a shell: directories, limits, flags. Pure.

Shared by `sysv`, `supervisor` and `runit`. Penstock binds as root and becomes its user itself, so that none of them has
to know how.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from penstock.deploy import service as about
from penstock.deploy.service import NotPossible, Remark, Service
from penstock.values import replace

_MADE = ("/run", "/var/log", "/var/lib", "/var/cache")
"""Below these an instance may have directories of its own, which are made before it starts."""


def refuse_daemonize(service: Service, manager: str) -> None:
    """Raise NotPossible for what leaves a manager that keeps its processes in the foreground."""
    if service.plan.daemonize is not None:
        raise NotPossible(
            f"daemonize = {service.plan.daemonize}: {manager} would lose sight of the instance",
            f"replace it by logto = {service.plan.daemonize}, or remove it",
        )


def group_of(service: Service) -> str:
    """The group that it becomes; empty for the user's own."""
    return service.group or (service.web_group if about.needs_web_group(service) else "")


def words(service: Service) -> list[str]:
    """The command line for root: what the configuration leaves open about the user is said in it."""
    plan = service.plan
    more = []
    if plan.uid is None and service.user:
        more += ["--uid", service.user]
    if plan.gid is None and group_of(service):
        more += ["--gid", group_of(service)]
    if any(one.is_unix and one.mode is None for one in plan.listeners):
        more += ["--chmod-socket=660"]
    return [*service.command, *more]


def directories(service: Service) -> list[str]:
    """The directories of its own that have to be there, the outer ones first."""
    found = {about.normal(one.directory) for one in about.written(service)}
    made = []
    for path in found:
        base = next((base for base in _MADE if path.startswith(f"{base}/")), "")
        if base and path.removeprefix(f"{base}/").partition("/")[0] not in about.FOREIGN:
            made.append(path)
    return sorted(made)


def make_directories(service: Service, made: Sequence[str]) -> str:
    """The command that makes directories, which belong to the instance's user."""
    who = ["-o", service.user] if service.user else []
    who += ["-g", group_of(service)] if group_of(service) else []
    return line(["install", "-d", "-m", "0755", *who, *made])


def raise_limit(number: str) -> str:
    """Commands that raise the limit of open files where it is lower, joined so that the whole fails if they can not."""
    return f'[ "$(ulimit -Hn)" = unlimited ] || [ "$(ulimit -Hn)" -ge {number} ] || ulimit -n {number} 2>/dev/null'


def line(words_of_line: Sequence[str]) -> str:
    """A command for a shell."""
    for word in words_of_line:
        if not word.isprintable():
            raise NotPossible(f"{word!r} can not stand in a script", "choose a name of letters that can be printed")
    return " ".join(shlex.quote(word) for word in words_of_line)


def remarks(service: Service) -> tuple[Remark, ...]:
    """What is the same for each of these managers."""
    found = []
    for one in about.shut_out(_in_group(service)):
        text = f"the web server's group {service.web_group} can not connect to {one.host}"
        found.append(Remark(text, f"chmod-socket = 660 and chown-socket = :{service.web_group}"))
    if not service.user and service.plan.uid is None:
        found.append(
            Remark("the instance runs as root", "name a user: --user NAME, or uid = NAME in the configuration")
        )
    return tuple(found)


def _in_group(service: Service) -> Service:
    return replace(service, group=group_of(service))
