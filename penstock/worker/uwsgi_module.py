"""The modules `uwsgi` and `uwsgidecorators` as an app may import them inside the server.

Only what is true without a request is here; a name that is missing is missing (AttributeError), because libraries
probe with hasattr. Strings are bytes, as uWSGI's are.
"""

from __future__ import annotations

import importlib.machinery
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from penstock.worker.channel import Start
from penstock.worker.request_log import LogsRequests, RequestLog
from penstock.worker.server_log import say

COMPATIBLE_VERSION = (2, 0, 31)
"""The uWSGI release whose behaviour Penstock takes over. Clients compare it to know which options exist."""

ALWAYS_ON = ("enable-threads", "master", "py-call-uwsgi-fork-hooks")
"""What Penstock does whatever is written; monitoring clients refuse to start, or warn, where `opt` lacks them."""

Hook = Callable[[], Any]


class Modules:
    """The two modules of this process, and what the server itself needs of them."""

    def __init__(self, start: Start) -> None:
        """Make both for the instance that `start` describes, and let `import` find them."""
        self._worker_id = 0
        self._master_pid = start.master_pid
        self._postfork: list[tuple[int, Hook]] = []
        self._request_log = RequestLog()
        self.uwsgi = self._make_uwsgi(start)
        sys.modules["uwsgi"] = self.uwsgi
        sys.modules["uwsgidecorators"] = self._make_decorators()

    def enter_worker(self, worker_id: int) -> None:
        """From here on this process is that worker."""
        self._worker_id = worker_id

    def enter_engine(self, engine: LogsRequests) -> None:
        """From here on there are requests."""
        self._request_log.engine = engine

    def enter_core(self, number: int) -> None:
        """From here on this thread is that app thread."""
        self._request_log.thread.core = number

    def run_postfork_hooks(self) -> None:
        """Call what the app wants called in each worker. One that fails is logged, and the worker goes on."""
        hooks = [hook for wanted, hook in self._postfork if wanted in (0, self._worker_id)]
        single = getattr(self.uwsgi, "post_fork_hook", None)
        for hook in [*([single] if callable(single) else []), *hooks]:
            try:
                hook()
            except Exception:
                say(f"post-fork hook {getattr(hook, '__name__', hook)!s} failed:\n{traceback.format_exc()}")

    def run_atexit(self) -> None:
        """Call `uwsgi.atexit` if the app assigned one."""
        hook = getattr(self.uwsgi, "atexit", None)
        if callable(hook):
            try:
                hook()
            except Exception:
                say(f"uwsgi.atexit failed:\n{traceback.format_exc()}")

    def _make_uwsgi(self, start: Start) -> ModuleType:
        module = _empty_module("uwsgi", "What the server tells the app about itself.")
        opt = options(start.app.options)
        vars(module).update(
            version=".".join(map(str, COMPATIBLE_VERSION)).encode(),
            version_info=(*COMPATIBLE_VERSION, 0, b""),
            hostname=os.fsencode(os.uname().nodename),
            opt=opt,
            numproc=start.processes,
            cores=start.engine.threads,
            buffer_size=start.engine.head_limit_bytes,
            has_threads=1,
            started_on=int(time.time()),
            is_a_reload=start.is_reload,
            applications=None,
            masterpid=self._masterpid,
            worker_id=self._get_worker_id,
            mule_id=_mule_id,
            log=_log,
            reload=self._reload,
            stop=self._stop,
            set_logvar=self._request_log.set_logvar,
            get_logvar=self._request_log.get_logvar,
            log_this_request=self._request_log.log_this_request,
        )
        return module

    def _make_decorators(self) -> ModuleType:
        module = _empty_module("uwsgidecorators", "Decorators around the `uwsgi` module.")
        vars(module).update(postfork=self._register_postfork, __all__=["postfork"])
        return module

    def _masterpid(self) -> int:
        """Return the process id of the master."""
        return self._master_pid

    def _get_worker_id(self) -> int:
        """Return 1 for the first worker, and 0 before there are workers."""
        return self._worker_id

    def _reload(self) -> bool | None:
        """Ask the master for a reload; None if it can not be reached."""
        return self._signal_master(signal.SIGHUP)

    def _stop(self) -> bool | None:
        """Ask the master to stop; None if it can not be reached."""
        return self._signal_master(signal.SIGINT)

    def _signal_master(self, number: int) -> bool | None:
        try:
            os.kill(self._master_pid, number)
        except OSError:
            return None
        return True

    def _register_postfork(self, target: Hook | int) -> Any:
        """Register a function for every worker (`@postfork`), or for one (`@postfork(2)`)."""
        if callable(target):
            self._postfork.append((0, target))
            return target

        def register(function: Hook) -> Hook:
            self._postfork.append((target, function))
            return function

        return register


def options(pairs: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """Make `uwsgi.opt` of the options as written: str -> bytes, True for a flag without a value, a list for repeats."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        shown = True if value is None or value is True else os.fsencode(str(value))
        if name not in found:
            found[name] = shown
        elif isinstance(found[name], list):
            found[name].append(shown)
        else:
            found[name] = [found[name], shown]
    for name in ALWAYS_ON:
        found.setdefault(name, b"true")
    return found


def _empty_module(name: str, doc: str) -> ModuleType:
    module = ModuleType(name, doc)
    # importlib.util.find_spec raises for a module without one, and that is how some libraries look for the server.
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, origin="penstock")
    return module


def _mule_id() -> int:
    """Return 0: this process is no mule."""
    return 0


def _log(text: str | bytes) -> bool:
    """Write a line to the server log."""
    say(text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text)
    return True
