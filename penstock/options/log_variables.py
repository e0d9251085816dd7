"""The variables of `log-format`: what each stands for. The engine has the same names; a test compares.

Beside these there are `%(var.NAME)` for any variable of the request, and whatever the application has set with
`uwsgi.set_logvar`. Inside a log format they come before options and placeholders of the same name.
"""

from __future__ import annotations

VARIABLES: dict[str, tuple[str, str]] = {
    "addr": ("text", "address of the client"),
    "appmicros": ("number", "time in the application, in microseconds"),
    "cl": ("number", "length of the request's body that its client announced"),
    "core": ("number", "app thread, from 0"),
    "ctime": ("text", "start of the request: Sun Nov 22 05:37:40 2026"),
    "epoch": ("number", "end of the request, in seconds since 1970"),
    "ftime": ("text", "start of the request in the form of log-date (with log-format-strftime), else as ltime"),
    "headers": ("number", "number of response headers"),
    "host": ("text", "Host header, or the name of this machine"),
    "hsize": ("number", "bytes of the response's head"),
    "ioerr": ("number", "werr and rerr together"),
    "isotime": ("text", "start of the request: 2026-11-22T05:37:40.123456Z"),
    "ltime": ("text", "start of the request: 22/Nov/2026:05:37:40 +0000"),
    "method": ("text", "method"),
    "micros": ("number", "duration in microseconds"),
    "modifier1": ("number", "first modifier of the uwsgi packet"),
    "modifier2": ("number", "second modifier of the uwsgi packet"),
    "msecs": ("number", "duration in milliseconds"),
    "pid": ("number", "process id of the worker"),
    "pktsize": ("number", "bytes of the request's variables, or of its head over HTTP"),
    "proto": ("text", "protocol: HTTP/1.1"),
    "qmicros": (
        "number",
        "time before the application was called, in microseconds, from X-Request-Start if that is there",
    ),
    "referer": ("text", "Referer header"),
    "reqid": ("text", "X-Request-ID: what the request has brought, or was given (request-id)"),
    "rerr": ("number", "errors while the request was read"),
    "rsize": ("number", "bytes of the response's body"),
    "rss": ("number", "resident memory of the worker, in bytes"),
    "rssM": ("number", "the same in MiB"),
    "secs": ("number", "duration in seconds, with six decimals"),
    "size": ("number", "bytes of the whole response"),
    "status": ("number", "status"),
    "switches": ("number", "1; uWSGI counts here how often an asynchronous application gave way"),
    "time": ("number", "start of the request, in seconds since 1970"),
    "tmicros": ("number", "the same in microseconds"),
    "tmsecs": ("number", "the same in milliseconds"),
    "traceid": ("text", "trace id of the traceparent header (W3C Trace Context)"),
    "uagent": ("text", "User-Agent header"),
    "uri": ("text", "target of the request as its client sent it"),
    "user": ("text", "REMOTE_USER"),
    "vars": ("number", "twice the number of variables of the request"),
    "vsz": ("number", "address space of the worker, in bytes"),
    "vszM": ("number", "the same in MiB"),
    "werr": ("number", "1 if the client did not take the whole response"),
    "wid": ("number", "number of the worker, from 1"),
}
"""Name -> (`number`, which needs no quotes in JSON, or `text`; meaning)."""

BUILT_IN: dict[str, str] = {
    "combined": '%(addr) - %(user) [%(ltime)] "%(method) %(uri) %(proto)" %(status) %(rsize) "%(referer)" "%(uagent)"',
    "json": (
        '{"time":"%(isotime)","addr":"%(addr)","user":"%(user)","method":"%(method)","uri":"%(uri)",'
        '"proto":"%(proto)","host":"%(host)","status":%(status),"request_bytes":%(cl),"head_bytes":%(hsize),'
        '"body_bytes":%(rsize),"micros":%(micros),"queue_micros":%(qmicros),"app_micros":%(appmicros),'
        '"referer":"%(referer)","user_agent":"%(uagent)","request_id":"%(reqid)","trace_id":"%(traceid)",'
        '"pid":%(pid),"worker":%(wid),"core":%(core)}'
    ),
}
"""Words for whole formats."""


def is_log_variable(name: str) -> bool:
    """Whether `%(name)` in a log format is filled in for each request, whatever else has that name."""
    return name in VARIABLES or name.startswith(("var.", "metric."))
