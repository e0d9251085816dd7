"""The files of the code that serves, and what changes of them (`py-auto-reload`).

The workers tell which files their modules came from, with the size and the time that these had then. A file counts as
changed when these are others, or when it stays away; and in folders of the app's own code a new file that could be
imported counts too: it may be what the code waits for that did not load. What tells that it is time to look, a
notification or the clock, is the business of `code_watch`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from penstock.values import dataclass

LIBRARY = re.compile(r"/(site-packages|dist-packages|lib(64)?/python\d+\.\d+)/")
"""Code that others wrote: a change of it counts as any other, but what appears beside it is nobody's concern."""

TRACEBACK_FILE = re.compile(r'^\s*File "([^"<][^"]*)", line \d+', re.M)

MOUNTS = Path("/proc/self/mountinfo")
SHARED_TYPES = re.compile(
    r"nfs\d?|cifs|smb\d|smbfs|9p|virtiofs|fuse(\..*)?|vboxsf|prl_fs|vmhgfs|ceph|glusterfs|afs|lustre|ncpfs"
)
"""File systems whose files others may change without this kernel's knowledge: it notifies nobody then."""

FAILED = 0
"""In the place of a generation's number: the code that did not load."""

Stamp = tuple[int, int]
"""Time of the last change in nanoseconds, and size."""


@dataclass(frozen=True, slots=True)
class Change:
    """A file that has changed."""

    path: str
    what: str
    """For the log: `has changed`, `is gone`, `is new`."""


class CodeFiles:
    """What is watched, and how it looked the last time."""

    def __init__(self, grace_s: float) -> None:
        """Prepare; a file that is away for less than `grace_s` seconds is being written anew."""
        self.grace_s = grace_s
        self._of: dict[int, set[str]] = {}
        """Files of each generation."""
        self._seen: dict[str, Stamp | None] = {}
        """None: it was away, which has been said."""
        self._gone: dict[str, float] = {}
        """Files that are away -> since when."""
        self._folders: dict[str, _Folder] = {}
        """Those of the app's own code."""
        self._all: frozenset[str] | None = None
        """All folders, once somebody has asked for them and until that changes."""

    def __len__(self) -> int:
        """Count the files."""
        return len(self._watched())

    @property
    def waits(self) -> bool:
        """Whether some file is away that may come back."""
        return bool(self._gone)

    @property
    def folders(self) -> frozenset[str]:
        """Every folder that has something which is watched."""
        if self._all is None:
            self._all = frozenset({os.path.dirname(path) for path in self._watched()} | self._folders.keys())
        return self._all

    def tell(self, generation: int, lines: Iterable[str]) -> None:
        """Take what a worker says of its modules: lines of `TIME SIZE PATH`."""
        for line in lines:
            time_ns, size, path = line.split(" ", 2)
            self._add(generation, path, (int(time_ns), int(size)))

    def tell_failed(self, traceback: str) -> None:
        """Watch what code that did not load came by, also where nothing that serves has it."""
        for path in TRACEBACK_FILE.findall(traceback):
            stamp = _stamp(path)
            if stamp is not None and os.path.isabs(path):
                self._add(FAILED, path, stamp)

    def forget(self, generation: int) -> None:
        """Drop the files of a generation that is gone."""
        gone = self._of.pop(generation, set())
        # What becomes of a file that nobody has imported is not seen, and no change once somebody has.
        for path in gone - self._watched():
            del self._seen[path]
            self._gone.pop(path, None)
        self._all = None

    def _watched(self) -> set[str]:
        return set().union(*self._of.values())

    def _add(self, generation: int, path: str, stamp: Stamp) -> None:
        self._of.setdefault(generation, set()).add(path)
        self._seen.setdefault(path, stamp)
        self._all = None
        folder = os.path.dirname(path)
        if folder not in self._folders and not LIBRARY.search(path):
            self._folders[folder] = _Folder(folder)

    def changed(self, now: float) -> list[Change]:
        """Look at everything; tell what has changed since the last look, or since it was told of."""
        found = [change for path in sorted(self._watched()) if (change := self._look_at(path, now)) is not None]
        for path in list(self._appeared()):
            if path not in self._seen:
                self._of.setdefault(FAILED, set()).add(path)
                self._seen[path] = _stamp(path)
                found.append(Change(path, "is new"))
        return found

    def _look_at(self, path: str, now: float) -> Change | None:
        stamp, before = _stamp(path), self._seen[path]
        if stamp is None:
            if before is None or now - self._gone.setdefault(path, now) < self.grace_s:
                return None
            del self._gone[path]
        else:
            self._gone.pop(path, None)
            if stamp == before:
                return None
        self._seen[path] = stamp
        return Change(path, "is gone" if stamp is None else "has changed")

    def _appeared(self) -> Iterator[str]:
        """Tell the files that are new in folders of the app's own code, and in folders that are new there."""
        todo = list(self._folders.values())
        while todo:
            folder = todo.pop()
            files, folders = folder.appeared()
            yield from files
            for path in folders:
                if path not in self._folders:
                    self._folders[path] = _Folder(path, is_new=True)
                    self._all = None
                    todo.append(self._folders[path])


class _Folder:
    """A folder, and the names in it that could be imported."""

    def __init__(self, path: str, is_new: bool = False) -> None:
        """Begin with what there is now; in a folder that is new itself, everything is new."""
        self._path = path
        self._time_ns = 0
        self._names: set[str] = set()
        if not is_new:
            self.appeared()

    def appeared(self) -> tuple[list[str], list[str]]:
        """Tell the paths of files and of folders that have come."""
        files, folders = [], []
        try:
            time_ns = os.stat(self._path).st_mtime_ns
            if time_ns == self._time_ns:
                return [], []
            with os.scandir(self._path) as entries:
                for one in entries:
                    stem, _, suffix = one.name.partition(".")
                    if one.name in self._names or not stem.isidentifier() or stem == "__pycache__":
                        continue
                    if suffix == "py":
                        files.append(one.path)
                    elif not suffix and one.is_dir():
                        folders.append(one.path)
                    else:
                        continue
                    self._names.add(one.name)
        except OSError:
            # It is gone, or may not be read: nothing can come there.
            return [], []
        self._time_ns = time_ns
        return files, folders


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def mounts_of(mounts: Path) -> list[tuple[str, str]]:
    """List where file systems are mounted, and of which type they are (proc(5), mountinfo)."""
    found = []
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    for line in lines:
        left, _, right = line.partition(" - ")
        place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), left.split(" ")[4])
        found.append((place, right.split(" ")[0]))
    return found


def is_shared(path: str, mounts: Iterable[tuple[str, str]]) -> bool:
    """Whether a folder is on a file system that others may change. Of several mounts of a place the last one counts."""
    kind, longest = "", -1
    for place, name in mounts:
        inside = path == place or path.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= longest:
            kind, longest = name, len(place)
    return SHARED_TYPES.fullmatch(kind) is not None
