"""The settings of a Django project on its server: the project's own, and over them what those leave open.

`startproject` writes settings for development: DEBUG, a public secret key, no host, no STATIC_ROOT, and no log that
anybody sees once DEBUG is off. What has to be said for a server is said in a module of its own, so that the project's
files stay as they are. Pure: from facts to text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from penstock.deploy.layout import Layout
from penstock.project.django_facts import Database, DjangoFacts
from penstock.values import dataclass, replace

MODULE = "penstock_production"
"""The module's name; a project that has one like it is unlikely."""
STATIC = "static"
"""The folder of a release in which static files are gathered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How a project is served."""

    hosts: tuple[str, ...]
    """Names that it answers to, the first one for links."""
    has_tls: bool


def text(facts: DjangoFacts, served: Served, layout: Layout) -> str:
    """Write the module."""
    lines = [
        f'"""Settings of {layout.name} on this server, written by `penstock deploy`.',
        "",
        "The project's own, and over them what those leave open.",
        '"""',
        "",
        "from pathlib import Path",
        "",
        f"from {facts.settings} import *  # noqa: F403",
        "",
    ]
    for why, statements in _said(facts, served, layout):
        lines += [f"# {why}", *statements, ""]
    return "\n".join(lines)


def _said(facts: DjangoFacts, served: Served, layout: Layout) -> Iterator[tuple[str, list[str]]]:
    if facts.debug:
        yield "The pages of DEBUG show settings and code to everybody.", ["DEBUG = False"]
    if facts.secret_key != "set":
        yield (
            "The project's own key is public, or there is none: whoever knows it can sign in as anybody.",
            [f"with open({layout.secret_key!r}) as _file:", "    SECRET_KEY = _file.read().strip()"],
        )
    missing = missing_hosts(facts.allowed_hosts, served.hosts)
    if missing:
        kept = [host for host in facts.allowed_hosts if host]
        yield "What nginx answers to; another name gets 400.", [f"ALLOWED_HOSTS = {[*kept, *missing]!r}"]
    if facts.uses_staticfiles and not facts.static_root:
        statements = [f"STATIC_ROOT = Path(__file__).resolve().parent.parent / {STATIC!r}"]
        yield "Where collectstatic gathers what nginx serves: in the release.", statements
    if not facts.media_root:
        statements = [f"MEDIA_ROOT = {layout.media!r}"]
        if facts.media_url in ("", "/"):
            statements.append('MEDIA_URL = "/media/"')
        yield "Uploads outlive releases.", statements
    if served.has_tls and not (facts.session_cookie_secure and facts.csrf_cookie_secure):
        yield "There is https here.", ["SESSION_COOKIE_SECURE = True", "CSRF_COOKIE_SECURE = True"]
    yield (
        "Without DEBUG, Django tells of errors by mail only; the log shall have them, if the project has no say in it.",
        [
            'if not globals().get("LOGGING"):',
            "    LOGGING = {",
            '        "version": 1,',
            '        "disable_existing_loggers": False,',
            '        "handlers": {"stderr": {"class": "logging.StreamHandler"}},',
            '        "root": {"handlers": ["stderr"], "level": "WARNING"},',
            "    }",
        ],
    )


def missing_hosts(allowed: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Which names ALLOWED_HOSTS does not let in."""
    if "*" in allowed:
        return []
    patterns = [host.lower() for host in allowed]
    return [
        host
        for host in wanted
        if host.lower() not in patterns
        and not any(pattern.startswith(".") and f".{host}".lower().endswith(pattern) for pattern in patterns)
    ]


# -- what of a project's folder outlives a release ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """Something below the project's folder that is no code: a link to where it is kept takes its place."""

    inside: str
    """Path below the folder of the copy."""
    target: str
    what: str
    """`database`, `media` or `static`."""


def kept_apart(facts: DjangoFacts, source: str, layout: Layout, static: str) -> list[Kept]:
    """Find what lies below `source` and outlives a release, or is made anew for each one."""
    found = []
    for path, target, what in (
        (facts.static_root, static, "static"),
        (facts.media_root, layout.media, "media"),
        *(
            (database.name, f"{layout.data}/{os.path.basename(database.name)}", "database")
            for database in _files(facts)
        ),
    ):
        inside = below(path, source)
        if inside:
            found.append(Kept(inside, target, what))
    return found


def _files(facts: DjangoFacts) -> Iterator[Database]:
    for database in facts.databases:
        if database.vendor == "sqlite" and os.path.isabs(database.name):
            yield database


def below(path: str, folder: str) -> str:
    """The rest of a path below a folder; empty if it is not below it."""
    if not path:
        return ""
    inside = os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
    return "" if inside == "." or inside.startswith("..") else inside


def as_served(facts: DjangoFacts, served: Served, source: str, layout: Layout) -> DjangoFacts:
    """What the facts come to once the project is served: with the production settings, from `current`."""
    static = facts.static_root
    if not static or below(static, source):
        static = f"{layout.current}/{STATIC}"
    media = facts.media_root
    if not media or below(media, source):
        media = layout.media
    url = facts.media_url if facts.media_url not in ("", "/") or facts.media_root else "/media/"
    hosts = (*facts.allowed_hosts, *missing_hosts(facts.allowed_hosts, served.hosts))
    return replace(
        facts,
        debug=False,
        secret_key="set",
        allowed_hosts=hosts,
        static_root=static if facts.uses_staticfiles else facts.static_root,
        media_root=media,
        media_url=url,
    )
