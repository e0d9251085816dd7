"""The commands' end of the control socket: find an instance by its pid, ask, listen until it has answered.

Raises only ControlError; what an answer means is the command's business.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock.master.control_path import directories, owner_of

CONNECT_TIMEOUT_S = 10


class ControlError(Exception):
    """The instance can not be asked: why, and what to do."""


def find(pid: int) -> Path:
    """Find the control socket of the instance whose master is `pid`.

    Raises:
        ControlError: there is no such process, or it has no control socket.
    """
    uid = owner_of(pid)
    if uid is None:
        raise ControlError(f"there is no process {pid}")
    places = directories(uid)
    # A service whose /tmp is its own (PrivateTmp=) has it where only its own view of the file system leads.
    inside = Path(f"/proc/{pid}/root")
    for directory in (*places, *(inside / place.relative_to("/") for place in places if place.is_absolute())):
        path = directory / f"{pid}.ctl"
        try:
            if path.is_socket():
                return path
        except OSError:
            continue
    looked = ", ".join(str(place) for place in places)
    raise ControlError(
        f"process {pid} has no control socket (looked in {looked}): is it a Penstock master of your user?"
    )


def request(
    pid: int,
    command: str,
    *,
    progress: Callable[[str], None] | None = None,
    timeout_s: float | None = None,
    **parameters: Any,
) -> dict[str, Any]:
    """Send one command to the master `pid` and return its last answer.

    `progress` gets the lines that come before. `timeout_s` is the longest silence; None waits for as long as it takes.

    The answer has `ok`, `status` (an exit status: 0, or 3 for a reload that failed), and where it failed `reason` and
    `error` (a traceback).

    Raises:
        ControlError: there is no such instance, or it ended before it answered.
    """
    path = find(pid)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        # Not `settimeout`: that makes the socket non-blocking, and then a full queue is an error instead of a wait.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", CONNECT_TIMEOUT_S, 0))
        try:
            connection.connect(str(path))
            _check_peer(connection, pid, path)
            connection.sendall(json.dumps({"command": command, **parameters}).encode() + b"\n")
            connection.settimeout(timeout_s)
            with connection.makefile("rb") as lines:
                for line in lines:
                    answer = json.loads(line)
                    if "ok" in answer:
                        return dict(answer)
                    if progress is not None:
                        progress(str(answer.get("progress", "")))
        except PermissionError as error:
            raise ControlError(f"the control socket {path} may be used by root and its owner only") from error
        except (TimeoutError, BlockingIOError) as error:
            raise ControlError(f"the master {pid} does not answer on {path}") from error
        except (OSError, ValueError) as error:
            raise ControlError(f"the master {pid} can not be asked on {path}: {error}") from error
    raise ControlError(f"the master {pid} ended, or refused this user, before it answered")


def _check_peer(connection: socket.socket, pid: int, path: Path) -> None:
    """The socket could be left over from an earlier process of this number."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("=iII"))
    listener = struct.unpack("=iII", credentials)[0]
    if listener not in (pid, 0):  # 0: a process of another pid namespace.
        raise ControlError(f"the control socket {path} belongs to process {listener}, not to {pid}")
