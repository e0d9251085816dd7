"""What is imported beside the applications: modules and files that options name, and second names for modules."""

from __future__ import annotations

import sys
import traceback
from types import ModuleType

from penstock.worker.loader import AppNotLoaded, import_file, import_module
from penstock.worker.server_log import say


def import_all(option: str, names: tuple[str, ...]) -> None:
    """Import what `option` names, in order. Raises AppNotLoaded."""
    for name in names:
        _import(option, name)


def alias_all(option: str, pairs: tuple[tuple[str, str], ...]) -> None:
    """Give each module its second name. Raises AppNotLoaded."""
    for alias, name in pairs:
        sys.modules[alias] = _import(option, name)
        say(f"{name} is mapped to the module name {alias}")


def _import(option: str, name: str) -> ModuleType:
    try:
        return import_file(name) if name.endswith((".py", ".wsgi")) or "/" in name else import_module(name)
    except BaseException as error:
        reason = traceback.format_exception_only(error)[-1].strip()
        status = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else None
        raise AppNotLoaded(
            f"{option} = {name}: {reason}",
            ("correct the name, or remove it; files count from the directory of chdir",),
            traceback.format_exc(),
            status,
        ) from error
