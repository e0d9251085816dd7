"""The logs of the plan: which requests are logged and how, and where lines go."""

from __future__ import annotations

import os
import re

from penstock.config.settings import Setting
from penstock.options.log_variables import BUILT_IN, VARIABLES, is_log_variable
from penstock.plan import patterns
from penstock.plan.addresses import AddressError, parse_address
from penstock.plan.context import Context
from penstock.plan.types import EncoderPlan, LoggerPlan, LogPlan, LogStreamPlan, RequestLogPlan
from penstock.values import replace

CTIME = "%a %b %e %H:%M:%S %Y"
"""ctime(3), for strftime."""
ON_WORDS = ("", "1", "on", "true", "yes")
OFF_WORDS = ("0", "false", "no", "off")

LONGEST_FORMAT_BYTES = 2048
REQUEST_LINE_BYTES = 4096
"""No line of a request is longer (`LINE_LIMIT_BYTES` of the engine)."""
MOST_VARIABLES = 64
"""With these a line of JSON is whole within the 4096 bytes that a line may have."""
_VARIABLE = re.compile(r"%\(([^)]+)\)")

SYSLOG_PORT = 514
SYSLOG_FACILITIES = dict(
    zip(
        ("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
        range(12),
        strict=True,
    ),
    **{f"local{number}": 16 + number for number in range(8)},
)
"""RFC 5424, table 1."""
SYSLOG_INFO = 6
SYSLOG_DAEMON_NOTICE = 29
LOGGERS = "file, fd, stdio, syslog, rsyslog or socket"
LOGGERS_ELSEWHERE = {
    "crypto": "use rsyslog, and let the syslog daemon encrypt",
    "graylog2": "use rsyslog: Graylog has a syslog input",
    "mongodblog": "use syslog or rsyslog, and let the syslog daemon store the lines",
    "pipe": "use stdio and start the instance in a pipe, or use syslog",
    "python": "use syslog, or file",
    "redislog": "use syslog or rsyslog, and let the syslog daemon pass the lines on",
    "zeromq": "use rsyslog",
    "zmq": "use rsyslog",
}
ENCODERS = ("prefix", "suffix", "nl", "format", "json")
ENCODER_VARIABLE = re.compile(r"\$\{(msg|msgnl|unix|micros|millis|strftime:[^}]*)\}")


def request_log(context: Context) -> RequestLogPlan:
    """Which requests are logged, and how."""
    said = context.said
    text, is_json = _format(context)
    date = _date(context)
    return RequestLogPlan(
        enabled=not said.flag("disable-logging"),
        format=text,
        is_json=is_json,
        strftime=date if said.flag("log-format-strftime") and date != CTIME else "",
        prefix=f"{date} - " if date else "",
        micros=said.flag("log-micros"),
        memory=said.flag("memory-report"),
        forwarded_for=said.flag("log-x-forwarded-for"),
        client_errors=said.flag("log-4xx"),
        server_errors=said.flag("log-5xx"),
        empty=said.flag("log-zero"),
        sendfile=_is_on(context, "log-sendfile"),
        io_errors=_is_on(context, "log-ioerror"),
        slow_ms=said.number("log-slow"),
        big_bytes=said.number("log-big"),
    )


def survey_variables(context: Context) -> None:
    """Look for variables of log-format that nothing here fills in; the application may, by uwsgi.set_logvar."""
    # Imported late: an ordinary start compares no words.
    from penstock.options.suggest import nearest

    text = context.said.text("log-format") or ""
    for name in dict.fromkeys(_VARIABLE.findall(BUILT_IN.get(text, text))):
        if is_log_variable(name):
            continue
        guess = nearest(name, VARIABLES)
        cure = f"did you mean %({guess})?" if guess else "remove it, unless the application sets it"
        context.note(
            "log-variable-unknown",
            f"log-format: the server has no variable %({name}); it is - unless the application sets it with "
            "uwsgi.set_logvar",
            context.said.origin("log-format"),
            cure,
        )


def _is_on(context: Context, name: str) -> bool:
    """A flag that wants a word behind it on the command line, as it does in uWSGI."""
    text = context.said.text(name)
    return text is not None and text.lower() not in OFF_WORDS


def _date(context: Context) -> str:
    """What `log-date` says, for strftime; empty for nothing."""
    if not context.said.given("log-date"):
        return ""
    text = context.said.text("log-date") or ""
    if text.lower() in ON_WORDS:
        return CTIME
    if text.lower() in OFF_WORDS:
        return ""
    origin = context.said.origin("log-date")
    file = os.path.abspath(os.path.join(context.machine.cwd, origin.name)) if origin.source == "file" else ""
    for letter, inserted in (("d", os.path.dirname(file).rstrip("/") + "/"), ("S", os.path.basename(file))):
        if file and inserted in text:
            context.warn(
                "magic-in-date",
                f"log-date = {text}: %{letter} has become {inserted} before a date could be made of it",
                origin,
                f"write %%{letter} in a configuration file",
            )
    return text


def _format(context: Context) -> tuple[str, bool]:
    """The format of request lines, and whether it is JSON."""
    text = context.said.text("log-format") or ""
    origin = context.said.origin("log-format")
    text = BUILT_IN.get(text, text)
    names = _VARIABLE.findall(text)
    own_bytes = len(_VARIABLE.sub("", text).encode())
    if own_bytes > LONGEST_FORMAT_BYTES or len(names) > MOST_VARIABLES:
        context.error(
            "log-format-too-long",
            f"log-format has {len(names)} variables and {own_bytes} bytes beside them; a line takes {MOST_VARIABLES} "
            f"and {LONGEST_FORMAT_BYTES}",
            origin,
            "leave something out",
        )
    for name in names:
        if name.startswith("metric."):
            message = f"log-format: there is no metric {name[7:]}, so %({name}) is always -"
            context.warn("no-such-metric", message, origin, "remove it")
    is_json = text.strip().startswith("{") and text.strip().endswith("}")
    if is_json and not _is_json(_VARIABLE.sub(lambda found: _example(found[1]), text)):
        context.warn(
            "log-format-no-json",
            "log-format looks like JSON, and its lines will not be",
            origin,
            "put quotes around each text, and none around numbers; or use log-format = json",
        )
    return text, is_json


def _example(name: str) -> str:
    return "1" if VARIABLES.get(name, ("text", ""))[0] == "number" else "x"


def _is_json(text: str) -> bool:
    # Here, because few formats look like it.
    import json

    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def logs(context: Context) -> LogPlan:
    """Where lines go."""
    said = context.said
    server = [logger(context, setting) for setting in said.every("logger")]
    server += [_shortcut(context, setting) for setting in said.every("log-syslog", "log-socket")]
    remote = _remote_log_file(context)
    server += [remote] if remote is not None else []
    requests = [logger(context, setting) for setting in said.every("req-logger")]
    # What is wrong with it is said once, where the engine's part of the plan is made.
    form = request_log(Context(said, context.machine))
    return LogPlan(
        server=LogStreamPlan(
            loggers=tuple(one for one in server if one is not None),
            encoders=_encoders(context, "log-encoder"),
            routes=_routes(context, "log-route", server),
            drains=_patterns(context, "log-drain"),
            filters=_patterns(context, "log-filter"),
        ),
        requests=LogStreamPlan(
            loggers=tuple(one for one in requests if one is not None),
            encoders=_encoders(context, "log-req-encoder"),
            routes=_routes(context, "log-req-route", requests),
        ),
        through_master=said.flag("log-master"),
        late_file=context.at_start("logto2"),
        file_mode=said.number("logfile-chmod") if said.given("logfile-chmod") else None,
        owned=said.flag("logfile-chown"),
        truncate=said.flag("log-truncate"),
        max_bytes=said.number("log-maxsize"),
        backup=context.at_start("log-backupname") or "",
        # JSON that is cut in two is none.
        line_bytes=max(said.number("log-master-bufsize"), REQUEST_LINE_BYTES if form.is_json else 512),
        prefix=form.prefix,
        touch_reopen=tuple(context.after_chdir(path) for path in said.texts("touch-logreopen")),
        touch_rotate=tuple(context.after_chdir(path) for path in said.texts("touch-logrotate")),
    )


def log_file(context: Context) -> str | None:
    """Absolute path of `logto`, unless it is the address of a log server."""
    path = context.said.text("logto")
    return None if path is None or ":" in path else context.at_start("logto")


def _remote_log_file(context: Context) -> LoggerPlan | None:
    """`logto = host:port` means datagrams."""
    address = context.said.text("logto")
    if address is None or ":" not in address:
        return None
    return _socket(context, "logto", address, str(context.said.origin("logto")))


def logger(context: Context, setting: Setting) -> LoggerPlan | None:
    """Read a value of `logger` or `req-logger`; what is wrong with it is an error of the context."""
    text = str(setting.value).lstrip()
    name, space, rest = text.partition(" ")
    if not space or not name.isalnum():
        name, rest = "", text
    return _parse(context, setting, name, rest.lstrip())


def _shortcut(context: Context, setting: Setting) -> LoggerPlan | None:
    kind = setting.option.name.removeprefix("log-")
    return _parse(context, setting, "", f"{kind}:{setting.value}" if setting.value else kind)


def _parse(context: Context, setting: Setting, name: str, text: str) -> LoggerPlan | None:
    """Read `PLUGIN[:ARGUMENT]`."""
    plugin, _, argument = text.partition(":")
    plugin = plugin.strip()
    origin = str(setting.origin)
    made: LoggerPlan | None = None
    complaint = ("no-such-logger", f"there is no logger {plugin}", f"use {LOGGERS}")
    if plugin in LOGGERS_ELSEWHERE:
        complaint = ("logger-unsupported", f"the logger {plugin} is not supported", LOGGERS_ELSEWHERE[plugin])
    elif plugin in ("file", "logfile"):
        made = _file(context, argument, origin)
        complaint = ("bad-logger", "it names no file", "write for example file:/var/log/app.log")
    elif plugin == "fd":
        made = LoggerPlan("fd", origin, fd=int(argument)) if argument.isascii() and argument.isdigit() else None
        complaint = ("bad-logger", "it names no descriptor", "write for example fd:3")
    elif plugin in ("stdio", "systemd"):
        # systemd's journal reads what a service prints.
        made = LoggerPlan("stdio", origin)
    elif plugin == "syslog":
        made, complaint = (
            _syslog(argument, origin),
            (
                *("bad-logger", "there is no such facility of syslog"),
                f"use one of {', '.join(SYSLOG_FACILITIES)}",
            ),
        )
    elif plugin == "rsyslog":
        return _named(_rsyslog(context, setting, argument), name)
    elif plugin == "socket":
        return _named(_socket(context, setting.option.name, argument, origin, setting), name)
    if made is None:
        code, message, cure = complaint
        context.error(code, f"{setting.option.name} = {setting.value}: {message}", setting.origin, cure)
    return _named(made, name)


def _named(logger: LoggerPlan | None, name: str) -> LoggerPlan | None:
    return replace(logger, id=name) if logger is not None and name else logger


def _file(context: Context, argument: str, origin: str) -> LoggerPlan | None:
    words = dict(word.partition("=")[::2] for word in argument.split(",")) if "=" in argument else {"logfile": argument}
    path, size, backup = words.get("logfile", ""), words.get("maxsize", "0"), words.get("backupname", "")
    if not path or not (size.isascii() and size.isdigit()):
        return None
    cwd = context.machine.cwd
    return LoggerPlan(
        "file",
        origin,
        path=os.path.join(cwd, path),
        max_bytes=int(size),
        backup=os.path.join(cwd, backup) if backup else "",
    )


def _syslog(argument: str, origin: str) -> LoggerPlan | None:
    ident, _, facility = argument.partition(",")
    number = SYSLOG_FACILITIES.get(facility.lower().removeprefix("log_") or "daemon")
    if number is None:
        return None
    return LoggerPlan("syslog", origin, path="/dev/log", ident=ident or "uwsgi", priority=SYSLOG_INFO + 8 * number)


def _rsyslog(context: Context, setting: Setting, argument: str) -> LoggerPlan | None:
    address, _, rest = argument.partition(",")
    ident, _, priority = rest.partition(",")
    if priority and not (priority.isascii() and priority.isdigit()):
        context.error(
            "bad-logger",
            f"{setting.option.name} = {setting.value}: {priority} is no priority",
            setting.origin,
            "write a number: 8 times the facility and the severity, for example 29",
        )
        return None
    if ":" not in address and not address.startswith("/"):
        address = f"{address}:{SYSLOG_PORT}"
    made = _socket(context, setting.option.name, address, str(setting.origin), setting)
    if made is None:
        return None
    return LoggerPlan(
        *("rsyslog", made.origin),
        path=made.path,
        host=made.host,
        port=made.port,
        ident=ident or context.machine.hostname,
        priority=int(priority) if priority else SYSLOG_DAEMON_NOTICE,
    )


def _socket(
    context: Context, name: str, argument: str, origin: str, setting: Setting | None = None
) -> LoggerPlan | None:
    """Read `HOST:PORT` or a path, with what stands before each datagram behind a comma."""
    address, _, prefix = argument.partition(",")
    try:
        parsed = parse_address(address, context.machine.cwd)
        if parsed.family in ("inet", "inet6") and (not parsed.host or not parsed.port):
            raise AddressError("it names no receiver", "write for example 127.0.0.1:514 or a path")
    except AddressError as error:
        place = setting.origin if setting is not None else context.said.origin(name)
        context.error("bad-address", f"{name} = {argument}: {error}", place, error.cure)
        return None
    if parsed.family in ("inet", "inet6"):
        return LoggerPlan("socket", origin, host=parsed.host, port=parsed.port, prefix=prefix)
    return LoggerPlan("socket", origin, path=("\0" if parsed.family == "abstract" else "") + parsed.host, prefix=prefix)


def _encoders(context: Context, name: str) -> tuple[EncoderPlan, ...]:
    """Read `NAME[:LOGGER] TEXT`."""
    made = []
    for setting in context.said.every(name):
        head, _, text = str(setting.value).lstrip().partition(" ")
        kind, _, logger = head.partition(":")
        if kind in ("gzip", "compress"):
            cure = "let logrotate compress what is rotated"
            context.error("no-such-encoder", f"{name} = {kind}: lines are not compressed", setting.origin, cure)
        elif kind not in ENCODERS:
            cure = f"use one of {', '.join(ENCODERS)}"
            context.error("no-such-encoder", f"{name}: there is no encoder {kind}", setting.origin, cure)
        else:
            if kind == "json" and not _is_json(ENCODER_VARIABLE.sub("1", text)):
                cure = 'write for example json {"time":${unix},"message":"${msg}"}'
                context.warn("encoder-no-json", f"{name}: this is no JSON: {text}", setting.origin, cure)
            made.append(EncoderPlan(kind, text, logger))  # type: ignore[arg-type]
    return tuple(made)


def _routes(context: Context, name: str, loggers: list[LoggerPlan | None]) -> tuple[tuple[str, str], ...]:
    """Read `LOGGER REGEX`."""
    ids = {one.id for one in loggers if one is not None and one.id}
    made = []
    for setting in context.said.every(name):
        wanted, _, pattern = str(setting.value).strip().partition(" ")
        if wanted not in ids:
            where = "req-logger" if name == "log-req-route" else "logger"
            context.error(
                "no-such-logger",
                f"{name} = {setting.value}: no {where} is called {wanted}",
                setting.origin,
                f"add {where} = {wanted} file:/var/log/{wanted}.log",
            )
        elif patterns.check(context, setting, pattern):
            made.append((wanted, pattern))
    return tuple(made)


def _patterns(context: Context, name: str) -> tuple[str, ...]:
    settings = context.said.every(name)
    return tuple(str(one.value) for one in settings if patterns.check(context, one, str(one.value)))
