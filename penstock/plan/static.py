"""The files that the plan serves without the application."""

from __future__ import annotations

import os

from penstock.plan.context import Context
from penstock.plan.types import StaticPlan


def static_files(context: Context) -> StaticPlan:
    """What is served as it lies on disk."""
    return StaticPlan(
        maps=_static_maps(context),
        safe=tuple(context.after_chdir(path) for path in context.said.texts("static-safe")),
        mime_types=context.machine.mime_types() if context.said.texts("static-map") else "",
    )


def _static_maps(context: Context) -> tuple[tuple[str, str], ...]:
    maps: list[tuple[str, str]] = []
    for setting in context.said.every("static-map"):
        prefix, _, path = str(setting.value).partition("=")
        place = context.after_chdir(path.strip()).rstrip("/") or "/"
        if not os.path.exists(place):
            message = f"static-map = {setting.value}: {place} does not exist"
            cure = "create it (for Django: manage.py collectstatic), or correct the path"
            context.warn("no-static-files", message, setting.origin, cure)
        maps.append(("/" + prefix.strip().strip("/"), place))
    return tuple(maps)
