"""What a careful operator would say about a configuration that can be started: more rules over several options.

Rows as in `rules`, looked at by `penstock check` and not at each start. A warning is something that will go wrong or
lets somebody in; what depends on things that no configuration tells (how nginx is set up, what the app does) is a
note, so that a good configuration has no warnings.
"""

from __future__ import annotations

import ipaddress

from penstock.options.option import Value
from penstock.options.rules import Rule, Said
from penstock.options.suggest import distance

NGINX_READ_TIMEOUT_S = 60
"""Default of uwsgi_read_timeout and proxy_read_timeout."""
WEB_USERS = frozenset({"apache", "http", "nginx", "root", "www", "www-data"})
"""Users that nginx and others run as, by distribution."""
SMALLEST_BODY_MEMORY_BYTES = 4096
SMALLEST_WORKER_MB, LARGEST_WORKER_MB = 16, 1 << 20
"""Less than an interpreter with an application takes, and more than any machine gives a worker."""
_MEMORY_LIMITS = ("reload-on-rss", "reload-on-as", "evil-reload-on-rss", "evil-reload-on-as")
_SERVING = ("http", "http-socket", "socket")
_VARIABLES = ("DJANGO_SETTINGS_MODULE", "DJANGO_CONFIGURATION", "PYTHONPATH", "PYTHONUNBUFFERED", "VIRTUAL_ENV")


def is_unix(address: Value) -> bool:
    """Whether an address is the path of a unix socket."""
    text = str(address).strip()
    return text.startswith("/") or not (":" in text or text.startswith("@"))


def is_reachable(address: Value) -> bool:
    """Whether other machines reach an address: every address of this one, or a public one."""
    text = str(address).strip()
    if is_unix(text) or text.startswith("@"):
        return False
    host = text.rpartition(":")[0].strip("[]")
    if host in ("", "*"):
        return True
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return found.is_unspecified or found.is_global


def _is_for_nginx(address: Value) -> bool:
    """Whether only something on this machine that knows the address can be meant to use it."""
    host = str(address).strip().rpartition(":")[0].strip("[]")
    is_local = host in ("localhost", "::1") or host.startswith("127.")
    return is_unix(address) or (is_local and _port(address) != 0)


def _port(address: Value) -> int:
    digits = str(address).strip().rpartition(":")[2]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else 0


def _is_privileged(address: Value) -> bool:
    return not is_unix(address) and 0 < _port(address) < 1024


def _number(said: Said, name: str) -> int:
    value = said.value(name)
    return value if isinstance(value, int) else 0


def _serves(said: Said, *names: str) -> tuple[Value, ...]:
    return tuple(address for name in names for address in said.values(name))


def _speaks_uwsgi(said: Said) -> bool:
    return said.value("protocol") == "uwsgi" and bool(said.values("socket"))


def _is_world_mode(mode: Value) -> bool:
    return isinstance(mode, int) and bool(mode & 0o002)


def _has_unix_socket(said: Said) -> bool:
    return any(is_unix(address) for address in _serves(said, *_SERVING))


def _only_owner_connects(said: Said) -> bool:
    uid = said.value("uid")
    if uid is None or str(uid) in WEB_USERS or str(said.value("gid")) in WEB_USERS or str(uid) in ("0", "33"):
        return False
    told = any(said.given(name) for name in ("chmod-socket", "chown-socket", "umask"))
    return _has_unix_socket(said) and not told


def _one_at_a_time(said: Said) -> bool:
    return not said.given("processes") and not said.given("threads") and bool(_serves(said, *_SERVING))


def _threads_at_import(said: Said) -> bool:
    forks = said.given("enable-threads") and bool(said.value("enable-threads")) and not said.value("lazy-apps")
    return forks and _number(said, "processes") != 1


def _recycled_together(said: Said) -> bool:
    is_several = _number(said, "processes") not in (0, 1)
    return is_several and _number(said, "max-requests") > 0 and _number(said, "max-requests-delta") == 0


def _is_unlikely_size(megabytes: Value) -> bool:
    return isinstance(megabytes, int) and (0 < megabytes < SMALLEST_WORKER_MB or megabytes > LARGEST_WORKER_MB)


def _touches_itself(path: Value, said: Said) -> bool:
    return any(path == said.value(name) for name in ("logto", "daemonize", "pidfile"))


def _is_file_name(module: Value) -> bool:
    name = str(module).partition(":")[0]
    return "/" in name or name.endswith(".py")


def _names_two_callables(said: Said) -> bool:
    _, colon, name = str(said.value("module") or "").partition(":")
    return bool(colon and name) and said.given("callable") and said.value("callable") != name


def meant_variable(pair: Value) -> str | None:
    """Find the variable of Django or Python that the name in NAME=VALUE nearly spells."""
    name = str(pair).partition("=")[0]
    if name in _VARIABLES or len(name) < 6:
        return None
    return next((known for known in _VARIABLES if distance(name.upper(), known) <= 2), None)


def _is_no_module(pair: Value) -> bool:
    name, _, value = str(pair).partition("=")
    return name == "DJANGO_SETTINGS_MODULE" and ("/" in value or value.endswith(".py"))


ADVICE: tuple[Rule, ...] = (
    Rule(
        id="uwsgi-socket-reachable",
        level="warning",
        about="socket",
        broken=lambda said: _speaks_uwsgi(said) and any(map(is_reachable, said.values("socket"))),
        blames=is_reachable,
        why="other machines reach this uwsgi socket, and whoever does can claim to be any user (REMOTE_USER, "
        "REMOTE_ADDR): the protocol has no way to check",
        fix="listen on 127.0.0.1, on an address of a private network, or on a unix socket",
    ),
    Rule(
        id="stats-reachable",
        level="warning",
        about="stats",
        broken=lambda said: any(map(is_reachable, said.values("stats"))),
        blames=is_reachable,
        why="other machines reach the statistics, which show the addresses and URLs of running requests to anybody",
        fix="listen on 127.0.0.1 or on a unix socket: stats = 127.0.0.1:9191",
    ),
    Rule(
        id="http-around-proxy",
        level="warning",
        about="http",
        also=("http-socket",),
        broken=lambda said: _speaks_uwsgi(said) and any(map(is_reachable, _serves(said, "http", "http-socket"))),
        blames=is_reachable,
        why="there is a uwsgi socket for nginx, and visitors who use this address go around nginx with all its limits",
        fix="remove http, or listen on 127.0.0.1",
    ),
    Rule(
        id="http-behind-proxy",
        level="note",
        about="http",
        also=("http-socket",),
        broken=lambda said: (
            any(not is_unix(address) for address in _serves(said, "http", "http-socket"))
            and all(map(_is_for_nginx, _serves(said, "http", "http-socket")))
            and not said.values("socket")
        ),
        why="if nginx on this machine is in front, the uwsgi protocol tells the client's address and the scheme "
        "without X-Forwarded headers, and a unix socket costs less than TCP",
        fix="socket = /run/app/app.sock here, uwsgi_pass unix:/run/app/app.sock in nginx",
    ),
    Rule(
        id="http-as-root",
        level="warning",
        about="http",
        also=("http-socket",),
        broken=lambda said: any(map(_is_privileged, _serves(said, "http", "http-socket"))) and not said.given("uid"),
        blames=_is_privileged,
        why="a port below 1024 takes root (or CAP_NET_BIND_SERVICE), and without uid the application stays root",
        fix="add uid and gid, or serve a higher port and let nginx have this one",
    ),
    Rule(
        id="uid-is-root",
        level="warning",
        about="uid",
        broken=lambda said: str(said.value("uid")) in ("0", "root"),
        why="the application runs as root: an error in it gives the whole machine away",
        fix="name a user of its own",
    ),
    Rule(
        id="uid-without-gid",
        level="note",
        about="uid",
        broken=lambda said: said.given("uid") and not said.given("gid"),
        why="the group is the user's own; uWSGI would keep the group of root",
        fix="say so: gid = GROUP",
    ),
    Rule(
        id="gid-without-uid",
        level="warning",
        about="gid",
        broken=lambda said: said.given("gid") and not said.given("uid"),
        why="started by root, the application stays root: only the group changes",
        fix="add uid = USER",
    ),
    Rule(
        id="socket-for-everybody",
        level="warning",
        about="chmod-socket",
        broken=lambda said: _is_world_mode(said.value("chmod-socket") or 0) and _has_unix_socket(said),
        blames=_is_world_mode,
        why="every user of this machine can connect, past nginx, and over uwsgi claim to be anybody",
        fix="write chmod-socket = 660, and chown-socket = USER:www-data (the group of nginx)",
    ),
    Rule(
        id="stats-for-everybody",
        level="warning",
        about="stats",
        broken=lambda said: _is_world_mode(said.value("chmod-socket") or 0) and any(map(is_unix, said.values("stats"))),
        blames=is_unix,
        why="chmod-socket counts for this socket, too: every user of this machine can read the statistics, which show "
        "the addresses and URLs of running requests",
        fix="write chmod-socket = 660, or put stats into a directory that only its readers may enter",
    ),
    Rule(
        id="socket-for-owner",
        level="warning",
        about="uid",
        broken=_only_owner_connects,
        why="without chmod-socket only this user may connect to the unix socket: nginx, which runs as another user, "
        "answers 502 (permission denied)",
        fix="add chmod-socket = 660 and gid = www-data (the group of nginx)",
    ),
    Rule(
        id="socket-in-tmp",
        level="note",
        about="socket",
        broken=lambda said: any(str(address).startswith("/tmp/") for address in said.values("socket")),
        blames=lambda address: str(address).startswith("/tmp/"),
        why="services with PrivateTmp have a /tmp of their own, and nginx may not see this socket",
        fix="use a directory below /run (RuntimeDirectory= of a systemd unit makes one)",
    ),
    Rule(
        id="harakiri-above-http-timeout",
        level="warning",
        about="harakiri",
        broken=lambda said: said.given("http-timeout") and _number(said, "harakiri") > _number(said, "http-timeout"),
        why="harakiri is longer than http-timeout: in uWSGI visitors were cut off at http-timeout while the worker "
        "went on, here http-timeout does not end a request and harakiri alone does",
        fix="set harakiri to the time that a request may really take",
    ),
    Rule(
        id="harakiri-above-mercy",
        level="warning",
        about="harakiri",
        broken=lambda said: _number(said, "harakiri") > _number(said, "worker-reload-mercy"),
        why="requests may take longer than worker-reload-mercy gives them to end (60 where it is not set), so a "
        "reload or a stop cuts some that harakiri lets live",
        fix="raise worker-reload-mercy to at least harakiri, or lower harakiri",
    ),
    Rule(
        id="harakiri-above-nginx",
        level="note",
        about="harakiri",
        broken=lambda said: _speaks_uwsgi(said) and _number(said, "harakiri") > NGINX_READ_TIMEOUT_S,
        why="nginx gives up after 60 seconds unless it is told otherwise: the visitor has a 504 and the worker goes on",
        fix="set uwsgi_read_timeout of nginx above harakiri",
    ),
    Rule(
        id="max-requests-together",
        level="note",
        about="max-requests",
        broken=_recycled_together,
        why="workers with equal load reach this number at about the same time; each is replaced only when its "
        "successor is ready, a few at a time",
        fix="no request waits for it; max-requests-delta = 100 spreads it out more",
    ),
    Rule(
        id="memory-limit-unlikely",
        level="warning",
        about=_MEMORY_LIMITS[0],
        also=_MEMORY_LIMITS[1:],
        broken=lambda said: any(_is_unlikely_size(_number(said, name)) for name in _MEMORY_LIMITS),
        blames=_is_unlikely_size,
        why="this is a number of megabytes: below 16 a worker is replaced as soon as it may be, above a million never",
        fix="write for example reload-on-rss = 512",
    ),
    Rule(
        id="threads-although-off",
        level="warning",
        about="enable-threads",
        broken=lambda said: (
            said.given("enable-threads") and not said.value("enable-threads") and _number(said, "threads") != 1
        ),
        why="enable-threads = false changes nothing: threads asks for more than one, and they always work",
        fix="remove it, or set threads = 1 if the application can not bear threads",
    ),
    Rule(
        id="threads-at-import",
        level="note",
        about="enable-threads",
        broken=_threads_at_import,
        why="threads that the application starts while it is imported do not exist in the workers, which are forked "
        "afterwards",
        fix="start them in a function marked with uwsgidecorators.postfork, or add lazy-apps = true",
    ),
    Rule(
        id="one-at-a-time",
        level="note",
        about="processes",
        broken=_one_at_a_time,
        why="with one process and one thread one request is served at a time",
        fix="processes = auto is one worker for each CPU; threads = 4 lets requests wait side by side",
    ),
    Rule(
        id="two-logs",
        level="warning",
        about="daemonize",
        broken=lambda said: (
            said.given("daemonize") and said.given("logto") and said.value("daemonize") != said.value("logto")
        ),
        why="logto is given as well, and the log goes there; this file stays empty",
        fix="name the same file in both, or remove logto",
    ),
    Rule(
        id="touch-of-own-file",
        level="warning",
        about="touch-reload",
        broken=lambda said: any(_touches_itself(path, said) for path in said.values("touch-reload")),
        why="the instance itself writes to the file that tells it to reload, so it reloads again and again",
        fix="name a file of its own for touch-reload",
    ),
    Rule(
        id="module-is-a-file",
        level="error",
        about="module",
        broken=lambda said: said.given("module") and _is_file_name(said.value("module") or ""),
        why="module takes a dotted name, and this is the name of a file: it can not be imported",
        fix="write module = project.wsgi, or wsgi-file = project/wsgi.py",
    ),
    Rule(
        id="two-callables",
        level="warning",
        about="callable",
        broken=_names_two_callables,
        why="module names another one behind its colon, which is the one that is served",
        fix="remove one of the two",
    ),
    Rule(
        id="no-app-needed",
        level="note",
        about="need-app",
        broken=lambda said: said.value("need-app") is False and (said.given("module") or said.given("wsgi-file")),
        why="an application that does not import is answered with 500 for ever, and a start or reload does not fail",
        fix="remove need-app = false",
    ),
    Rule(
        id="post-buffering-is-a-size",
        level="note",
        about="post-buffering",
        broken=lambda said: (
            said.given("post-buffering") and _number(said, "post-buffering") < SMALLEST_BODY_MEMORY_BYTES
        ),
        why="it is a size in bytes and not a switch; below 4096 it means the default, 256 KiB",
        fix="remove it: bodies are always complete before the application is called",
    ),
    Rule(
        id="term-reloads",
        level="note",
        about="die-on-term",
        broken=lambda said: said.value("die-on-term") is False,
        why="SIGTERM reloads, so systemd, Docker and Kubernetes can not stop the instance with it, and kill it",
        fix="remove die-on-term = false, or stop it with SIGINT (KillSignal=SIGINT)",
    ),
    Rule(
        id="variable-near-miss",
        level="warning",
        about="env",
        broken=lambda said: any(meant_variable(pair) for pair in said.values("env")),
        blames=lambda pair: meant_variable(pair) is not None,
        why="this variable is nearly one that Django or Python reads; as it is written, neither does",
        fix=f"write it as one of {', '.join(_VARIABLES)}",
    ),
    Rule(
        id="settings-module-is-a-file",
        level="warning",
        about="env",
        broken=lambda said: any(map(_is_no_module, said.values("env"))),
        blames=_is_no_module,
        why="DJANGO_SETTINGS_MODULE takes a dotted name, and this is the name of a file",
        fix="write env = DJANGO_SETTINGS_MODULE=project.settings",
    ),
)
