"""The first configuration of a project, as text with comments: from facts and sizes alone, nothing is looked at.

Paths below the folder of the file are written with %d, so that project and file may move together. What only some want
stands there as a comment that can be uncommented.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal

from penstock.plan.processes import WORKER_BYTES
from penstock.project.django_facts import DjangoFacts
from penstock.project.found import Project
from penstock.values import dataclass

_SHARE_OF_MEMORY = 0.6
"""Of what is free: the rest is for a second generation during a reload, and for the database beside it."""
_THREADS = 4
_LONGEST_SOCKET_PATH = 107
"""Bytes, by unix(7)."""
HARAKIRI_S = 60
MAX_REQUESTS = 5000

Target = Literal["ini", "toml", "yaml", "json"]


class NotWritable(Exception):
    """A path can not stand in a configuration: why, and what to do."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many workers and threads."""

    processes: int
    threads: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the configuration and what it makes will be."""

    file: str
    """The absolute path of the configuration."""
    run_folder: str
    """Where the socket and the pid file are made."""
    user: str = ""
    """Whom the instance becomes, if it is started by root."""
    group: str = ""
    starter: str = "root"
    """Who will start it."""
    nginx_group: str = ""
    """The group of nginx on this machine, if the socket can be given to it."""
    port: int = 8000
    """Of TCP, where the path of a socket would be too long."""


def size(cpus: int, free_bytes: int | None, worker_bytes: int = 0) -> Size:
    """Choose how many workers and threads: a worker for each CPU, fewer where memory is short."""
    each = worker_bytes or WORKER_BYTES
    room = int(free_bytes * _SHARE_OF_MEMORY // each) if free_bytes is not None else cpus
    processes = max(1, min(cpus, room))
    plural = "s" if cpus != 1 else ""
    if processes < cpus:
        reason = f"memory for {processes} of {each >> 20} MiB each, on {cpus} CPU{plural}"
    else:
        reason = f"one for each of {cpus} CPU{plural}" if cpus > 1 else "one CPU"
    return Size(processes, _THREADS, reason)


def initial(project: Project, facts: DjangoFacts | None, workers: Size, place: Place) -> str:
    """Write the configuration as an ini file. `facts` are Django's, where it answered.

    Raises:
        NotWritable: a path has a character that no configuration can hold.
    """
    return "\n".join(_lines(project, facts, workers, place)) + "\n"


def _lines(project: Project, facts: DjangoFacts | None, workers: Size, place: Place) -> Iterator[str]:
    path = _Paths(place.file)
    what = f"Django {facts.django_version}" if facts is not None else project.library.capitalize() or "WSGI"
    yield f"# {project.name}: a {what} project, served by Penstock."
    yield "# `penstock explain NAME` tells about an option, `penstock check FILE` whether all fits together."
    yield "# %d is the folder of this file."
    yield "[uwsgi]"
    yield ""
    yield "# The application."
    yield f"chdir = {path.of(project.folder)}"
    if project.home is not None:
        yield "# The virtual environment whose Python runs it; Penstock need not be installed in it."
        yield f"home = {path.of(project.home)}"
    yield f"module = {_module(project)}"
    if project.settings:
        yield f"env = DJANGO_SETTINGS_MODULE={project.settings}"
    yield ""
    yield from _listening(project, path, place)
    yield ""
    yield f"# Workers: {workers.reason}. Each thread answers one request at a time."
    yield f"processes = {workers.processes}"
    yield f"threads = {workers.threads}"
    yield "# No request may take longer (seconds); nginx has to wait longer than that."
    yield f"harakiri = {HARAKIRI_S}"
    yield "# A worker is replaced after so many requests, its successor first: memory that leaks comes back."
    yield f"max-requests = {MAX_REQUESTS}"
    yield "# ... and not all of them at the same time."
    yield f"max-requests-delta = {MAX_REQUESTS // 10}"
    yield "# The largest request head, for long cookies and URLs."
    yield "buffer-size = 65536"
    yield ""
    if place.user:
        yield "# Started by root, it becomes the owner of the project."
        yield f"uid = {place.user}"
        yield f"gid = {place.group}"
        yield ""
    yield "# SIGTERM stops, after the requests in flight; sockets and pid file are taken away at the end."
    yield "die-on-term = true"
    yield "vacuum = true"
    yield f"pidfile = {path.of(_in_run(place, project.name, 'pid'))}"
    yield "# Touch this file to reload: new code beside the old, which goes on if the new one fails."
    yield f"touch-reload = {path.of(place.file)}"
    yield ""
    yield "# The log goes to standard error: the terminal, systemd's journal, or a container's log. Or to a file:"
    yield f"# logto = {path.of(os.path.join(os.path.dirname(place.file), project.name + '.log'))}"
    yield "# One name for a request in all logs:"
    yield "# request-id = true"
    yield from _static(facts, path)


def _module(project: Project) -> str:
    if project.wsgi is not None:
        return project.wsgi
    # What every wsgi.py of Django does.
    return "django.core.wsgi:get_wsgi_application()"


def _listening(project: Project, path: _Paths, place: Place) -> Iterator[str]:
    socket = _in_run(place, project.name, "sock")
    yield "# HTTP for nginx (`penstock nginx` writes its site). To look at it without: add --http 127.0.0.1:8000"
    if len(os.fsencode(socket)) > _LONGEST_SOCKET_PATH:
        yield "# The path of a unix socket here would be longer than the kernel takes."
        yield f"http = 127.0.0.1:{place.port}"
        return
    yield f"http = {path.of(socket)}"
    yield "# Who may connect: the instance, and nginx by its group."
    yield "chmod-socket = 660"
    if place.nginx_group:
        # Where it runs as root now, a service will have a user of its own, who can not give a socket to root.
        owner = place.user or (place.starter if place.starter != "root" else "")
        yield f"chown-socket = {owner}:{place.nginx_group}"
    else:
        yield "# nginx's user has to be in the group of whoever starts this: usermod -aG GROUP www-data; or, as root,"
        yield f"# chown-socket = {place.user or place.starter}:www-data"


def _in_run(place: Place, name: str, suffix: str) -> str:
    return os.path.join(place.run_folder, f"{name}.{suffix}")


def _static(facts: DjangoFacts | None, path: _Paths) -> Iterator[str]:
    """Static files: served here too where they have been collected; uploads only if somebody wants it."""
    if facts is None:
        return
    maps = []
    if facts.static_root and facts.static_url.startswith("/") and not _serves_itself(facts):
        is_there = os.path.isdir(facts.static_root)
        maps.append((facts.static_url, facts.static_root, is_there, "manage.py collectstatic has made them"))
    if facts.media_root and facts.media_url.startswith("/") and facts.media_url != "/":
        maps.append((facts.media_url, facts.media_root, False, "everybody may see what was uploaded"))
    if not maps:
        return
    yield ""
    yield "# Files without asking the application, also where no nginx stands in front."
    for url, root, is_active, condition in maps:
        line = f"static-map = {url.rstrip('/')}={path.of(root)}"
        if is_active:
            yield line
        else:
            yield f"# When {condition}:"
            yield f"# {line}"
    if facts.static_is_hashed and maps[0][2]:
        yield "# Names with a hash of the content never change: clients keep them for a year."
        yield r"static-expires-uri = \.[0-9a-f]{12}\. 31536000"


def _serves_itself(facts: DjangoFacts) -> bool:
    return any(name.startswith("whitenoise.") for name in facts.middleware)


class _Paths:
    """Writes paths as they stand in a configuration."""

    def __init__(self, file: str) -> None:
        self._folder = os.path.dirname(file)

    def of(self, path: str) -> str:
        """Write one: from %d if it is below the folder of the file. Raises NotWritable."""
        inside = path == self._folder or path.startswith(self._folder.rstrip("/") + "/")
        rest = os.path.relpath(path, self._folder) if inside else path
        if not rest.isprintable() or any(mark in rest for mark in ("$(", "@(", " ;", " #")) or rest != rest.strip():
            raise NotWritable(f"{path!r} can not stand in a configuration; rename it, without $( @( ; # in its name")
        text = rest.replace("%", "%%")
        if not inside:
            return text
        return "%d" if rest == "." else f"%d{text}"
