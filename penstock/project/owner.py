"""Whom a project belongs to: what is in its folder runs as that user, never as root because root has asked about it."""

from __future__ import annotations

import os
import pwd
from typing import TypedDict


class Ids(TypedDict, total=False):
    """As `subprocess` takes them."""

    user: int
    group: int
    extra_groups: list[int]


def ids_of(user: int, group: int | None) -> Ids:
    """What makes a process one of that user's, with all groups of it."""
    try:
        entry = pwd.getpwuid(user)
    except KeyError:
        return Ids(user=user, group=user if group is None else group, extra_groups=[])
    own = entry.pw_gid if group is None else group
    return Ids(user=user, group=own, extra_groups=os.getgrouplist(entry.pw_name, own))


def as_owner(folder: str) -> Ids:
    """What makes a process one of a folder's owner; nothing where it is one already, or can not become one."""
    status = os.stat(folder)
    return ids_of(status.st_uid, status.st_gid) if os.geteuid() == 0 and status.st_uid else Ids()


def name_of(user: int) -> str:
    """The name of a user, or its number."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
