"""The listening sockets: bound by the master before anything is imported, and passed on from there.

Only binding, naming and removing live here. Nothing here accepts: a client that connects while the app is imported
waits in the kernel's queue.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias, TypeVar

from penstock.master import log
from penstock.master.errors import AddressInUse, StartError
from penstock.plan.activation import SALVAGED, STORED_PREFIX, name_of
from penstock.plan.machine import find_group, find_user
from penstock.plan.types import InheritedSocket, ListenerPlan, SocketTuning
from penstock.values import dataclass

IP_FREEBIND = 15
"""Of ip(7); Python's `socket` has no name for it."""
UNIX_PATH_BYTES = 107
"""Longest path of a unix socket on Linux (unix(7), `sun_path` without its final NUL)."""


Keeper: TypeAlias = Literal["", "unit", "store"]
"""Who else has a copy of a socket, so that it outlives the instance: nobody; a socket unit of systemd, which made it;
the file-descriptor store of systemd, which was given it."""


IN_USE_PATIENCE_S = 2.0
"""How long an address may be in use: workers whose master is gone end within 1.5 seconds, and let go long before."""

IN_USE_PAUSE_S = 0.05

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BoundListener:
    """A listening socket and what it is called."""

    plan: ListenerPlan
    socket: socket.socket
    name: str
    """`127.0.0.1:8001`, `[::1]:8001`, `/run/app.sock`, `@name`; with the port that the kernel chose for port 0."""
    inode: tuple[int, int] | None
    """Device and inode of a unix socket's file, by which it is known again."""
    keeper: Keeper = ""

    @property
    def fd(self) -> int:
        """The descriptor in the master."""
        return self.socket.fileno()

    @property
    def url(self) -> str:
        """The address as a person would type it."""
        scheme = "http" if self.plan.protocol == "http" else "uwsgi"
        if self.plan.family in ("unix", "abstract"):
            return f"{scheme}+unix:{self.name}"
        host = self.name.rpartition(":")[0]
        return f"{scheme}://{self.name}" if host else f"{scheme}://0.0.0.0{self.name}"

    @property
    def server_port(self) -> str:
        """The SERVER_PORT of requests that come over HTTP."""
        if self.plan.family in ("unix", "abstract"):
            return "80"
        return self.name.rpartition(":")[2]

    def bound_line(self, index: int) -> str:
        """Say in the log what was bound, in the words that uWSGI's users look for."""
        if self.plan.inherited is not None:
            kind = "UNIX" if self.plan.family in ("unix", "abstract") else "TCP"
            whose = self.plan.inherited.name or "no name"
            return f"{self.plan.protocol} socket {index} attached to {kind} address {self.name} fd {self.fd} ({whose})"
        if self.plan.family in ("unix", "abstract"):
            return f"{self.plan.protocol} socket {index} bound to UNIX address {self.name} fd {self.fd}"
        chosen = " (port auto-assigned)" if self.plan.port == 0 else ""
        return f"{self.plan.protocol} socket {index} bound to TCP address {self.name}{chosen} fd {self.fd}"

    def close(self, remove: bool) -> None:
        """Close the master's copy; with `remove`, unlink the file of a unix socket if it is still this one."""
        self.socket.close()
        if remove:
            remove_socket_file(self.name, self.inode)


def remove_socket_file(path: str, inode: tuple[int, int] | None) -> None:
    """Unlink a unix socket's file unless another socket has taken its place."""
    if inode is None:
        return
    try:
        found = os.lstat(path)
        if (found.st_dev, found.st_ino) == inode:
            os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        # In a directory that only root may write to, perhaps: a stale socket is replaced at the next start.
        log.write(f"can not remove {path}: {error.strerror}")


def is_same_address(bound: BoundListener, plan: ListenerPlan) -> bool:
    """Whether a socket that is bound already is what a new plan asks for. Port 0 stays the port that was chosen."""
    before = bound.plan
    if plan.inherited is not None and before.inherited is not None:
        return plan.inherited.fd == before.inherited.fd
    if plan.family in ("inet", "inet6") and plan.port == 0 and before.protocol != plan.protocol:
        return False
    return (before.family, before.host, before.port) == (plan.family, plan.host, plan.port)


def patiently(bind_them: Callable[[], T], clock: Callable[[], float] = time.monotonic) -> T:
    """Bind something, and try again for a moment where the address is in use.

    A supervisor starts a killed master anew at once, while the workers of the old one are still closing its sockets.
    """
    gives_up_at = 0.0
    while True:
        try:
            return bind_them()
        except AddressInUse as error:
            if not gives_up_at:
                gives_up_at = clock() + IN_USE_PATIENCE_S
                log.write(f"{error}; this is tried again for {IN_USE_PATIENCE_S:g} seconds")
            elif clock() >= gives_up_at:
                raise
            time.sleep(IN_USE_PAUSE_S)


def bind_own(name: str, plan: ListenerPlan, owner: tuple[int, int] | None = None) -> BoundListener:
    """Bind a socket that the master itself answers, `stats` or `admin`; StartError if that is not possible."""
    try:
        return bind(plan, owner)
    except StartError as error:
        raise type(error)(str(error).replace(f"the {plan.protocol} socket", f"the {name} socket", 1)) from error


def bind_all(plans: Iterable[ListenerPlan], owner: tuple[int, int] | None = None) -> tuple[BoundListener, ...]:
    """Bind every listener, or none.

    `owner` is the uid and gid that unix sockets get which name no owner of their own.

    Raises:
        StartError: one of them can not be bound; those that were are closed and removed again.
    """
    wanted = tuple(plans)
    any_v4 = {plan.port for plan in wanted if plan.family == "inet" and plan.host in ("", "0.0.0.0") and plan.port}
    bound: list[BoundListener] = []
    try:
        for plan in wanted:
            # An IPv6 wildcard also takes IPv4, as everywhere on Linux, unless IPv4 was asked for on the same port.
            bound.append(bind(plan, owner, v6_only=plan.family == "inet6" and plan.port in any_v4))
    except StartError:
        for one in bound:
            one.close(remove=True)
        raise
    return tuple(bound)


def bind(plan: ListenerPlan, owner: tuple[int, int] | None = None, v6_only: bool = False) -> BoundListener:
    """Bind one listener and listen.

    Raises:
        StartError: it can not be bound; the text names the address, where it was written, the reason and the cure.
    """
    if plan.inherited is not None:
        return _take_over(plan, plan.inherited)
    if plan.family == "unix":
        return _bind_unix(plan, owner)
    if plan.family == "abstract":
        return _bind_abstract(plan)
    return _bind_tcp(plan, v6_only)


def _take_over(plan: ListenerPlan, inherited: InheritedSocket) -> BoundListener:
    """Go on with a socket that was bound for this process."""
    stored = inherited.name.startswith(STORED_PREFIX)
    shown = name_of(inherited)
    try:
        listener = socket.socket(fileno=inherited.fd)
        listener.setblocking(False)
        os.set_inheritable(inherited.fd, False)
        if plan.family in ("inet", "inet6"):
            _tune(listener, plan.tuning)
        if plan.backlog:
            listener.listen(plan.backlog)
        # The file of a socket that was stored is as much this instance's as if it had bound it; a unit's is the unit's.
        inode = _inode(shown) if stored and inherited.family == "unix" else None
        keeper: Keeper = "" if inherited.name.startswith(SALVAGED) else "store" if stored else "unit"
    except OSError as error:
        raise _failure(plan, shown, error.strerror or str(error)) from error
    return BoundListener(plan, listener, shown, inode, keeper)


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None


def _bind_tcp(plan: ListenerPlan, v6_only: bool) -> BoundListener:
    family = socket.AF_INET6 if plan.family == "inet6" else socket.AF_INET
    shown = _tcp_name(plan.host, plan.port)
    # As bytes, where that is the same: for a str Python imports its tables of international names first.
    host = plan.host.encode() if plan.host.isascii() else plan.host
    try:
        found = socket.getaddrinfo(
            host or None, plan.port, family, socket.SOCK_STREAM, socket.IPPROTO_TCP, socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise _failure(plan, shown, f"the host {plan.host!r} has no address: {error.strerror}") from error
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6_only))
        _tune(listener, plan.tuning)
        listener.bind(found[0][4])
        listener.listen(plan.backlog)
    except OSError as error:
        listener.close()
        raise _not_bound(plan, shown, error) from error
    port = listener.getsockname()[1]
    return BoundListener(plan, listener, _tcp_name(plan.host, port), None)


def _tune(listener: socket.socket, tuning: SocketTuning) -> None:
    """Ask the kernel for what was asked for; connections inherit it from the listener."""
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(tuning.keepalive)),
        (socket.SOL_SOCKET, socket.SO_REUSEPORT, int(tuning.reuse_port)),
        (socket.SOL_IP, IP_FREEBIND, int(tuning.freebind)),
        (socket.IPPROTO_TCP, socket.TCP_FASTOPEN, tuning.fast_open),
        (socket.SOL_SOCKET, socket.SO_SNDBUF, tuning.send_buffer_bytes),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, tuning.receive_buffer_bytes),
    ):
        if value:
            listener.setsockopt(level, option, value)


def _tcp_name(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind_abstract(plan: ListenerPlan) -> BoundListener:
    shown = "@" + plan.host.removeprefix("@")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.bind(b"\0" + os.fsencode(shown[1:]))
        listener.listen(plan.backlog)
    except OSError as error:
        listener.close()
        raise _not_bound(plan, shown, error) from error
    return BoundListener(plan, listener, shown, None)


def _bind_unix(plan: ListenerPlan, owner: tuple[int, int] | None) -> BoundListener:
    path = plan.host
    if len(os.fsencode(path)) > UNIX_PATH_BYTES:
        reason = f"the path has {len(os.fsencode(path))} bytes and Linux allows {UNIX_PATH_BYTES}: choose a shorter one"
        raise _failure(plan, path, reason)
    _remove_stale(plan, path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        bind_path(listener, path, plan.mode)
        found = os.lstat(path)
        inode = (found.st_dev, found.st_ino)
    except OSError as error:
        listener.close()
        raise _failure(plan, path, _why_not_bound(error, path)) from error
    bound = BoundListener(plan, listener, path, inode)
    try:
        # Before `listen`: until then nobody can connect.
        give_away(path, *resolve_owner(plan.owner, owner))
        listener.listen(plan.backlog)
    except (OSError, LookupError) as error:
        bound.close(remove=True)
        detail = error.strerror if isinstance(error, OSError) else str(error)
        raise _failure(plan, path, f"its owner can not be set: {detail}") from error
    return bound


def bind_path(listener: socket.socket, path: str, mode: int | None) -> None:
    """Bind a unix socket to a path that has `mode` from its first moment; None leaves the mode to the umask."""
    if mode is None:
        listener.bind(path)
        return
    before = os.umask(0o777 & ~mode)
    try:
        listener.bind(path)
    finally:
        os.umask(before)


def give_away(path: str | os.PathLike[str], uid: int, gid: int) -> None:
    """Change the owner of a socket's file; -1 changes nothing.

    Never of what a link points to: the directory may belong to the app's user, who could put one there meanwhile.
    """
    if (uid, gid) != (-1, -1):
        os.lchown(path, uid, gid)


def _remove_stale(plan: ListenerPlan, path: str) -> None:
    """Unlink a socket that nobody listens on any more; refuse to touch anything else.

    uWSGI unlinks whatever is there, and so takes the address away from a living instance.
    """
    try:
        found = os.lstat(path)
    except OSError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise _failure(plan, path, "there is a file of this name that is no socket: remove it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        error = probe.connect_ex(path)
    if error in (0, errno.EAGAIN, errno.EPROTOTYPE):
        raise _in_use(plan, path, f"probably another instance is running on the same address ({path})")
    if error == errno.ECONNREFUSED:
        try:
            os.unlink(path)
        except OSError as problem:
            reason = f"the stale socket there can not be removed: {problem.strerror}"
            raise _failure(plan, path, reason) from problem


def resolve_owner(owner: str | None, default: tuple[int, int] | None) -> tuple[int, int]:
    """Turn `user[:group]`, by name or number, into uid and gid; -1 stands for no change.

    Raises:
        LookupError: there is no such user or group on this machine.
    """
    if not owner:
        return default or (-1, -1)
    user, _, group = owner.partition(":")
    return (user_id(user) if user else -1, group_id(group) if group else -1)


def user_id(name: str) -> int:
    """Turn a user's name or number into a uid; LookupError if there is none."""
    found = find_user(name)
    if found is None:
        raise LookupError(f"there is no user {name!r} on this machine")
    return found


def group_id(name: str) -> int:
    """Turn a group's name or number into a gid; LookupError if there is none."""
    found = find_group(name)
    if found is None:
        raise LookupError(f"there is no group {name!r} on this machine")
    return found


def _not_bound(plan: ListenerPlan, shown: str, error: OSError) -> StartError:
    return (_in_use if error.errno == errno.EADDRINUSE else _failure)(plan, shown, _why_not_bound(error, shown))


def _in_use(plan: ListenerPlan, shown: str, reason: str) -> AddressInUse:
    return AddressInUse(str(_failure(plan, shown, reason)))


def _why_not_bound(error: OSError, shown: str) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            port = shown.rpartition(":")[2]
            other = f"; or another program: ss -ltnp | grep {port} shows it" if port.isdigit() else ""
            return f"probably another instance is running on the same address ({shown}){other}"
        case errno.EACCES if shown.startswith("/"):
            return f"permission denied: this user may not write to the directory {os.path.dirname(shown)}"
        case errno.EACCES:
            return "permission denied: a port below 1024 needs root (or CAP_NET_BIND_SERVICE)"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case errno.ENOENT:
            return f"the directory {os.path.dirname(shown) or '.'} does not exist"
        case _:
            return error.strerror or str(error)


def _failure(plan: ListenerPlan, shown: str, reason: str) -> StartError:
    origin = f" ({plan.origin})" if plan.origin else ""
    return StartError(f"the {plan.protocol} socket {shown}{origin} can not be bound: {reason}")
