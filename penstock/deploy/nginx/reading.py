"""nginx's configuration as values: every directive with its file and line, includes in their place.

Files are split into directives by crossplane, which nginx's makers wrote for it and keep in step with nginx's own
grammar; it is imported when a file is read, not before. Includes are followed here, because a tree under another root
(`--root DIR`) names its files by the paths they will have. Nothing is judged: a directive that nginx does not know is
a directive. What can not be read is a `Problem`, and the rest is read nevertheless.
"""

from __future__ import annotations

import errno
import glob
import os
import re
from collections.abc import Iterator

from penstock.config.findings import Origin
from penstock.values import dataclass

DEEPEST = 64
"""Blocks in blocks, and files in files: nobody writes half of it, and a file that includes itself has no end."""
MOST_FILES = 10_000
"""Read in all: files that include each other twice each double with every step."""
_WILD = frozenset("*?[")
_ESCAPE = re.compile(r"""\\([\\"'trn])""")
"""What a backslash changes; before anything else it is itself. crossplane leaves all but the quotes as they stand."""
_LETTERS = {"t": "\t", "r": "\r", "n": "\n"}
_CUT_OFF = "the file ends in the middle of a directive: a ; or } is missing"


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive; what stands between its braces is `block`."""

    name: str
    args: tuple[str, ...]
    """Without the quotes they were written in, and without the parentheses of `if`."""
    origin: Origin
    block: tuple[Directive, ...] | None = None

    @property
    def text(self) -> str:
        """The first argument; empty where there is none."""
        return self.args[0] if self.args else ""

    def every(self, *names: str) -> Iterator[Directive]:
        """The directives of these names that stand directly in the block."""
        return (each for each in self.block or () if each.name in names)

    def first(self, *names: str) -> Directive | None:
        """The first of them."""
        return next(self.every(*names), None)

    def __str__(self) -> str:
        return " ".join((self.name, *self.args))


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a part could not be read."""

    message: str
    origin: Origin

    def __str__(self) -> str:
        return f"{self.origin}: {self.message}"


@dataclass(frozen=True, slots=True)
class Include:
    """A directive that reads files."""

    pattern: str
    """Absolute."""
    within: tuple[str, ...]
    """Names of the blocks around it, from the outside: `("http",)`."""
    origin: Origin


@dataclass(frozen=True, slots=True)
class Configuration:
    """What nginx would read, beginning with its main file."""

    path: str
    main: Directive
    """A directive without a name whose block is the whole; empty where nothing could be read."""
    files: tuple[str, ...]
    """Every file that was read, in the order in which it was met."""
    includes: tuple[Include, ...]
    problems: tuple[Problem, ...]

    @property
    def is_readable(self) -> bool:
        """Whether everything was read."""
        return not self.problems


def read(path: str, root: str = "") -> Configuration:
    """Read a main file and all that it includes; `root` is a folder that stands for `/`, as in `--root DIR`.

    Never raises for what a file holds; `problems` tells it.
    """
    reader = _Reader(os.path.dirname(path), root.rstrip("/"))
    block = reader.file(path, Origin("file", path), ())
    main = Directive("", (), Origin("file", path), block)
    return Configuration(path, main, tuple(dict.fromkeys(reader.files)), tuple(reader.includes), tuple(reader.problems))


class _Reader:
    def __init__(self, directory: str, root: str) -> None:
        self._directory = directory
        self._root = root
        self.files: list[str] = []
        self.includes: list[Include] = []
        self._within: list[str] = []
        self.problems: list[Problem] = []

    def file(self, path: str, asked: Origin, around: tuple[str, ...]) -> tuple[Directive, ...]:
        """Read one file. `asked` is the place that names it, and `around` the files it is included by."""
        if path in around:
            self._problem(f"{path} includes itself", asked)
            return ()
        if len(around) >= DEEPEST:
            self._problem(f"files include each other more than {DEEPEST} deep", asked)
            return ()
        actual = self._root + path
        if len(self.files) >= MOST_FILES:
            if len(self.files) == MOST_FILES:
                self.files.append(path)
                self._problem(f"more than {MOST_FILES} files are included", asked)
            return ()
        if (why := _unreadable(actual)) is not None:
            self._problem(f"{path} can not be read: {why}", asked)
            return ()
        self.files.append(path)
        # Imported here: reading nginx's files is what few commands do.
        import crossplane

        payload = crossplane.parse(
            actual, single=True, check_ctx=False, check_args=False, onerror=lambda error: error, catch_errors=True
        )
        parsed = payload["config"][0]
        for error in payload["errors"]:
            self._problem(_told(error["callback"]), Origin("file", path, error["line"] or _last_line(actual)))
        return tuple(self._directives(parsed["parsed"], path, (*around, path), 0))

    def _directives(
        self, parsed: list[dict[str, object]], path: str, around: tuple[str, ...], depth: int
    ) -> list[Directive]:
        found: list[Directive] = []
        for one in parsed:
            name, line = str(one["directive"]), int(str(one["line"]))
            args = tuple(_ESCAPE.sub(_unescaped, str(each)) for each in one["args"])  # type: ignore[attr-defined]
            origin = Origin("file", path, line)
            block: object = one.get("block")
            if name == "include" and block is None:
                found += self._included(args, origin, around)
                continue
            inner: tuple[Directive, ...] | None = None
            if isinstance(block, list):
                if depth >= DEEPEST:
                    self._problem(f"blocks stand in each other more than {DEEPEST} deep", origin)
                    continue
                self._within.append(name)
                inner = tuple(self._directives(block, path, around, depth + 1))
                self._within.pop()
            found.append(Directive(name, args, origin, inner))
        return found

    def _included(self, args: tuple[str, ...], origin: Origin, around: tuple[str, ...]) -> Iterator[Directive]:
        if len(args) != 1 or not args[0]:
            self._problem("include takes one file name or pattern", origin)
            return
        pattern = os.path.normpath(os.path.join(self._directory, args[0]))
        self.includes.append(Include(pattern, tuple(self._within), origin))
        if not _WILD & set(pattern):
            yield from self.file(pattern, origin, around)
            return
        # A pattern that fits nothing is no mistake, to nginx neither.
        for name in sorted(glob.glob(glob.escape(self._root) + pattern)):
            yield from self.file(name[len(self._root) :], origin, around)

    def _problem(self, message: str, origin: Origin) -> None:
        self.problems.append(Problem(message, origin))


def _unescaped(match: re.Match[str]) -> str:
    return _LETTERS.get(match[1], match[1])


def _unreadable(path: str) -> str | None:
    """Say why a file can not be read, if it can not; what waits for a writer (a FIFO) is not opened."""
    try:
        if os.path.isdir(path):
            return os.strerror(errno.EISDIR)
        if os.path.exists(path) and not os.path.isfile(path):
            return "it is not a regular file"
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return os.strerror(error.errno or errno.EIO)
    except ValueError:
        return "its name holds a zero byte"
    return None


def _told(error: Exception) -> str:
    """Say in words what crossplane means; it ends at an unfinished directive with an exception without any."""
    if isinstance(error, StopIteration) or not str(error):
        return _CUT_OFF
    if isinstance(error, RecursionError):
        return f"blocks stand in each other more than {DEEPEST} deep"
    return str(getattr(error, "strerror", None) or error)


def _last_line(path: str) -> int:
    with open(path, "rb") as file:
        return sum(1 for _ in file) or 1
