"""Reading configuration files as text. The only place of `config` that opens files."""

from __future__ import annotations

import io
import os
import pwd
import sys
from dataclasses import dataclass
from typing import BinaryIO

LARGEST_BYTES = 16 * 1024 * 1024
"""A configuration above this is a mistake, for instance a device or a log file."""
_PIECE_BYTES = 64 * 1024
"""Files of /proc/sys refuse a read that asks for megabytes (ENOMEM)."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that was read."""

    name: str
    """As it was given."""
    path: str
    """Absolute; directories resolved, the file itself kept even if it is a symbolic link."""
    inode: int
    text: str


class FileReader:
    """Opens files relative to the directory that the command was started in; standard input is `-` and read once."""

    def __init__(self, cwd: str) -> None:
        self._cwd = cwd
        self._standard_input: str | None = None

    def exists(self, name: str) -> bool:
        """Tell whether there is a file of this name."""
        return os.path.exists(os.path.join(self._cwd, name))

    def read(self, name: str) -> ConfigFile:
        """Read a whole file.

        Raises OSError if it can not be read and ValueError if it can not be text. Bytes that are not UTF-8 are kept
        (a comment in another encoding is common) and come out again unchanged when the value is used as a path.
        """
        if name == "-":
            if self._standard_input is None:
                self._standard_input = _decode(_read_all(sys.stdin.buffer))
            return ConfigFile("-", "-", 0, self._standard_input)
        path = os.path.join(self._cwd, name)
        with open(path, "rb", buffering=0) as file:
            data = _read_all(file)
            inode = os.fstat(file.fileno()).st_ino
        directory, base = os.path.split(os.path.abspath(path))
        return ConfigFile(name, os.path.join(os.path.realpath(directory), base), inode, _decode(data))


def reason(error: OSError) -> str:
    """Say why a file could not be read; what is not permitted depends on who asks, so that is named."""
    text = error.strerror or str(error)
    if not isinstance(error, PermissionError):
        return text
    try:
        return f"{text} for user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"{text} for user {os.geteuid()}"


def _read_all(file: BinaryIO | io.RawIOBase) -> bytes:
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
