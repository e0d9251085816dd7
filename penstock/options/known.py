"""What uWSGI knows: every option name of its default build, for the names that Penstock has no row for yet.

`known_names.tsv` holds the names; here is only what must be said about some of them: what to use instead, and which
ones can not be left out without changing what the rest of the configuration means.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from penstock.options.option import Argument


@dataclass(frozen=True, slots=True)
class KnownName:
    """A name that uWSGI's default build knows."""

    name: str
    argument: Argument
    short: str


_LOGIC = "the options inside its block would all apply"
_OTHER_FILE = "the options that it would read are missing"

BLOCKS = frozenset(
    {
        "for",
        "for-glob",
        "for-readline",
        "for-times",
        "if-dir",
        "if-directory",
        "if-env",
        "if-exists",
        "if-file",
        "if-hostname",
        "if-hostname-match",
        "if-not-dir",
        "if-not-env",
        "if-not-exists",
        "if-not-file",
        "if-not-hostname",
        "if-not-hostname-match",
        "if-not-opt",
        "if-not-plugin",
        "if-not-reload",
        "if-opt",
        "if-plugin",
        "if-reload",
        "ifdir",
        "ifenv",
        "ifexists",
        "ifplugin",
    }
)
"""Options that begin a block, in which `%(_)` is what they found."""

NOT_IGNORABLE: dict[str, str] = {
    **dict.fromkeys(BLOCKS, _LOGIC),
    **dict.fromkeys(
        (
            "config",
            "include",
            "inherit",
            "inject-after",
            "inject-before",
            "js",
            "json",
            "xml",
            "xmlconfig",
            "yaml",
            "yml",
        ),
        _OTHER_FILE,
    ),
    **dict.fromkeys(("declare-option", "declare-option2"), "options that it declares would not be known"),
    **dict.fromkeys(
        ("chroot", "immediate-gid", "immediate-uid"), "the instance would run with more rights than it should have"
    ),
}
"""Leaving one of these out in silence would make another configuration of it: why."""

INSTEAD: dict[str, str] = {
    "daemonize2": "use daemonize, which already waits until the application is loaded",
    "http-modifier1": "the workers serve HTTP themselves",
    "https": "let nginx speak TLS in front",
    "https-socket": "let nginx speak TLS in front",
    "include": "use ini = FILE, which reads the file at the same place",
    "inherit": "use ini = FILE, which reads the file at the place where it stands",
    "lazy": "use lazy-apps",
    "logto2": "use logto",
    "mount": "use module or wsgi-file for the one application",
    "pidfile2": "use pidfile",
    "safe-pidfile": "use pidfile",
    "safe-pidfile2": "use pidfile",
    "touch-workers-reload": "use touch-reload, which loses no request",
}
"""What serves the same purpose today."""

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
