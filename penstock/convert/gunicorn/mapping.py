"""Settings of gunicorn -> a document of Penstock's options, and what is to know about each.

What gunicorn does when nothing is said is written down too where Penstock would do something else that matters: where
it listens, that requests are not logged, and how long one may take.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from penstock.convert.document import Comment, Document, Item, Note, Part, Said
from penstock.convert.gunicorn.settings import BY_NAME as SETTINGS
from penstock.convert.gunicorn.values import Given, Text, Unread, Value, items, written
from penstock.options.table import BY_NAME

_PLAIN_WORKERS = frozenset(
    {"sync", "gthread", "gunicorn.workers.sync.SyncWorker", "gunicorn.workers.gthread.ThreadWorker"}
)
_DEFAULT_TIMEOUT_S = 30
_DEFAULT_ADDRESS = "127.0.0.1:8000"
_LOG_ATOM = re.compile(r"%\((\{[^}]*\}[ioe]|[A-Za-z])\)s|%%")
_LOG_VARIABLES = {
    "h": "%(addr)",
    "l": "-",
    "u": "%(user)",
    "t": "[%(ltime)]",
    "r": "%(method) %(uri) %(proto)",
    "m": "%(method)",
    "U": "%(uri)",
    "H": "%(proto)",
    "s": "%(status)",
    "B": "%(rsize)",
    "b": "%(rsize)",
    "f": "%(referer)",
    "a": "%(uagent)",
    "T": "%(secs)",
    "M": "%(msecs)",
    "D": "%(micros)",
    "p": "%(pid)",
}
"""Variables of gunicorn's access log that have the same meaning under another name."""


class Mapped:
    """A document, and what is to know."""

    def __init__(self, document: Document, notes: Sequence[Note], differs: Sequence[Note]) -> None:
        self.document = document
        self.notes = tuple(notes)
        self.differs = tuple(differs)


def document(given: Sequence[Given], unread: Sequence[Unread], name: str) -> Mapped:
    """Make the document; the last of several values of a setting counts."""
    return _Mapping(given, unread, name).run()


class _Mapping:
    def __init__(self, given: Sequence[Given], unread: Sequence[Unread], name: str) -> None:
        self.said = {one.name: one for one in given if not (one.name == "wsgi_app" and one.value is None)}
        self.unread = unread
        self.name = name
        self.items: list[Item] = []
        self.notes: list[Note] = []
        self.differs: list[Note] = []
        self.not_there: set[str] = set()
        """Options that were noted as not supported already."""

    def run(self) -> Mapped:
        self.items.append(Comment(f"from {self.name}"))
        for handle in _ORDER:
            handle(self)
        for name, given in self.said.items():
            if name not in _HANDLED:
                self._plain(SETTINGS[name].name, given)
        for one in self.unread:
            place = f"line {one.line}: " if one.line else ""
            self.items.append(Comment(f"not read: {place}{one.what}: {one.why}"))
            self.notes.append(Note(f"{one.what} is left out: {one.why}", one.line))
        part = Part("uwsgi", tuple(self.items))
        return Mapped(Document("ini", self.name, (part,)), self.notes, self.differs)

    # What they share

    def value(self, name: str) -> Value:
        given = self.said.get(name)
        return given.value if given is not None else None

    def line(self, name: str) -> int:
        given = self.said.get(name)
        return given.line if given is not None else 0

    def add(self, name: str, option: str, value: str, why: str = "") -> None:
        """Add an option, or a comment in its place where Penstock has none of that name."""
        if option not in BY_NAME:
            if option not in self.not_there:
                self.not_there.add(option)
                self.differs.append(Note(f"{name}: Penstock does not support {option}", self.line(name)))
            self.items.append(Comment(f"{option} = {value}: Penstock does not support it"))
            return
        if why:
            self.items.append(Comment(why))
        self.items.append(Said(option, value, self.line(name)))

    def tell(self, name: str) -> None:
        """Say what is to know about a setting."""
        setting = SETTINGS[name]
        how = {"carried": "", "differs": "", "not-needed": "is not needed: ", "left-out": "is left out: "}
        if setting.note:
            between = " " if setting.verdict in ("not-needed", "left-out") else ": "
            self.differs.append(Note(f"{name}{between}{how[setting.verdict]}{setting.note}", self.line(name)))

    def leave_out(self, name: str, why: str) -> None:
        self.items.append(Comment(f"{name}: {why}"))
        self.differs.append(Note(f"{name} is left out: {why}", self.line(name)))

    def _plain(self, name: str, given: Given) -> None:
        """Carry a value over as it is, or say why that is not done."""
        setting = SETTINGS[name]
        if given.value is None or given.value == [] or (given.value is False and setting.verdict != "carried"):
            return
        self.tell(name)
        if setting.verdict == "left-out":
            self.items.append(Comment(f"{name}: {setting.note}"))
            return
        if setting.verdict != "carried":
            return
        for value in items(given.value) if isinstance(given.value, list) else [given.value]:
            text = written(value)
            if text is None or "\n" in text:
                self.leave_out(name, "its value is not a single line of text")
            elif text:
                self.add(name, setting.to[0], text)

    # One after the other

    def listeners(self) -> None:
        given = self.value("bind")
        protocol = "socket" if self.value("protocol") == "uwsgi" else "http"
        if given is None or given == []:
            if "bind" in {one.what for one in self.unread}:
                return
            self.items.append(Comment("gunicorn listens there when nothing is said"))
            self.items += [Said("if-env", "PORT"), Said(protocol, "0.0.0.0:%(_)"), Said("endif", "")]
            self.items += [Said("if-not-env", "PORT"), Said(protocol, _DEFAULT_ADDRESS), Said("endif", "")]
            return
        for one in items(given):
            address = self._address(one)
            if address is None:
                self.leave_out("bind", f"{written(one)}: let systemd pass the socket, or name its address")
            else:
                self.add("bind", protocol, address)
        if self.value("certfile") is not None or self.value("keyfile") is not None:
            self.notes.append(Note("the addresses speak HTTP without TLS now", self.line("certfile")))

    def _address(self, value: Value) -> str | None:
        text = written(value) or ""
        if text.startswith("fd://"):
            return None
        text = text.removeprefix("tcp://").removeprefix("http://")
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            return "/" + path.lstrip("/") if path.startswith("//") else path
        if isinstance(value, Text) or re.search(r":[0-9]*$", text) or not text:
            return text or None
        return f"{text}:8000"

    def application(self) -> None:
        value = self.value("wsgi_app")
        text = written(value)
        if not text:
            self.notes.append(Note("no application is named; add module = PROJECT.wsgi"))
            return
        self.add("wsgi_app", "module", text)

    def directory(self) -> None:
        for name in ("chdir", "pythonpath"):
            text = written(self.value(name))
            if text and name == "chdir":
                self.add(name, name, text)
            elif name == "pythonpath":
                for path in items(self.value(name)):
                    self.add(name, name, written(path) or "")
        for one in items(self.value("raw_env")) if isinstance(self.value("raw_env"), list) else [self.value("raw_env")]:
            if one is not None:
                self.add("raw_env", "env", written(one) or "")

    def workers(self) -> None:
        value = self.value("workers")
        if value is not None:
            self.add("workers", "processes", written(value) or "1")
        elif "workers" not in {one.what for one in self.unread}:
            self.items += [Comment("gunicorn takes the number from there when none is said")]
            self.items += [Said("processes", "$(WEB_CONCURRENCY:-1)")]
        self.threads()

    def threads(self) -> None:
        value, kind = self.value("threads"), self.value("worker_class")
        plain = kind is None or (isinstance(kind, str) and kind in _PLAIN_WORKERS)
        if value is not None:
            self.add("threads", "threads", written(value) or "1")
        if plain:
            return
        self.tell("worker_class")
        words = written(kind) or "a class of its own"
        if re.search("uvicorn|asgi|h11|hypercorn", words):
            self.leave_out("worker_class", f"{words} serves ASGI, which needs an option of Penstock for it")
        elif value is None:
            self.leave_out("worker_class", f"{words}: write threads = N for so many requests at a time in each worker")

    def time_limit(self) -> None:
        value = self.value("timeout")
        kind = self.value("worker_class")
        has_threads = self.value("threads") not in (None, 1) or kind not in (None, "sync")
        if value == 0:
            return
        seconds = written(value) if value is not None else str(_DEFAULT_TIMEOUT_S)
        if "timeout" in {one.what for one in self.unread} and value is None:
            return
        self.tell("timeout")
        if has_threads:
            text = f"harakiri = {seconds} would be the limit of each request; gunicorn's timeout is none with threads"
            self.items.append(Comment(text))
            return
        why = "" if value is not None else "gunicorn's own limit when nothing is said"
        self.add("timeout", "harakiri", seconds or str(_DEFAULT_TIMEOUT_S), why)

    def replacing(self) -> None:
        value = self.value("max_requests")
        if value not in (None, 0):
            self.add("max_requests", "max-requests", written(value) or "0")
        jitter = self.value("max_requests_jitter")
        if jitter not in (None, 0):
            self.tell("max_requests_jitter")
            self.add("max_requests_jitter", "max-requests-delta", written(jitter) or "0")

    def preload(self) -> None:
        value = self.value("preload_app")
        if value is True:
            return
        self.tell("preload_app")
        if value is False:
            self.add("preload_app", "lazy-apps", "true")

    def keep_alive(self) -> None:
        value = self.value("keepalive")
        if value is None:
            return
        if value == 1:
            self.notes.append(Note("http-keepalive = 1 would mean on, so it is 2 seconds", self.line("keepalive")))
        self.add("keepalive", "http-keepalive", "2" if value == 1 else written(value) or "0")

    def limits(self) -> None:
        fields, size = self.value("limit_request_fields"), self.value("limit_request_field_size")
        if isinstance(fields, int) and fields > 128:
            self.add("limit_request_fields", "max-vars", str((fields + 1) // 2))
        if isinstance(size, int) and size > 65536:
            self.add("limit_request_field_size", "buffer-size", str(size))
        for name in ("limit_request_fields", "limit_request_field_size", "limit_request_line"):
            if self.value(name) is not None:
                self.tell(name)

    def reloading(self) -> None:
        if self.value("reload") is not True and not isinstance(self.value("reload"), Text):
            return
        self.add("reload", "py-autoreload", "1")
        for one in items(self.value("reload_extra_files")):
            self.add("reload_extra_files", "touch-reload", written(one) or "")

    def logs(self) -> None:
        errors, daemon = self.value("errorlog"), self.value("daemon")
        path = written(errors) if errors not in (None, "-") else None
        if daemon is True:
            self.tell("daemon")
            if path is None:
                self.notes.append(Note("daemonize needs a log file: penstock.log", self.line("daemon")))
            self.add("daemon", "daemonize", path or "penstock.log")
        elif path is not None:
            self.tell("errorlog")
            self.add("errorlog", "logto", path)
        access = self.value("accesslog")
        if access is None and "accesslog" not in {one.what for one in self.unread}:
            self.add("accesslog", "disable-logging", "true", "gunicorn logs no requests unless accesslog says where")
        elif access is not None and access not in ("-", errors):
            self.tell("accesslog")
            self.add("accesslog", "req-logger", f"file:{written(access)}")
        format_ = self.value("access_log_format")
        if isinstance(format_, str) and access is not None:
            self.tell("access_log_format")
            self.add("access_log_format", "log-format", self._log_format(format_))

    def _log_format(self, text: str) -> str:
        missing: list[str] = []

        def one(match: re.Match[str]) -> str:
            atom = match[1]
            if atom is None:
                return "%%"
            if atom.startswith("{") and atom.endswith("}i"):
                return f"%(var.HTTP_{atom[1:-2].upper().replace('-', '_')})"
            if atom.startswith("{") and atom.endswith("}e"):
                return f"%(var.{atom[1:-2]})"
            if atom not in _LOG_VARIABLES:
                missing.append(atom)
                return "-"
            return _LOG_VARIABLES[atom]

        found = _LOG_ATOM.sub(one, text).replace("\n", " ")
        if missing:
            why = f"the log has nothing for {', '.join(missing)}, so - stands there"
            self.notes.append(Note(why, self.line("access_log_format")))
        return found

    def identity(self) -> None:
        for name, option in (("user", "uid"), ("group", "gid")):
            value = self.value(name)
            if value is not None:
                self.add(name, option, written(value) or "")
        mask = self.value("umask")
        if isinstance(mask, int) and not isinstance(mask, bool) and 0 <= mask <= 0o777:
            self.add("umask", "umask", f"{mask:03o}")
        elif isinstance(mask, str):
            self._umask(mask)
        elif isinstance(mask, Text):
            self.leave_out("umask", f"{mask.text}: write it as an octal number")

    def _umask(self, text: str) -> None:
        try:
            mask = int(text, 8) if re.fullmatch("0[0-7]+", text) else int(text, 0)
        except ValueError:
            mask = -1
        if 0 <= mask <= 0o777:
            self.add("umask", "umask", f"{mask:03o}")
        else:
            self.leave_out("umask", f"{text} is no mask")

    def proxies(self) -> None:
        value = self.value("forwarded_allow_ips")
        words = [written(one) or "" for one in items(value)]
        if words:
            self.tell("forwarded_allow_ips")
            text = "all" if "*" in words else ",".join(words)
            self.add("forwarded_allow_ips", "trusted-proxies", text)
        if self.value("proxy_protocol") not in (None, False, "off", "false", "none"):
            self.tell("proxy_protocol")
            self.add("proxy_protocol", "http-enable-proxy-protocol", "true")
        if self.value("header_map") == "dangerous":
            self.tell("header_map")
            self.add("header_map", "underscores-in-headers", "true")


_ORDER: tuple[Callable[[_Mapping], None], ...] = (
    _Mapping.listeners,
    _Mapping.application,
    _Mapping.directory,
    _Mapping.workers,
    _Mapping.time_limit,
    _Mapping.replacing,
    _Mapping.preload,
    _Mapping.keep_alive,
    _Mapping.limits,
    _Mapping.reloading,
    _Mapping.logs,
    _Mapping.identity,
    _Mapping.proxies,
)
_HANDLED = frozenset(
    {
        "access_log_format",
        "accesslog",
        "bind",
        "chdir",
        "config",
        "daemon",
        "errorlog",
        "forwarded_allow_ips",
        "group",
        "header_map",
        "keepalive",
        "limit_request_field_size",
        "limit_request_fields",
        "limit_request_line",
        "max_requests",
        "max_requests_jitter",
        "preload_app",
        "protocol",
        "proxy_protocol",
        "pythonpath",
        "raw_env",
        "reload",
        "reload_extra_files",
        "threads",
        "timeout",
        "umask",
        "user",
        "worker_class",
        "workers",
        "wsgi_app",
    }
)
"""What the functions above see to; everything else is carried over, or said, as its row has it."""
