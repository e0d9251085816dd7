"""The addresses that are served on or passed to: what is there, who listens, who may use it, what it speaks.

Connections are made and closed; the only bytes that are sent are a ping of the uwsgi protocol, which no application
sees.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from penstock.doctor.facts import Owned, Presence, SocketFact
from penstock.plan.access import Person, first_closed
from penstock.titles import NAMES
from penstock.values import replace

PATIENCE_S = 3.0
PROC = Path("/proc")
_PING = bytes((100, 0, 0, 0))
"""A packet of modifier 100 without a block."""
_END_OF_HEAD = b"\r\n\r\n"
"""Behind the ping, so that an HTTP server does not wait for the rest of a request."""
_LISTENING = "0A"
"""The state of a listening socket in /proc/net/tcp."""


def look(
    address: str,
    *,
    protocol: str = "",
    origin: str = "",
    nginx: Person | None = None,
    proc: Path = PROC,
) -> SocketFact:
    """Look at one address: a path, `@name`, or HOST:PORT; `nginx` is whoever passes requests to it."""
    if address.startswith("@"):
        fact = SocketFact(
            address=address, presence=_connect(address), family="abstract", protocol=protocol, origin=origin
        )
    elif address.startswith("/"):
        fact = _path(address, protocol, origin, nginx)
    else:
        fact = SocketFact(address=address, presence=_connect(address), family="inet", protocol=protocol, origin=origin)
    holders = list(_holders(address, proc))
    if holders:
        names = {pid: _name(pid, proc) for pid in holders}
        ours = [pid for pid, name in names.items() if name in NAMES.values() or "penstock" in name]
        pid = next((pid for pid in ours if names[pid] == NAMES["master"]), holders[0])
        fact = replace(
            fact,
            holders=tuple(holders),
            holder=f"{names[pid]} (pid {pid})",
            holder_is_ours=bool(ours),
            master=pid if pid in ours else 0,
        )
    if fact.presence == "accepts":
        fact = replace(fact, speaks=_speaks(address))
    return fact


def _path(path: str, protocol: str, origin: str, nginx: Person | None) -> SocketFact:
    presence: Presence
    try:
        found = os.stat(path)
    except PermissionError:
        return SocketFact(address=path, presence="denied", protocol=protocol, origin=origin)
    except OSError:
        return SocketFact(address=path, presence="missing", protocol=protocol, origin=origin)
    presence = _connect(path) if stat.S_ISSOCK(found.st_mode) else "not-a-socket"
    owned = owned_by(path)
    closed = refuses = None
    if nginx is not None:
        way = first_closed(os.path.dirname(path), nginx)
        closed = owned_by(way) if way is not None else None if nginx.may_write(path) else owned
        refuses = _refuses(path, nginx)
    return SocketFact(
        address=path,
        presence=presence,
        protocol=protocol,
        origin=origin,
        owned=owned,
        closed=closed,
        refuses_nginx=refuses,
    )


def owned_by(path: str) -> Owned | None:
    """Tell the mode and the owner of a path."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return Owned(path, found.st_mode, user_name(found.st_uid), group_name(found.st_gid))


def user_name(uid: int) -> str:
    """Name a user; the number where there is no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Name a group; the number where there is no name."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def reach(address: str, timeout_s: float = PATIENCE_S) -> socket.socket:
    """Connect to a path, `@name`, or HOST:PORT. Raises OSError."""
    if address.startswith(("/", "@")):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout_s)
        try:
            connection.connect("\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            connection.close()
            raise
        return connection
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if host in ("", "0.0.0.0", "*"):
        host = "127.0.0.1"
    return socket.create_connection(("::1" if host == "::" else host, int(port or 0)), timeout_s)


def _connect(address: str) -> Presence:
    try:
        reach(address).close()
    except (ConnectionRefusedError, TimeoutError):
        return "refused"
    except FileNotFoundError:
        return "missing"
    except PermissionError:
        return "denied"
    except BlockingIOError:
        # The queue is full: somebody listens, and does not come to accept.
        return "accepts"
    except (OSError, ValueError, OverflowError):
        return "unknown"
    return "accepts"


def _refuses(path: str, person: Person) -> bool | None:
    """Try to connect as another user, in a child; None if that can not be tried."""
    if os.geteuid() != 0 or person.uid == 0:
        return None
    child = os.fork()
    if child == 0:
        status = 2
        try:
            groups = sorted(person.groups)
            os.setgroups(groups)
            os.setgid(groups[0] if groups else person.uid)
            os.setuid(person.uid)
            try:
                reach(path).close()
                status = 0
            except OSError as error:
                status = 1 if error.errno == errno.EACCES else 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    status = os.waitstatus_to_exitcode(ended)
    return {0: False, 1: True}.get(status)


def _speaks(address: str) -> str:
    """Send a ping of the uwsgi protocol: who answers it speaks that, who answers anything else does not."""
    try:
        with reach(address) as connection:
            connection.sendall(_PING + _END_OF_HEAD)
            answer = connection.recv(16)
    except (OSError, ValueError):
        return ""
    return "uwsgi" if answer[:1] == _PING[:1] else "http" if answer.startswith(b"HTTP/") else ""


# -- who listens -------------------------------------------------------------------------------------------------------


def _holders(address: str, proc: Path) -> Iterator[int]:
    """Find the processes that hold the listening socket of an address; only those that this user may look at."""
    inodes = set(_inodes(address, proc))
    if not inodes:
        return
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for entry in sorted((name for name in os.listdir(proc) if name.isdigit()), key=int):
        try:
            links = os.listdir(proc / entry / "fd")
        except OSError:
            continue
        for link in links:
            try:
                if os.readlink(proc / entry / "fd" / link) in wanted:
                    yield int(entry)
                    break
            except OSError:
                continue


def _inodes(address: str, proc: Path) -> Iterator[int]:
    if address.startswith(("/", "@")):
        for line in _table(proc / "net/unix"):
            # Num RefCount Protocol Flags Type St Inode Path; flag 0x10000 is SO_ACCEPTCON.
            fields = line.split(maxsplit=7)
            if len(fields) == 8 and fields[7] == address and int(fields[3], 16) & 0x10000:
                yield int(fields[6])
        return
    port = address.rpartition(":")[2]
    if not port.isdigit():
        return
    for name in ("net/tcp", "net/tcp6"):
        for line in _table(proc / name):
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == int(port):
                yield int(fields[9])


def _table(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()[1:]
    except OSError:
        return []


def _name(pid: int, proc: Path) -> str:
    try:
        return (proc / str(pid) / "comm").read_text().strip()
    except OSError:
        return "a process"


def holders_of(port: int, proc: Path = PROC) -> set[str]:
    """Name the programs that listen on a TCP port, of whatever address; only root sees those of others."""
    return {_name(pid, proc) for pid in _holders(f":{port}", proc)}


# -- from outside ------------------------------------------------------------------------------------------------------


def outward_address() -> str:
    """The address that this machine has to others, as the kernel would choose it; empty if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # A datagram socket sends nothing when it is connected; the address is of TEST-NET-1 (RFC 5737).
            probe.connect(("192.0.2.1", 9))
            address = str(probe.getsockname()[0])
        except OSError:
            return ""
    return "" if address.startswith("127.") else address


def answers(address: str) -> str:
    """The address again if a connection is accepted there, else nothing."""
    return address if _connect(address) == "accepts" else ""


def is_dead(target: str) -> bool:
    """Whether nobody listens at an address of this machine; of others nothing is said."""
    is_here = target.startswith(("/", "127.", "localhost:", "[::1]:"))
    return is_here and _connect(target) in ("missing", "refused")
