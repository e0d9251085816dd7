"""What an import leaves behind that the workers forked from it can not share: threads, connections, databases.

A thread exists only in the process that started it; a connection that several processes use mixes up their answers.
What Django has opened is closed, because it opens anew by itself. Everything else is named, with its place and the
cure, and left alone: nobody but the app knows what it is for. Descriptors that were open before the import are
Penstock's own, or its parent's.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import gc
import os
import socket
import stat
import sys
import threading
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any

from penstock.worker.server_log import say

CURE = (
    "make it in a function decorated with uwsgidecorators.postfork, which runs in each worker, or set lazy-apps = true"
)
STARTED_AGAIN = ("opentelemetry", "sentry_sdk")
"""Packages that notice a fork, and start their threads again in the child."""
DRIVERS = frozenset({"psycopg", "psycopg2", "MySQLdb", "pymysql", "redis", "valkey", "pymongo", "pymemcache", "pika"})
"""Packages whose objects are looked for, to tell whose a connection is."""
SQLITE_BEGINNING = b"SQLite format 3\0"
"""The first bytes of a database file (https://www.sqlite.org/fileformat.html, 1.2.1)."""


class Before:
    """Which descriptors this process had when the import began."""

    def __init__(self) -> None:
        self._inodes = dict(_descriptors())

    def since(self) -> Iterator[int]:
        """List the descriptors that came since then."""
        for descriptor, inode in _descriptors():
            if self._inodes.get(descriptor) != inode:
                yield descriptor


def report(before: Before) -> None:
    """Close what Django has opened, and name what else the workers can not share."""
    closed = close_django()
    if closed:
        say(f"Django's database connections of the import ({', '.join(closed)}) were closed before the fork")
    found = [*threads(), *connections(before)]
    if found:
        lines = "\n".join(f"  - {one}" for one in found)
        say(f"*** WARNING: the import has left behind what the workers can not share; {CURE}: ***\n{lines}")


def close_django() -> list[str]:
    """Close the connections that Django has opened; each worker opens its own at need. Return their names."""
    database, conf = sys.modules.get("django.db"), sys.modules.get("django.conf")
    if database is None or conf is None or not conf.settings.configured:
        # Where the settings themselves can not be read there is no connection, and asking would read them again.
        return []
    try:
        opened = [one.alias for one in _wrappers(database.connections) if one.connection is not None]
        database.connections.close_all()
    except Exception as error:
        say(f"database connections of the import could not be closed: {error!r}")
        return []
    return opened


def _wrappers(connections: Any) -> list[Any]:
    try:
        return list(connections.all(initialized_only=True))
    except TypeError:
        return list(connections.all())  # Django before 4.1.


def threads() -> Iterator[str]:
    """Describe the threads that no worker will have."""
    for thread in threading.enumerate():
        code = _code(thread)
        if thread is threading.main_thread() or _package(thread) in STARTED_AGAIN:
            continue
        place = f" ({code.co_qualname}, {code.co_filename}:{code.co_firstlineno})" if code is not None else ""
        yield f"the thread {thread.name}{place}, which no worker has"


def connections(before: Before) -> Iterator[str]:
    """Describe the connections, listening sockets and databases that all workers would use at once."""
    found = {}
    for descriptor in before.since():
        what = _describe(descriptor)
        if what is not None:
            found[descriptor] = what
    holders = _holders(found) if found else {}
    for descriptor, what in found.items():
        holder = f", held by {holders[descriptor]}" if descriptor in holders else ""
        yield f"{what} (descriptor {descriptor}{holder}), which all workers would use at once"


def _descriptors() -> Iterator[tuple[int, int]]:
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return  # A sandbox without /proc: nothing is found there.
    for name in names:
        # The one of the directory itself is closed by now.
        with contextlib.suppress(OSError):
            yield int(name), os.fstat(int(name)).st_ino


def _describe(descriptor: int) -> str | None:
    """Say what is dangerous about a descriptor; None if nothing is."""
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISSOCK(mode):
            with socket.socket(fileno=os.dup(descriptor)) as copy:
                return _describe_socket(copy)
        is_written = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
        if stat.S_ISREG(mode) and is_written and os.pread(descriptor, 16, 0) == SQLITE_BEGINNING:
            return f"the SQLite database {os.readlink(f'/proc/self/fd/{descriptor}')}"
    except OSError:
        pass  # It was closed meanwhile, or is nothing that we know.
    return None


def _describe_socket(one: socket.socket) -> str | None:
    # A datagram goes whole, whoever sends it; a netlink socket is nobody's connection.
    if one.type not in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        return None
    if one.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        return None
    if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return f"the socket that listens at {_address(one.getsockname())}"
    peer = one.getpeername()
    # Without a name it is half of a pair that this process has made for itself, as every asyncio loop has one.
    return f"the connection to {_address(peer)}" if peer else None


def _address(address: Any) -> str:
    if isinstance(address, tuple):
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{host}:{address[1]}"
    return os.fsdecode(address)


def _holders(wanted: Iterable[int]) -> dict[int, str]:
    """Find whose a descriptor is, among the objects of well-known packages."""
    found: dict[int, str] = {}
    for thing in gc.get_objects():
        kind = type(thing)
        # A proxy of the app's may claim any class, and do anything when it is asked.
        if str(kind.__module__).partition(".")[0] not in DRIVERS:
            continue
        with contextlib.suppress(Exception):
            place = thing if hasattr(kind, "fileno") else vars(thing).get("_sock")
            if place is not None and place.fileno() in wanted:
                found[place.fileno()] = f"{kind.__module__}.{kind.__qualname__}"
    return found


def _code(thread: threading.Thread) -> CodeType | None:
    """The code of what a thread was started for."""
    target = _target(thread)
    while isinstance(target, functools.partial):
        target = target.func
    target = getattr(target, "__func__", target)
    code = getattr(target, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _target(thread: threading.Thread) -> Any:
    if isinstance(thread, threading.Timer):
        return thread.function
    return getattr(thread, "_target", None) or type(thread).run


def _package(thread: threading.Thread) -> str:
    module = getattr(_target(thread), "__module__", None) or type(thread).__module__
    return str(module).partition(".")[0]
