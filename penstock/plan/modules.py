"""Where a module's file is, and what stands in it: found and read, never imported.

The search keeps to what the import system does with directories (PEP 420 namespace packages included). Where something
else may answer an import (hooks of editable installations, archives), the answer is that nobody can know.
"""

from __future__ import annotations

import ast
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence

from penstock.values import dataclass

LARGEST_SOURCE_BYTES = 1 << 20
_WATCHERS = ("Thread", "Timer", "BackgroundScheduler")
"""Classes whose `start` makes a thread: of `threading`, and of APScheduler."""
_DYNAMIC = frozenset({"globals", "locals", "vars", "exec", "setattr", "__import__"})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True, slots=True)
class Search:
    """How a search for a module ended."""

    is_certain: bool
    """Nothing else than these directories can answer."""
    is_found: bool
    file: str = ""
    """The source of what was found; empty for a namespace, or what is no source."""
    missing: str = ""
    """The first part of the name that is nowhere, dotted."""
    inside: str = ""
    """The directory of the package that lacks it; empty if the first part is missing."""


def find(name: str, directories: Iterable[str], is_certain: bool = True) -> Search:
    """Search for a dotted name."""
    parts = name.split(".")
    places = list(directories)
    file = ""
    for number, part in enumerate(parts, 1):
        found = _find_part(part, places)
        if found is None and number == 1 and part in sys.stdlib_module_names:
            return Search(is_certain, True)
        if found is None:
            inside = places[0] if number > 1 and places else ""
            return Search(is_certain, False, "", ".".join(parts[:number]), inside)
        places, file = found
        if not places and number < len(parts):
            # Not a package: its attributes are not modules, unless it makes them so.
            return Search(False, False, "", ".".join(parts[: number + 1]))
    return Search(is_certain, True, file)


def _find_part(part: str, places: Sequence[str]) -> tuple[list[str], str] | None:
    """Find one part of a name: the directories to go on in, and the source; None if it is nowhere."""
    portions: list[str] = []
    for place in places:
        base = os.path.join(place, part)
        if os.path.isfile(os.path.join(base, "__init__.py")):
            return [base], os.path.join(base, "__init__.py")
        if os.path.isfile(base + ".py"):
            return [], base + ".py"
        if _is_compiled(place, part):
            return [], ""
        if os.path.isdir(base):
            portions.append(base)
    return (portions, "") if portions else None


def _is_compiled(place: str, part: str) -> bool:
    try:
        names = os.listdir(place)
    except (OSError, ValueError):
        return False
    return any(name == f"{part}.pyc" or (name.startswith(f"{part}.") and name.endswith(".so")) for name in names)


def site_directories(home: str) -> tuple[list[str], bool]:
    """List where a virtual environment keeps modules; and whether nothing else can answer an import there."""
    found: list[str] = []
    for lib in ("lib", "lib64"):
        for version in _names(os.path.join(home, lib)):
            place = os.path.join(home, lib, version, "site-packages")
            if version.startswith("python") and os.path.isdir(place):
                found.append(place)
    is_certain = bool(found) and not _sees_system(home)
    return with_pth(found, is_certain)


def with_pth(places: Sequence[str], is_certain: bool = True) -> tuple[list[str], bool]:
    """Add what the .pth files of site directories name; hooks in them make the search uncertain."""
    found = list(places)
    for place in places:
        for name in _names(place):
            if not name.endswith(".pth"):
                continue
            for line in (read_source(os.path.join(place, name)) or b"").splitlines():
                text = os.fsdecode(line.strip())
                if text.startswith(("import ", "import\t")):
                    is_certain = is_certain and name in ("distutils-precedence.pth", "_virtualenv.pth")
                elif text and not text.startswith("#") and os.path.isdir(os.path.join(place, text)):
                    found.append(os.path.join(place, text))
    return found, is_certain


def version_of(home: str) -> str:
    """Tell which Python a virtual environment was made with, as 3.11; empty where its pyvenv.cfg does not say."""
    wanted = {"version", "version_info"}
    value = next((value for key, value in _settings(home) if key in wanted), "")
    parts = value.split(".")
    return ".".join(parts[:2]) if len(parts) > 1 and all(part.isdigit() for part in parts[:2]) else ""


def _sees_system(home: str) -> bool:
    return any(key == "include-system-site-packages" and value.lower() == "true" for key, value in _settings(home))


def _settings(home: str) -> Iterator[tuple[str, str]]:
    text = (read_source(os.path.join(home, "pyvenv.cfg")) or b"").decode("utf-8", "replace")
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            yield key.strip().lower(), value.strip()


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (OSError, ValueError):
        return []


def read_source(path: str) -> bytes | None:
    """Read a regular file of a size that a person writes; None if it is none, or can not be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            data = file.read(LARGEST_SOURCE_BYTES + 1)
    except (OSError, ValueError):
        return None
    return data if len(data) <= LARGEST_SOURCE_BYTES else None


@dataclass(frozen=True, slots=True)
class Source:
    """What the top level of a file does."""

    names: frozenset[str]
    """Bound when it has run."""
    is_certain: bool
    """No other name can be there."""
    threads: tuple[int, ...]
    """Lines that start a thread."""


def read_top_level(data: bytes) -> Source:
    """Read a file's top level. Raises SyntaxError, or ValueError for what is no text."""
    try:
        tree = ast.parse(data)
    except (RecursionError, MemoryError):
        return Source(frozenset(), False, ())
    reader = _TopLevel()
    reader.read(tree.body)
    return Source(frozenset(reader.names), reader.is_certain, tuple(reader.threads))


class _TopLevel:
    """Walks through what runs when a module is imported."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.is_certain = True
        self.threads: list[int] = []
        self._startable: set[str] = set()

    def read(self, body: Iterable[ast.stmt]) -> None:
        """Take statements in their order."""
        pending: list[ast.AST] = list(reversed(list(body)))
        while pending:
            node = pending.pop()
            if isinstance(node, ast.If) and _is_main(node.test):
                pending += reversed(node.orelse)
                continue
            self._take(node)
            if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
                # A function's body does not run, a class's binds nothing here; but `global NAME` does.
                self.names |= {
                    name for inner in ast.walk(node) if isinstance(inner, ast.Global) for name in inner.names
                }
                continue
            pending += reversed(list(ast.iter_child_nodes(node)))

    def _take(self, node: ast.AST) -> None:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            self.names.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self.names.add(node.name)
            self.is_certain = self.is_certain and node.name != "__getattr__"
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                self.is_certain = self.is_certain and alias.name != "*"
                self.names.add(alias.asname or alias.name.partition(".")[0])
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            self.names.add(node.name)
        elif (isinstance(node, ast.Name) and node.id in _DYNAMIC) or (
            isinstance(node, ast.Attribute) and node.attr in ("modules", "__dict__")
        ):
            self.is_certain = False
        if isinstance(node, ast.Assign) and _makes_startable(node.value):
            self._startable |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.Call) and self._starts(node.func):
            self.threads.append(node.lineno)

    def _starts(self, function: ast.expr) -> bool:
        if not isinstance(function, ast.Attribute) or function.attr != "start":
            return False
        started = function.value
        return _makes_startable(started) or (isinstance(started, ast.Name) and started.id in self._startable)


def _makes_startable(value: ast.expr) -> bool:
    if not isinstance(value, ast.Call):
        return False
    made = value.func
    name = made.attr if isinstance(made, ast.Attribute) else made.id if isinstance(made, ast.Name) else ""
    return name in _WATCHERS


def _is_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"
