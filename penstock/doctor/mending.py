"""What `--fix` does: edits and commands that a diagnosis carries, shown first, and taken back if they fail.

A file is written whole beside its old self and renamed over it, with the mode and the owner that it had.
"""

from __future__ import annotations

import difflib
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator
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
    for edit in mend.edits if mend is not None else ():
        try:
            before = _content(edit.path)
        except MendError as error:
            yield str(error)
            continue
        after = before.replace(edit.old, edit.new, 1)
        yield from (
            line.rstrip("\n")
            for line in difflib.unified_diff(before.splitlines(True), after.splitlines(True), edit.path, edit.path, n=1)
        )
    for words in mend.commands if mend is not None else ():
        yield f"$ {shlex.join(words)}"


def mend(what: Mend | None, run: Run) -> None:
    """Do it. Raises MendError."""
    if what is None:
        return
    before: dict[str, str] = {}
    try:
        for edit in what.edits:
            text = _content(edit.path)
            if edit.old not in text:
                raise MendError(f"{edit.path} has changed meanwhile")
            before.setdefault(edit.path, text)
            _write(edit, text.replace(edit.old, edit.new, 1))
        for words in what.commands:
            _command(words, run)
    except MendError:
        for path, text in before.items():
            _write(Edit(path, "", ""), text)
        raise


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


def _write(edit: Edit, text: str) -> None:
    path = os.path.realpath(edit.path)
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
        raise MendError(f"{edit.path} can not be written: {error.strerror}") from error
