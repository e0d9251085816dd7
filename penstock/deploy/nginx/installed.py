"""The nginx of a machine: which program, version and modules, and where its files go. Looks, changes nothing."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping

from penstock.deploy.nginx.reading import Configuration
from penstock.values import dataclass

_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/local/nginx/sbin", "/opt/nginx/sbin", "/usr/bin")
"""Where distributions and nginx's own build put it; the search path of an ordinary user lacks most of them."""
_OPTIONAL = frozenset({"http_gzip_static", "http_realip", "http_ssl", "http_stub_status", "http_v2", "http_v3"})
"""Modules that are built only where that was asked for, of those that a site may use."""
_USUAL = frozenset({"http_gzip", "http_proxy", "http_uwsgi", "http_map"})
"""Modules that are built unless somebody asked for that not to be."""
TIME_LIMIT_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Nginx:
    """What there is to know of an installed nginx."""

    program: str
    version: tuple[int, ...]
    modules: frozenset[str]
    """Of those that a site may use, as `http_gzip_static`."""
    prefix: str
    """What relative paths count from, but for those of includes."""
    main_file: str
    pid_file: str
    log_directory: str
    """Where access logs go; empty where nothing tells."""
    user: str
    """Whom its workers run as where the main file does not say it."""
    has_ipv6: bool = True
    """Whether the machine has IPv6."""

    def has(self, module: str) -> bool:
        """Whether a module is built in."""
        return module in self.modules

    @property
    def version_text(self) -> str:
        """As nginx writes it."""
        return ".".join(map(str, self.version))

    @property
    def directory(self) -> str:
        """Where its files are."""
        return os.path.dirname(self.main_file)


ASSUMED = Nginx(
    program="",
    version=(1, 18, 0),
    modules=_OPTIONAL | _USUAL,
    prefix="/usr/share/nginx",
    main_file="/etc/nginx/nginx.conf",
    pid_file="/run/nginx.pid",
    log_directory="/var/log/nginx",
    user="www-data",
)
"""What is written for where no nginx is there: the oldest one that a supported Debian or Ubuntu has."""


def find_program(environ: Mapping[str, str]) -> str | None:
    """Find the program."""
    return shutil.which("nginx", path=os.pathsep.join((environ.get("PATH", ""), *_PLACES)))


def look(environ: Mapping[str, str], program: str = "", main_file: str = "", prefix: str = "") -> Nginx | None:
    """Ask the installed nginx what it is; None where there is none, or it can not be run.

    What is named here counts in place of what it was built with (`nginx -c`, `nginx -p`).
    """
    found = program or find_program(environ)
    if found is None:
        return None
    try:
        told = subprocess.run(
            [found, "-V"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return from_version(found, told.stderr, main_file, prefix, has_ipv6=os.path.exists("/proc/net/if_inet6"))


def from_version(
    program: str, text: str, main_file: str = "", prefix: str = "", *, has_ipv6: bool = True
) -> Nginx | None:
    """Read what `nginx -V` prints; None if it is not nginx's."""
    version = re.search(r"nginx version: [^/\n]*/([0-9]+(?:\.[0-9]+)*)", text)
    if version is None:
        return None
    line = re.search(r"configure arguments:(.*)", text)
    given = dict(word.partition("=")[::2] for word in _words(line[1] if line is not None else ""))
    prefix = prefix or given.get("--prefix") or "/usr/local/nginx"

    def path(option: str, default: str) -> str:
        return os.path.join(prefix, given.get(option) or default)

    # What is built as a module of its own (=dynamic) counts only once it is loaded, which few are that a site uses.
    modules = {name for name in _OPTIONAL if given.get(f"--with-{name}_module", "dynamic") != "dynamic"}
    modules |= {name for name in _USUAL if f"--without-{name}_module" not in given}
    log = given.get("--http-log-path")
    return Nginx(
        program=program,
        version=tuple(int(part) for part in version[1].split(".")),
        modules=frozenset(modules),
        prefix=prefix,
        main_file=main_file or path("--conf-path", "conf/nginx.conf"),
        pid_file=path("--pid-path", "logs/nginx.pid"),
        log_directory=os.path.dirname(os.path.join(prefix, log)) if log else "",
        user=given.get("--user") or "nobody",
        has_ipv6=has_ipv6,
    )


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


@dataclass(frozen=True, slots=True)
class Place:
    """Where the file of a site goes."""

    file: str
    link: str | None
    """What makes nginx read it, where reading the file's own directory does not."""


class NoPlace(Exception):
    """The main file reads no directory of sites: what to write into it."""


def place_of(name: str, configuration: Configuration) -> Place:
    """Find where a site of this name goes, as the main file says: sites-available with a link, or a directory it reads.

    Raises NoPlace.
    """
    read = [each.pattern for each in configuration.includes if each.within == ("http",)]
    for pattern in read:
        directory, _, names = pattern.rpartition("/")
        parent, _, last = directory.rpartition("/")
        if last == "sites-enabled" and names in ("*", "*.conf"):
            file = name + names[1:]
            return Place(f"{parent}/sites-available/{file}", f"{directory}/{file}")
    for pattern in read:
        directory, _, names = pattern.rpartition("/")
        if names in ("*.conf", "*"):
            return Place(f"{directory}/{name}{names[1:]}", None)
    line = f"include {os.path.dirname(configuration.path)}/conf.d/*.conf;"
    raise NoPlace(f"{configuration.path} reads no directory of sites; write {line} into its http block")
