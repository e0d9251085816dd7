"""Files, directories and links that Penstock puts on a machine: as values, compared, written, and taken away again.

A generator makes `Artifact` values and knows nothing of the disk. A `Tree` is where they go: the machine, or a folder
that stands for its root (`--root DIR`). `compare` says what would change, `Manifest.put` changes it, and
`Manifest.take_away` brings back what was there before, to the byte.

What is written is whole or not there: a new file beside the old one, synced, then renamed over it. What was there is
remembered on the disk before anything is changed: a run that is killed at any moment can be gone on with, or undone.
"""

from __future__ import annotations

import base64
import difflib
import errno
import grp
import hashlib
import json
import os
import pwd
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from penstock.values import dataclass

Kind = Literal["file", "directory", "link"]

STATE = "/var/lib/penstock"
"""What Penstock remembers of what it did: a folder for each name."""
MANIFEST_VERSION = 1
_PART = ".penstock-new"
"""What a file is called until it is whole; always the same, so that what a killed run left is found."""
_MOST_LINKS = 40
"""Links in a row after which a path is a circle, as for the kernel."""


class ArtifactError(Exception):
    """Something can not be read, written or taken away: what, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One thing that has to be there. Paths are those that the machine sees, whatever the root."""

    path: str
    """Absolute."""
    text: str = ""
    """The whole content of a file; where a link leads."""
    mode: int = 0o644
    owner: str = ""
    """A user's name; empty for whoever writes it."""
    group: str = ""
    why: str = ""
    """One clause for the reader of a plan: what it is for."""
    kind: Kind = "file"
    secret: bool = False
    """The content is shown to nobody."""
    hidden: str = ""
    """A pattern for lines of which only the part before its end is shown: what follows is a secret."""


def directory(path: str, mode: int = 0o755, owner: str = "", group: str = "", why: str = "") -> Artifact:
    """Make the value of a directory. Those above it need none: they are made where they are missing."""
    return Artifact(path, "", mode, owner, group, why, "directory")


def link(path: str, target: str, why: str = "") -> Artifact:
    """Make the value of a symbolic link."""
    return Artifact(path, target, 0o777, "", "", why, "link")


@dataclass(frozen=True, slots=True)
class Found:
    """What there is at a path."""

    kind: str
    """As of an artifact, or `other` (a socket, a device)."""
    content: bytes
    mode: int
    uid: int
    gid: int
    mtime_ns: int


class Tree:
    """Where artifacts go: the machine, or a folder that stands for its root.

    In a folder links are followed as they will be where it is the root, and owners are not set: their users are those
    of another machine. The manifest keeps them.
    """

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.realpath(root)

    @property
    def is_machine(self) -> bool:
        """Whether this is the root of the running system."""
        return self.root == "/"

    def on_disk(self, path: str) -> Path:
        """Find where `path` is really; the last part is not followed.

        Raises:
            ArtifactError: it is not absolute, or its links go round in a circle.
        """
        if not path.startswith("/"):
            raise ArtifactError(f"{path} is not absolute: say where on the machine it belongs")
        waiting = path.split("/")[::-1]
        here: list[str] = []
        followed = 0
        while waiting:
            part = waiting.pop()
            if part in ("", "."):
                continue
            if part == "..":
                del here[-1:]
                continue
            here.append(part)
            if not any(each not in ("", ".") for each in waiting):
                continue
            try:
                target = os.readlink(self._join(here))
            except OSError:
                continue
            followed += 1
            if followed > _MOST_LINKS:
                raise ArtifactError(f"{path}: the links on the way go round in a circle; mend {'/'.join(['', *here])}")
            here.pop()
            if target.startswith("/"):
                here = []
            waiting += target.split("/")[::-1]
        return Path(self._join(here))

    def _join(self, parts: Sequence[str]) -> str:
        return os.path.join(self.root, *parts)

    def look(self, path: str) -> Found | None:
        """Read what is at `path`, links not followed; None where nothing is.

        Raises:
            ArtifactError: it can not be read.
        """
        place = self.on_disk(path)
        try:
            status = os.lstat(place)
            if stat.S_ISREG(status.st_mode):
                kind, content = "file", place.read_bytes()
            elif stat.S_ISDIR(status.st_mode):
                kind, content = "directory", b""
            elif stat.S_ISLNK(status.st_mode):
                kind, content = "link", os.fsencode(os.readlink(place))
            else:
                kind, content = "other", b""
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ArtifactError(f"can not read {place}: {_reason(error)}") from error
        return Found(kind, content, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Change:
    """An artifact beside what is there."""

    artifact: Artifact
    before: Found | None
    words: tuple[str, ...]
    """In what they differ: `new`, `content`, `mode 0600 -> 0644`, `owner root -> app`; empty if in nothing."""

    @property
    def nothing(self) -> bool:
        """Whether all is as it should be."""
        return not self.words

    def diff(self) -> list[str]:
        """What would change in the content, as lines of a unified diff; empty where that stays."""
        before, artifact = self.before, self.artifact
        if artifact.kind != "file" or (
            before is not None and before.kind == "file" and before.content == _bytes(artifact)
        ):
            return []
        if artifact.secret:
            return [f"(the content of {artifact.path} is a secret and not shown)"]
        old = before.content.decode("utf-8", "backslashreplace") if before and before.kind == "file" else ""
        source = artifact.path if before and before.kind == "file" else "/dev/null"
        lines = difflib.unified_diff(old.splitlines(), artifact.text.splitlines(), source, artifact.path, lineterm="")
        if not artifact.hidden:
            return list(lines)
        return [re.sub(f"^([-+ ]{artifact.hidden}).*", r"\1...", line) for line in lines]


def compare(artifact: Artifact, tree: Tree) -> Change:
    """Hold an artifact against what is there.

    Raises:
        ArtifactError: something is there that a file, directory or link does not replace.
    """
    before = tree.look(artifact.path)
    if before is None:
        return Change(artifact, None, ("new",))
    if before.kind == "other" or (before.kind != artifact.kind and "directory" in (before.kind, artifact.kind)):
        what = "something that is neither file, directory nor link" if before.kind == "other" else f"a {before.kind}"
        raise ArtifactError(
            f"{artifact.path} has to be a {artifact.kind}, and {what} is there: move it away, then run this again"
        )
    words = []
    if before.kind != artifact.kind:
        words.append(f"{before.kind} -> {artifact.kind}")
    elif artifact.kind != "directory" and before.content != _bytes(artifact):
        words.append("content")
    if artifact.kind != "link":
        if before.mode != artifact.mode:
            words.append(f"mode {before.mode:04o} -> {artifact.mode:04o}")
        if tree.is_machine:
            words += _owners(artifact, before)
    return Change(artifact, before, tuple(words))


def _owners(artifact: Artifact, before: Found) -> Iterator[str]:
    """Say which owner differs; a user that is not there yet differs from everybody."""
    if artifact.owner and _known(artifact.owner, _uid) != before.uid:
        yield f"owner {_user_name(before.uid)} -> {artifact.owner}"
    if artifact.group and _known(artifact.group, _gid) != before.gid:
        yield f"group {_group_name(before.gid)} -> {artifact.group}"


@dataclass(frozen=True, slots=True)
class Entry:
    """What the manifest knows of one path."""

    artifact: Artifact
    """As it was written last, without its content."""
    digest: str
    """SHA-256 of the content that was written."""
    before: Found | None
    """What was there before the first time, which is what comes back."""


class Manifest:
    """Everything that was written under one name, and what was there before.

    Lives in the tree at `/var/lib/penstock/NAME/manifest.json`, with the contents that were replaced, for its owner's
    eyes only.
    """

    def __init__(self, tree: Tree, name: str) -> None:
        """Read what is remembered of `name`.

        Raises:
            ArtifactError: it can not be read.
        """
        self.tree = tree
        self.folder = f"{STATE}/{name}"
        self._path = f"{self.folder}/manifest.json"
        self.entries: dict[str, Entry] = {}
        found = tree.look(self._path)
        if found is not None and found.kind == "file":
            self.entries = _read_manifest(found.content, str(tree.on_disk(self._path)))

    def put(self, artifact: Artifact) -> Change:
        """See to it that the artifact is there as it says; what was changed.

        Raises:
            ArtifactError: it can not be written. What was there before is there still.
        """
        change = compare(artifact, self.tree)
        if change.nothing:
            # What was there and is as it should be is not ours, and stays when everything else is taken away.
            return change
        ids = self._ids(artifact)
        # A directory above that is made here is taken away with what it was made for, so it comes before it.
        for parent in self._missing_above(artifact.path):
            self._remember(directory(parent), None)
            _make_directory(self.tree.on_disk(parent), 0o755, (-1, -1))
        self._remember(artifact, change.before)
        place = self.tree.on_disk(artifact.path)
        _write(place, artifact.kind, _bytes(artifact), artifact.mode, ids)
        return change

    def put_all(self, artifacts: Iterable[Artifact]) -> list[Change]:
        """`put` each of them, in order; what was changed."""
        return [change for change in map(self.put, artifacts) if not change.nothing]

    def drop(self, path: str) -> str | None:
        """Bring back what was at `path` before; why it stays if somebody has changed it since.

        Raises:
            ArtifactError: it can not be written or removed.
        """
        entry = self.entries.get(path)
        if entry is None:
            return None
        remark = self._restore(entry)
        if remark is None:
            _remove(self.tree.on_disk(path).with_name(os.path.basename(path) + _PART))
            self.entries = {name: each for name, each in self.entries.items() if name != path}
            self._save()
        return remark

    def take_away(self) -> list[str]:
        """Bring back all that was there before; remarks on what had to stay.

        What stays is still in the manifest, so that the next call tries it again.
        """
        remarks = [remark for path in reversed(list(self.entries)) if (remark := self.drop(path)) is not None]
        if not self.entries:
            self._forget()
        return remarks

    def _restore(self, entry: Entry) -> str | None:
        artifact, before = entry.artifact, entry.before
        place, now = self.tree.on_disk(artifact.path), self.tree.look(artifact.path)
        if now is None and before is None:
            return None
        if now is not None and before is not None and (now.kind, now.content) == (before.kind, before.content):
            _set_owner_and_mode(place, before)
            return None
        if now is not None and (now.kind != artifact.kind or _digest(now.content) != entry.digest):
            return f"{artifact.path} was changed by somebody since it was written: left as it is, remove it by hand"
        if before is not None:
            _write(place, before.kind, before.content, before.mode, (before.uid, before.gid), before.mtime_ns)
            return None
        if artifact.kind == "directory":
            return _remove_directory(place)
        _remove(place)
        return None

    def _remember(self, artifact: Artifact, before: Found | None) -> None:
        """Put on the disk what is about to be written, and what is there now."""
        known = self.entries.get(artifact.path)
        first = before if known is None else known.before
        self.entries[artifact.path] = Entry(_without_content(artifact), _digest(_bytes(artifact)), first)
        self._save()

    def _save(self) -> None:
        place = self.tree.on_disk(self._path)
        for folder in reversed(place.parents):
            if not folder.exists():
                _make_directory(folder, 0o700 if folder == place.parent else 0o755, (-1, -1))
        document = {"version": MANIFEST_VERSION, "entries": [_entry_json(each) for each in self.entries.values()]}
        _write(place, "file", (json.dumps(document, indent=1) + "\n").encode(), 0o600, (-1, -1))

    def _forget(self) -> None:
        """Remove the manifest itself, and the folders that were made for it, if nothing else is in them."""
        place = self.tree.on_disk(self._path)
        _remove(place)
        _remove(place.with_name(place.name + _PART))
        for folder in (place.parent, place.parent.parent):
            _remove_directory(folder)

    def _missing_above(self, path: str) -> list[str]:
        """The directories above `path` that are not there, the outermost first."""
        missing = []
        # Where the links on the way lead may be missing too.
        above = os.path.join("/", self.tree.on_disk(path).parent.relative_to(self.tree.root))
        while above != "/" and self.tree.look(above) is None:
            missing.append(above)
            above = os.path.dirname(above)
        return missing[::-1]

    def _ids(self, artifact: Artifact) -> tuple[int, int]:
        """The numbers of the owners, -1 where they are not to be set."""
        if not self.tree.is_machine or artifact.kind == "link":
            return -1, -1
        uid = _uid(artifact.owner) if artifact.owner else -1
        gid = _gid(artifact.group) if artifact.group else -1
        return uid, gid


def install(artifacts: Iterable[Artifact], tree: Tree, name: str) -> list[Change]:
    """Write what differs, and remember under `name` what was there before.

    Raises:
        ArtifactError: one can not be written; those before it are, and another call goes on.
    """
    return Manifest(tree, name).put_all(artifacts)


# -- the manifest as JSON ----------------------------------------------------------------------------------------------


def _entry_json(entry: Entry) -> dict[str, Any]:
    artifact, before = entry.artifact, entry.before
    document: dict[str, Any] = {
        "path": artifact.path,
        "kind": artifact.kind,
        "mode": f"{artifact.mode:04o}",
        "owner": artifact.owner,
        "group": artifact.group,
        "why": artifact.why,
        "sha256": entry.digest,
        "before": None,
    }
    if before is not None:
        document["before"] = {
            "kind": before.kind,
            "mode": f"{before.mode:04o}",
            "uid": before.uid,
            "gid": before.gid,
            "mtime_ns": before.mtime_ns,
            "content": base64.b64encode(before.content).decode(),
        }
    return document


def _read_manifest(content: bytes, place: str) -> dict[str, Entry]:
    """Read a manifest.

    Raises:
        ArtifactError: it is none, or one of a later version.
    """
    try:
        document = json.loads(content)
        if document["version"] > MANIFEST_VERSION:
            raise ArtifactError(f"{place} was written by a later Penstock: use that one")
        entries = [_entry_of(each) for each in document["entries"]]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(
            f"{place} is damaged ({type(error).__name__}: {error}): move it away to begin anew; what was written before"
            " has to be removed by hand then"
        ) from error
    return {entry.artifact.path: entry for entry in entries}


def _entry_of(document: dict[str, Any]) -> Entry:
    mode = int(document["mode"], 8)
    path, kind = str(document["path"]), document["kind"]
    if kind not in ("file", "directory", "link") or not path.startswith("/"):
        raise ValueError(f"{path!r} of the kind {kind!r} is nothing that is written")
    artifact = Artifact(path, "", mode, str(document["owner"]), str(document["group"]), str(document["why"]), kind)
    before = document["before"]
    if before is None:
        return Entry(artifact, str(document["sha256"]), None)
    found = Found(
        str(before["kind"]),
        base64.b64decode(before["content"]),
        int(before["mode"], 8),
        int(before["uid"]),
        int(before["gid"]),
        int(before["mtime_ns"]),
    )
    return Entry(artifact, str(document["sha256"]), found)


# -- the disk ----------------------------------------------------------------------------------------------------------


def write_file(place: Path, content: bytes, mode: int) -> None:
    """Write a file that is remembered by nobody, whole or not at all; ArtifactError if it can not be."""
    _write(place, "file", content, mode, (-1, -1))


def _write(
    place: Path, kind: str, content: bytes, mode: int, ids: tuple[int, int], mtime_ns: int | None = None
) -> None:
    """Put something at `place`, whole or not at all; there when the machine loses its power right after.

    Raises:
        ArtifactError: it can not be written; what was there is there still.
    """
    if kind == "directory":
        _make_directory(place, mode, ids)
        return
    part = place.with_name(place.name + _PART)
    try:
        part.unlink(missing_ok=True)
        if kind == "link":
            os.symlink(content, os.fsencode(part))
        else:
            _write_file(part, content, mode, ids, mtime_ns)
        os.rename(part, place)
        _sync_directory(place.parent)
    except OSError as error:
        # Nothing half-written stays; where not even that goes, the next run clears it away.
        try:
            part.unlink(missing_ok=True)
        except OSError:
            pass
        raise ArtifactError(f"can not write {place}: {_reason(error)}; what was there is unchanged") from error


def _write_file(part: Path, content: bytes, mode: int, ids: tuple[int, int], mtime_ns: int | None) -> None:
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        # The owner first: a change of it takes set-user-id bits away, and nobody else may read a secret in between.
        if ids != (-1, -1):
            os.fchown(descriptor, *ids)
        os.fchmod(descriptor, mode)
        if mtime_ns is not None:
            os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_directory(place: Path, mode: int, ids: tuple[int, int]) -> None:
    """Make a directory, or give the one that is there its mode and owner."""
    try:
        try:
            os.mkdir(place, 0o700)
        except FileExistsError:
            status = os.lstat(place)
            if stat.S_IMODE(status.st_mode) == mode and ids == (-1, -1):
                return
        if ids != (-1, -1):
            os.chown(place, *ids, follow_symlinks=False)
        os.chmod(place, mode)
        _sync_directory(place.parent)
    except OSError as error:
        raise ArtifactError(f"can not make the directory {place}: {_reason(error)}") from error


def _set_owner_and_mode(place: Path, before: Found) -> None:
    try:
        status = os.lstat(place)
        if (status.st_uid, status.st_gid) != (before.uid, before.gid):
            os.chown(place, before.uid, before.gid, follow_symlinks=False)
        if before.kind != "link":
            os.chmod(place, before.mode)
    except OSError as error:
        raise ArtifactError(f"can not give {place} its owner and mode back: {_reason(error)}") from error


def give(place: Path, ids: tuple[int, int], allowed: int = 0o7777) -> None:
    """Give a file, or a folder with all that is in it, to somebody, and take away what is not `allowed` of its mode.

    Links are given and not followed, not even one that takes the place of a folder while this works: what is in there
    may belong to somebody who wishes for a file of root's.

    Raises:
        ArtifactError: it can not be given.
    """
    try:
        parent = _open_directory(place.parent)
        try:
            _give(place.name, ids, allowed, parent)
            if not stat.S_ISDIR(os.stat(place.name, dir_fd=parent, follow_symlinks=False).st_mode):
                return
            for _, folders, names, descriptor in os.fwalk(place.name, dir_fd=parent, onerror=_raise):
                for name in (*folders, *names):
                    _give(name, ids, allowed, descriptor)
        finally:
            os.close(parent)
    except OSError as error:
        raise ArtifactError(f"can not give {error.filename or place} to its owner: {error.strerror}") from error


def _give(name: str, ids: tuple[int, int], allowed: int, folder: int) -> None:
    os.chown(name, *ids, dir_fd=folder, follow_symlinks=False)
    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) & ~allowed:
        os.chmod(name, stat.S_IMODE(mode) & allowed, dir_fd=folder)


def _open_directory(place: Path) -> int:
    return os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _raise(error: OSError) -> None:
    raise error


def _remove(place: Path) -> None:
    try:
        place.unlink(missing_ok=True)
    except OSError as error:
        raise ArtifactError(f"can not remove {place}: {_reason(error)}") from error


def _remove_directory(place: Path) -> str | None:
    """Remove a directory; why it stays if there is something in it."""
    try:
        os.rmdir(place)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return f"{place} has files in it that were not written by this: left as it is"
        raise ArtifactError(f"can not remove {place}: {_reason(error)}") from error
    return None


def _sync_directory(place: Path) -> None:
    descriptor = _open_directory(place)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    text = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{text}: make room, then run this again"
    if error.errno in (errno.EACCES, errno.EPERM) and os.geteuid() != 0:
        return f"{text}: run this as root, or with --root DIR to write into a folder"
    return text


# -- small -------------------------------------------------------------------------------------------------------------


def _bytes(artifact: Artifact) -> bytes:
    return artifact.text.encode("utf-8", "surrogateescape")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _without_content(artifact: Artifact) -> Artifact:
    return Artifact(
        artifact.path, "", artifact.mode, artifact.owner, artifact.group, artifact.why, artifact.kind, artifact.secret
    )


def _uid(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError as error:
        raise ArtifactError(f"there is no user {name}: make it first (useradd --system {name})") from error


def _gid(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise ArtifactError(f"there is no group {name}: make it first (groupadd --system {name})") from error


def _known(name: str, number: Callable[[str], int]) -> int | None:
    try:
        return number(name)
    except ArtifactError:
        return None


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
