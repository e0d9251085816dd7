"""What uWSGI's modules have and Penstock's have not: for each name what is not here, and what to use instead.

A name of `uwsgi` that is not here is missing (AttributeError, with the reason), because libraries probe with hasattr,
and `from uwsgi import cache_get` may stand in a `try` with a way out. What an app does once, at its import, to have
something done later (a timer, a cron job) must not keep it from starting: that is accepted, and the log says that
nothing comes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from penstock.worker.server_log import say

Tell = Callable[[str], None]

FAMILIES: tuple[tuple[str, str, str], ...] = (
    (
        "cache_clear cache_dec cache_del cache_div cache_exists cache_get cache_inc cache_keys cache_mul cache_num "
        "cache_set cache_update",
        "there is no cache in shared memory yet",
        "use Django's cache framework, Redis or Valkey",
    ),
    (
        "metric_dec metric_div metric_get metric_inc metric_mul metric_set metric_set_max metric_set_min",
        "there are no metrics of the application yet",
        "use prometheus-client, StatsD or OpenTelemetry",
    ),
    (
        "spool send_to_spooler spooler spooler_jobs spooler_pid spooler_pids spooler_get_task set_spooler_frequency "
        "spoolers",
        "there is no spooler yet",
        "use Celery, RQ, Huey or a table of the database",
    ),
    (
        "mule_msg mule_get_msg farm_msg farm_get_msg",
        "there are no mules yet",
        "run the program beside the workers (attach-daemon), and talk to it over a socket or Redis",
    ),
    (
        "queue_push queue_pull queue_pop queue_get queue_set queue_last queue_slot queue_pull_slot queue_size",
        "there is no queue in shared memory",
        "use Redis, Valkey or the database",
    ),
    (
        "sharedarea_dec32 sharedarea_dec64 sharedarea_inc32 sharedarea_inc64 sharedarea_inclong sharedarea_memoryview "
        "sharedarea_object sharedarea_read sharedarea_read16 sharedarea_read32 sharedarea_read64 sharedarea_read8 "
        "sharedarea_readbyte sharedarea_readlong sharedarea_rlock sharedarea_unlock sharedarea_wlock sharedarea_write "
        "sharedarea_write16 sharedarea_write32 sharedarea_write64 sharedarea_write8 sharedarea_writebyte "
        "sharedarea_writelong",
        "there is no shared area",
        "use multiprocessing.shared_memory, made before the workers are forked",
    ),
    (
        "websocket_handshake websocket_recv websocket_recv_nb websocket_send websocket_send_binary",
        "there are no WebSockets yet",
        "let an ASGI server answer them, and nginx send their path there",
    ),
    ("chunked_read chunked_read_nb", "request bodies are decoded", "read wsgi.input, which is complete"),
    (
        "async_connect async_sleep green_schedule ready_fd suspend wait_fd_read wait_fd_write env",
        "workers serve with threads, not with an asynchronous engine",
        "use time.sleep, select and sockets, which let go of the interpreter",
    ),
    ("send recv connect close", "there are no raw sockets", "use the module socket"),
    ("sendfile offload", "files are sent by their response", "return wsgi.file_wrapper(file), or use static-map"),
    ("rpc rpc_list call", "no functions are called by name", "import and call the function, or use HTTP"),
    (
        "i_am_the_lord lord_scroll scrolls",
        "there is no legion",
        "use the leader election of Kubernetes, Consul or keepalived",
    ),
    ("signal_wait signal_received", "signals come to their handlers only", "use uwsgi.register_signal"),
    ("alarm", "there are no alarms yet", "write to the log, and let the monitoring watch it"),
    ("route", "the rules of route are asked before the application", "write a route in the configuration"),
    ("extract parsefile embedded_data", "files are Python's business", "use open()"),
    (
        "disconnect",
        "a response ends with its iterable",
        "return the response, and go on in a thread (uwsgidecorators.thread)",
    ),
    ("cl", "what the request says is in the environ", "use environ['CONTENT_LENGTH']"),
    ("add_var", "what the request says is in the environ", "use uwsgi.set_logvar for the log, addvar in a route"),
    ("set_warning_message", "a ping is answered without a text", "use the statistics"),
    ("magic_table", "placeholders are filled in when the configuration is read", "use uwsgi.opt"),
    ("start_response", "each request has its own", "use the application's second argument"),
    (
        "SymbolsImporter SymbolsZipImporter ZipImporter",
        "nothing is compiled into the server",
        "use the module zipimport",
    ),
)
"""(names, what is not here, what to use instead)"""

REGISTRATIONS: dict[str, tuple[str, str, bool | None]] = {
    "add_timer": (
        "no signals are raised at set times yet",
        "use a systemd timer, or a thread that is started in uwsgidecorators.postfork",
        None,
    ),
    "add_rb_timer": (
        "no signals are raised at set times yet",
        "use a systemd timer, or a thread that is started in uwsgidecorators.postfork",
        None,
    ),
    "add_cron": ("nothing is run at set times yet", "use cron or a systemd timer", True),
    "add_file_monitor": ("files are not watched for the application yet", "use touch-reload, or watchfiles", None),
    "register_rpc": ("no functions are called by name", "import and call the function, or use HTTP", True),
}
"""Function -> (what is not here, what to use instead, what it returns)."""

HOOKS: dict[str, tuple[str, str]] = {
    "after_req_hook": ("it is not called after a request", "use Django's request_finished, or a middleware"),
    "applications": ("applications are not looked for there", "use the option mount"),
    "mule_msg_hook": ("there are no mules yet", "run the program beside the workers (attach-daemon)"),
    "spooler": ("there is no spooler yet", "use Celery, RQ, Huey or a table of the database"),
}
"""What an app may assign to `uwsgi` and nobody reads -> (why, what to use instead)."""


class Notices:
    """Tells of what is not here: with lazy-apps once, not by each worker that imports the app."""

    def __init__(self) -> None:
        self.worker = 0
        """This process; 0 in the generation."""
        self.is_accepting = False
        """What is asked for during requests is nobody else's notice."""

    def tell(self, text: str) -> None:
        """Write a line to the server log."""
        if self.worker <= 1 or self.is_accepting:
            say(f"*** {text} ***")


def reason(name: str) -> str | None:
    """Say why a name of uWSGI's module is not here; None for a name that uWSGI has not either."""
    for names, why, instead in FAMILIES:
        if name in names.split():
            return f"uwsgi.{name} is not here: {why}. Instead: {instead}"
    return None


def missing(name: str) -> Any:
    """Be the `__getattr__` of the module (PEP 562)."""
    raise AttributeError(reason(name) or f"module 'uwsgi' has no attribute {name!r}")


def registrations(tell: Tell) -> Iterable[tuple[str, Callable[..., bool | None]]]:
    """Make the functions that are accepted without effect."""
    for name, (why, instead, result) in REGISTRATIONS.items():
        yield name, _accepted(tell, name, why, instead, result)


def _accepted(tell: Tell, name: str, why: str, instead: str, result: bool | None) -> Callable[..., bool | None]:
    def accept(*arguments: Any) -> bool | None:
        shown = ", ".join(str(getattr(each, "__qualname__", None) or repr(each)) for each in arguments)
        tell(f"uwsgi.{name}({shown}) does nothing: {why}. Instead: {instead}")
        return result

    accept.__name__ = accept.__qualname__ = name
    return accept


def tell_what_is_not_read(assigned: dict[str, Any], tell: Tell) -> None:
    """Name what the app has assigned in vain; `assigned` is the namespace of the module."""
    for name, (why, instead) in HOOKS.items():
        if assigned.get(name) is not None:
            tell(f"uwsgi.{name} has no effect: {why}. Instead: {instead}")
