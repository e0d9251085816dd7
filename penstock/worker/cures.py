"""What to do about an app that is not found: a near name, another directory, an environment, or an installation.

Looks at the disk and at what is imported already; imports nothing itself. What happened is told by `loader`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from types import ModuleType

from penstock.plan.types import AppPlan

NEAR = 0.74
"""How alike two names are where one may be a slip of the pen: two letters of four changed places (cmbd, cmdb)."""

USUAL_MODULES = ("wsgi", "app", "main", "server")
"""Modules of a package that usually hold its application."""


def nearest(name: str, candidates: Iterable[str], most: int, alike: float = NEAR) -> list[str]:
    """Names that `name` may be a slip of the pen for, the most alike first."""
    # Only where something fails.
    from difflib import get_close_matches

    return get_close_matches(name, sorted(candidates), most, alike)


def for_error(error: BaseException, plan: AppPlan, target: str) -> list[str]:
    """List the cures of what an import ended with, the most likely one first; `target` is without its callable."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        if plan.kind == "module" and (target == error.name or target.startswith(error.name + ".")):
            return _for_target(plan, target, error.name)
        return _for_library(plan, error.name)
    if isinstance(error, FileNotFoundError) and plan.kind == "file" and error.filename == os.path.abspath(target):
        return _for_file(plan, target)
    if isinstance(error, IsADirectoryError) and plan.kind == "file":
        return [_for_directory(target)]
    return []


def _for_directory(target: str) -> str:
    """Name the file in a directory that is likely to be meant."""
    there = set(_entries(os.path.abspath(target)))
    name = next((f"{one}.py" for one in USUAL_MODULES if f"{one}.py" in there), None)
    if name is None:
        return "wsgi-file is the path of a file: wsgi-file = PATH/wsgi.py"
    return f"wsgi-file is the path of a file: wsgi-file = {os.path.join(target, name)}"


def for_package(package: ModuleType) -> tuple[str, ...]:
    """Name the module of a package that is likely to hold the application, where the package itself has none."""
    there = _names_in(getattr(package, "__path__", ()))
    return tuple(
        f"the package has {name}: module = {package.__name__}.{name}" for name in USUAL_MODULES if name in there
    )[:1]


def _for_target(plan: AppPlan, target: str, missing: str) -> list[str]:
    if target.endswith(".py") or "/" in target:
        dotted = target.removesuffix(".py").strip("./").replace("/", ".")
        return [f"module takes a dotted name: module = {dotted}, or wsgi-file = {dotted.replace('.', '/')}.py"]
    parent, _, last = missing.rpartition(".")
    around = sys.modules.get(parent)
    if around is not None and not hasattr(around, "__path__") and hasattr(around, last):
        return [f"{last} is a name in the module {parent}: module = {parent}:{last}"]
    advice = []
    for directory in _directories_with(plan.chdir, missing.replace(".", os.sep)):
        advice.append(f"{missing} is in {directory}: chdir = {directory}")
    for near in _near_modules(plan, missing):
        advice.append(f"did you mean {near}? module = {near}{plan.target[len(missing) :]}")
    if not advice:
        advice.append(
            f"the import looks in {', '.join([*plan.pythonpath, plan.chdir])} (pythonpath, chdir) "
            f"and in the packages of {plan.interpreter}"
        )
    return advice


def _for_library(plan: AppPlan, name: str) -> list[str]:
    near = _near_modules(plan, name)
    settings = os.environ.get("DJANGO_SETTINGS_MODULE", "")
    if settings and (settings == name or settings.startswith(name + ".")):
        better = f"; did you mean {near[0]}{settings[len(name) :]}?" if near else ""
        return [f"DJANGO_SETTINGS_MODULE is {settings!r}, and there is no such module{better}"]
    if near:
        where = _place_of(near[0], plan)
        return [f"{near[0]} is in {where}; did you mean it?"]
    if "." in name and name.partition(".")[0] in sys.modules:
        return [f"{name.rpartition('.')[0]} is there and has no module {name.rpartition('.')[2]}: is the name right?"]
    if plan.home is None:
        around = [plan.chdir, os.path.dirname(plan.chdir)]
        homes = [os.path.join(place, each) for place in around for each in ("venv", ".venv", "env")]
        for home in homes:
            if os.path.isfile(os.path.join(home, "pyvenv.cfg")):
                return [f"there is a virtual environment beside the project: home = {home}"]
    return [
        f"{name} is not installed for {sys.executable}: {sys.executable} -m pip install ..., "
        "or name the virtual environment that has it: home = DIRECTORY"
    ]


def _for_file(plan: AppPlan, target: str) -> list[str]:
    path = os.path.abspath(target)
    directory, name = os.path.split(path)
    while not os.path.isdir(directory):
        directory, name = os.path.split(directory)
    rest = os.path.relpath(path, os.path.join(directory, name))
    for near in nearest(name, _entries(directory), 3):
        found = os.path.normpath(os.path.join(directory, near, rest))
        if os.path.isfile(found):
            return [f"did you mean {_shown(found, target)}? wsgi-file = {_shown(found, target)}"]
    for place in _directories_with(plan.chdir, target.removesuffix(".py")) if not os.path.isabs(target) else ():
        found = _shown(os.path.join(place, target), target)
        return [f"did you mean {found}? wsgi-file = {found}"]
    return [f"wsgi-file counts from the directory {plan.chdir} (chdir); is the name right?"]


def _shown(path: str, target: str) -> str:
    """Write a path as the user wrote his: absolute, or from the working directory."""
    return path if os.path.isabs(target) else os.path.relpath(path)


def _near_modules(plan: AppPlan, missing: str) -> list[str]:
    """Find modules that are there beside the one that is missing, and are called nearly like it."""
    parent, _, last = missing.rpartition(".")
    around = sys.modules.get(parent)
    places = getattr(around, "__path__", ()) if parent else (*plan.pythonpath, plan.chdir)
    near = nearest(last, _names_in(places) - {last}, 2)
    return [f"{parent}.{name}" if parent else name for name in near]


def _place_of(name: str, plan: AppPlan) -> str:
    parent, _, last = name.rpartition(".")
    places = getattr(sys.modules.get(parent), "__path__", ()) if parent else (*plan.pythonpath, plan.chdir)
    return next((place for place in places if last in _names_in((place,))), plan.chdir)


def _names_in(places: Iterable[str]) -> set[str]:
    """List the modules and packages that lie in directories."""
    names = set()
    for place in places:
        for entry in _entries(place):
            stem, suffix = os.path.splitext(entry)
            if stem.isidentifier() and (suffix == ".py" or (not suffix and os.path.isdir(os.path.join(place, entry)))):
                names.add(stem)
    return names - {"__init__", "__pycache__"}


def _entries(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _directories_with(directory: str, path: str) -> list[str]:
    """Look for a package or module one level above and below `directory`: where it is when chdir is a little off."""
    places = [os.path.dirname(directory), *(os.path.join(directory, entry) for entry in sorted(_entries(directory)))]
    return [
        place
        for place in places
        if os.path.isdir(os.path.join(place, path)) or os.path.isfile(os.path.join(place, f"{path}.py"))
    ][:2]
