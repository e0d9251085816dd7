"""The files that the plan serves without the application."""

from __future__ import annotations

import os
from typing import Literal

from penstock.config.settings import Setting
from penstock.plan import patterns
from penstock.plan.context import Context
from penstock.plan.types import ExpiryPlan, StaticMapPlan, StaticPlan

Subject = Literal["name", "path-info", "uri", "type"]

_EXPIRES: tuple[tuple[str, Subject, bool], ...] = (
    ("static-expires", "name", False),
    ("static-expires-mtime", "name", True),
    ("static-expires-path-info", "path-info", False),
    ("static-expires-path-info-mtime", "path-info", True),
    ("static-expires-uri", "uri", False),
    ("static-expires-uri-mtime", "uri", True),
    ("static-expires-type", "type", False),
    ("static-expires-type-mtime", "type", True),
)
"""Option, what it looks at, whether it counts from the last change; in the order in which they are tried."""

_SERVE_MODES: dict[str, Literal["x-accel-redirect", "x-sendfile"]] = {
    "nginx": "x-accel-redirect",
    "x-accel-redirect": "x-accel-redirect",
    "xaccelredirect": "x-accel-redirect",
    "x-sendfile": "x-sendfile",
    "xsendfile": "x-sendfile",
}


def static_files(context: Context, *, is_needed: bool = False) -> StaticPlan:
    """What is served as it lies on disk. `is_needed`: something else serves files, and wants to know how."""
    said = context.said
    maps = _maps(context)
    docroot = said.flag("check-static-docroot")
    if not maps and not docroot and not is_needed:
        _warn_of_nothing_served(context)
        return StaticPlan()
    return StaticPlan(
        maps=maps,
        docroot=docroot,
        safe=tuple(context.after_chdir(path) for path in said.texts("static-safe")),
        index=tuple(name.strip("/") for name in said.texts("static-index")),
        skipped_suffixes=tuple(said.texts("static-skip-ext")),
        compressed_all=said.flag("static-gzip-all"),
        compressed_patterns=_compressed_patterns(context),
        compressed_prefixes=tuple(context.after_chdir(path) for path in said.texts("static-gzip-dir")),
        compressed_suffixes=tuple(said.texts("static-gzip-ext")),
        expires=_expires(context),
        serve_mode=_SERVE_MODES.get((said.text("file-serve-mode") or "").lower(), ""),
        mime_types=_mime_types(context),
    )


def _maps(context: Context) -> tuple[StaticMapPlan, ...]:
    """The places in the order in which uWSGI looks: `check-static`, `static-map`, `static-map2`."""
    maps = [
        StaticMapPlan("/", _place(context, setting, str(setting.value)), keeps_prefix=True)
        for setting in context.said.every("check-static")
    ]
    for name in ("static-map", "static-map2"):
        for setting in context.said.every(name):
            prefix, _, path = str(setting.value).partition("=")
            place = _place(context, setting, path)
            maps.append(StaticMapPlan("/" + prefix.strip().strip("/"), place, keeps_prefix=name == "static-map2"))
    return tuple(maps)


def _place(context: Context, setting: Setting, path: str) -> str:
    place = context.after_chdir(path.strip()).rstrip("/") or "/"
    if not os.path.exists(place):
        message = f"{setting.option.name} = {setting.value}: {place} does not exist"
        cure = "create it (for Django: manage.py collectstatic), or correct the path"
        context.warn("no-static-files", message, setting.origin, cure)
    return place


def _warn_of_nothing_served(context: Context) -> None:
    """Options that say how files are served, where nothing says which: a forgotten map, most likely."""
    names = ("static-index", "static-gzip-all", "file-serve-mode", *(name for name, _, _ in _EXPIRES))
    given = next((name for name in names if context.said.given(name)), None)
    if given is not None:
        message = f"{given} is about static files, and none are served"
        cure = "name them: static-map = /static=/srv/app/static; or remove it"
        context.warn("nothing-static", message, context.said.origin(given), cure)


def _compressed_patterns(context: Context) -> tuple[str, ...]:
    return tuple(
        str(setting.value)
        for setting in context.said.every("static-gzip")
        if patterns.check(context, setting, str(setting.value))
    )


def _expires(context: Context) -> tuple[ExpiryPlan, ...]:
    """The rules; that each ends in a number was seen when it was read."""
    rules: list[ExpiryPlan] = []
    for name, subject, from_change in _EXPIRES:
        for setting in context.said.every(name):
            text = str(setting.value).strip()
            pattern, _, seconds = text.rpartition("=" if subject == "type" and "=" in text else " ")
            pattern = pattern.strip()
            if subject == "type" or patterns.check(context, setting, pattern):
                rules.append(ExpiryPlan(subject, pattern, int(seconds), from_change))
    return tuple(rules)


def _mime_types(context: Context) -> str:
    """The table of content types: the system's, or that of the files that were named."""
    given = context.said.every("mimefile")
    if not given:
        return context.machine.mime_types()
    files = [context.after_chdir(str(setting.value)) for setting in given]
    for setting, file in zip(given, files, strict=True):
        if not os.path.isfile(file):
            message = f"mimefile = {setting.value}: there is no such file"
            context.warn("no-mime-types", message, setting.origin, "correct the path; types that are usual are known")
    return context.machine.mime_types(files)
