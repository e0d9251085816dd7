"""The engine of the plan: limits, timeouts and buffers of requests and responses."""

from __future__ import annotations

import ipaddress

from penstock.options.routing import OPTIONS as ROUTING_OPTIONS
from penstock.plan import log, mounts, responses, static
from penstock.plan.context import Context
from penstock.plan.types import AppPlan, EnginePlan, HarakiriPlan, RoutesPlan

HEAD_LIMIT_BYTES = 65536
"""The least that is allowed unless `header-limit` lowers it; also what a uwsgi packet can hold."""
HEADER_LIMIT_COUNT = 128
HEADER_TIMEOUT_S = 10
LONGEST_HEADER_TIMEOUT_S = 60
"""However long a body or a response may take, a head that is not there after a minute never comes."""
STALL_TIMEOUT_S = 60
KEEPALIVE_TIMEOUT_S = 75
"""As nginx: its own default for connections to clients."""
SMALLEST_BODY_MEMORY_BYTES = 4096
OWN_PROXIES = ("unix", "127.0.0.0/8", "::1/128")


AUTO_THREADS_FOR_A_CPU = 4
"""`threads = auto`, for all workers together: requests wait for databases and other services most of their time."""
AUTO_THREADS_LEAST, AUTO_THREADS_MOST = 2, 16
"""In one worker: one that waits shall not keep out the next; and beyond that they wait for the interpreter's lock."""


def engine(context: Context, processes: int, app: AppPlan) -> EnginePlan:
    """Limits and behaviour that are the same for every worker."""
    said = context.said
    rules, rules_send_files = _rules(context)
    request_log = log.request_log(context)
    return EnginePlan(
        threads=_threads(context, processes),
        multiprocess=processes > 1,
        server_name=context.machine.hostname,
        head_limit_bytes=_head_limit(context),
        header_limit_count=max(HEADER_LIMIT_COUNT, 2 * said.number("max-vars")),
        underscores_in_headers=said.flag("underscores-in-headers"),
        body_limit_bytes=said.number("limit-post"),
        body_memory_bytes=_body_memory(context),
        body_memory_total_bytes=said.number("post-buffering-total"),
        spool_dir=context.existing_dir("spool-dir", context.machine.temp_dir),
        routes=rules,
        response_buffer_bytes=said.number("response-buffer"),
        response_buffer_total_bytes=max(said.number("response-buffer-total"), said.number("response-buffer")),
        response_spool_bytes=said.number("response-spool"),
        response_spool_total_bytes=max(said.number("response-spool-total"), said.number("response-spool")),
        header_timeout_s=float(_header_timeout(context)),
        body_timeout_s=float(_longest(context, "socket-timeout", "http-timeout", "chunked-input-timeout")),
        write_timeout_s=float(said.number("so-send-timeout") or _longest(context, "socket-timeout", "http-timeout")),
        keepalive_timeout_s=float(_keepalive(context)),
        max_requests=said.number("max-requests"),
        min_worker_lifetime_s=float(said.number("min-worker-lifetime")),
        drain_timeout_s=float(said.number("worker-reload-mercy")),
        trusted_proxies=_trusted_proxies(context),
        mounting=mounts.mounting(context, app),
        file_wrapper=not said.flag("wsgi-disable-file-wrapper"),
        static=static.static_files(context, is_needed=rules_send_files),
        log=request_log,
        response=responses.responses(context),
        proxy_protocol=said.flag("enable-proxy-protocol") or bool(said.number("http-enable-proxy-protocol")),
        max_requests_delta=said.number("max-requests-delta"),
        request_ids=said.flag("request-id") if said.given("request-id") else "%(reqid)" in request_log.format,
        trace_context=said.flag("trace-context"),
        harakiri=_harakiri(context),
        trusted_headers=_trusted_headers(context),
        drops_forwarded=said.given("trusted-proxies"),
    )


def _harakiri(context: Context) -> HarakiriPlan:
    said = context.said
    asks_gently = bool(said.number("harakiri-graceful-timeout")) or said.given("harakiri-graceful-signal")
    return HarakiriPlan(
        limit_s=said.number("harakiri"),
        graceful_s=float(said.number("harakiri-graceful-timeout")),
        graceful_signal=said.number("harakiri-graceful-signal") if asks_gently else 0,
        queue_threshold=said.number("harakiri-queue-threshold"),
        verbose=said.flag("harakiri-verbose"),
    )


def _head_limit(context: Context) -> int:
    limit = max(HEAD_LIMIT_BYTES, context.said.number("buffer-size"))
    return min(limit, context.said.number("header-limit")) if context.said.given("header-limit") else limit


def _body_memory(context: Context) -> int:
    """Users of uWSGI write `post-buffering = 1` to switch it on; no small body shall go to a file for that."""
    wanted = context.said.number("post-buffering")
    default = context.said.every("post-buffering")
    if default and wanted < SMALLEST_BODY_MEMORY_BYTES:
        return int(default[0].option.default or 0)
    return wanted


def _longest(context: Context, *names: str) -> int:
    """The longest pause of a client that any of the options allows."""
    given = [context.said.number(name) for name in names if context.said.given(name)]
    return max(given, default=STALL_TIMEOUT_S)


def _rules(context: Context) -> tuple[RoutesPlan, bool]:
    """The rules of `route` and its kin, and whether one of them answers with files."""
    if not any(context.said.given(name) for name in ("http-var", *(option.name for option in ROUTING_OPTIONS))):
        return RoutesPlan(), False
    # Imported late: few configurations have rules, and reading them takes more code than all other parts of the plan.
    from penstock.plan import routes

    rules = routes.routes(context)
    return rules, routes.serves_files(rules)


def _header_timeout(context: Context) -> int:
    if context.said.given("http-headers-timeout"):
        return context.said.number("http-headers-timeout")
    if context.said.given("socket-timeout"):
        return min(context.said.number("socket-timeout"), LONGEST_HEADER_TIMEOUT_S)
    return HEADER_TIMEOUT_S


def _keepalive(context: Context) -> int:
    seconds = context.said.number("http-keepalive")
    return KEEPALIVE_TIMEOUT_S if seconds == 1 else seconds


def _trusted_proxies(context: Context) -> tuple[str, ...]:
    words = [word for text in context.said.texts("trusted-proxies") for word in text.replace(",", " ").split()]
    trusted = [] if "none" in words else list(OWN_PROXIES)
    for word in words:
        if word in ("all", "*"):
            trusted += ["unix", "0.0.0.0/0", "::/0"]
        elif word == "unix":
            trusted.append(word)
        elif word != "none":
            trusted.append(str(ipaddress.ip_network(word, strict=False)))
    return tuple(dict.fromkeys(trusted))


def _trusted_headers(context: Context) -> tuple[str, ...]:
    texts = context.said.texts("trusted-headers")
    words = [word for text in texts for word in text.lower().replace(",", " ").split()]
    return tuple(dict.fromkeys(words))


def _threads(context: Context, processes: int) -> int:
    wanted = context.said.number("threads")
    if wanted != -1:
        return wanted
    each = -(-AUTO_THREADS_FOR_A_CPU * context.machine.cpus // processes)
    return min(AUTO_THREADS_MOST, max(AUTO_THREADS_LEAST, each))
