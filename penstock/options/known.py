"""What uWSGI knows: every option name of its default build, for the names that Penstock has no row for yet.

`known_names.tsv` holds the names; here is only what must be said about some of them: what to use instead, and which
ones can not be left out without changing what the rest of the configuration means.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import cast

from penstock.options.option import Argument
from penstock.values import dataclass


@dataclass(frozen=True, slots=True)
class KnownName:
    """A name that uWSGI's default build knows."""

    name: str
    argument: Argument
    short: str


NOT_IGNORABLE: dict[str, str] = {
    **dict.fromkeys(
        ("chroot", "immediate-gid", "immediate-uid"), "the instance would run with more rights than it should have"
    ),
    "emperor": "none of its instances would be started",
}
"""Leaving one of these out in silence would make another configuration of it: why."""

INSTEAD: dict[str, str] = {
    "daemonize2": "use daemonize, which already waits until the application is loaded",
    "http-modifier1": "the workers serve HTTP themselves",
    "lazy": "use lazy-apps",
    "logto2": "use logto",
    "mount": "use module or wsgi-file for the one application",
    "pidfile2": "use pidfile",
    "safe-pidfile": "use pidfile",
    "safe-pidfile2": "use pidfile",
}
"""What serves the same purpose today, for single options."""


@dataclass(frozen=True, slots=True)
class Family:
    """Options that are used together, so that one line about all of them is enough."""

    patterns: tuple[str, ...]
    """Names, in which `*` stands for any ending."""
    instead: str
    """What serves the same purpose today."""


FAMILIES: tuple[Family, ...] = (
    Family(("cheap", "cheaper*"), "the number of workers is fixed: processes = N"),
    Family(
        ("async", "gevent*", "loop", "ugreen*"),
        "use threads = N, one for each request at a time",
    ),
    Family(
        ("attach-control-daemon", "attach-daemon*", "smart-attach-daemon*"),
        "give the program a systemd unit of its own",
    ),
    Family(("cron*", "unique-cron*"), "use a systemd timer or cron"),
    Family(
        ("farm", "mule*", "spooler*", "touch-mules-reload", "touch-spoolers-reload"),
        "use a task queue of the application, as a systemd unit of its own",
    ),
    Family(
        ("log-backupname", "log-maxsize", "log-reopen", "log-truncate", "touch-logreopen", "touch-logrotate"),
        "use logrotate with copytruncate",
    ),
    Family(
        ("log-master*", "log-req-route", "log-route", "logger", "logger-req", "req-logger", "threaded-logger"),
        "use logto, or leave the log on standard error for systemd or the container",
    ),
    Family(("log-format*", "log-micros", "logformat*"), "requests are logged in the format that uWSGI has by default"),
    Family(("py-auto*", "python-auto*"), "use touch-reload = FILE"),
    Family(("touch-chain-reload", "touch-workers-reload"), "use touch-reload, which loses no request"),
    Family(("emperor*", "vassal*"), "start one instance for each file, for instance as instances of one systemd unit"),
    Family(("route", "route-*"), "let nginx rewrite and route requests"),
    Family(("http-to-https", "https*", "ssl*"), "let nginx speak TLS in front"),
    Family(("check-static*", "static-*"), "use static-map, or let nginx serve the files"),
    Family(("evil-reload-on-*", "max-worker-lifetime*", "reload-on-*"), "use max-requests"),
    Family(("auto-procname", "procname*"), "the statistics and the log name the process of each worker"),
)
"""What serves the same purpose as whole families of options; the first that fits counts."""

HARMLESS: dict[str, str] = {"logger": "stdio", "req-logger": "stdio"}
"""The value with which an option says only what is so anyway."""

FOREIGN_WORDS: dict[str, str] = {
    "bind": "http",
    "daemon": "daemonize",
    "log-file": "logto",
    "logfile": "logto",
    "port": "http",
    "preload": "lazy-apps",
    "static": "static-map",
    "timeout": "harakiri",
    "worker": "workers",
    "worker-connections": "listen",
}
"""Words of other servers and common slips that no edit distance finds."""


def is_built_in_plugin(plugin: str) -> bool:
    """Whether Penstock does by itself what a plugin of uWSGI is for, by the plugin's name or the path of its file."""
    name = plugin.strip().rpartition("/")[2].removesuffix(".so").removesuffix("_plugin")
    return name in ("", "http", "logfile") or name.rstrip("0123456789.") in ("python", "py")


@cache
def family_of(name: str) -> Family | None:
    """Find the family of an option that is not supported yet."""
    return next((one for one in FAMILIES if any(fnmatchcase(name, pattern) for pattern in one.patterns)), None)


def instead_of(name: str) -> str:
    """Say what to use instead of an option that is not supported yet; nothing where there is no advice."""
    family = family_of(name)
    return INSTEAD.get(name) or (family.instead if family else "")


@cache
def known_names() -> dict[str, KnownName]:
    """Read the list once; the names are in alphabetical order."""
    text = Path(__file__).with_name("known_names.tsv").read_text(encoding="ascii")
    names: dict[str, KnownName] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, argument, *short = line.split("\t")
        names[name] = KnownName(name, cast(Argument, argument), short[0] if short else "")
    return names
