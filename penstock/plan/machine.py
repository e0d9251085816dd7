"""What the plan needs to know about this machine; the only place of `plan` that looks.

Paths are checked by the plan itself: they are part of what the user said.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import sys
from pathlib import Path

from penstock.config.surroundings import usable_cpus
from penstock.values import dataclass

SOMAXCONN = "/proc/sys/net/core/somaxconn"
SYSTEM_MIME_TYPES = "/etc/mime.types"


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
            temp_dir=os.environ.get("TMPDIR") or "/tmp",
        )

    def mime_types(self) -> str:
        """Lines of `extension type`, sorted: Python's own table, with the system's on top where there is one."""
        # Reading the table takes as long as all other facts together, and few need it.
        import mimetypes

        files = [SYSTEM_MIME_TYPES] if os.path.exists(SYSTEM_MIME_TYPES) else []
        table = mimetypes.MimeTypes(files).types_map[True]
        known = {extension.lstrip(".").lower(): kind for extension, kind in table.items()}
        return "".join(f"{extension} {kind}\n" for extension, kind in sorted(known.items()))

    def user_name(self) -> str:
        """Name whoever started this; the number where there is no name."""
        try:
            return pwd.getpwuid(self.euid).pw_name
        except KeyError:
            return str(self.euid)

    def user_id(self, name: str) -> int | None:
        """Find the id of a user given by name or number; None if there is none."""
        if name.isascii() and name.isdigit():
            return int(name)
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            return None

    def group_id(self, name: str) -> int | None:
        """Find the id of a group given by name or number; None if there is none."""
        if name.isascii() and name.isdigit():
            return int(name)
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            return None


def _somaxconn() -> int:
    try:
        return int(Path(SOMAXCONN).read_text())
    except (OSError, ValueError):
        return socket.SOMAXCONN
