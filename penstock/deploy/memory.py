"""What is remembered of a deployment beside its files: what was asked for, what was made on the machine; and the lock.

The files have a manifest (`artifact.py`), releases tell of themselves (`releases.py`). Here is what neither knows, so
that a later run needs no arguments, and `undeploy` takes away what was made and nothing else.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from penstock.deploy.artifact import STATE, ArtifactError, Tree, write_file
from penstock.deploy.layout import Layout
from penstock.values import dataclass, replace

VERSION = 1


class Busy(Exception):
    """Another run works on the same deployment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered."""

    project: str = ""
    """The folder that was deployed last."""
    wish: dict[str, Any] = {}  # noqa: RUF012
    """What was asked for, by the names of the command's options."""
    hosts: list[str] = []  # noqa: RUF012
    """The names that it is served under."""
    user_made: str = ""
    """The user that was made for it."""
    services: str = ""
    """Which kind of service manager was used."""
    enabled: bool = False
    """It was made to start at boot."""
    nginx_started: bool = False
    """nginx did not run before."""
    nginx_read: str = ""
    """The release that served when nginx read its files last."""
    serving: str = ""
    """The release that was started, or reloaded to, last."""
    failed: str = ""
    """Where the last run stopped; empty if it did not."""


def recall(tree: Tree, layout: Layout) -> Memory | None:
    """Read what is remembered; None of a deployment that is not there.

    Raises:
        ArtifactError: it can not be read.
    """
    path = f"{layout.memory}/deployment.json"
    found = tree.look(path)
    if found is None or found.kind != "file":
        return None
    try:
        document = json.loads(found.content)
        if document.pop("version") > VERSION:
            raise ArtifactError(f"{tree.on_disk(path)} was written by a later Penstock: use that one")
        return replace(Memory(), **document)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(
            f"{tree.on_disk(path)} is damaged ({error}): remove it, and give the options again"
        ) from error


def remember(tree: Tree, layout: Layout, memory: Memory) -> None:
    """Put it on the disk."""
    document = {"version": VERSION} | {name: getattr(memory, name) for name in Memory.__annotations__}
    place = tree.on_disk(f"{layout.memory}/deployment.json")
    write_file(place, (json.dumps(document, indent=1) + "\n").encode(), 0o600)


def forget(tree: Tree, layout: Layout) -> None:
    """Remove it."""
    tree.on_disk(f"{layout.memory}/deployment.json").unlink(missing_ok=True)


def known(tree: Tree) -> list[str]:
    """The names of all deployments in a tree."""
    try:
        names = sorted(os.listdir(tree.on_disk(STATE)))
    except OSError:
        return []
    return [name for name in names if tree.on_disk(f"{STATE}/{name}/deployment.json").exists()]


@contextmanager
def locked(tree: Tree, layout: Layout) -> Iterator[None]:
    """Keep other runs out; the kernel lets go of it when the process ends, however it does.

    Raises:
        Busy: another run is at work.
        ArtifactError: the lock can not be made.
    """
    place = tree.on_disk(f"{layout.memory}/lock")
    descriptor = _lock(place)
    try:
        yield
    finally:
        # Whoever waits for it finds that the name has gone from under it, and makes another one.
        if not any(name != "lock" for name in os.listdir(place.parent)):
            place.unlink(missing_ok=True)
            for folder in (place.parent, place.parent.parent):
                try:
                    folder.rmdir()
                except OSError:
                    break
        os.close(descriptor)


def _lock(place: os.PathLike[str]) -> int:
    try:
        os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
        while True:
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.exists(place) and os.fstat(descriptor).st_ino == os.stat(place).st_ino:
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, f"{os.getpid()}\n".encode())
                    return descriptor
            except BlockingIOError:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                os.close(descriptor)
                raise Busy(
                    f"process {holder or 'of somebody'} works on this deployment: wait until it is done ({place})"
                ) from None
            os.close(descriptor)
    except OSError as error:
        hint = "; run this as root, or with --root DIR" if error.errno in (errno.EACCES, errno.EPERM) else ""
        raise ArtifactError(f"can not make the lock {place}: {error.strerror}{hint}") from error
