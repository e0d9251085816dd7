"""What is wrong with a Django project for the way it is served: pure judgements over `DjangoFacts` and `Served`.

Used by `penstock doctor`, and by Django's own `manage.py check` where `penstock.django` is among the installed apps.
`ALWAYS` are true on any machine; `FOR_DEPLOYMENT` are about a site that visitors come to. Each is silent where it does
not know enough.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from penstock.config.findings import Level
from penstock.doctor.diagnosis import Diagnosis, Evidence
from penstock.plan.access import Person, first_closed
from penstock.plan.findings import Row
from penstock.project.django_facts import Database, DjangoFacts, Unanswered
from penstock.project.sources import place_of
from penstock.values import dataclass

TITLE = "Django"
ROWS: tuple[Row, ...] = (
    Row("django-not-up", "error", "module", "Django's settings or apps do not import", "mend the line that is named"),
    Row(
        "django-hosts",
        "error",
        "",
        "a name by which visitors come is not in ALLOWED_HOSTS: they have a 400 (DisallowedHost)",
        "add it to ALLOWED_HOSTS",
    ),
    Row("django-debug", "error", "", "DEBUG is on: visitors see settings and source", "DEBUG = False"),
    Row(
        "django-redirect-loop",
        "error",
        "",
        "SECURE_SSL_REDIRECT sends visitors to where they are already, as Django does not learn that they use https",
        "let the proxy send X-Forwarded-Proto",
    ),
    Row(
        "django-csrf-origin",
        "error",
        "",
        "forms are refused over https (Origin checking failed), as Django does not learn that visitors use it",
        "let the proxy send X-Forwarded-Proto, or name the origins in CSRF_TRUSTED_ORIGINS",
    ),
    Row(
        "django-ssl-header-forged",
        "warning",
        "",
        "SECURE_PROXY_SSL_HEADER is believed, and no proxy is in front that would take it from clients",
        "remove it: the server tells Django the scheme, by X-Forwarded-Proto of `trusted-proxies`",
    ),
    Row(
        "django-static-root",
        "error",
        "",
        "STATIC_ROOT is not set: with DEBUG off nobody serves static files, the admin's CSS among them",
        "set STATIC_ROOT and run collectstatic",
    ),
    Row(
        "django-static-missing",
        "error",
        "",
        "static files have not been collected: visitors have a 404 for them",
        "manage.py collectstatic",
    ),
    Row(
        "django-static-old",
        "warning",
        "",
        "collected static files are older than those of the code",
        "manage.py collectstatic",
    ),
    Row("django-static-in-source", "error", "", "STATIC_ROOT is among STATICFILES_DIRS", "name another directory"),
    Row(
        "django-cache-of-each",
        "warning",
        "processes",
        "each worker has a cache of its own in its memory (LocMemCache): they do not see each other's values",
        "a cache that all share: Redis, Memcached or the database",
    ),
    Row(
        "django-sqlite",
        "warning",
        "processes",
        "many threads share an SQLite database, in which one at a time writes: others may have `database is locked`",
        'OPTIONS = {"transaction_mode": "IMMEDIATE"}, or a database server',
    ),
    Row(
        "django-sqlite-readonly",
        "error",
        "uid",
        "the user of the instance can not write to the SQLite database or its directory",
        "give it both: chown",
    ),
    Row(
        "django-connections",
        "error",
        "processes",
        "workers and threads may open more database connections than the server lets in",
        "fewer of them, a pool, or a larger limit there",
    ),
    Row("django-database", "error", "", "the database can not be reached", "start it, or correct DATABASES"),
    Row("django-migrations", "warning", "", "migrations are not applied", "manage.py migrate"),
    Row(
        "django-log-unwritable",
        "error",
        "uid",
        "a log file of LOGGING can not be written by the user of the instance: the project does not start",
        "give its directory to the user",
    ),
    Row(
        "django-errors-nowhere",
        "warning",
        "",
        "with DEBUG off nobody gets the tracebacks of requests that fail",
        "a console handler in LOGGING, or ADMINS",
    ),
    Row(
        "django-upload-limit",
        "warning",
        "limit-post",
        "what stands in front of Django takes smaller request bodies than Django does: visitors have a 413",
        "raise it there, or lower Django's",
    ),
    Row("django-check", "warning", "", "what `manage.py check --deploy` finds", "as the message says"),
)

_WORKERS_OF_SQLITE = 8
"""App threads that a database with one writer at a time serves well enough for most sites."""
_POSTGRESQL_DEFAULT = 97
"""`max_connections` less `superuser_reserved_connections`, as PostgreSQL is installed."""
_OWN = frozenset({"security.W018", "security.W020", "staticfiles.E002"})
"""Of `check --deploy`, said here in other words: DEBUG, ALLOWED_HOSTS, STATIC_ROOT among STATICFILES_DIRS."""
_ABOUT_HTTPS = frozenset(
    {"security.W004", "security.W005", "security.W008", "security.W012", "security.W016", "security.W021"}
)
"""Of `check --deploy`, true only of a site that is served over https."""
_LOCAL_HOSTS = (".localhost", "127.0.0.1", "[::1]")
"""What an empty ALLOWED_HOSTS allows with DEBUG (django.http.request)."""
_LOCMEM = "LocMemCache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How a project is served, as far as it is known. What is not known is None or empty, and judged by nobody."""

    server_names: tuple[str, ...] = ()
    """By which visitors come: nginx's server_name, or what was asked for. Without ports."""
    is_https: bool | None = None
    """Visitors use https."""
    tells_scheme: bool | None = None
    """The application learns whether they do: X-Forwarded-Proto from a proxy that is trusted, or TLS here."""
    exposed: Evidence | None = None
    """An HTTP listener that clients reach by themselves, with no proxy of this site in front."""
    drops_forwarded: bool = False
    """X-Forwarded-* of clients is taken away before the application sees it."""
    processes: int = 1
    threads: int = 1
    """In each."""
    limit_post_bytes: int | None = None
    """The largest request body that Penstock takes; 0 for any."""
    proxy_limit_bytes: int | None = None
    """The largest that the proxy takes; 0 for any."""
    person: Person | None = None
    """Whom the instance runs as."""

    @property
    def slots(self) -> int:
        """How many requests are answered at the same time."""
        return self.processes * self.threads


Check = Callable[[DjangoFacts, Served], Iterator[Diagnosis]]


def check(facts: DjangoFacts | Unanswered, served: Served) -> Iterator[Diagnosis]:
    """Find everything that is wrong with a site that visitors come to."""
    if isinstance(facts, Unanswered):
        yield not_up(facts)
        return
    for each in (*FOR_DEPLOYMENT, *ALWAYS):
        yield from each(facts, served)


def not_up(answer: Unanswered) -> Diagnosis:
    """Tell of a project that does not come up."""
    place = f"{answer.file}:{answer.line}" if answer.file else ""
    seen = [Evidence(place, answer.reason)]
    if answer.output:
        seen.append(Evidence("", answer.output.strip().splitlines()[-1]))
    return Diagnosis("django-not-up", "error", f"Django does not come up: {answer.reason}", tuple(seen), answer.cure)


def _setting(facts: DjangoFacts, name: str, value: object) -> Evidence:
    """Show a setting with its place."""
    return Evidence(place_of(facts.settings_file, name), f"{name} = {value!r}")


def _manage(facts: DjangoFacts, *words: str) -> str:
    """Write a command of manage.py as it is typed."""
    folder = facts.base_dir or os.path.dirname(os.path.dirname(facts.settings_file))
    return f"cd {folder} && python manage.py {' '.join(words)}"


# -- who is let in -----------------------------------------------------------------------------------------------------


def is_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    """Tell whether ALLOWED_HOSTS lets a host in, as Django compares them."""
    name = host.lower().rstrip(".")
    for each in allowed:
        pattern = each.lower()
        if pattern == "*" or pattern == name or (pattern.startswith(".") and f".{name}".endswith(pattern)):
            return True
    return False


def _hosts(facts: DjangoFacts, served: Served) -> Iterator[Diagnosis]:
    allowed = facts.allowed_hosts or (_LOCAL_HOSTS if facts.debug else ())
    place = _setting(facts, "ALLOWED_HOSTS", list(facts.allowed_hosts))
    missing = [
        name for name in served.server_names if "*" not in name and name not in ("_", "") and not name.startswith("~")
    ]
    missing = [name for name in missing if not is_allowed(name.lstrip("."), allowed)]
    if missing:
        names = ", ".join(missing)
        cause = f"visitors come as {names}, which ALLOWED_HOSTS does not have: Django answers 400 (DisallowedHost)"
        seen = (place, Evidence("", f"server names: {', '.join(served.server_names)}"))
        yield Diagnosis("django-hosts", "error", cause, seen, f"ALLOWED_HOSTS = {[*facts.allowed_hosts, *missing]}")
    elif not allowed:
        cause = "ALLOWED_HOSTS is empty and DEBUG is off: Django answers everybody 400 (DisallowedHost)"
        yield Diagnosis("django-hosts", "error", cause, (place,), "ALLOWED_HOSTS = ['the.name.of.the.site']")


def _debug(facts: DjangoFacts, served: Served) -> Iterator[Diagnosis]:
    if facts.debug:
        cause = "DEBUG is on: whoever makes a page fail sees settings, source and SQL, and memory grows with each query"
        seen = (_setting(facts, "DEBUG", True),)
        cure = 'DEBUG = False; or DEBUG = os.environ.get("DJANGO_DEBUG") == "1", and set that where you develop'
        yield Diagnosis("django-debug", "error", cause, seen, cure)


# -- https -------------------------------------------------------------------------------------------------------------


def _scheme(facts: DjangoFacts, served: Served) -> Iterator[Diagnosis]:
    header = facts.secure_proxy_ssl_header
    if header is not None and served.exposed is not None and not _is_dropped(header[0], served):
        cause = f"any client may send {_as_sent(header[0])}, and Django takes its request for https"
        seen: tuple[Evidence, ...] = (_setting(facts, "SECURE_PROXY_SSL_HEADER", header), served.exposed)
        cure = (
            "remove SECURE_PROXY_SSL_HEADER: Penstock tells Django the scheme, by X-Forwarded-Proto of those in "
            "trusted-proxies; or listen where only the proxy comes in, as on a unix socket"
        )
        yield Diagnosis("django-ssl-header-forged", "warning", cause, seen, cure)
    if facts.secure_ssl_redirect and (served.is_https is False or (served.is_https and served.tells_scheme is False)):
        where = "nobody serves https here" if not served.is_https else "Django takes every request for http"
        cause = f"SECURE_SSL_REDIRECT sends visitors to https, and {where}: they never arrive"
        cure = "serve https (penstock nginx, with certificates)" if not served.is_https else _TELL_SCHEME
        seen = (_setting(facts, "SECURE_SSL_REDIRECT", True),)
        yield Diagnosis("django-redirect-loop", "error", cause, seen, cure)
    elif served.is_https and served.tells_scheme is False and _has_csrf(facts):
        wanted = [f"https://{name}" for name in served.server_names if "*" not in name and name not in ("_", "")]
        missing = [origin for origin in wanted if not _is_trusted(origin, facts.csrf_trusted_origins)]
        if missing or not wanted:
            cause = "Django takes requests by https for http, and refuses their forms (Origin checking failed)"
            seen = (
                _setting(facts, "CSRF_TRUSTED_ORIGINS", list(facts.csrf_trusted_origins)),
                _setting(facts, "SECURE_PROXY_SSL_HEADER", header),
            )
            cure = f"{_TELL_SCHEME}; or CSRF_TRUSTED_ORIGINS = {missing}" if missing else _TELL_SCHEME
            yield Diagnosis("django-csrf-origin", "error", cause, seen, cure)


_TELL_SCHEME = (
    "proxy_set_header X-Forwarded-Proto $scheme (or uwsgi_param HTTP_X_FORWARDED_PROTO $scheme) in nginx, from an "
    "address in trusted-proxies"
)


def _as_sent(name: str) -> str:
    """Write the name of a variable as clients send it: HTTP_X_FORWARDED_PROTO is X-Forwarded-Proto."""
    return "-".join(part.capitalize() for part in name.removeprefix("HTTP_").split("_"))


def _is_dropped(name: str, served: Served) -> bool:
    """Whether clients can not send what becomes this variable."""
    return not name.startswith("HTTP_") or (served.drops_forwarded and name.startswith("HTTP_X_FORWARDED_"))


def _has_csrf(facts: DjangoFacts) -> bool:
    return "django.middleware.csrf.CsrfViewMiddleware" in facts.middleware


def _is_trusted(origin: str, trusted: tuple[str, ...]) -> bool:
    scheme, _, host = origin.partition("://")
    for each in trusted:
        its_scheme, _, its_host = each.partition("://")
        if its_scheme == scheme and is_allowed(host, (its_host.replace("*.", ".", 1),)):
            return True
    return False


# -- static files ------------------------------------------------------------------------------------------------------


def _static_root(facts: DjangoFacts, served: Served) -> Iterator[Diagnosis]:
    if not facts.uses_staticfiles or "://" in facts.static_url or not facts.static_storage.startswith("django."):
        return
    if not facts.static_root:
        cause = "STATIC_ROOT is not set: with DEBUG off static files are served by nobody, the admin's CSS among them"
        seen: tuple[Evidence, ...] = (Evidence(facts.settings_file, "STATIC_ROOT is nowhere"),)
        cure = 'STATIC_ROOT = BASE_DIR / "static", then collectstatic'
        yield Diagnosis(
            "django-static-root", "error", cause, seen, cure, (_manage(facts, "collectstatic", "--noinput"),)
        )
    elif os.path.realpath(facts.static_root) in map(os.path.realpath, facts.static_dirs):
        cause = "STATIC_ROOT is one of STATICFILES_DIRS: collectstatic would copy files onto themselves, and refuses"
        seen = (
            _setting(facts, "STATIC_ROOT", facts.static_root),
            _setting(facts, "STATICFILES_DIRS", list(facts.static_dirs)),
        )
        yield Diagnosis("django-static-in-source", "error", cause, seen, "name another directory at STATIC_ROOT")


def _collected(facts: DjangoFacts, served: Served) -> Iterator[Diagnosis]:
    collected = facts.collected
    if collected is None or not facts.static_root or not facts.static_storage.startswith("django."):
        return
    seen = (
        Evidence(facts.static_root, f"{collected.missing} of {collected.total} files missing, {collected.older} older"),
        Evidence("", f"for example {', '.join(collected.examples)}"),
    )
    command = (_manage(facts, "collectstatic", "--noinput"),)
    if collected.missing:
        cause = f"{collected.missing} static files are not in STATIC_ROOT: visitors have a 404 for them"
        yield Diagnosis("django-static-missing", "error", cause, seen, "run collectstatic", command)
    elif collected.older:
        cause = f"{collected.older} collected static files are older than those of the code: visitors have the old ones"
        yield Diagnosis("django-static-old", "warning", cause, seen, "run collectstatic", command)


# -- many workers ------------------------------------------------------------------------------------------------------


def _cache(facts: DjangoFacts, served: Served) -> Iterator[Diagnosis]:
    if served.processes < 2:
        return
    uses_cache = facts.session_engine.endswith((".cache", ".cached_db")) or any(
        name.startswith("django.middleware.cache.") for name in facts.middleware
    )
    for cache in facts.caches:
        if not cache.backend.endswith(_LOCMEM):
            continue
        holds_sessions = facts.session_engine.endswith(".cache") and cache.alias == facts.session_cache_alias
        if not holds_sessions and not facts.caches_are_set and not uses_cache:
            # Django's default, which nobody may use.
            continue
        cause = f"each of {served.processes} workers has a cache {cache.alias!r} of its own in its memory"
        cause += (
            ": visitors are logged out at random" if holds_sessions else ": what one stores or deletes no other sees"
        )
        seen = (
            _setting(facts, "CACHES", {cache.alias: cache.backend}),
            Evidence("", f"processes = {served.processes}"),
        )
        cure = "django.core.cache.backends.redis.RedisCache, Memcached, or db.DatabaseCache, which all workers share"
        level: Level = "error" if holds_sessions else "warning"
        yield Diagnosis("django-cache-of-each", level, cause, seen, cure)


def _sqlite(facts: DjangoFacts, served: Served) -> Iterator[Diagnosis]:
    for database in facts.databases:
        if database.vendor != "sqlite" or _is_in_memory(database):
            continue
        # Whoever sets one of these knows about it.
        is_tuned = {"transaction_mode", "init_command"} & set(database.options)
        if served.slots > _WORKERS_OF_SQLITE and not is_tuned:
            cause = f"{served.slots} threads share an SQLite database, in which one at a time writes"
            seen = (
                _setting(facts, "DATABASES", {database.alias: database.name}),
                Evidence("", f"processes = {served.processes}, threads = {served.threads}"),
            )
            cure = 'OPTIONS = {"transaction_mode": "IMMEDIATE", "timeout": 20}, fewer threads, or PostgreSQL'
            yield Diagnosis("django-sqlite", "warning", cause, seen, cure)
        yield from _sqlite_rights(facts, database, served.person)


def _is_in_memory(database: Database) -> bool:
    return ":memory:" in database.name or "mode=memory" in database.name or not database.name.startswith("/")


def _sqlite_rights(facts: DjangoFacts, database: Database, person: Person | None) -> Iterator[Diagnosis]:
    # SQLite follows links, and makes its journal beside the file itself.
    name = os.path.realpath(database.name)
    folder = os.path.dirname(name)
    if person is None or not os.path.isdir(folder):
        return
    closed = first_closed(name, person)
    places = [place for place in (name, folder) if os.path.exists(place) and not person.may_write(place)]
    if closed is not None or places:
        what = f"enter {closed}" if closed is not None else f"write to {' and '.join(places)}"
        cause = f"the user of the instance may not {what}: SQLite says `readonly database` or `unable to open`"
        seen = (
            _setting(facts, "DATABASES", {database.alias: database.name}),
            *map(_rights, places),
        )
        cure = f"give file and directory to the user of the instance (uid {person.uid})"
        commands = (f"chown {person.uid} {' '.join(places)}",) if places else (f"chmod o+x {closed}",)
        yield Diagnosis("django-sqlite-readonly", "error", cause, seen, cure, commands)


def _rights(path: str) -> Evidence:
    try:
        status = os.stat(path)
    except OSError as error:
        return Evidence(path, error.strerror or "can not be looked at")
    return Evidence(path, f"mode {status.st_mode & 0o7777:04o}, uid {status.st_uid}, gid {status.st_gid}")


def _connections(facts: DjangoFacts, served: Served) -> Iterator[Diagnosis]:
    for database in facts.databases:
        if database.connection_error:
            cause = f"the database {database.alias!r} can not be asked: {database.connection_error}"
            seen: tuple[Evidence, ...] = (_setting(facts, "DATABASES", {database.alias: _where(database)}),)
            yield Diagnosis(
                "django-database", "error", cause, seen, "start it, or correct HOST, PORT, USER and PASSWORD"
            )
            continue
        limit = database.connection_limit
        if limit is None and database.vendor == "postgresql" and served.slots > _POSTGRESQL_DEFAULT:
            limit = _POSTGRESQL_DEFAULT
        if limit is None:
            continue
        most = served.processes * (min(database.pool_size, served.threads) if database.pool_size else served.threads)
        if 2 * most <= limit:
            continue
        during = "" if most > limit else " during a reload, when old and new workers are there"
        peak = most if most > limit else 2 * most
        cause = f"{peak} connections may be open to the database {database.alias!r}{during}, and it lets {limit} in"
        seen = (
            _setting(facts, "DATABASES", {database.alias: _where(database)}),
            Evidence(
                "",
                f"processes = {served.processes}, threads = {served.threads}, CONN_MAX_AGE = {database.conn_max_age}",
            ),
            Evidence(_where(database), f"{limit} connections" + ("" if database.connection_limit else " by default")),
        )
        cure = f"at most {max(1, limit // 2)} threads in all, a pool (OPTIONS: pool, or PgBouncer), or a larger limit"
        yield Diagnosis("django-connections", "error" if most > limit else "warning", cause, seen, cure)


def _where(database: Database) -> str:
    host = database.host or "localhost"
    return f"{database.vendor}://{host}{':' + database.port if database.port else ''}/{database.name}"


# -- the rest ----------------------------------------------------------------------------------------------------------


def _migrations(facts: DjangoFacts, served: Served) -> Iterator[Diagnosis]:
    for each in facts.migrations or ():
        if each.error:
            cause = f"the database {each.alias!r} can not be asked for its migrations: {each.error}"
            yield Diagnosis("django-database", "error", cause, (), "start it, or correct DATABASES")
        elif each.names:
            shown = ", ".join(each.names[:4]) + (" ..." if len(each.names) > 4 else "")
            cause = f"{len(each.names)} migrations are not applied to the database {each.alias!r}: some pages fail"
            database = "" if each.alias == "default" else f"--database {each.alias}"
            command = _manage(facts, "migrate", *([database] if database else []))
            yield Diagnosis("django-migrations", "warning", cause, (Evidence("", shown),), "run migrate", (command,))


def _log_files(facts: DjangoFacts, served: Served) -> Iterator[Diagnosis]:
    person = served.person
    for log in facts.log_files:
        folder = os.path.dirname(log.path)
        if not os.path.isdir(folder):
            what, commands = f"there is no directory {folder}", [f"mkdir -p {folder}"]
        elif os.path.isdir(log.path):
            what, commands = f"{log.path} is a directory", []
        elif person is None:
            continue
        elif (closed := first_closed(log.path, person)) is not None:
            what, commands = f"the user of the instance may not enter {closed}", [f"chmod o+x {closed}"]
        else:
            place = log.path if os.path.exists(log.path) else folder
            if person.may_write(place):
                continue
            what, commands = f"the user of the instance may not write to {place}", [f"chown {person.uid} {place}"]
        cause = f"the log file of handler {log.handler!r} can not be written, and the project does not start: {what}"
        seen = (_setting(facts, "LOGGING", {log.handler: log.path}), _rights(folder))
        cure = "make it so, or let the handler write to standard error, which is the server's log"
        yield Diagnosis("django-log-unwritable", "error", cause, seen, cure, tuple(commands))


def _errors_nowhere(facts: DjangoFacts, served: Served) -> Iterator[Diagnosis]:
    if facts.debug or facts.error_outlets:
        return
    cause = (
        "nobody gets the traceback of a request that fails: Django's console handler is for DEBUG, and ADMINS is empty"
    )
    seen = (Evidence(place_of(facts.settings_file, "LOGGING"), "no handler of django.request speaks with DEBUG off"),)
    cure = (
        'LOGGING = {"version": 1, "disable_existing_loggers": False, "handlers": {"console": {"class": '
        '"logging.StreamHandler"}}, "root": {"handlers": ["console"], "level": "INFO"}}: into the server\'s log'
    )
    yield Diagnosis("django-errors-nowhere", "warning", cause, seen, cure)


def _uploads(facts: DjangoFacts, served: Served) -> Iterator[Diagnosis]:
    wanted = facts.data_upload_max_memory_size
    limits = (
        ("limit-post", served.limit_post_bytes, "limit-post"),
        ("client_max_body_size", served.proxy_limit_bytes, "client_max_body_size of nginx"),
    )
    for name, limit, where in limits:
        if not limit or wanted is None or limit >= wanted:
            continue
        cause = f"{where} is {_size(limit)}, and Django takes forms of {_size(wanted)}: larger ones have a 413"
        seen = (
            Evidence("", f"{name} = {limit}"),
            _setting(facts, "DATA_UPLOAD_MAX_MEMORY_SIZE", wanted),
        )
        yield Diagnosis(
            "django-upload-limit", "warning", cause, seen, f"{name} at least {_size(wanted)}; more for files"
        )
    proxy, own = served.proxy_limit_bytes, served.limit_post_bytes
    if proxy is not None and own and (proxy == 0 or proxy > own):
        shown = "any size" if proxy == 0 else _size(proxy)
        cause = f"nginx takes bodies of {shown} and passes on what limit-post ({_size(own)}) refuses"
        seen = (Evidence("", f"client_max_body_size = {proxy}"), Evidence("", f"limit-post = {own}"))
        yield Diagnosis("django-upload-limit", "warning", cause, seen, "the same number at both")


def _size(count: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.4g} {name}"
    return f"{count} bytes"


def _messages(facts: DjangoFacts, served: Served) -> Iterator[Diagnosis]:
    for message in facts.messages or ():
        if (
            message.id in _OWN
            or message.id.startswith("penstock.")
            or (message.id in _ABOUT_HTTPS and served.is_https is False)
        ):
            continue
        is_grave = message.level >= 40
        level: Level = (
            "error" if is_grave else "note" if message.level < 30 or message.id in _ABOUT_HTTPS else "warning"
        )
        first = message.text.split(". ")[0].rstrip(".")
        seen = (Evidence(facts.settings_file, f"{message.id}{': ' + message.about if message.about else ''}"),)
        yield Diagnosis("django-check", level, f"{message.id}: {first}", seen, message.hint or message.text)


ALWAYS: tuple[Check, ...] = (_cache, _sqlite, _connections, _log_files, _uploads)
FOR_DEPLOYMENT: tuple[Check, ...] = (
    _hosts, _debug, _scheme, _static_root, _collected, _migrations, _errors_nowhere, _messages,
)  # fmt: skip
