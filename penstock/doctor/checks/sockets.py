"""The sockets: whether anybody listens, whether it is us, and whether nginx may come in."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.config.findings import Level
from penstock.doctor.diagnosis import Diagnosis, Evidence, Mend
from penstock.doctor.facts import Facts, SocketFact, StalePid
from penstock.plan.findings import Row

TITLE = "Sockets"
ROWS: tuple[Row, ...] = (
    Row("not-running", "error", "", "nobody listens where this configuration serves", "start it"),
    Row(
        "stale-socket",
        "error",
        "socket",
        "the file of a unix socket is there, and whoever made it is gone: nginx answers 502 (connection refused)",
        "start the instance: it takes the file over",
    ),
    Row(
        "stale-pid-file",
        "warning",
        "pidfile",
        "the pid file names a process that is gone, or is somebody else: commands do not find the instance",
        "remove the file",
    ),
    Row(
        "nothing-listens",
        "error",
        "",
        "the instance runs, and does not listen where this configuration says: it was started with another one",
        "restart it: sockets are bound at a start, not at a reload",
    ),
    Row(
        "address-taken",
        "error",
        "",
        "another program listens where this configuration serves",
        "stop it, or serve at another address",
    ),
    Row(
        "socket-closed-to-nginx",
        "error",
        "chmod-socket",
        "nginx's user may not use the socket, or not enter a directory on the way: it answers 502 (permission denied)",
        "give the socket to nginx's group, and let others pass through the directory",
    ),
)


def check(facts: Facts) -> Iterator[Diagnosis]:
    """Look at every address that is served on."""
    served = [one for one in facts.sockets if one.origin]
    taken = [one for one in served if one.presence == "accepts" and not one.holder_is_ours]
    for one in taken:
        cause = f"{one.address} is taken: {one.holder} listens there"
        cure = "stop that program, or serve at another address"
        yield Diagnosis("address-taken", "error", cause, (Evidence(one.origin, one.address),), cure)
    ours = [one for one in served if one not in taken]
    yield from _nobody(facts, ours)
    for one in ours:
        if one.closed is not None or one.refuses_nginx:
            yield _closed(facts, one)


def _nobody(facts: Facts, served: list[SocketFact]) -> Iterator[Diagnosis]:
    answering = [one for one in served if one.presence not in ("missing", "refused")]
    silent = [one for one in served if one.presence in ("missing", "refused")]
    stale = facts.stale_pid
    if facts.instance is not None:
        for one in silent:
            seen = (
                Evidence(one.origin, one.address),
                Evidence(f"pid {facts.instance.pid}", f"listens at {', '.join(facts.instance.addresses) or 'nothing'}"),
            )
            cause = f"the instance runs, and nobody listens at {one.address}"
            level: Level = "error" if one.protocol in ("http", "uwsgi") else "warning"
            cure = "restart it: it was started with another configuration, or somebody removed the file of the socket"
            yield Diagnosis("nothing-listens", level, cause, seen, cure)
        if stale is not None and not facts.instance.pidfile:
            yield _stale(stale)
        return
    if silent and not answering:
        signs = [Evidence(one.origin, f"{one.address}: {_said(one)}") for one in silent]
        if stale is not None:
            signs.append(Evidence(stale.path, stale.why))
        if facts.log is not None:
            signs += [Evidence(facts.log.path, line[-200:]) for line in facts.log.lines]
        left = [one for one in silent if one.presence == "refused" and one.family == "unix"]
        if left:
            cause = f"the process that made {left[0].address} is gone, and left the file: whoever connects is refused"
            yield Diagnosis("stale-socket", "error", cause, tuple(signs), *_start(facts))
        else:
            yield Diagnosis("not-running", "error", "the instance does not run", tuple(signs), *_start(facts))
    elif stale is not None:
        yield _stale(stale)


def _stale(stale: StalePid) -> Diagnosis:
    cause = "the pid file is stale: penstock reload and penstock stop do not find the instance"
    mend = Mend(commands=(("rm", "--", stale.path),))
    seen = (Evidence(stale.path, stale.why),)
    return Diagnosis("stale-pid-file", "warning", cause, seen, "remove it", (f"rm {stale.path}",), mend)


def _said(one: SocketFact) -> str:
    return {"missing": "there is no such file", "refused": "connection refused"}.get(one.presence, one.presence)


def _start(facts: Facts) -> tuple[str, tuple[str, ...]]:
    """How to start it: by who has it."""
    for service in facts.services:
        if service.manager == "systemd":
            return f"start it, and see why it ended: journalctl -u {service.name} -e", (
                f"systemctl start {service.name}",
            )
        if service.manager == "sysv":
            return "start it, and look at its log for why it ended", (f"service {service.name} start",)
        if service.manager == "supervisor":
            return "start it, and look at its log for why it ended", (f"supervisorctl start {service.name}",)
    files = facts.report.settings.files if facts.report is not None else ()
    return "start it, and look at its log for why it ended", (f"penstock {files[0]}",) if files else ()


def _closed(facts: Facts, one: SocketFact) -> Diagnosis:
    nginx = facts.nginx
    user = nginx.user if nginx is not None else ""
    seen = [Evidence(one.origin, one.address)]
    if nginx is not None:
        seen.append(Evidence(nginx.user_place, f"nginx runs as {user}"))
    closed = one.closed
    if closed is None:
        seen.append(Evidence(one.address, f"{one.owned}; a connection as {user} was denied"))
        cure = f"let {user} use it: look at access control lists and SELinux (ausearch -m avc -c nginx)"
        return Diagnosis(
            "socket-closed-to-nginx", "error", f"nginx ({user}) is denied {one.address}", tuple(seen), cure
        )
    seen.append(Evidence(closed.path, str(closed)))
    if closed.path != one.address:
        cause = f"nginx ({user}) may not enter {closed.path}, and so can not reach {one.address}"
        cure = "put the socket below /run (RuntimeDirectory= of a unit makes a place), or let nginx pass"
        return Diagnosis(
            "socket-closed-to-nginx", "error", cause, tuple(seen), cure, (f"setfacl -m u:{user}:x {closed.path}",)
        )
    group = nginx.group if nginx is not None else user
    cause = f"nginx ({user}) may not write to {one.address}"
    cure = f"so that it stays so: chmod-socket = 660 and chown-socket = {closed.owner}:{group} in the configuration"
    commands = (("chgrp", group, one.address), ("chmod", "660", one.address))
    return Diagnosis(
        "socket-closed-to-nginx",
        "error",
        cause,
        tuple(seen),
        cure,
        tuple(" ".join(words) for words in commands),
        Mend(commands=commands),
    )
