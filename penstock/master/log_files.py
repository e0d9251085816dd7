"""Log files: opened for appending, opened anew by name, rotated by size.

A file keeps its descriptor numbers for good: a new file takes the place of the old one in one system call, so that
every write of any thread goes to one of the two as a whole. Nothing is closed that somebody may be writing to.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

from penstock.master.errors import StartError
from penstock.values import dataclass

FILE_MODE = 0o640
"""As uWSGI makes its log files."""


@dataclass(frozen=True, slots=True)
class FileRules:
    """How log files are made and when they are rotated."""

    mode: int | None = None
    owner: tuple[int, int] | None = None
    """uid and gid that files are given to."""
    truncate: bool = False
    max_bytes: int = 0
    backup: str = ""


class LogFile:
    """One log file."""

    def __init__(self, path: str, rules: FileRules, numbers: tuple[int, ...] = ()) -> None:
        """Open it, on the descriptors `numbers` if there are any, else on one of its own.

        Raises:
            StartError: it can not be opened for appending.
        """
        self.path = path
        self.rules = rules
        try:
            fd = self._open(os.O_TRUNC if rules.truncate else 0)
        except OSError as error:
            cure = "" if Path(path).parent.is_dir() else f": create the directory {Path(path).parent} first"
            if error.errno == errno.ELOOP:
                cure = ", which root does not follow unless it is root's: name the file itself, or chown -h root it"
            raise StartError(f"the log file {path} can not be opened: {error.strerror}{cure}") from error
        self._numbers = numbers or (fd,)
        for number in numbers:
            os.dup2(fd, number, inheritable=number <= 2)
        if numbers:
            os.close(fd)

    @classmethod
    def adopt(cls, path: str, rules: FileRules, numbers: tuple[int, ...]) -> LogFile:
        """Go on with one that is open on `numbers`."""
        made = cls.__new__(cls)
        made.path, made.rules, made._numbers = path, rules, numbers
        return made

    @property
    def numbers(self) -> tuple[int, ...]:
        """Every descriptor that it is open on."""
        return self._numbers

    @property
    def fd(self) -> int:
        """Where to write."""
        return self._numbers[0]

    def reopen(self) -> str | None:
        """Go on in the file that has the name now, or a new one; return why that was not possible."""
        try:
            fd = self._open(0)
        except OSError as error:
            return f"{self.path} can not be opened anew, the old file is written on: {error.strerror}"
        for number in self._numbers:
            os.dup2(fd, number, inheritable=number <= 2)
        os.close(fd)
        return None

    def size_bytes(self) -> int:
        """How large it is; 0 if nobody knows."""
        try:
            return os.fstat(self.fd).st_size
        except OSError:
            return 0

    def is_too_large(self) -> bool:
        """Whether it is time to rotate it."""
        return 0 < self.rules.max_bytes < self.size_bytes()

    def backup_name(self) -> str:
        """What the file is called once it is rotated. Without a name of its own none is overwritten."""
        if self.rules.backup:
            return self.rules.backup
        name = plain = f"{self.path}.{int(time.time())}"
        number = 0
        while os.path.lexists(name):
            number += 1
            name = f"{plain}.{number}"
        return name

    def rotate(self, backup: str) -> str | None:
        """Give the file another name and go on in a new one; return why that was not possible."""
        try:
            os.rename(self.path, backup)
        except OSError as error:
            return f"{self.path} can not become {backup}: {error.strerror}"
        return self.reopen()

    def _open(self, flags: int) -> int:
        flags |= _whose_links(self.path)
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | flags, FILE_MODE)
        try:
            if self.rules.mode is not None:
                os.fchmod(fd, self.rules.mode)
            if self.rules.owner is not None:
                os.fchown(fd, *self.rules.owner)
        except OSError:
            # A file of somebody else that may be written to is good enough for a log.
            pass
        return fd


def _whose_links(path: str) -> int:
    """The flag with which root follows links of its own only.

    The folder of a log often belongs to the application's user, who could have root write to any file otherwise.
    """
    if os.geteuid() != 0:
        return 0
    try:
        status = os.lstat(path)
    except OSError:
        return os.O_NOFOLLOW
    return 0 if stat.S_ISLNK(status.st_mode) and status.st_uid == 0 else os.O_NOFOLLOW
