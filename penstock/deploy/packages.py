"""What a project needs installed: from its lock file, its list of packages, its pyproject, or from what it imports.

The result is a list in the form that pip and uv read, or their own command where only that can read the source. Where a
project says nothing, `imported_by` asks the interpreter that the project runs with now: which of the packages there it
imports, in which version. Reads files; runs that one interpreter and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock.deploy.artifact import ArtifactError
from penstock.project import owner
from penstock.project.found import Project
from penstock.values import dataclass

_TIME_LIMIT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """What to install."""

    source: str
    """Where that is said, for a person: a path, or a clause."""
    lines: tuple[str, ...]
    """Requirements, as in a requirements.txt."""
    files: tuple[str, ...] = ()
    """Files to read instead: relative lines in them mean their own folder."""
    uses_lock: bool = False
    """A uv.lock, which uv reads."""
    folder: str = ""
    """The project is a package, and installed itself."""
    is_complete: bool = False
    """Everything is listed with its version: nothing else is to be installed."""
    digest: str = ""
    """Of all that they come from."""


def packages_of(project: Project, has_uv: bool) -> Packages:
    """Find what to install.

    Raises:
        ArtifactError: a list is there and can not be read.
    """
    for listed in project.requirements:
        path = Path(listed.path)
        try:
            found = _of_file(listed.kind, path, has_uv)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"can not read what to install from {path}: {error}; mend it") from error
        if found is not None:
            return found
    return imported_by(project)


def _of_file(kind: str, path: Path, has_uv: bool) -> Packages | None:
    """Read one list; None if it says nothing."""
    if kind == "requirements":
        files = list(_with_included(path, set()))
        total = _digest(*(file.read_bytes() for file in files))
        return Packages(source=str(path), lines=(), files=(str(path),), digest=total)
    document = path.read_bytes()
    if kind == "uv" and has_uv:
        beside = path.with_name("pyproject.toml").read_bytes()
        return Packages(
            source=str(path), lines=(), uses_lock=True, folder=str(path.parent), digest=_digest(document, beside)
        )
    if kind == "poetry" and path.name == "poetry.lock":
        return _pinned(path, tuple(_of_poetry(tomllib.loads(document.decode()))))
    if kind == "pipenv" and path.name == "Pipfile.lock":
        return _pinned(path, tuple(_of_pipenv(json.loads(document))))
    if kind in ("pyproject", "uv", "poetry"):
        path = path.with_name("pyproject.toml")
        lines = tuple(tomllib.loads(path.read_text()).get("project", {}).get("dependencies", ()))
        return Packages(source=str(path), lines=lines, digest=_digest(*map(str.encode, lines))) if lines else None
    if kind == "setup":
        return Packages(source=str(path), lines=(), folder=str(path.parent), digest=_digest(document))
    return None


def _pinned(path: Path, lines: tuple[str, ...]) -> Packages:
    total = _digest(*map(str.encode, lines))
    return Packages(source=str(path), lines=lines, is_complete=True, digest=total)


def _with_included(path: Path, seen: set[Path]) -> Iterator[Path]:
    """A list, and those that it includes."""
    path = path.resolve()
    if path in seen:
        return
    seen.add(path)
    yield path
    for line in path.read_text(errors="replace").splitlines():
        if match := re.match(r"\s*(?:-r|--requirement|-c|--constraint)[ =]\s*(\S+)", line):
            if "://" not in match[1]:
                yield from _with_included(path.parent / match[1], seen)


def _of_poetry(document: dict[str, Any]) -> Iterator[str]:
    for package in document["package"]:
        groups = package.get("groups", ["main"])
        if "main" not in groups or package.get("category", "main") != "main" or package.get("optional"):
            continue
        markers = package.get("markers")
        if isinstance(markers, dict):
            markers = markers.get("main")
        source = package.get("source", {})
        if source.get("type") == "git":
            named = f"{package['name']} @ git+{source['url']}@{source['resolved_reference']}"
        else:
            named = f"{package['name']}=={package['version']}"
        yield f"{named} ; {markers}" if markers else named


def _of_pipenv(document: dict[str, Any]) -> Iterator[str]:
    for name, told in document["default"].items():
        if "git" in told:
            named = f"{name} @ git+{told['git']}@{told['ref']}"
        elif "version" in told:
            extras = f"[{','.join(told['extras'])}]" if told.get("extras") else ""
            named = f"{name}{extras}{told['version']}"
        else:
            continue
        yield f"{named} ; {told['markers']}" if told.get("markers") else named


# -- a project that says nothing ---------------------------------------------------------------------------------------

_ASK = r"""
import ast, json, os, sys
from importlib.metadata import distribution, packages_distributions
folder, more = sys.argv[1], json.loads(sys.argv[2])
names = set(more)
for place, folders, files in os.walk(folder):
    folders[:] = [each for each in folders if not each.startswith(".") and each != "node_modules"
                  and not os.path.exists(os.path.join(place, each, "pyvenv.cfg"))]
    for file in files:
        if not file.endswith(".py"):
            continue
        try:
            with open(os.path.join(place, file), "rb") as source:
                tree = ast.parse(source.read())
        except (SyntaxError, ValueError, OSError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names.update(each.name.partition(".")[0] for each in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isascii():
                # INSTALLED_APPS and their like name modules in strings.
                head = node.value.partition(".")[0]
                if head.isidentifier() and "settings" in file:
                    names.add(head)
owners = packages_distributions()
own = {os.path.splitext(each)[0] for each in os.listdir(folder)}
found = {}
for name in sorted(names - own):
    for owner in owners.get(name, ()):
        found[owner] = distribution(owner).version
if "psycopg" in found:
    for extra in ("psycopg-binary", "psycopg-c"):
        try:
            found[extra] = distribution(extra).version
        except Exception:
            pass
print(json.dumps(found))
"""
_NEVER = frozenset({"pip", "setuptools", "wheel", "penstock", "uwsgi", "gunicorn"})
"""What is there to install or to serve, and no part of a project."""


def imported_by(project: Project) -> Packages:
    """Ask the interpreter that a project runs with now which packages it imports."""
    more = [project.library] if project.library else []
    argv = [project.python, "-c", _ASK, project.folder, json.dumps(more)]
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            timeout=_TIME_LIMIT_S,
            check=True,
            cwd="/",
            text=True,
            **owner.as_owner(project.folder),
        )
        found: dict[str, str] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        found = {}
    lines = tuple(f"{name}=={version}" for name, version in sorted(found.items()) if name.lower() not in _NEVER)
    source = f"what the project imports, as {project.python} has it"
    if not lines and project.library:
        lines, source = (project.library,), f"{project.library}, which the project imports; it has no list of packages"
    return Packages(source=source, lines=lines, digest=_digest(*map(str.encode, lines)))


def _digest(*parts: bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()
