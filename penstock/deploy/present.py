"""What a machine has now of what `tune` is about: the kernel's values, limits of processes, nginx. Changes nothing."""

from __future__ import annotations

import os

from penstock.deploy import kernel, tune
from penstock.deploy import service as about
from penstock.deploy.service import Service
from penstock.deploy.tune import Host, WebServer

_UNBOUNDED = 1 << 30
_MAIN = "/etc/nginx/nginx.conf"
_NGINX_DEFAULT = 512
_SOFT_LIMIT_OF_SYSTEMD = 1024
"""DefaultLimitNOFILE= of systemd-system.conf(5): the soft one, which nginx does not raise by itself."""


def look(service: Service, root: str = "/") -> Host:
    """Look at the kernel, the limits and nginx."""
    has_systemd = os.path.isdir(os.path.join(root, "run/systemd/system")) or _has_units(root)
    files, place = _open_files(service, root, has_systemd)
    return Host(
        sysctls=kernel.read(tune.NAMES),
        boot=kernel.at_boot(tune.sysctl_file(service.name), root),
        open_files=files,
        open_files_place=place,
        has_systemd=has_systemd,
        web_server=_web_server(root),
        container=kernel.container() if root == "/" else "",
        can_set=kernel.can_set() if root == "/" else True,
    )


def _has_units(root: str) -> bool:
    return root != "/" and os.path.isdir(os.path.join(root, "etc/systemd/system"))


def _open_files(service: Service, root: str, has_systemd: bool) -> tuple[int, str]:
    """What the instance may have open: as a file says for its next start, as it runs, or as what is started here."""
    said = _limit_of_unit(root, service.name) if has_systemd else _limit_of_user(root, service.user or "root")
    if said is not None:
        return said
    if root == "/" and service.plan.pidfile is not None:
        try:
            found = kernel.open_files_of(_pid_in(service.plan.pidfile))
        except (OSError, ValueError):
            found = None
        if found is not None:
            return found[1], "the instance that runs"
    return kernel.own_open_files(), "what is started here"


def _limit_of_unit(root: str, name: str) -> tuple[int, str] | None:
    folder = os.path.join(root, "etc/systemd/system")
    found = None
    drop_ins = os.path.join(folder, f"{name}.service.d")
    names = [f"{name}.service"]
    if os.path.isdir(drop_ins):
        names += [f"{name}.service.d/{each}" for each in sorted(os.listdir(drop_ins)) if each.endswith(".conf")]
    for each in names:
        try:
            with open(os.path.join(folder, each), errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        for line in lines:
            key, _, value = line.partition("=")
            number = value.strip().rpartition(":")[2]
            if key.strip() == "LimitNOFILE":
                limit = _limit(number)
                found = (limit, f"/etc/systemd/system/{each}") if limit is not None else found
    return found


def _limit(text: str) -> int | None:
    """A limit as systemd and limits.conf(5) write it; None for what they would not take."""
    if text.strip() in ("infinity", "unlimited", "-1"):
        return _UNBOUNDED
    return about.number(text)


def _limit_of_user(root: str, user: str) -> tuple[int, str] | None:
    """The hard limit that sessions of a user get (limits.conf(5)): the last line that names it."""
    folder = os.path.join(root, "etc/security/limits.d")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    places = [f"/etc/security/limits.d/{name}" for name in names if name.endswith(".conf")]
    found = None
    for place in ("/etc/security/limits.conf", *places):
        try:
            with open(os.path.join(root, place[1:]), errors="replace") as file:
                lines = [line.split("#")[0].split() for line in file]
        except OSError:
            continue
        for words in lines:
            # root is not meant by the pattern for all.
            is_meant = len(words) == 4 and (words[0] == user or (words[0] == "*" and user != "root"))
            if is_meant and words[1] in ("hard", "-") and words[2] == "nofile":
                limit = _limit(words[3])
                found = (limit, place) if limit is not None else found
    return found


def _web_server(root: str) -> WebServer | None:
    if not os.path.isfile(os.path.join(root, _MAIN[1:])):
        return None
    from penstock.deploy.nginx.reading import read

    main = read(_MAIN, "" if root == "/" else root).main
    events = main.first("events")
    said = events.first("worker_connections") if events is not None else None
    connections = (about.number(said.text) if said is not None else None) or _NGINX_DEFAULT
    limit = main.first("worker_rlimit_nofile")
    files = about.number(limit.text) if limit is not None else None
    if limit is not None and files is not None:
        return WebServer(connections, files, str(limit.origin), is_said=True)
    unit = _limit_of_unit(root, "nginx")
    if unit is not None:
        return WebServer(connections, unit[0], unit[1], is_said=False)
    if root == "/":
        pid = main.first("pid")
        try:
            found = kernel.open_files_of(_pid_in(pid.text if pid is not None else "/run/nginx.pid"))
        except (OSError, ValueError):
            found = None
        if found is not None:
            return WebServer(connections, found[0], "the nginx that runs", is_said=False)
    return WebServer(connections, _SOFT_LIMIT_OF_SYSTEMD, "what services get", is_said=False)


def _pid_in(path: str) -> int:
    """The number in a pid file. Raises OSError or ValueError."""
    with open(path, encoding="ascii", errors="replace") as file:
        return int(file.read(32))
