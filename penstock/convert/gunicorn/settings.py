"""Every setting of gunicorn: how it is written, and what becomes of it. Data only.

A test compares the names and the flags with the gunicorn that pip installs.
"""

from __future__ import annotations

from typing import Literal

from penstock.values import dataclass

Takes = Literal["value", "nothing", "perhaps"]
Verdict = Literal["carried", "differs", "not-needed", "left-out"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `note` says what differs, why it is not needed, or what to do instead; a clause."""

    name: str
    verdict: Verdict
    note: str = ""
    to: tuple[str, ...] = ()
    """The options that it becomes, in the usual case."""
    flags: tuple[str, ...] = ()
    """How it is written on the command line; nothing where it can only stand in a file."""
    takes: Takes = "value"
    repeats: bool = False
    """Each flag adds to a list."""
    is_hook: bool = False
    """Its value is a function."""


def _carried(name: str, to: str, *flags: str, note: str = "", takes: Takes = "value", repeats: bool = False) -> Setting:
    return Setting(name, "carried", note, tuple(to.split()), flags, takes, repeats)


def _differs(name: str, to: str, note: str, *flags: str, takes: Takes = "value", repeats: bool = False) -> Setting:
    return Setting(name, "differs", note, tuple(to.split()), flags, takes, repeats)


def _not_needed(name: str, note: str, *flags: str, takes: Takes = "value", repeats: bool = False) -> Setting:
    return Setting(name, "not-needed", note, (), flags, takes, repeats)


def _left_out(name: str, note: str, *flags: str, takes: Takes = "value", repeats: bool = False) -> Setting:
    return Setting(name, "left-out", note, (), flags, takes, repeats)


def _hook(name: str, note: str) -> Setting:
    return Setting(name, "left-out", note, is_hook=True)


_IN_THE_APP = "do it in the module of the application, which is imported once before the workers are forked"
_AFTER_FORK = "give the function to uwsgidecorators.postfork in the application"
_AT_EXIT = "give the function to atexit in the application, or assign it to uwsgi.atexit"
_MIDDLEWARE = "wrap the application: a WSGI middleware sees every request before and after"
_LOG_DICT = "Penstock's log is not made by Python's logging; that of the application is configured by the application"
_SYSLOG = "let systemd take the log from standard error, or use a logger where Penstock has one"
_NO_HTTP2 = "workers speak HTTP/1.1; let nginx speak HTTP/2 in front"
_NO_ASGI = "the options of an ASGI server have names of their own, where Penstock has them"
_STRICT = "requests that do not keep to RFC 9112 are refused, without an exception"
_TASKS = "use a task queue of the application, as a systemd unit of its own"
_TLS = "let nginx speak TLS in front, or use an https option where Penstock has one"
_UNUSED = "it only shows something and ends"

SETTINGS: tuple[Setting, ...] = (
    _carried("config", "", "-c", "--config", note="the file is read as data and becomes part of the result"),
    _carried("wsgi_app", "module"),
    _carried("bind", "http", "-b", "--bind", repeats=True),
    _carried("backlog", "listen", "--backlog"),
    _carried("workers", "processes", "-w", "--workers"),
    _differs(
        "worker_class",
        "threads",
        "there is one kind of worker: an event loop for connections and threads for the application",
        "-k",
        "--worker-class",
    ),
    _carried("threads", "threads", "--threads"),
    _not_needed("worker_connections", "a worker holds as many connections as it may open", "--worker-connections"),
    _carried("max_requests", "max-requests", "--max-requests"),
    _differs(
        "max_requests_jitter",
        "max-requests-delta",
        "gunicorn adds a random number, max-requests-delta so many more for each worker after the first",
        "--max-requests-jitter",
    ),
    _differs(
        "timeout",
        "harakiri",
        "gunicorn kills a worker that does not report for so long, which with sync workers is a request that takes "
        "longer; harakiri is the limit of each request, and the Python stack is logged",
        "-t",
        "--timeout",
    ),
    _carried("graceful_timeout", "worker-reload-mercy", "--graceful-timeout"),
    _carried("keepalive", "http-keepalive", "--keep-alive"),
    _differs(
        "limit_request_line",
        "",
        "the request line has no limit of its own: header-limit is that of the whole head",
        "--limit-request-line",
    ),
    _differs(
        "limit_request_fields",
        "max-vars",
        "a request may have twice as many headers as max-vars, and 128 at least",
        "--limit-request-fields",
    ),
    _differs(
        "limit_request_field_size",
        "buffer-size",
        "a header has no limit of its own: buffer-size is that of the whole head, and 65536 at least",
        "--limit-request-field_size",
    ),
    _carried("reload", "py-autoreload", "--reload", takes="nothing"),
    _not_needed("reload_engine", "changes are found in one way", "--reload-engine"),
    _carried("reload_extra_files", "touch-reload", "--reload-extra-file", repeats=True),
    _left_out("spew", "use penstock stacks or a debugger", "--spew", takes="nothing"),
    _not_needed("check_config", _UNUSED, "--check-config", takes="nothing"),
    _not_needed("print_config", _UNUSED, "--print-config", takes="nothing"),
    _differs(
        "preload_app",
        "lazy-apps",
        "the application is imported once and workers are forked from it, unless lazy-apps is set",
        "--preload",
        takes="nothing",
    ),
    _not_needed("sendfile", "files are always sent by sendfile", "--no-sendfile", takes="nothing"),
    _differs(
        "reuse_port",
        "reuse-port",
        "all workers share the sockets that the master has opened, and one that is busy accepts nothing",
        "--reuse-port",
        takes="nothing",
    ),
    _carried("chdir", "chdir", "--chdir"),
    _differs(
        "daemon",
        "daemonize",
        "daemonize needs a log file, and returns when the application has been imported",
        "-D",
        "--daemon",
        takes="nothing",
    ),
    _carried("raw_env", "env", "-e", "--env", repeats=True),
    _carried("pidfile", "pidfile", "-p", "--pid"),
    _not_needed("worker_tmp_dir", "workers report through shared memory, not through a file", "--worker-tmp-dir"),
    _carried("user", "uid", "-u", "--user"),
    _carried("group", "gid", "-g", "--group"),
    _carried("umask", "umask", "-m", "--umask"),
    _not_needed("initgroups", "the groups of the user are always taken", "--initgroups", takes="nothing"),
    _carried("tmp_upload_dir", "spool-dir"),
    _differs("secure_scheme_headers", "", "X-Forwarded-Proto of a trusted proxy says that the request came over TLS"),
    _differs(
        "forwarded_allow_ips",
        "trusted-proxies",
        "loopback and unix sockets are trusted anyway",
        "--forwarded-allow-ips",
    ),
    _differs(
        "accesslog",
        "disable-logging",
        "requests are logged unless disable-logging is set; req-logger gives them a file of their own",
        "--access-logfile",
    ),
    _not_needed(
        "disable_redirect_access_to_syslog",
        "requests go where the log goes",
        "--disable-redirect-access-to-syslog",
        takes="nothing",
    ),
    _differs(
        "access_log_format",
        "log-format",
        "the variables have other names: %(addr), %(method), %(uri), %(status) and others",
        "--access-logformat",
    ),
    _differs("errorlog", "logto", "the one log of the instance", "--error-logfile", "--log-file"),
    _not_needed("loglevel", "the log has no levels: what is worth a line is written", "--log-level"),
    _not_needed("capture_output", "what the application prints is in the log", "--capture-output", takes="nothing"),
    _left_out("logger_class", _LOG_DICT, "--logger-class"),
    _left_out("logconfig", _LOG_DICT, "--log-config"),
    _left_out("logconfig_dict", _LOG_DICT),
    _left_out("logconfig_json", _LOG_DICT, "--log-config-json"),
    _left_out("syslog_addr", _SYSLOG, "--log-syslog-to"),
    _left_out("syslog", _SYSLOG, "--log-syslog", takes="nothing"),
    _left_out("syslog_prefix", _SYSLOG, "--log-syslog-prefix"),
    _left_out("syslog_facility", _SYSLOG, "--log-syslog-facility"),
    _not_needed(
        "enable_stdio_inheritance",
        "standard output and error stay what they are",
        "-R",
        "--enable-stdio-inheritance",
        takes="nothing",
    ),
    _left_out("statsd_host", "let a collector read stats = ADDRESS, which gives JSON", "--statsd-host"),
    _left_out("dogstatsd_tags", "let a collector read stats = ADDRESS and add the tags", "--dogstatsd-tags"),
    _left_out("statsd_prefix", "let a collector read stats = ADDRESS and add the prefix", "--statsd-prefix"),
    _not_needed(
        "enable_backlog_metric",
        "stats = ADDRESS always tells the length of the queue",
        "--enable-backlog-metric",
        takes="nothing",
    ),
    _carried("proc_name", "procname-prefix-spaced", "-n", "--name"),
    _not_needed("default_proc_name", "it is what gunicorn calls itself"),
    _carried("pythonpath", "pythonpath", "--pythonpath"),
    _left_out(
        "paste",
        "write a module that calls paste.deploy.loadapp and name it as module",
        "--paste",
        "--paster",
    ),
    _hook("on_starting", _IN_THE_APP),
    _hook("on_reload", _IN_THE_APP),
    _hook("when_ready", "Type=notify of systemd tells when it is ready"),
    _hook("pre_fork", _IN_THE_APP),
    _hook("post_fork", _AFTER_FORK),
    _hook("post_worker_init", _AFTER_FORK),
    _hook("worker_int", _AT_EXIT),
    _hook("worker_abort", "the Python stacks of a worker that harakiri ends are in the log"),
    _hook("pre_exec", "an upgrade of Penstock keeps its sockets by itself"),
    _hook("pre_request", _MIDDLEWARE),
    _hook("post_request", _MIDDLEWARE),
    _hook("child_exit", "the log tells of each worker that ends, and why"),
    _hook("worker_exit", _AT_EXIT),
    _hook("nworkers_changed", "stats = ADDRESS tells how many workers there are"),
    _hook("on_exit", _AT_EXIT),
    _hook("ssl_context", _TLS),
    _differs(
        "proxy_protocol",
        "http-enable-proxy-protocol",
        "only peers of trusted-proxies are believed",
        "--proxy-protocol",
        takes="perhaps",
    ),
    _differs("proxy_allow_ips", "", "add them to trusted-proxies", "--proxy-allow-from"),
    _carried("protocol", "socket", "--protocol", note="with uwsgi the addresses become socket instead of http"),
    _differs(
        "uwsgi_allow_ips",
        "",
        "who may connect is decided by the permissions of a unix socket, or by the firewall",
        "--uwsgi-allow-from",
    ),
    _left_out("keyfile", _TLS, "--keyfile"),
    _left_out("certfile", _TLS, "--certfile"),
    _left_out("ssl_version", _TLS, "--ssl-version"),
    _left_out("cert_reqs", _TLS, "--cert-reqs"),
    _left_out("ca_certs", _TLS, "--ca-certs"),
    _left_out("suppress_ragged_eofs", _TLS, "--suppress-ragged-eofs", takes="nothing"),
    _left_out("do_handshake_on_connect", _TLS, "--do-handshake-on-connect", takes="nothing"),
    _left_out("ciphers", _TLS, "--ciphers"),
    _left_out("http_protocols", _NO_HTTP2, "--http-protocols"),
    _left_out("http2_cleartext", _NO_HTTP2, "--http2-cleartext"),
    _left_out("http2_max_concurrent_streams", _NO_HTTP2, "--http2-max-concurrent-streams"),
    _left_out("http2_initial_window_size", _NO_HTTP2, "--http2-initial-window-size"),
    _left_out("http2_max_frame_size", _NO_HTTP2, "--http2-max-frame-size"),
    _left_out("http2_max_header_list_size", _NO_HTTP2, "--http2-max-header-list-size"),
    _left_out(
        "raw_paste_global_conf",
        "give the values to paste.deploy.loadapp in the module that calls it",
        "--paste-global",
        repeats=True,
    ),
    _left_out("permit_obsolete_folding", _STRICT, "--permit-obsolete-folding", takes="nothing"),
    _left_out("strip_header_spaces", _STRICT, "--strip-header-spaces", takes="nothing"),
    _left_out(
        "permit_unconventional_http_method",
        _STRICT,
        "--permit-unconventional-http-method",
        takes="nothing",
    ),
    _left_out(
        "permit_unconventional_http_version",
        _STRICT,
        "--permit-unconventional-http-version",
        takes="nothing",
    ),
    _left_out(
        "casefold_http_method",
        "methods are passed on as they are written",
        "--casefold-http-method",
        takes="nothing",
    ),
    _differs(
        "forwarder_headers",
        "",
        "SCRIPT_NAME and the like are taken from the uwsgi protocol, never from a header",
        "--forwarder-headers",
    ),
    _differs(
        "header_map",
        "underscores-in-headers",
        "names with an underscore are left out unless underscores-in-headers is set",
        "--header-map",
    ),
    _left_out("asgi_loop", _NO_ASGI, "--asgi-loop"),
    _left_out("asgi_lifespan", _NO_ASGI, "--asgi-lifespan"),
    _left_out("asgi_disconnect_grace_period", _NO_ASGI, "--asgi-disconnect-grace-period"),
    _left_out("websocket_max_message_size", _NO_ASGI, "--websocket-max-message-size"),
    _not_needed("http_parser", "there is one parser", "--http-parser"),
    _left_out(
        "root_path",
        "let nginx set SCRIPT_NAME, or mount the application where Penstock has mount",
        "--root-path",
    ),
    _left_out("dirty_apps", _TASKS, "--dirty-app", repeats=True),
    _left_out("dirty_workers", _TASKS, "--dirty-workers"),
    _left_out("dirty_timeout", _TASKS, "--dirty-timeout"),
    _left_out("dirty_threads", _TASKS, "--dirty-threads"),
    _left_out("dirty_graceful_timeout", _TASKS, "--dirty-graceful-timeout"),
    _hook("on_dirty_starting", _TASKS),
    _hook("dirty_post_fork", _TASKS),
    _hook("dirty_worker_init", _TASKS),
    _hook("dirty_worker_exit", _TASKS),
    _not_needed("control_socket", "the instance always has one, found by its pid file", "--control-socket"),
    _not_needed("control_socket_mode", "only root and the owner may use it", "--control-socket-mode"),
    _not_needed(
        "control_socket_disable",
        "only root and the owner may use it",
        "--no-control-socket",
        takes="nothing",
    ),
)

BY_NAME: dict[str, Setting] = {setting.name: setting for setting in SETTINGS}
BY_FLAG: dict[str, Setting] = {flag: setting for setting in SETTINGS for flag in setting.flags}
NEGATIVE = frozenset({"--no-sendfile"})
"""Flags that set their setting to false."""
