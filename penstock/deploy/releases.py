"""Releases: copies of a project, each in a folder of its own, and the link to the one that serves.

A release is whole when its `release.json` is there, which is written last; one without it is what a run left that was
stopped, and the next run removes it. Nothing here starts or reloads anything.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from penstock.deploy.artifact import ArtifactError, Tree, write_file
from penstock.deploy.layout import Layout
from penstock.values import dataclass

VERSION = 1
_TOLD = "release.json"
_NOT_TAKEN = frozenset(
    {
        ".git", ".hg", ".svn", ".bzr", "__pycache__", ".venv", ".tox", ".nox", ".mypy_cache", ".pytest_cache",
        ".ruff_cache", ".idea", ".vscode", ".DS_Store", "node_modules",
    }
)  # fmt: skip
"""What lies in the folder of a project and is not of it. `.env` and what git ignores is taken: it is often needed."""
_NOT_TAKEN_SUFFIXES = (".pyc", ".pyo", ".swp", ".sock", ".pid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release that is whole."""

    stamp: str
    """Its name: when it was made, UTC."""
    digest: str
    """Of everything that it was made from: the same again needs no release."""
    source: str
    """The folder it was copied from."""
    python: str
    """The interpreter that runs it."""
    revision: str = ""
    """The commit that was checked out in the folder, where git can tell."""
    failed: str = ""
    """Why it never served; empty if it did or may."""


def listing(tree: Tree, layout: Layout) -> list[Release]:
    """All whole releases, the newest first.

    Raises:
        ArtifactError: one can not be read.
    """
    found = []
    for stamp in _names(tree, layout):
        place = tree.on_disk(layout.release(stamp)) / _TOLD
        try:
            document = json.loads(place.read_text())
            if document.pop("version") > VERSION:
                continue
            found.append(Release(**document))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ArtifactError(f"can not read {place}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return found[::-1]


def unfinished(tree: Tree, layout: Layout) -> list[str]:
    """The names of folders in which a release was begun and not finished."""
    whole = {release.stamp for release in listing(tree, layout)}
    return [stamp for stamp in _names(tree, layout) if stamp not in whole]


def current(tree: Tree, layout: Layout) -> str:
    """The name of the release that the link leads to; empty if there is none."""
    try:
        return os.path.basename(os.readlink(tree.on_disk(layout.current)))
    except OSError:
        return ""


def _names(tree: Tree, layout: Layout) -> list[str]:
    try:
        return sorted(os.listdir(tree.on_disk(layout.releases)))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ArtifactError(f"can not list {layout.releases}: {error.strerror}") from error


def new_stamp(tree: Tree, layout: Layout, now: datetime | None = None) -> str:
    """A name for another release that comes after all others in the alphabet."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
    newest = max(_names(tree, layout), default="")
    if stamp > newest:
        return stamp
    # Two in a second, or a clock that went back.
    head, _, number = newest.partition(".")
    return f"{head}.{int(number) + 1 if number.isdigit() else 1:03}"


def finish(tree: Tree, layout: Layout, release: Release) -> None:
    """Say that a release is whole, or anew what is to be said of it."""
    document: dict[str, Any] = {"version": VERSION}
    document |= {name: getattr(release, name) for name in Release.__annotations__}
    place = tree.on_disk(layout.release(release.stamp)) / _TOLD
    write_file(place, (json.dumps(document, indent=1) + "\n").encode(), 0o644)


def switch(tree: Tree, layout: Layout, stamp: str) -> None:
    """Let the link lead to another release, from one moment to the next.

    Raises:
        ArtifactError: it can not be changed.
    """
    place = tree.on_disk(layout.current)
    part = place.with_name(place.name + ".penstock-new")
    try:
        part.unlink(missing_ok=True)
        os.symlink(os.path.relpath(layout.release(stamp), os.path.dirname(layout.current)), part)
        os.rename(part, place)
    except OSError as error:
        raise ArtifactError(f"can not change the link {place}: {error.strerror}") from error


def remove(tree: Tree, layout: Layout, stamp: str) -> None:
    """Remove a release. What tells that it is whole goes first."""
    folder = tree.on_disk(layout.release(stamp))
    (folder / _TOLD).unlink(missing_ok=True)
    remove_folder(folder)


def remove_folder(folder: Path) -> None:
    """Remove a folder and all that is in it, links not followed.

    Raises:
        ArtifactError: something in it can not be removed.
    """
    try:
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise ArtifactError(f"can not remove {error.filename or folder}: {error.strerror}") from error


def superfluous(releases: Sequence[Release], serving: str, keep: int) -> list[Release]:
    """Which releases, newest first, may go: all but the newest `keep` that served or may, and the one that serves."""
    good = [release for release in releases if not release.failed]
    kept = {release.stamp for release in good[:keep]} | {serving}
    # Of those that failed the newest is kept, for whoever looks for the reason.
    kept |= {release.stamp for release in releases[:1]}
    return [release for release in releases if release.stamp not in kept]


# -- the code ----------------------------------------------------------------------------------------------------------


def files_of(source: Path, left_out: Sequence[str] = ()) -> Iterator[Path]:
    """Every file and link of a project, from the folder on, in a fixed order; `left_out` are paths below it.

    Raises:
        ArtifactError: a folder can not be read.
    """
    skipped = {os.path.normpath(each) for each in left_out}

    def failed(error: OSError) -> None:
        raise ArtifactError(f"can not read {error.filename}: {error.strerror}")

    for folder, folders, names in os.walk(source, onerror=failed):
        inside = os.path.relpath(folder, source)
        kept = []
        for name in sorted(folders):
            path = os.path.join(folder, name)
            if name in _NOT_TAKEN or os.path.exists(os.path.join(path, "pyvenv.cfg")):
                continue
            if os.path.normpath(os.path.join(inside, name)) in skipped:
                continue
            if os.path.islink(path):
                yield Path(path)
            else:
                kept.append(name)
        folders[:] = kept
        for name in sorted(names):
            if name in _NOT_TAKEN or name.endswith(_NOT_TAKEN_SUFFIXES):
                continue
            if os.path.normpath(os.path.join(inside, name)) not in skipped:
                yield Path(folder, name)


def digest_of(source: Path, left_out: Sequence[str], *more: str) -> str:
    """A digest of a project's files, with what else a release is made from."""
    total = hashlib.sha256()
    for text in more:
        total.update(hashlib.sha256(text.encode()).digest())
    for path in files_of(source, left_out):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            content = b"link " + os.fsencode(os.readlink(path))
        elif stat.S_ISREG(status.st_mode):
            content = _file_digest(path)
        else:
            continue
        executable = b"x" if status.st_mode & 0o100 else b"-"
        total.update(os.fsencode(path.relative_to(source)) + b"\0" + executable + b"\0" + content + b"\0")
    return total.hexdigest()


def _file_digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise ArtifactError(f"can not read {path}: {error.strerror}") from error


def copy(source: Path, target: Path, left_out: Sequence[str], heard: Callable[[str], None] = lambda line: None) -> int:
    """Copy a project; how many files. Modes become 0644, and 0755 where the owner may run a file.

    Raises:
        ArtifactError: something can not be read or written.
    """
    count = 0
    made: set[Path] = set()
    try:
        make_folder(target)
        for path in files_of(source, left_out):
            status = path.lstat()
            place = target / path.relative_to(source)
            if place.parent not in made:
                make_folder(place.parent)
                made.add(place.parent)
            if stat.S_ISLNK(status.st_mode):
                os.symlink(os.readlink(path), place)
            elif stat.S_ISREG(status.st_mode):
                copy_file(path, place, 0o755 if status.st_mode & 0o100 else 0o644)
            else:
                heard(f"{path} is neither file nor link: left out")
                continue
            count += 1
    except OSError as error:
        where = error.filename2 or error.filename or target
        raise ArtifactError(f"can not copy to {where}: {error.strerror}") from error
    return count


def make_folder(place: Path) -> None:
    """Make a folder and those above it that are missing, open to all whatever the umask of whoever runs this is.

    Raises:
        OSError: it can not be made.
    """
    if place.is_dir():
        return
    make_folder(place.parent)
    place.mkdir()
    place.chmod(0o755)


def copy_file(source: Path, place: Path, mode: int) -> None:
    """Copy a file into a new one, with its time.

    Links are not followed on either side: who owns the source, or the folder of the copy, might mean a file of root's.

    Raises:
        OSError: it can not be read or written.
    """
    with open(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(place, flags, 0o600), "wb") as made:
            shutil.copyfileobj(file, made, 1 << 20)
            os.fchmod(made.fileno(), mode)
        status = os.fstat(file.fileno())
        os.utime(place, ns=(status.st_mtime_ns, status.st_mtime_ns), follow_symlinks=False)


def revision_of(source: Path) -> str:
    """The commit that is checked out in a folder, read from git's own files; empty if that is not to be had."""
    for folder in (source, *source.parents):
        head = folder / ".git/HEAD"
        try:
            text = head.read_text().strip()
            if text.startswith("ref: "):
                text = (folder / ".git" / text[5:]).read_text().strip()
        except (OSError, UnicodeDecodeError):
            if (folder / ".git").exists():
                return ""
            continue
        return text[:12] if all(letter in "0123456789abcdef" for letter in text) else ""
    return ""
