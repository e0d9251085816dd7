"""The modules `uwsgi` and `uwsgidecorators` as an app may import them inside the server.

Here: their names, and when each part of them begins to be true. What is behind the names has modules of its own
(`app_locks`, `app_signals`, `instance_view`, `request_log`, `decorators`); what uWSGI has and Penstock has not is
`absent`. Strings are bytes, as uWSGI's are.
"""

from __future__ import annotations

import importlib.machinery
import os
import select
import signal
import stat
import sys
import time
import traceback
from collections.abc import Callable
from functools import cached_property
from operator import index
from types import ModuleType
from typing import TYPE_CHECKING, Any

from penstock import titles
from penstock.worker import absent
from penstock.worker.app_locks import Locks
from penstock.worker.app_signals import Signals
from penstock.worker.channel import Start
from penstock.worker.decorators import Decorators
from penstock.worker.request_log import LogsRequests, RequestLog
from penstock.worker.server_log import say
from penstock.worker.stuck import HarakiriError

if TYPE_CHECKING:
    from penstock.worker.instance_view import InstanceView

COMPATIBLE_VERSION = (2, 0, 31)
"""The uWSGI release whose behaviour Penstock takes over. Clients compare it to know which options exist."""

ALWAYS_ON = ("enable-threads", "master", "py-call-uwsgi-fork-hooks")
"""What Penstock does whatever is written; monitoring clients refuse to start, or warn, where `opt` lacks them."""

SPOOL_RESULTS = {"SPOOL_OK": -2, "SPOOL_RETRY": -1, "SPOOL_IGNORE": 0}

Hook = Callable[..., Any]


class Modules:
    """The two modules of this process, and what the server itself needs of them."""

    def __init__(self, start: Start) -> None:
        """Make both for the instance that `start` describes, and let `import` find them."""
        self._start = start
        self._worker_id = 0
        self._notices = absent.Notices()
        self._master_pid = start.master_pid
        self._request_log = RequestLog()
        self._signals = Signals(start.processes, self._notices.tell)
        # Lock 0 is always there.
        self._locks = Locks(start.locks_fd, 1 + start.app.locks)
        self.uwsgi = self._make_uwsgi(start)
        self._decorators = Decorators(self.uwsgi, self._notices.tell)
        sys.modules["uwsgi"] = self.uwsgi
        sys.modules["uwsgidecorators"] = self._make_decorators()

    def enter_worker(self, worker_id: int) -> None:
        """From here on this process is that worker."""
        self._worker_id = self._notices.worker = worker_id
        self._locks.forget()

    def enter_engine(self, engine: LogsRequests) -> None:
        """From here on there are requests, and signals are handled."""
        self._request_log.engine = engine
        self._notices.is_accepting = True
        self._signals.enter_worker(self._worker_id)

    def enter_core(self, number: int) -> None:
        """From here on this thread is that app thread."""
        self._request_log.thread.core = number

    def leave(self) -> None:
        """In a process that the app forked: the locks of its parent are not its own."""
        self._locks.forget()

    def tell_what_is_not_read(self) -> None:
        """Name what the app has assigned to the module in vain."""
        absent.tell_what_is_not_read(vars(self.uwsgi), self._notices.tell)

    def run_postfork_hooks(self) -> None:
        """Call what the app wants called in each worker. One that fails is logged, and the worker goes on."""
        hooks = [hook for wanted, hook in self._decorators.postfork_hooks if wanted in (0, self._worker_id)]
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
            loop=None,
            unbit=None,
            sockets=[listener.fd for listener in start.listeners],
            masterpid=self._masterpid,
            mypid=os.getpid,
            worker_id=self._get_worker_id,
            workers=self._workers,
            total_requests=self._total_requests,
            request_id=self._request_id,
            mule_id=_mule_id,
            i_am_the_spooler=_no,
            in_farm=_no,
            accepting=_no,
            ready=self._ready,
            listen_queue=self._listen_queue,
            mem=_mem,
            log=_log,
            logsize=self._logsize,
            micros=_micros,
            setprocname=_setprocname,
            reload=self._reload,
            stop=self._stop,
            is_connected=_is_connected,
            connection_fd=self._request_log.connection_fd,
            set_logvar=self._request_log.set_logvar,
            get_logvar=self._request_log.get_logvar,
            log_this_request=self._request_log.log_this_request,
            lock=self._locks.lock,
            unlock=self._locks.unlock,
            is_locked=self._locks.is_locked,
            register_signal=self._signals.register_signal,
            signal=self._signals.signal,
            signal_registered=self._signals.signal_registered,
            **SPOOL_RESULTS,
            **dict(absent.registrations(self._notices.tell)),
            __getattr__=absent.missing,
            set_user_harakiri=self._request_log.set_user_harakiri,
            HarakiriError=HarakiriError,
        )
        if isinstance(opt.get("pidfile"), bytes):
            module.pidfile = opt["pidfile"]  # type: ignore[attr-defined]
        return module

    def _make_decorators(self) -> ModuleType:
        module = _empty_module("uwsgidecorators", "Decorators around the `uwsgi` module.")
        self._decorators.fill(module)
        return module

    @cached_property
    def _view(self) -> InstanceView:
        # Few apps ask, and no process shall have mapped it that does not.
        from penstock.worker.instance_view import InstanceView

        return InstanceView(self._start)

    def _masterpid(self) -> int:
        """Return the process id of the master."""
        return self._master_pid

    def _get_worker_id(self) -> int:
        """Return 1 for the first worker, and 0 before there are workers."""
        return self._worker_id

    def _workers(self) -> tuple[dict[str, Any], ...]:
        """Describe each worker."""
        return self._view.workers()

    def _total_requests(self) -> int:
        """Return how many requests all workers have answered."""
        return self._view.total_requests()

    def _request_id(self) -> int:
        """Return how many requests this app thread has answered."""
        return self._view.request_id(self._worker_id, max(0, self._request_log.thread.core)) if self._worker_id else 0

    def _ready(self) -> bool | None:
        """Return True in a worker that accepts requests."""
        return True if self._notices.is_accepting else None

    def _listen_queue(self, number: int = 0) -> int:
        """Return how many connections wait at a socket, by its place in the configuration."""
        from penstock.worker.instance_view import waiting_connections

        if not 0 <= index(number) < len(self._start.listeners):
            raise ValueError(f"unable to find socket {number}")
        return waiting_connections(self._start.listeners[number].fd)

    def _logsize(self) -> int:
        """Return the size of the log file in bytes, 0 if the log is no file."""
        found = os.fstat(self._start.log_fd)
        return found.st_size if stat.S_ISREG(found.st_mode) else 0

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


def _no(*arguments: Any) -> None:
    """Return None, which is uWSGI's way to say no; and there is nothing to do."""


def _mem() -> tuple[int, int]:
    """Return the resident memory and the address space of this process, in bytes."""
    from penstock.observe.proc import memory_bytes

    return memory_bytes(os.getpid())


def _micros() -> int:
    """Return the time in microseconds since 1970."""
    return time.time_ns() // 1000


def _setprocname(title: str) -> None:
    """Give this process a title."""
    if not isinstance(title, str):
        raise TypeError(f"setprocname() argument 1 must be str, not {type(title).__name__}")
    titles.set_title((title,), title)


def _is_connected(descriptor: int) -> bool:
    """Whether a socket is there, has no error, and its other end has not closed it."""
    descriptor = index(descriptor)
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
    except (OSError, OverflowError):
        return False
    poller = select.poll()
    # An error of the socket is always reported.
    poller.register(descriptor, select.POLLRDHUP)
    return not poller.poll(0)


def _log(text: str | bytes) -> bool:
    """Write a line to the server log."""
    if not isinstance(text, (str, bytes)):
        raise TypeError(f"log() argument 1 must be str, not {type(text).__name__}")
    say(text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text)
    return True
