"""What uWSGI knows: every option name of its default build, with what follows it on the command line and its letter.

What there is to say about those that Penstock has no row for is in `penstock.options.unsupported`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import cast

from penstock.options.option import Argument
from penstock.values import dataclass

ZERO_IS_OFF: frozenset[str] = frozenset(
    {
        *("async", "cache", "cron-harakiri", "mule-harakiri", "mules", "queue"),
        *("http-modifier1", "http-modifier2", "http-socket-modifier1", "http-socket-modifier2"),
        *("spooler-harakiri", "thread-stack-size", "thread-stacksize", "threads-stack-size", "threads-stacksize"),
    }
)
"""Options of uWSGI whose number 0 asks for nothing: they are not supported, and with it there is nothing to say."""


@dataclass(frozen=True, slots=True)
class KnownName:
    """A name that uWSGI's default build knows."""

    name: str
    argument: Argument
    short: str


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
