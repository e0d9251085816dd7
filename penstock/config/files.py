"""Reading configuration files as text, and looking at what logic asks about. The only place of `config` that does.

Names with a scheme (`exec://`, `http://`) are read by `penstock.config.schemes`, which is imported only for them.
"""

from __future__ import annotations

import io
import os
import pwd
import sys
from collections.abc import Iterator
from typing import BinaryIO

from penstock.values import dataclass

LARGEST_BYTES = 16 * 1024 * 1024
"""A configuration above this is a mistake, for instance a device or a log file."""
_PIECE_BYTES = 64 * 1024
"""Files of /proc/sys refuse a read that asks for megabytes (ENOMEM)."""
STANDARD_INPUT = "-"


class Refused(Exception):
    """A name that is not read: why (the message), the code of the finding, and what to do."""

    def __init__(self, code: str, message: str, cure: str) -> None:
        self.code = code
        self.cure = cure
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that was read."""

    name: str
    """As it was given."""
    path: str
    """Absolute and without symbolic links, except that the file itself may be one; "" if it is no file on disk."""
    inode: int
    text: str


class FileReader:
    """Opens files relative to the directory that the command was started in; standard input is `-` and read once."""

    def __init__(self, cwd: str, *, runs_commands: bool = True, standard_input: str | None = None) -> None:
        """`runs_commands` of False refuses `exec://`, for looking at a configuration without trusting it.

        `standard_input` is what was read from there already.
        """
        self._cwd = cwd
        self._runs_commands = runs_commands
        self.standard_input = standard_input
        """What was read from there; None if it was not."""

    def _path(self, name: str) -> str:
        return os.path.join(self._cwd, name)

    def exists(self, name: str) -> bool:
        """Tell whether there is a file of this name."""
        return os.path.exists(self._path(name))

    def is_readable(self, name: str) -> bool:
        """Tell whether this process may read what has this name."""
        return "\0" not in name and os.access(self._path(name), os.R_OK)

    def is_file(self, name: str) -> bool:
        """Tell whether this is a regular file."""
        return os.path.isfile(self._path(name))

    def is_dir(self, name: str) -> bool:
        """Tell whether this is a directory."""
        return os.path.isdir(self._path(name))

    def paths(self, pattern: str) -> list[str]:
        """Expand a pattern as glob(3) does with GLOB_MARK and GLOB_NOCHECK: directories end in /, and sorted bytes."""
        import glob

        found = [] if "\0" in pattern else glob.glob(pattern, root_dir=self._cwd)
        marked = [name + "/" if self.is_dir(name) and not name.endswith("/") else name for name in found]
        return sorted(marked, key=os.fsencode) or [pattern]

    def address(self, host: str) -> str:
        """Ask for the IPv4 address of a host. Raises OSError."""
        import socket

        try:
            return socket.gethostbyname(host)
        except UnicodeError as error:
            raise OSError(f"this is no name of a host: {error}") from error

    def read(self, name: str, *, allow_urls: bool = False) -> ConfigFile:
        """Read a whole file, or what its scheme stands for.

        Raises OSError if it can not be read, ValueError if it can not be text, and Refused for a scheme that is not
        read here. Bytes that are not UTF-8 are kept (a comment in another encoding is common) and come out again
        unchanged when the value is used as a path.
        """
        if name == STANDARD_INPUT:
            if self.standard_input is None:
                self.standard_input = _decode(read_all(sys.stdin.buffer))
            return ConfigFile(name, "", 0, self.standard_input)
        if has_scheme(name):
            from penstock.config import schemes

            data = schemes.read(name, self._cwd, runs_commands=self._runs_commands, allow_urls=allow_urls)
            return ConfigFile(name, "", 0, _decode(data))
        path = self._path(name)
        with open(path, "rb", buffering=0) as file:
            data = read_all(file)
        # As in uWSGI a symbolic link is described by itself, and not even its directory is resolved.
        is_link = os.path.islink(path)
        return ConfigFile(name, path if is_link else os.path.realpath(path), os.lstat(path).st_ino, _decode(data))

    def lines(self, name: str) -> Iterator[str]:
        """The lines of a file without their ends. Raises OSError or ValueError."""
        text = self.read(name).text
        yield from (text.removesuffix("\n").split("\n") if text else ())


def has_scheme(name: str) -> bool:
    """Tell `exec://date` from a path."""
    scheme, mark, _ = name.partition("://")
    return bool(mark) and scheme.isalnum()


def reason(error: OSError) -> str:
    """Say why a file could not be read; what is not permitted depends on who asks, so that is named."""
    text = error.strerror or str(error)
    if not isinstance(error, PermissionError):
        return text
    try:
        return f"{text} for user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"{text} for user {os.geteuid()}"


def read_all(file: BinaryIO | io.RawIOBase) -> bytes:
    """Read to the end in pieces, or until it is certainly too much."""
    data = bytearray()
    while len(data) <= LARGEST_BYTES and (piece := file.read(_PIECE_BYTES)):
        data += piece
    return bytes(data)


def _decode(data: bytes) -> str:
    if len(data) > LARGEST_BYTES:
        raise ValueError(f"it is larger than {LARGEST_BYTES // 1024 // 1024} MiB")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("it is UTF-16; save it as UTF-8")
    if b"\0" in data:
        raise ValueError("it holds zero bytes, so it is no text file")
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
