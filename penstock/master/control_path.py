"""Where the control socket of an instance is, for the master that makes it and for the commands that look for it.

The name is the pid, in a directory that only the instance's user may enter. Both sides derive it from the pid alone:
a command needs nothing but the pid file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def directories(uid: int) -> tuple[Path, ...]:
    """List where the control socket of an instance of `uid` may be, best first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    found = [Path("/run/penstock") if uid == 0 else Path(f"/run/penstock-{uid}")]
    if runtime:
        found.append(Path(runtime) / "penstock")
    found += [Path(f"/run/user/{uid}/penstock"), Path(f"/tmp/penstock-{uid}")]
    return tuple(dict.fromkeys(found))


def make_directory(uid: int, gid: int, places: Sequence[Path] | None = None) -> Path | None:
    """Make, or find, a directory of mode 0700 that belongs to `uid`; None if there is no place for one.

    The first of `places` that will do is used; without them, of `directories(uid)`.

    A directory of somebody else is never used, nor one that others may write to: /tmp is open to all.
    """
    for path in directories(uid) if places is None else places:
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            pass
        except OSError:
            continue
        if not _take(path, uid, gid):
            continue
        if uid == 0 or os.geteuid() == 0 or os.access(path, os.W_OK | os.X_OK):
            return path
    return None


def _take(path: Path, uid: int, gid: int) -> bool:
    """Make sure of the owner and the mode of a directory; False if it is not `uid`'s and can not be."""
    try:
        # By descriptor: where others may rename in its parent, two calls by name could mean two directories.
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        found = os.fstat(fd)
        if found.st_uid != uid and not os.geteuid() == 0 == found.st_uid:
            return False
        os.fchmod(fd, 0o700)
        if found.st_uid != uid:
            os.fchown(fd, uid, gid)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def owner_of(pid: int) -> int | None:
    """Tell the user that a process runs as; None if there is no such process.

    Not the owner of /proc/PID: that is root for every process that has changed its user.
    """
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("Uid:"):
                    return int(line.split()[2])
    except (OSError, ValueError):
        return None
    return None
