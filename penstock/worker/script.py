"""A script in the surroundings of the applications, instead of serving (`pyrun`), or the import of a module (`test`).

What an application would find is there: directory, environment, `sys.path`, the module `uwsgi`, and the applications
themselves, already imported. From then on this process is an ordinary Python that runs one file, with its own signals,
its own exit status and the terminal that the command was typed at.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from types import ModuleType, TracebackType
from typing import NoReturn

from penstock._engine import catalogue
from penstock.observe.scoreboard import Layout, Scoreboard
from penstock.plan.process_types import ScriptPlan
from penstock.plan.types import from_json_value
from penstock.worker import fork_safety, signals, surroundings
from penstock.worker.channel import Start, lone_start, read_all
from penstock.worker.failures import FailureLog
from penstock.worker.generation import import_apps, import_shared
from penstock.worker.loader import AppNotLoaded
from penstock.worker.server_log import say
from penstock.worker.uwsgi_module import Modules

EXIT_FAILED = 1


def run(descriptor: int) -> None:
    """Run what the document behind `descriptor` names; a SystemExit is the script's."""
    document = json.loads(read_all(descriptor))
    os.close(descriptor)
    script = from_json_value(ScriptPlan, document["script"])
    # Without workers, but the module `uwsgi` reads it.
    board = Scoreboard(Layout.of(catalogue()["scoreboard"]), 1, document["engine"]["threads"])
    start = lone_start(document, board.fd)
    modules = Modules(start)
    modules.enter_worker(1)
    try:
        surroundings.prepare(start)
    except surroundings.Unfit as error:
        say(str(error))
        sys.exit(EXIT_FAILED)
    if script.kind == "module":
        _try_import(script.target)
    _import_apps(start)
    _run_file(script.target, start.app.python.arguments)


def _try_import(name: str) -> NoReturn:
    try:
        __import__(name)
    except SystemExit:
        raise
    except BaseException as error:
        _print(error)
        sys.exit(EXIT_FAILED)
    sys.exit(0)


def _import_apps(start: Start) -> None:
    """Import what would be served, if anything would."""
    failures = FailureLog(is_reload=False)
    try:
        import_shared(start, failures, fork_safety.Before())
        if start.app.description:
            import_apps(start, failures)
    except AppNotLoaded as failure:
        sys.exit(failure.status)
    finally:
        signals.restore()


def _run_file(path: str, arguments: tuple[str, ...]) -> None:
    """Run a file as the main module. Its directory is not on `sys.path`, as in uWSGI."""
    main = ModuleType("__main__")
    main.__file__ = path
    sys.modules["__main__"] = main
    sys.argv = [path, *arguments]
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        say(f"pyrun = {path}: {error.strerror}")
        sys.exit(EXIT_FAILED)
    try:
        exec(compile(source, path, "exec"), vars(main))
    except SystemExit:
        raise
    except BaseException as error:
        _print(error)
        sys.exit(EXIT_FAILED)


def _print(error: BaseException) -> None:
    """Print the traceback as Python would, without the frames of this file."""
    tb: TracebackType | None = error.__traceback__
    while tb is not None and tb.tb_frame.f_code.co_filename == __file__:
        tb = tb.tb_next
    traceback.print_exception(type(error), error, tb)
