"""The applications of a configuration, without importing them: where their files are, and what these bind and start.

Part of `survey`. The search is `modules`'; here is what is said about it, and what was probably meant.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches

from penstock.config.settings import Setting
from penstock.plan import app, modules
from penstock.plan.context import Context
from penstock.plan.types import AppKind
from penstock.values import dataclass


@dataclass(frozen=True, slots=True)
class _Named:
    """An application as it was named."""

    setting: Setting
    kind: AppKind
    target: str
    callable: str


def survey_apps(context: Context) -> list[str]:
    """Look for every application; the files that were found."""
    for setting in context.said.every("pythonpath"):
        place = context.after_chdir(str(setting.value))
        if not os.path.exists(place) and not _is_pattern(place):
            message = f"pythonpath = {setting.value}: {place} does not exist"
            context.warn("no-python-path", message, setting.origin, "create it, or correct the path")
    found: list[str] = []
    for named in _named(context):
        path = _module(context, named.target, named.setting) if named.kind == "module" else _file(context, named)
        data = modules.read_source(path) if path else None
        if data is not None:
            found.append(path)
            _top_level(context, path, data, named)
    _settings_module(context)
    return found


def _named(context: Context) -> Iterator[_Named]:
    """Every application, read as the plan reads it; what is wrong with the plan is not said here again."""
    said = context.said
    plan = app.app(Context(said, context.machine))
    if plan.kind in ("module", "file"):
        setting = said.every("module" if plan.kind == "module" else "wsgi-file")[-1]
        yield _Named(setting, plan.kind, plan.target, plan.callable)
    mounts = {str(setting.origin): setting for setting in said.every("mount", "worker-mount")}
    for mount in plan.mounts:
        if mount.origin in mounts:
            yield _Named(mounts[mount.origin], mount.kind, mount.target, mount.callable)


def _file(context: Context, named: _Named) -> str:
    path = context.after_chdir(named.target)
    if os.path.isfile(path):
        return path
    what = "is a directory" if os.path.isdir(path) else "does not exist"
    # An absolute path counts from nowhere.
    counts_from = "correct the path" if os.path.isabs(named.target) else f"it counts from chdir, {context.chdir}"
    cure = _nearby(path) or counts_from
    message = f"{named.setting.option.name} = {named.setting.value}: {path} {what}"
    context.error("no-app-file", message, named.setting.origin, cure)
    return ""


def _is_pattern(path: str) -> bool:
    return any(letter in path for letter in "*?[")


def _module(context: Context, target: str, setting: Setting) -> str:
    """Find a module's source; say where it was looked for if it is nowhere."""
    if not target or not all(part.isidentifier() for part in target.split(".")):
        return ""
    places, is_certain = _places(context)
    found = modules.find(target, places, is_certain)
    if found.is_found or not found.is_certain:
        return found.file
    own = [place for place in places if "site-packages" not in place]
    if found.inside:
        message = f"{setting.option.name} = {setting.value}: {found.inside} has no {found.missing.rpartition('.')[2]}"
        names = _modules_in(found.inside)
        near = get_close_matches(found.missing.rpartition(".")[2], names, 1)
        parent = found.missing.rpartition(".")[0]
        cure = f"did you mean {parent}.{near[0]}?" if near else f"it has {', '.join(names[:8]) or 'no modules'}"
    else:
        message = f"{setting.option.name} = {setting.value}: there is no {found.missing} in {', '.join(own)}"
        cure = (
            _elsewhere(context, found.missing) or "correct the name, or chdir to the directory that its package is in"
        )
    context.error("no-module", message, setting.origin, cure)
    return ""


def _places(context: Context) -> tuple[list[str], bool]:
    """Where the application's interpreter looks, and whether that is all."""
    said, machine = context.said, context.machine
    own = [context.after_chdir(path) for path in reversed(said.texts("pythonpath"))]
    is_certain = all(os.path.isdir(place) for place in own if os.path.exists(place))
    is_certain = is_certain and not any(map(_is_pattern, own))
    places = [*dict.fromkeys(os.path.normpath(place) for place in (*own, context.chdir))]
    variables = dict(pair.split("=", 1) for pair in said.texts("env") if "=" in pair)
    late = f"{variables.get('PYTHONPATH', '')}:{machine.python_path}"
    places += [place for place in late.split(":") if place and place not in places]
    home = said.text("home")
    if home is None:
        rest, rest_is_certain = modules.with_pth(machine.site_directories())
    else:
        rest, rest_is_certain = modules.site_directories(os.path.normpath(context.after_chdir(home)))
    return [*places, *rest], is_certain and rest_is_certain


def _modules_in(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    return [name.removesuffix(".py") for name in names if name.endswith(".py") and not name.startswith("_")]


def _elsewhere(context: Context, name: str) -> str:
    """Look for a package a directory deeper, and one higher: the usual slip of chdir."""
    for place in (*_directories_in(context.chdir), os.path.dirname(context.chdir)):
        if os.path.isfile(os.path.join(place, name, "__init__.py")) or os.path.isfile(
            os.path.join(place, f"{name}.py")
        ):
            return f"there is one in {place}: chdir = {place}"
    names = [*_modules_in(context.chdir), *(os.path.basename(place) for place in _directories_in(context.chdir))]
    near = get_close_matches(name, names, 1)
    return f"did you mean {near[0]}?" if near else ""


def _directories_in(directory: str) -> Iterator[str]:
    try:
        names = sorted(os.listdir(directory))[:1000]
    except OSError:
        return
    for name in names:
        place = os.path.join(directory, name)
        if not name.startswith(".") and os.path.isdir(place):
            yield place


def _nearby(path: str) -> str:
    """Suggest a file of nearly this name, in its directory or one deeper."""
    directory, name = os.path.split(path)
    near = get_close_matches(name, [f"{each}.py" for each in _modules_in(directory)], 1)
    if near:
        return f"did you mean {os.path.join(directory, near[0])}?"
    deeper = [place for place in _directories_in(directory) if os.path.isfile(os.path.join(place, name))]
    return f"did you mean {os.path.join(deeper[0], name)}?" if deeper else ""


def _top_level(context: Context, path: str, data: bytes, named: _Named) -> None:
    """Read what the application's file binds, and what it starts."""
    said = context.said
    origin = named.setting.origin
    try:
        source = modules.read_top_level(data)
    except (SyntaxError, ValueError) as error:
        home = said.text("home")
        version = modules.version_of(context.after_chdir(home)) if home is not None else ""
        if version in ("", context.machine.python_version):
            line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            text = error.msg if isinstance(error, SyntaxError) else str(error)
            context.error("app-syntax", f"{path}{line} is not valid Python: {text}", origin, "correct it")
        return
    wanted = named.callable.partition(".")[0].partition("(")[0]
    is_submodule = os.path.exists(os.path.join(os.path.dirname(path), f"{wanted}.py"))
    if source.is_certain and wanted not in source.names and not is_submodule:
        likely = [each for each in sorted(source.names) if "app" in each.lower()]
        likely += get_close_matches(wanted, sorted(source.names - set(likely)), 1)
        cure = f"did you mean {' or '.join(likely[:3])}? callable = {likely[0]}" if likely else "define it there"
        by_callable = said.given("callable") and ":" not in str(named.setting.value)
        where = said.origin("callable") if by_callable else origin
        context.error("no-callable", f"{path} has no {wanted} at its top level", where, cure)
    if source.threads and not said.flag("lazy-apps"):
        message = f"{path}:{source.threads[0]} starts a thread while it is imported, before the workers are forked: "
        cure = "start it in a function marked with uwsgidecorators.postfork, or add lazy-apps = true"
        context.warn("thread-before-fork", message + "none of them will have it", origin, cure)


def _settings_module(context: Context) -> None:
    for setting in context.said.every("env"):
        name, _, value = str(setting.value).partition("=")
        if name != "DJANGO_SETTINGS_MODULE" or not all(part.isidentifier() for part in value.split(".")):
            continue
        places, is_certain = _places(context)
        found = modules.find(value, places, is_certain)
        if found.is_certain and not found.is_found:
            where = found.inside or ", ".join(place for place in places if "site-packages" not in place)
            message = f"DJANGO_SETTINGS_MODULE = {value}: there is no {found.missing} in {where}"
            cure = "correct the name, or chdir to the directory that its package is in"
            context.warn("no-settings-module", message, setting.origin, cure)
