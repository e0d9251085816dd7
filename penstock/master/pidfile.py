"""The pid file: it names the master, for as long as the master lives.

A lock on the open file tells two starts at the same moment apart; the command line of the process that it names tells
a living instance from a number that another program has by now. uWSGI checks neither, and its `--stop` may hit anyone.

Root often writes it into a directory of the app's user, so a link there is never followed, and the file stays root's:
whoever may write to it chooses which process a later `--stop` of root's signals.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING, Any

from penstock.master.errors import PidFileInUse, StartError
from penstock.titles import NAMES

if TYPE_CHECKING:
    from penstock.master.luggage import Luggage

MODE = 0o644


class PidFile:
    """A pid file that this process owns."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def claim(cls, path: str) -> PidFile:
        """Write this process's pid to `path`, replacing a stale one.

        Raises:
            StartError: the file names a living instance, is something else than a pid file, or can not be written.
        """
        try:
            fd = _open_locked(path)
        except BlockingIOError as error:
            raise _in_use(path, read(path)) from error
        except OSError as error:
            raise StartError(f"the pid file {path} can not be written: {_why_not_opened(error, path)}") from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise StartError(f"the pid file {path} can not be written: it is no regular file")
        foreign = _foreign_content(fd)
        if foreign:
            os.close(fd)
            raise StartError(f"{path} is no pid file: it holds {foreign}; name another one with pidfile")
        named = read(path)
        if named and named != os.getpid() and is_instance(named):
            os.close(fd)
            raise _in_use(path, named)
        content = f"{os.getpid()}\n".encode()
        try:
            os.pwrite(fd, content, 0)
            os.ftruncate(fd, len(content))
        except OSError as error:
            os.close(fd)
            raise StartError(f"the pid file {path} can not be written: {error.strerror}") from error
        return cls(path, fd)

    def pack(self, luggage: Luggage) -> list[Any]:
        """Pack it for an upgrade, its lock included."""
        return [self.path, luggage.take(self._fd)]

    def release(self) -> None:
        """Remove the file, if it is still ours; where only root may do that, leave it empty."""
        try:
            mine, there = os.fstat(self._fd), os.stat(self.path)
            if (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino):
                os.unlink(self.path)
        except FileNotFoundError:
            pass
        except OSError:
            os.ftruncate(self._fd, 0)
        os.close(self._fd)


def read(path: str) -> int:
    """Read the pid in a pid file; 0 if there is none."""
    try:
        with open(path, "rb") as file:
            word = file.read(64).split()
    except OSError:
        return 0
    return int(word[0]) if word and word[0].isdigit() else 0


def _foreign_content(fd: int) -> str:
    """Show how a file begins that is something else than a pid file; empty for one that may be overwritten."""
    begin = os.pread(fd, 64, 0)
    words = begin.split()
    if not words or (len(words) == 1 and words[0].isdigit()):
        return ""
    line = begin.strip().splitlines()[0][:40]
    return repr(line.decode("utf-8", "replace")) + (" ..." if len(begin.strip()) > len(line) else "")


def is_instance(pid: int) -> bool:
    """Tell whether a living process is a Penstock master: by its short name, or by its command line at its start."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            if file.read().rstrip("\n") == NAMES["master"]:
                return True
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = [os.fsdecode(word) for word in file.read(4096).split(b"\0")]
    except OSError:
        return False
    return _program(words) == "penstock"


def master_of(pid: int) -> int:
    """Find the master above a worker or a generation; 0 for another process."""
    for _ in range(2):
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        except OSError:
            return 0
        if status.get("Name") not in (NAMES["worker"], NAMES["generation"]):
            return 0
        pid = int(status.get("PPid", 0))
        if is_instance(pid):
            return pid
    return 0


def _program(words: list[str]) -> str:
    """Name what a command line runs: the program itself, or the script or module of a Python."""
    if words and os.path.basename(words[0]) == "penstock":
        return "penstock"
    rest = iter(words[1:])
    for word in rest:
        if word in ("-W", "-X"):
            next(rest, "")
        elif word == "-m":
            return next(rest, "")
        elif word.endswith("penstock/__main__.py"):
            return "penstock"
        elif not word.startswith("-"):
            return os.path.basename(word)
        elif word == "-c":
            return ""
    return ""


def _open_locked(path: str) -> int:
    """Open the file with the lock held; BlockingIOError if another process holds it."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                os.close(fd)
                raise BlockingIOError(error.errno, error.strerror) from error
            return fd  # A file system without locks: the command line has to do.
        try:
            mine, there = os.fstat(fd), os.stat(path)
            if (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino):
                return fd
        except FileNotFoundError:
            pass
        # Its owner removed the file between our open and our lock.
        os.close(fd)


def _why_not_opened(error: OSError, path: str) -> str:
    directory = os.path.dirname(os.path.abspath(path))
    match error.errno:
        case errno.ELOOP:
            return "it is a symbolic link: name the file itself"
        case errno.ENOENT:
            return f"{error.strerror}: create the directory {directory} first"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"{error.strerror}: name a file in a directory that this user may write to"
        case errno.EISDIR:
            return f"{error.strerror}: name a file in it"
        case _:
            return error.strerror or str(error)


def _in_use(path: str, pid: int) -> PidFileInUse:
    named = f"pid {pid}" if pid else "its pid is not written yet"
    return PidFileInUse(
        f"the pid file {path} belongs to an instance that is running ({named}): "
        f"stop it with `penstock --stop {path}`, reload it with `penstock --reload {path}`, or use another pidfile"
    )
