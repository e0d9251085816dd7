"""The environment in which an application of a configuration is imported: what a project is asked in, too."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.plan.types import Plan


def environ_of(plan: Plan, environ: Mapping[str, str]) -> dict[str, str]:
    """Add to an environment what the configuration says: its variables, and the folders of `pythonpath`."""
    made = dict(environ)
    for name, value in plan.app.environment:
        made.pop(name, None)
        if value is not None:
            made[name] = value
    if plan.app.pythonpath:
        before = [made["PYTHONPATH"]] if made.get("PYTHONPATH") else []
        made["PYTHONPATH"] = ":".join([*plan.app.pythonpath, *before])
    return made
