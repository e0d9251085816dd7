"""The virtual environment of a project: where it may be, what is in it, and which one is the project's."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping

from penstock.plan import modules
from penstock.values import dataclass

USUAL = (".venv", "venv", "env", "virtualenv", ".virtualenv", ".conda")
"""Names of environments in or beside a project, the most common first (uv, poetry and pipenv in-project: .venv)."""

IN_PROJECT = "in the project"
BESIDE_PROJECT = "beside the project"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A virtual environment, or one of conda."""

    path: str
    """Absolute."""
    python: str
    """Its interpreter, by its path in the environment."""
    version: str
    """As 3.11; empty where nothing tells."""
    has_engine: bool
    """This Penstock can run what is in it."""
    is_usable: bool
    """Its interpreter is there and may be run."""
    where: str
    """How it was come by: `in the project`, `beside the project`, `VIRTUAL_ENV` ..."""

    def holds(self, package: str) -> bool:
        """Tell whether a package can be imported in it."""
        return modules.find(package, modules.site_directories(self.path)[0]).is_found


def find_all(
    folders: Iterable[str], above: Iterable[str], environ: Mapping[str, str], engines: tuple[str, ...]
) -> list[Environment]:
    """List the environments that may be a project's, the likeliest first: in its `folders`, or `above` these."""
    found: dict[str, Environment] = {}
    for place, where in _places(list(folders), list(above), environ):
        path = os.path.abspath(place)
        key = os.path.realpath(path)
        made = look(path, where, engines)
        if made is not None and key not in found:
            found[key] = made
    return list(found.values())


def look(path: str, where: str, engines: tuple[str, ...]) -> Environment | None:
    """Look at one place; None if no environment is there."""
    is_conda = os.path.isdir(os.path.join(path, "conda-meta"))
    if not is_conda and not os.path.isfile(os.path.join(path, "pyvenv.cfg")):
        return None
    python = os.path.join(path, "bin", "python")
    version = modules.version_of(path) or _version_by_library(path)
    return Environment(
        path=path,
        python=python,
        version=version,
        has_engine=not version or version in engines,
        is_usable=os.access(python, os.X_OK) and os.path.isfile(python),
        where=where,
    )


def _version_by_library(path: str) -> str:
    names = sorted(os.path.basename(each) for each in glob.glob(os.path.join(glob.escape(path), "lib", "python3.*")))
    return names[-1].removeprefix("python") if names else ""


def _places(folders: list[str], above: list[str], environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for name in USUAL:
            yield os.path.join(folder, name), IN_PROJECT
        for entry in _environments_in(folder):
            yield entry, IN_PROJECT
    for folder in above:
        for name in USUAL:
            yield os.path.join(folder, name), BESIDE_PROJECT
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        place = environ.get(variable, "")
        # conda's base environment is everybody's.
        if place and not (variable == "CONDA_PREFIX" and environ.get("CONDA_DEFAULT_ENV") == "base"):
            yield place, variable
    home = environ.get("HOME", "")
    names = [os.path.basename(folder) for folder in folders[:1]]
    if not home or not os.path.isabs(home):
        return
    for name in names:
        escaped = glob.escape(name)
        workon = environ.get("WORKON_HOME") or os.path.join(home, ".local/share/virtualenvs")
        cache = os.path.join(environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache"), "pypoetry/virtualenvs")
        for place in sorted(glob.glob(os.path.join(glob.escape(workon), f"{escaped}-????????"))):
            yield place, "pipenv"
        yield os.path.join(workon, name), "virtualenvwrapper"
        for place in sorted(glob.glob(os.path.join(glob.escape(cache), f"{escaped}-????????-py3*"))):
            yield place, "poetry"


def _environments_in(folder: str) -> Iterator[str]:
    """List environments of other names that lie in a folder."""
    try:
        names = sorted(os.listdir(folder))[:1000]
    except OSError:
        return
    for name in names:
        if os.path.isfile(os.path.join(folder, name, "pyvenv.cfg")):
            yield os.path.join(folder, name)
