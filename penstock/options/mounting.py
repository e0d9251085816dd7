"""Options of several applications in one instance, each under a path of its own."""

from __future__ import annotations

from penstock.options.option import Option, Value

TITLE = "Several applications"


def is_mount(value: Value) -> str | None:
    """Accept PREFIX=APP with both sides given and a prefix that is a path."""
    prefix, equals, app = str(value).partition("=")
    if not equals or not prefix or not app:
        return "must be written PREFIX=APP, for example /shop=shop.wsgi:application"
    if not prefix.startswith("/"):
        return f"the path must begin with a slash: /{prefix}={app}"
    return None


OPTIONS = (
    Option(
        name="ignore-script-name",
        type="flag",
        tier=3,
        help="do not let the SCRIPT_NAME of the front end choose the application",
    ),
    Option(
        name="manage-script-name",
        type="flag",
        tier=1,
        help="let the path of a request choose the mounted application, and split it into SCRIPT_NAME and PATH_INFO",
        verdict="differs",
        note="a path that no mountpoint fits is 404 unless there is a module, a wsgi-file or a mount = /",
    ),
    Option(
        name="max-apps",
        type="integer",
        tier=3,
        help="number of applications that there is room for",
        verdict="not-needed",
        note="there is room for any number",
    ),
    Option(
        name="mount",
        type="mapping",
        metavar="PREFIX=APP",
        repeatable=True,
        tier=1,
        check=is_mount,
        help="serve an application (file.py, module or module:callable) under a path",
        verdict="differs",
        note="all applications share one interpreter, so that two Django projects need two instances",
    ),
    Option(
        name="no-default-app",
        type="flag",
        tier=3,
        help="never take the first mounted application for a request that names none",
        verdict="differs",
        note="answered with 404; an application of the root answers what has no other",
    ),
    Option(
        name="worker-mount",
        type="mapping",
        metavar="PREFIX=APP",
        repeatable=True,
        tier=3,
        check=is_mount,
        help="the same as mount",
        verdict="differs",
        note="imported with the other applications: before the fork, or in each worker with lazy-apps",
    ),
)
