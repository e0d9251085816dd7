"""Rules over several options, as rows: what must not be said together, why, and what to do about it.

A predicate sees only what was said (no machine, no files); rules that need the machine are in `penstock.plan`. These
are looked at whenever something is started; what is only worth saying to somebody who asks is in `advice`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from penstock.options.known import is_built_in_plugin
from penstock.options.option import Value
from penstock.values import dataclass


class Said(Protocol):
    """What a rule may ask: the values of options, by their name (never an alias)."""

    def given(self, name: str) -> bool:
        """Whether the option was written anywhere."""
        ...

    def value(self, name: str) -> Value | None:
        """The value that counts, or the default."""
        ...

    def values(self, name: str) -> tuple[Value, ...]:
        """Every value of a repeatable option, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: when `broken` holds, `why` is said with `fix` as the cure, at the origin of `about`."""

    id: str
    level: Literal["error", "warning", "note"]
    about: str
    broken: Callable[[Said], bool]
    why: str
    fix: str
    exit_status: int = 1
    blames: Callable[[Value], bool] | None = None
    """Which of several values is at fault; the last one where nothing is said."""
    also: tuple[str, ...] = ()
    """Options that mean the same as `about`, so that the value at fault may be one of theirs."""


MOUNTS = ("mount", "worker-mount")


def _serves_nothing(said: Said) -> bool:
    return bool(said.value("no-server")) or said.given("pyrun") or said.given("test")


def _no_listener(said: Said) -> bool:
    return not _serves_nothing(said) and not any(said.values(name) for name in ("http", "http-socket", "socket"))


def _no_app(said: Said) -> bool:
    needs_one = bool(said.value("need-app")) and not said.given("pyrun") and not said.given("test")
    return needs_one and not any(said.given(name) for name in ("module", "wsgi-file", "eval", *MOUNTS))


def _no_mount(said: Said) -> bool:
    return bool(said.value("manage-script-name")) and not any(said.given(name) for name in MOUNTS)


def _http_to_elsewhere(said: Said) -> bool:
    return any(address not in said.values("socket") for address in said.values("http-to"))


def _no_unix_socket(said: Said) -> bool:
    addresses = [str(a) for name in ("http", "http-socket", "socket", "stats", "admin") for a in said.values(name)]
    return bool(addresses) and all(":" in address for address in addresses)


def _lifetime_too_short(said: Said) -> bool:
    longest = int(said.value("max-worker-lifetime") or 0)
    return 0 < longest <= int(said.value("min-worker-lifetime") or 0)


def _header_limit_too_high(said: Said) -> bool:
    limit = int(said.value("header-limit") or 0)
    return limit > max(65536, int(said.value("buffer-size") or 0))


def _lacks_plugin(said: Said, option: str) -> bool:
    return not all(is_built_in_plugin(name) for value in said.values(option) for name in str(value).split(","))


RULES: tuple[Rule, ...] = (
    Rule(
        id="no-listener",
        level="error",
        about="http",
        broken=_no_listener,
        why="no address to serve on was given",
        fix="add http = :8000, or socket = /run/app.sock for nginx's uwsgi_pass",
    ),
    Rule(
        id="no-app",
        level="error",
        about="module",
        broken=_no_app,
        why="no application was given",
        fix="add module = PROJECT.wsgi or wsgi-file = FILE (need-app = false starts without one)",
        exit_status=22,
    ),
    Rule(
        id="two-apps",
        level="warning",
        about="wsgi-file",
        broken=lambda said: said.given("module") and said.given("wsgi-file"),
        why="module is given as well and is the one that is served",
        fix="remove one of module and wsgi-file",
    ),
    Rule(
        id="nothing-mounted",
        level="warning",
        about="manage-script-name",
        broken=_no_mount,
        why="nothing is mounted, so manage-script-name changes nothing: SCRIPT_NAME is what the front end sends",
        fix="write mount = /PREFIX=APP instead of module or wsgi-file, or remove it",
    ),
    Rule(
        id="http-to-elsewhere",
        level="error",
        about="http-to",
        broken=_http_to_elsewhere,
        why="Penstock has no HTTP router process, so requests can not be passed on to another address",
        fix="remove http-to: the workers serve http themselves; to reach another instance use nginx's uwsgi_pass",
    ),
    Rule(
        id="chmod-without-unix-socket",
        level="warning",
        about="chmod-socket",
        broken=lambda said: said.given("chmod-socket") and _no_unix_socket(said),
        why="no unix socket is listened on, so chmod-socket changes nothing",
        fix="remove it, or use a path as the address",
    ),
    Rule(
        id="chown-without-unix-socket",
        level="warning",
        about="chown-socket",
        broken=lambda said: said.given("chown-socket") and _no_unix_socket(said),
        why="no unix socket is listened on, so chown-socket changes nothing",
        fix="remove it, or use a path as the address",
    ),
    Rule(
        id="lifetime-too-short",
        level="error",
        about="max-worker-lifetime",
        broken=_lifetime_too_short,
        why="max-worker-lifetime must be more than min-worker-lifetime, which is 10 seconds unless it is set",
        fix="raise it, or set min-worker-lifetime to less",
    ),
    Rule(
        id="header-limit-without-effect",
        level="warning",
        about="header-limit",
        broken=_header_limit_too_high,
        why="header-limit only lowers the limit, and this is above it",
        fix="raise buffer-size instead",
    ),
    Rule(
        id="daemonize-is-no-file",
        level="warning",
        about="daemonize",
        broken=lambda said: str(said.value("daemonize")).lower() in ("1", "on", "true", "yes"),
        why="daemonize takes the name of a log file, and this one will be written in the directory of the start",
        fix="write daemonize = /path/to/app.log",
    ),
    Rule(
        id="plugin-needed",
        level="error",
        about="need-plugin",
        broken=lambda said: _lacks_plugin(said, "need-plugin"),
        why="Penstock has Python and HTTP built in and loads no other plugin",
        fix="remove need-plugin if the instance works without it",
    ),
    Rule(
        id="plugin-not-there",
        level="warning",
        about="plugins",
        broken=lambda said: _lacks_plugin(said, "plugins"),
        why="Penstock has Python and HTTP built in and loads no other plugin",
        fix="remove the plugins it does not need; what they do is not available",
    ),
)
