"""What a user may do with a path, by the bits of its mode. Looks at the file system, and changes nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from penstock.values import dataclass

_ACL = "system.posix_acl_access"


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever will use a path."""

    uid: int
    groups: frozenset[int]

    def may_enter(self, directory: str) -> bool:
        """Whether this user may pass through a directory."""
        return self._may(directory, stat.S_IXUSR)

    def may_read(self, path: str) -> bool:
        """Whether this user may read a file."""
        return self._may(path, stat.S_IRUSR)

    def may_write(self, path: str) -> bool:
        """Whether this user may write to a file, or make files in a directory."""
        return self._may(path, stat.S_IWUSR)

    def _may(self, path: str, owner_bit: int) -> bool:
        """Ask the bits that count for this user. What can not be known is allowed."""
        if self.uid == 0:
            return True
        try:
            found = os.stat(path)
            if _ACL in os.listxattr(path):
                return True
        except (OSError, ValueError):
            return True
        shift = 0 if found.st_uid == self.uid else 3 if found.st_gid in self.groups else 6
        return bool(found.st_mode & (owner_bit >> shift))


def first_closed(path: str, person: Person) -> str | None:
    """Find the first directory on the way to an absolute path that this user may not enter; links are followed."""
    return next((place for place in _way(path) if not person.may_enter(place)), None)


def _way(path: str) -> Iterator[str]:
    """Each directory on the way, the root first, and the path itself if it is a directory."""
    place = "/"
    yield place
    for part in os.path.realpath(path).split("/"):
        if part:
            place = os.path.join(place, part)
            if os.path.isdir(place):
                yield place
