"""What `--fix` does: edits and commands that a diagnosis carries, shown first, and taken back if they fail.

A file is written whole beside its old self and renamed over it, with the mode and the owner that it had.
"""

from __future__ import annotations

import difflib
import os
import shlex
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from penstock.doctor.diagnosis import Edit, Mend
from penstock.doctor.gather.programs import environment

PATIENCE_S = 120
Run = Callable[..., Any]
"""As `subprocess.run`."""


class MendError(Exception):
    """It could not be done, and everything is as it was: why."""


def shown(mend: Mend | None) -> Iterator[str]:
    """Write what would be done: the differences of files, and commands as they are typed."""
    try:
        changed = _changed(mend.edits if mend is not None else ())
    except MendError as error:
        yield str(error)
        changed = {}
    for path, (before, after) in changed.items():
        lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), path, path, n=1)
        yield from (line.rstrip("\n") for line in lines)
    for words in mend.commands if mend is not None else ():
        yield f"$ {shlex.join(words)}"


def mend(what: Mend | None, run: Run) -> None:
    """Do it. Raises MendError."""
    if what is None:
        return
    changed = _changed(what.edits)
    written: list[str] = []
    try:
        for path, (_, after) in changed.items():
            _write(path, after)
            written.append(path)
        for words in what.commands:
            _command(words, run)
    except MendError:
        for path in written:
            _write(path, changed[path][0])
        raise


def _changed(edits: Iterable[Edit]) -> dict[str, tuple[str, str]]:
    """Path -> its text before and after all edits. Raises MendError."""
    texts: dict[str, tuple[str, str]] = {}
    for edit in edits:
        before, now = texts.get(edit.path) or (_content(edit.path),) * 2
        lines = now.splitlines(True)
        if not 0 < edit.line <= len(lines) or edit.old not in lines[edit.line - 1]:
            raise MendError(f"{edit.path} has changed meanwhile")
        lines[edit.line - 1] = lines[edit.line - 1].replace(edit.old, edit.new, 1)
        texts[edit.path] = before, "".join(lines)
    return texts


def _command(words: tuple[str, ...], run: Run) -> None:
    try:
        done = run(words, capture_output=True, text=True, timeout=PATIENCE_S, env=environment(os.environ), check=False)
    except (OSError, ValueError) as error:
        raise MendError(f"{shlex.join(words)}: {error}") from error
    except Exception as error:
        raise MendError(f"{shlex.join(words)}: it does not end") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise MendError(f"{shlex.join(words)} ended with {done.returncode}: {said[-1] if said else 'it said nothing'}")


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError as error:
        raise MendError(f"{path} can not be read: {error.strerror}") from error


def _write(named: str, text: str) -> None:
    path = os.path.realpath(named)
    try:
        found = os.stat(path)
        fd, part = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".penstock-")
        try:
            with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
                os.fchmod(file.fileno(), found.st_mode & 0o7777)
                if os.geteuid() == 0:
                    os.fchown(file.fileno(), found.st_uid, found.st_gid)
            os.replace(part, path)
        except BaseException:
            os.unlink(part)
            raise
    except OSError as error:
        raise MendError(f"{named} can not be written: {error.strerror}") from error
