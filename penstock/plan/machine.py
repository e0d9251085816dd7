"""What the plan needs to know about this machine; the only place of `plan` that looks.

Paths are checked by the plan itself: they are part of what the user said.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from penstock.config.surroundings import memory_limit, usable_cpus
from penstock.plan import inherited
from penstock.plan.types import InheritedSocket
from penstock.values import dataclass

SOMAXCONN = "/proc/sys/net/core/somaxconn"
SYSTEM_MIME_TYPES = "/etc/mime.types"
LARGEST_ID = 2**32 - 2
"""Of users and groups; the number above it stands for "as it is" (chown(2), setuid(2))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Facts about the machine and about the process that was started."""

    cpus: int
    """That this process may use."""
    hostname: str
    cwd: str
    euid: int
    somaxconn: int
    """Largest backlog that the kernel accepts."""
    interpreter: str
    """The Python that runs Penstock."""
    temp_dir: str
    memory_limit_bytes: int | None = None
    """That this process and its children may take, by control groups; None for no limit."""
    is_under_systemd: bool = False
    """A service manager started this: it says so with the variables of systemd.exec(5) and sd_notify(3)."""
    nginx_dir: str = "/etc/nginx"
    units_dir: str = "/etc/systemd/system"
    python_path: str = ""
    """PYTHONPATH, which an interpreter that is started reads."""
    inherited: tuple[InheritedSocket, ...] = ()
    """Descriptors that this process was started with (socket activation)."""

    @classmethod
    def here(cls) -> Machine:
        """Look at the real machine."""
        return cls(
            cpus=usable_cpus(),
            hostname=socket.gethostname(),
            cwd=os.getcwd(),
            euid=os.geteuid(),
            somaxconn=_somaxconn(),
            interpreter=sys.executable,
            memory_limit_bytes=memory_limit(),
            temp_dir=os.environ.get("TMPDIR") or "/tmp",
            is_under_systemd=bool(os.environ.get("INVOCATION_ID") or os.environ.get("NOTIFY_SOCKET")),
            python_path=os.environ.get("PYTHONPATH", ""),
            inherited=inherited.look(),
        )

    @property
    def python_version(self) -> str:
        """The version of the Python that runs Penstock, as 3.11."""
        return f"{sys.version_info[0]}.{sys.version_info[1]}"

    def engine_versions(self) -> tuple[str, ...]:
        """Versions of CPython that this Penstock has an engine for."""
        names = os.listdir(Path(__file__).parent.parent)
        digits = {match[1] for name in names if (match := re.match(r"_engine\.cpython-3(\d+)-.*\.so$", name))}
        return tuple(f"3.{minor}" for minor in sorted(digits, key=int))

    def site_directories(self) -> list[str]:
        """Where the Python that runs Penstock keeps modules."""
        return [place for place in sys.path if os.path.basename(place) in ("site-packages", "dist-packages")]

    def mime_types(self, files: Sequence[str] = (SYSTEM_MIME_TYPES,)) -> str:
        """Lines of `extension type`, sorted: Python's own table, with that of the files on top where they are there."""
        # Reading the table takes as long as all other facts together, and few need it.
        import mimetypes

        table = mimetypes.MimeTypes()
        for file in files:
            if os.path.isfile(file):
                with open(file, encoding="utf-8", errors="replace") as lines:
                    table.readfp(lines, strict=True)
        known = {extension.lstrip(".").lower(): kind for extension, kind in table.types_map[True].items()}
        return "".join(f"{extension} {kind}\n" for extension, kind in sorted(known.items()))

    def user_name(self) -> str:
        """Name whoever started this; the number where there is no name."""
        try:
            return pwd.getpwuid(self.euid).pw_name
        except KeyError:
            return str(self.euid)

    def user_id(self, name: str) -> int | None:
        """Find the id of a user given by name or number; None if there is none."""
        return find_user(name)

    def groups(self, uid: int) -> frozenset[int]:
        """Find the groups that a user has; those of this process as well if it is its own."""
        own = frozenset(os.getgroups()) | {os.getegid()} if uid == os.geteuid() else frozenset()
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return own
        return own | frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))

    def group_id(self, name: str) -> int | None:
        """Find the id of a group given by name or number; None if there is none."""
        return find_group(name)


def find_user(name: str) -> int | None:
    """Find the id of a user given by name or number; None if there can be none."""
    if name.isascii() and name.isdigit():
        return _id(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return None


def find_group(name: str) -> int | None:
    """Find the id of a group given by name or number; None if there can be none."""
    if name.isascii() and name.isdigit():
        return _id(name)
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        return None


def _id(digits: str) -> int | None:
    return int(digits) if len(digits) < 20 and int(digits) <= LARGEST_ID else None


def _somaxconn() -> int:
    try:
        return int(Path(SOMAXCONN).read_text())
    except (OSError, ValueError):
        return socket.SOMAXCONN
