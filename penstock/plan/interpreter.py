"""The Python of the applications: its flags, its environment, and what is imported beside them."""

from __future__ import annotations

import os

from penstock.config.convert import FALSE_WORDS, TRUE_WORDS
from penstock.options.table import BY_NAME
from penstock.plan.context import Context
from penstock.plan.types import PythonPlan

HIGHEST_LEVEL = 2
"""Of `optimize`; Python takes more and does no more."""


def interpreter(context: Context) -> PythonPlan:
    """Everything about the interpreter but which one it is."""
    said = context.said
    level = min(said.number("optimize"), HIGHEST_LEVEL)
    if said.flag("catch-exceptions"):
        context.warn(
            "shows-exceptions",
            "whoever makes the application fail sees its source lines",
            said.origin("catch-exceptions"),
            "remove catch-exceptions before others reach this instance",
        )
    once = _shell(context, "pyshell-oneshot")
    return PythonPlan(
        flags=(*(("-" + "O" * level,) if level else ()), *(("-S",) if said.flag("no-site") else ())),
        arguments=tuple((said.text("pyargv") or "").split()),
        executable=said.text("py-executable") or said.text("py-programname"),
        aliases=_pairs(context, "pymodule-alias"),
        late_aliases=_pairs(context, "post-pymodule-alias"),
        shared_imports=said.texts("shared-import"),
        imports=said.texts("import"),
        chdir_after=_directory(context, "chdir2"),
        tracebacker=_after_chdir(context, "py-tracebacker"),
        accepts_buffers=said.flag("wsgi-accept-buffer"),
        strict_body=said.flag("wsgi-strict"),
        shows_exceptions=said.flag("catch-exceptions"),
        recycle_on=_recycle_on(context),
        exit_handlers="none" if said.flag("skip-atexit") else "own" if said.flag("skip-atexit-teardown") else "all",
        shell=once if once is not None else _shell(context, "pyshell"),
        shell_is_once=once is not None,
    )


def _shell(context: Context, name: str) -> str | None:
    """The code; empty for a prompt, None where there is to be neither."""
    if not context.said.given(name):
        return None
    text = context.said.text(name) or ""
    if text.lower() in FALSE_WORDS:
        return None
    return "" if text.lower() in TRUE_WORDS else text


def environment(context: Context) -> tuple[tuple[str, str | None], ...]:
    """`env` and `unenv` in the order in which they were written, then the files of `envdir`."""
    found: list[tuple[str, str | None]] = []
    for entry in context.said.entries:
        option = BY_NAME.get(entry.key)
        if option is None or option.name not in ("env", "unenv") or entry.value is None or entry.is_placeholder:
            continue
        name, equals, value = entry.value.partition("=")
        if option.name == "unenv":
            found.append((entry.value, None))
        elif equals:
            found.append((name, value))
    for setting in context.said.every("envdir"):
        found += _read_directory(context, str(setting.value))
    return tuple(found)


def _read_directory(context: Context, path: str) -> list[tuple[str, str | None]]:
    """A variable for each file, as daemontools has it; an empty file removes its variable."""
    found: list[tuple[str, str | None]] = []
    directory = os.path.join(context.machine.cwd, path)
    try:
        for name in sorted(os.listdir(directory)):
            file = os.path.join(directory, name)
            if name.startswith(".") or "=" in name or not os.path.isfile(file):
                continue
            with open(file, "rb") as content:
                text = content.read(1 << 20).partition(b"\0")[0].rstrip(b"\r\n")
            found.append((name, os.fsdecode(text) if text else None))
    except OSError as error:
        message = f"envdir = {path}: {error.strerror} ({error.filename})"
        context.error("no-envdir", message, context.said.origin("envdir"), "create it, or correct the path")
    return found


def _pairs(context: Context, name: str) -> tuple[tuple[str, str], ...]:
    parts = (text.partition("=") for text in context.said.texts(name))
    return tuple((alias, module) for alias, _, module in parts)


def _after_chdir(context: Context, name: str) -> str | None:
    path = context.said.text(name)
    return None if path is None else context.after_chdir(path)


def _directory(context: Context, name: str) -> str | None:
    path = _after_chdir(context, name)
    if path is not None and not os.path.isdir(path):
        message = f"{name} = {path}: there is no such directory"
        context.error("no-directory", message, context.said.origin(name), "create it, or correct the path")
    return path


def _recycle_on(context: Context) -> tuple[tuple[str, str], ...]:
    said = context.said
    found = [("any", "")] if said.flag("reload-on-exception") else []
    for part in ("type", "value", "repr"):
        found += [(part, text) for text in said.texts(f"reload-on-exception-{part}")]
    return tuple(found)
