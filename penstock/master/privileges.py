"""Who the instance is: the user and group of the master and of everything that it starts.

Whatever needs root (ports, pid file, log, limits) happens before; after `drop` nothing here can be undone.
"""

from __future__ import annotations

import os
import pwd
import resource

from penstock.master.errors import StartError
from penstock.master.sockets import group_id, user_id
from penstock.values import dataclass

OPEN_FILES_WANTED = 1 << 20
"""Connections count as open files. The limit is only raised, never above the hard one, and nothing is sized by it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The user to become."""

    uid: int
    gid: int
    name: str
    """The user's name, whose additional groups are taken; empty for none of them."""
    more_groups: tuple[int, ...] = ()
    """Additional groups beside those."""

    @property
    def groups(self) -> tuple[int, ...]:
        """Every group that it has."""
        own = os.getgrouplist(self.name, self.gid) if self.name else [self.gid]
        return tuple(dict.fromkeys((*own, *self.more_groups)))


def resolve(
    uid: str | None, gid: str | None, more_groups: tuple[str, ...] = (), takes_groups: bool = True
) -> Identity | None:
    """Turn the `uid`, `gid`, `add-gid` and `no-initgroups` options into an identity; None if nothing changes.

    Raises:
        StartError: there is no such user or group.
    """
    if uid is None and gid is None and not more_groups:
        return None
    try:
        number = user_id(uid) if uid is not None else os.geteuid()
        group = group_id(gid) if gid is not None else None
        more = tuple(group_id(name) for name in more_groups)
    except LookupError as error:
        raise StartError(f"uid/gid: {error}") from error
    try:
        entry = pwd.getpwuid(number)
    except KeyError:
        return Identity(number, number if group is None else group, "", more)
    return Identity(number, entry.pw_gid if group is None else group, entry.pw_name if takes_groups else "", more)


def drop(identity: Identity | None) -> list[str]:
    """Become `identity` for good; say what was done, for the log.

    Raises:
        StartError: root may not become this user (a container without CAP_SETUID).
    """
    if os.geteuid() != 0:
        # As uWSGI does: the same file serves a developer and the service.
        if identity is None or (identity.uid, identity.gid) == (os.geteuid(), os.getegid()):
            return []
        name, wanted = ("uid", identity.uid) if identity.uid != os.geteuid() else ("gid", identity.gid)
        return [f"{name} = {wanted} is not followed: only root can change it, and this is user {os.geteuid()}"]
    lines = []
    if identity is not None:
        try:
            os.setgroups(identity.groups)
            os.setgid(identity.gid)
            lines.append(f"setgid() to {identity.gid}")
            if identity.uid != 0:
                os.setuid(identity.uid)
                lines.append(f"setuid() to {identity.uid}")
        except OSError as error:
            raise StartError(
                f"uid/gid: becoming user {identity.uid}, group {identity.gid} failed: {error.strerror}"
            ) from error
    return lines


def raise_file_limit() -> int:
    """Raise the soft limit of open files as far as the hard one allows; return what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):
            return soft
    return soft
