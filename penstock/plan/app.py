"""The application of the plan: what is imported, by which interpreter, and in what surroundings."""

from __future__ import annotations

import glob
import os

from penstock.plan import interpreter, mounts, python
from penstock.plan.context import Context
from penstock.plan.types import AppKind, AppPlan


def app(context: Context) -> AppPlan:
    """What is imported, by which interpreter, and in what surroundings."""
    said = context.said
    module, file, code = said.text("module"), said.text("wsgi-file"), said.text("eval")
    name = said.text("callable") or "application"
    target = next((text for text in (module, file, code) if text is not None), "")
    if module is not None and ":" in module:
        target, _, name = module.partition(":")
        name = name or "application"
    home = _home(context)
    python_plan = interpreter.interpreter(context)
    return AppPlan(
        kind=_kind(module, file, code),
        target=target,
        callable=name,
        chdir=context.chdir,
        pythonpath=_python_path(context),
        environment=interpreter.environment(context),
        interpreter=os.path.join(home, "bin", "python") if home is not None else context.machine.interpreter,
        home=home,
        options=tuple((entry.key, entry.value) for entry in said.entries if entry.key),
        mounts=mounts.mounts(context),
        python=python_plan,
        keeps_input=said.flag("honour-stdin") or python_plan.shell is not None,
        locks=said.number("locks"),
    )


def _kind(module: str | None, file: str | None, code: str | None) -> AppKind:
    """Of several the first counts."""
    if module is not None:
        return "module"
    return "file" if file is not None else "eval" if code is not None else "none"


def _home(context: Context) -> str | None:
    home = context.said.text("home")
    if home is None:
        return None
    home = os.path.normpath(context.after_chdir(home))
    if not python.can_be_run(home):
        why, cure = python.why_not(home, context.machine.user_name())
        context.error("no-interpreter", f"home = {home}: {why}", context.said.origin("home"), cure)
    return home


def _python_path(context: Context) -> tuple[str, ...]:
    """Patterns are expanded; the directory given last stands first, as in uWSGI."""
    found: list[str] = []
    for path in context.said.texts("pythonpath"):
        pattern = context.after_chdir(path)
        found += sorted(glob.glob(pattern)) or [pattern] if glob.has_magic(pattern) else [pattern]
    return tuple(os.path.normpath(path) for path in reversed(found))
