"""Several applications in one instance: what is mounted where, and who answers a request that names none of them."""

from __future__ import annotations

import os

from penstock.plan.context import Context
from penstock.plan.types import AppKind, AppPlan, MountingPlan, MountPlan

FILE_SUFFIXES = (".py", ".wsgi")


def mounts(context: Context) -> tuple[MountPlan, ...]:
    """Read every `mount` and `worker-mount`, in the order in which they were written."""
    found: dict[str, MountPlan] = {}
    for setting in context.said.every("mount", "worker-mount"):
        prefix, _, app = str(setting.value).partition("=")
        kind, target, name = _application(context, app)
        mount = MountPlan(prefix.rstrip("/"), kind, target, name, str(setting.origin))
        if mount.point in found:
            message = f"mount = {setting.value}: {found[mount.point].target} is mounted there already"
            cure = f"remove it, or the one at {found[mount.point].origin}"
            context.error("mounted-twice", message, setting.origin, cure)
        found.setdefault(mount.point, mount)
    return tuple(found.values())


def _application(context: Context, text: str) -> tuple[AppKind, str, str]:
    """Tell a file from a module: kind, target and callable."""
    target, _, name = text.partition(":")
    # `shop.wsgi` is a module of most Django projects, and the name of a file elsewhere.
    is_module = not target.endswith(FILE_SUFFIXES) or (
        target.endswith(".wsgi") and "/" not in target and not os.path.exists(context.after_chdir(target))
    )
    return "module" if is_module else "file", target, name or context.said.text("callable") or "application"


def mounting(context: Context, app: AppPlan) -> MountingPlan:
    """Decide how a request finds its application."""
    said = context.said
    by_path = said.flag("manage-script-name")
    points = [mount.point for mount in app.mounts]
    first_id = 0 if app.kind == "none" else 1
    fallback_id = -1
    if app.kind != "none" or not points:
        fallback_id = 0
        if "" in points:
            _warn_of_two_roots(context, app)
    elif "" in points:
        fallback_id = points.index("")
    elif not by_path and not said.flag("no-default-app"):
        fallback_id = 0
        _warn_of_first(context, app.mounts)
    return MountingPlan(
        by_path=by_path,
        by_script_name=not said.flag("ignore-script-name"),
        count=first_id + len(points),
        first_id=first_id,
        fallback_id=fallback_id,
        points=tuple(points),
    )


def _warn_of_two_roots(context: Context, app: AppPlan) -> None:
    message = f"{app.target} is the application of every path that has no other, so mount = / is never asked"
    origin = next(
        setting.origin
        for setting in context.said.every("mount", "worker-mount")
        if not str(setting.value).partition("=")[0].strip("/")
    )
    context.warn("two-root-apps", message, origin, "remove it, or the module or wsgi-file")


def _warn_of_first(context: Context, mounted: tuple[MountPlan, ...]) -> None:
    first = mounted[0]
    message = (
        f"without manage-script-name only the SCRIPT_NAME of a front end chooses an application; "
        f"{first.target} ({first.point}) answers every request without one"
    )
    origin = context.said.every("mount", "worker-mount")[0].origin
    context.warn("first-app-answers", message, origin, "add manage-script-name = true to let the path choose")
