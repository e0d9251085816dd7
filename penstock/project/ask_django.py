"""Run by a project's own interpreter: sets Django up, and writes what its settings come to, as JSON, to a descriptor.

`python -c THIS DESCRIPTOR WHAT[,WHAT...] PENSTOCK MODULE`, with DJANGO_SETTINGS_MODULE set and the project's folder as
working directory; given as text, because the user that it runs as need not be able to read where Penstock is installed.
Nothing of Penstock is imported, and the syntax is that of Python 3.8: the interpreter may be any that Django runs on.
Values that are secrets (passwords, keys) never leave the process; of a URL its password is left out.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import re
import sys
import traceback
from collections.abc import Iterator
from typing import Any

LARGEST_TREE = 200000
"""Static files that are compared; a project with more has a pipeline of its own."""


def main() -> None:
    """Answer, or tell why there is no answer."""
    # `-c` put the empty word there, which changes its meaning with the working directory.
    sys.path[:1] = [os.getcwd()]
    find_penstock(sys.argv[3])
    try:
        answer = {"facts": gather(frozenset(sys.argv[2].split(",")), sys.argv[4])}
    except BaseException as error:
        answer = {"failure": failure(error)}
    with open(int(sys.argv[1]), "w", encoding="utf-8", closefd=False) as channel:
        json.dump(answer, channel, default=str)
    # Threads and exit handlers of the project have nothing to do here.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def find_penstock(directory: str) -> None:
    """Let the settings name `penstock.django` where Penstock is installed elsewhere, as a generation does."""
    path = os.path.join(directory, "worker", "boot.py")
    spec = importlib.util.spec_from_file_location("penstock_boot", path)
    if spec is None or spec.loader is None:
        return
    boot = importlib.util.module_from_spec(spec)
    # This user may not be allowed to read it; then only what is installed for the project counts.
    with contextlib.suppress(OSError):
        spec.loader.exec_module(boot)
        sys.meta_path.append(boot.PackageFinder(directory))


def failure(error: BaseException) -> dict[str, Any]:
    """Tell an exception: its line, the innermost frame of the project's own code, and the traceback."""
    place: tuple[str, int] | None = None
    fallback: tuple[str, int] | None = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = frame.f_code.co_filename
        # Frames of this text are called <string>.
        if path.startswith("<"):
            continue
        fallback = (path, line)
        if (
            "site-packages" not in path
            and "dist-packages" not in path
            and not path.startswith(os.path.dirname(os.__file__))
        ):
            place = (path, line)
    if isinstance(error, SyntaxError) and error.filename:
        place = (error.filename, error.lineno or 0)
    file, line = place or fallback or ("", 0)
    return {
        "kind": type(error).__name__,
        "reason": traceback.format_exception_only(type(error), error)[-1].strip(),
        "name": getattr(error, "name", None) or "",
        "file": file,
        "line": line,
        "traceback": "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    }


def gather(wanted: frozenset[str], module: str) -> dict[str, Any]:
    """Set Django up, and tell its settings and what else is `wanted`: migrations, deploy, static, database.

    `module` is the WSGI module, for projects in which it does more than Django's own set-up.
    """
    if module:
        importlib.import_module(module)
    else:
        import django

        django.setup()
    return describe(wanted)


def describe(wanted: frozenset[str]) -> dict[str, Any]:
    """Tell what a Django that is set up comes to."""
    facts = dict(settings_facts())
    facts["migrations"] = unapplied_migrations() if "migrations" in wanted else None
    facts["messages"] = deploy_messages() if "deploy" in wanted else None
    facts["collected"] = collected_static() if "static" in wanted else None
    if "database" in wanted:
        for database in facts["databases"]:
            database.update(connection_limit(database["alias"]))
    return facts


def settings_facts() -> Iterator[tuple[str, Any]]:
    """Tell the settings that somebody who serves the project has to know."""
    import django
    from django.conf import settings

    def get(name: str, default: object = None) -> Any:
        return getattr(settings, name, default)

    module = sys.modules.get(os.environ.get("DJANGO_SETTINGS_MODULE", ""))
    yield "django_version", django.get_version()
    yield "python_version", f"{sys.version_info[0]}.{sys.version_info[1]}"
    yield "settings", os.environ.get("DJANGO_SETTINGS_MODULE", "")
    yield "settings_file", getattr(module, "__file__", None) or ""
    yield "base_dir", text(get("BASE_DIR", ""))
    yield "debug", bool(get("DEBUG"))
    secret = str(get("SECRET_KEY", "") or "")
    yield "secret_key", "missing" if not secret else "example" if secret.startswith("django-insecure-") else "set"
    for name in ("ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "INSTALLED_APPS", "MIDDLEWARE"):
        yield name.lower(), texts(get(name))
    header = get("SECURE_PROXY_SSL_HEADER")
    yield "secure_proxy_ssl_header", texts(header) if header else None
    for name in ("SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "USE_X_FORWARDED_HOST"):
        yield name.lower(), bool(get(name))
    yield "secure_hsts_seconds", number(get("SECURE_HSTS_SECONDS")) or 0
    yield "static_url", text(get("STATIC_URL"))
    yield "static_root", place(get("STATIC_ROOT"))
    yield "static_dirs", static_dirs()
    yield "static_storage", storage_name("staticfiles", "STATICFILES_STORAGE")
    yield "static_is_hashed", static_is_hashed()
    yield "media_url", text(get("MEDIA_URL"))
    yield "media_root", place(get("MEDIA_ROOT"))
    yield "media_storage", storage_name("default", "DEFAULT_FILE_STORAGE")
    yield "databases", databases()
    yield "caches", caches()
    yield "caches_are_set", bool(settings.is_overridden("CACHES"))
    yield "session_engine", text(get("SESSION_ENGINE"))
    yield "session_cache_alias", text(get("SESSION_CACHE_ALIAS", "default"))
    yield "data_upload_max_memory_size", number(get("DATA_UPLOAD_MAX_MEMORY_SIZE"))
    yield "file_upload_max_memory_size", number(get("FILE_UPLOAD_MAX_MEMORY_SIZE"))
    yield "file_upload_temp_dir", place(get("FILE_UPLOAD_TEMP_DIR"))
    yield "file_upload_permissions", number(get("FILE_UPLOAD_PERMISSIONS"))
    yield "root_urlconf", text(get("ROOT_URLCONF"))
    yield "wsgi_application", text(get("WSGI_APPLICATION"))
    yield "asgi_application", text(get("ASGI_APPLICATION"))
    yield "admin_url", admin_url()
    yield "log_files", log_files(get("LOGGING") or {})
    yield "error_outlets", error_outlets()
    # Last: the admin's URL has imported the URLs, and the views with them.
    yield "memory_bytes", memory_bytes()


def memory_bytes() -> int:
    """Tell what this process has in memory: Django, the applications and what their URLs import."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def text(value: object) -> str:
    return "" if value is None else str(value)


def texts(value: object) -> list[str]:
    if not isinstance(value, (list, tuple, set, frozenset)):
        return []
    return [str(each) for each in value]


def number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def place(value: object) -> str:
    return os.path.abspath(str(value)) if value else ""


def storage_name(alias: str, old: str) -> str:
    from django.conf import settings

    storages = getattr(settings, "STORAGES", None) or {}
    found = storages.get(alias) if isinstance(storages, dict) else None
    return text(found.get("BACKEND")) if isinstance(found, dict) else text(getattr(settings, old, ""))


def static_is_hashed() -> bool:
    """Tell whether the names of collected files hold their hash, so that they may be cached for good."""
    from django.utils.module_loading import import_string

    # Asked of the class: an instance wants a STATIC_ROOT.
    with contextlib.suppress(Exception):
        return hasattr(import_string(storage_name("staticfiles", "STATICFILES_STORAGE")), "hashed_name")
    return False


def static_dirs() -> list[str]:
    from django.conf import settings

    found = []
    for each in getattr(settings, "STATICFILES_DIRS", None) or ():
        found.append(place(each[1] if isinstance(each, (list, tuple)) and len(each) == 2 else each))
    return found


def databases() -> list[dict[str, Any]]:
    from django.db import connections

    found = []
    for alias in connections:
        settings = connections[alias].settings_dict
        options = settings.get("OPTIONS") or {}
        pool = options.get("pool")
        is_file = text(settings.get("ENGINE")).endswith(("sqlite3", "spatialite"))
        name = text(settings.get("NAME"))
        found.append(
            {
                "alias": alias,
                "engine": text(settings.get("ENGINE")),
                "vendor": text(getattr(connections[alias], "vendor", "")),
                "name": os.path.abspath(name) if is_file and name and ":" not in name else without_password(name),
                "host": without_password(text(settings.get("HOST"))),
                "port": text(settings.get("PORT")),
                "user": text(settings.get("USER")),
                "conn_max_age": settings.get("CONN_MAX_AGE")
                if number(settings.get("CONN_MAX_AGE")) is not None
                else None,
                "pool_size": (number(pool.get("max_size")) or 4) if isinstance(pool, dict) else 4 if pool else None,
                "options": sorted(str(key) for key in options),
                "connection_limit": None,
                "connection_error": "",
            }
        )
    return found


def caches() -> list[dict[str, Any]]:
    from django.conf import settings

    found = []
    for alias, each in (getattr(settings, "CACHES", None) or {}).items():
        locations = each.get("LOCATION") or ""
        locations = locations if isinstance(locations, (list, tuple)) else [locations]
        shown = [without_password(str(location)) for location in locations if location]
        found.append({"alias": str(alias), "backend": text(each.get("BACKEND")), "locations": shown})
    return found


def without_password(value: str) -> str:
    """Leave the password (and the user) out of a URL."""
    return re.sub(r"//[^/@\s]*@", "//", value)


def admin_url() -> str:
    """Tell the path of the admin, if the project has one."""
    with contextlib.suppress(BaseException):
        from django.urls import reverse

        return str(reverse("admin:index"))
    return ""


def log_files(logging: Any) -> list[dict[str, str]]:
    """List the files that handlers of LOGGING write to."""
    handlers = logging.get("handlers") if isinstance(logging, dict) else None
    found = []
    for name, handler in (handlers or {}).items():
        if isinstance(handler, dict) and handler.get("filename"):
            found.append({"handler": str(name), "kind": text(handler.get("class")), "path": place(handler["filename"])})
    return found


def error_outlets() -> list[str]:
    """List where the traceback of a request that failed goes, by the kinds of handlers; empty if nobody gets it."""
    import logging

    from django.conf import settings

    found = ["sentry"] if "sentry_sdk" in sys.modules else []
    handlers = 0
    logger: logging.Logger | None = logging.getLogger("django.request")
    while logger is not None:
        for handler in logger.handlers:
            handlers += 1
            kind = type(handler).__name__
            # Each of them keeps silent where the other one speaks (django.utils.log).
            silent = "RequireDebugFalse" if settings.DEBUG else "RequireDebugTrue"
            if handler.level > logging.ERROR or silent in {type(each).__name__ for each in handler.filters}:
                continue
            if kind == "NullHandler" or (kind == "AdminEmailHandler" and not settings.ADMINS):
                continue
            found.append(kind)
        logger = logger.parent if logger.propagate else None
    # Without any handler Python writes to standard error.
    return found if handlers else [*found, "standard error"]


def unapplied_migrations() -> list[dict[str, Any]]:
    """List what `migrate` would do on each database, as app.name; or tell why nobody can know."""
    from django.db import connections
    from django.db.migrations.executor import MigrationExecutor

    found = []
    for alias in connections:
        settings = connections[alias].settings_dict
        if text(settings.get("ENGINE")).endswith("dummy"):
            continue
        name = text(settings.get("NAME"))
        if text(settings.get("ENGINE")).endswith("sqlite3") and name and ":" not in name and not os.path.exists(name):
            # A look must not make the file.
            found.append({"alias": alias, "names": all_migrations(), "error": ""})
            continue
        try:
            executor = MigrationExecutor(connections[alias])
            plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
            names = [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
            found.append({"alias": alias, "names": names, "error": ""})
        except Exception as error:
            found.append({"alias": alias, "names": [], "error": first_line(error)})
    return found


def all_migrations() -> list[str]:
    from django.db.migrations.loader import MigrationLoader

    loader = MigrationLoader(None, ignore_no_migrations=True)
    return [f"{app}.{name}" for app, name in sorted(loader.disk_migrations)]


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def deploy_messages() -> list[dict[str, Any]]:
    """Tell what `check --deploy` finds, the checks of the database left out."""
    from django.core import checks

    found = []
    for message in checks.run_checks(include_deployment_checks=True):
        if not message.is_silenced():
            found.append(
                {
                    "id": text(message.id),
                    "level": message.level,
                    "text": str(message.msg),
                    "hint": text(message.hint),
                    "about": text(message.obj) if message.obj is not None else "",
                }
            )
    return found


def collected_static() -> dict[str, Any] | None:
    """Hold what `collectstatic` would copy against what is in STATIC_ROOT."""
    from django.conf import settings
    from django.contrib.staticfiles.finders import get_finders

    root = getattr(settings, "STATIC_ROOT", None)
    total = 0
    missing = []
    older = []
    for finder in get_finders():
        for path, storage in finder.list(ignore_patterns=["CVS", ".*", "*~"]):
            total += 1
            if total > LARGEST_TREE:
                return None
            prefix = getattr(storage, "prefix", None)
            name = os.path.join(prefix, path) if prefix else path
            if not root:
                continue
            target = os.path.join(str(root), name)
            try:
                collected = os.stat(target)
                source = os.stat(storage.path(path))
            except FileNotFoundError:
                missing.append(name)
                continue
            except Exception:  # A storage may be anything, or on another machine.
                continue
            if collected.st_mtime < source.st_mtime - 1 and not same_content(target, storage.path(path)):
                older.append(name)
    return {
        "total": total,
        "missing": len(missing),
        "older": len(older),
        "examples": sorted(missing)[:3] + sorted(older)[:3],
    }


def same_content(one: str, other: str) -> bool:
    try:
        if os.path.getsize(one) != os.path.getsize(other):
            return False
        with open(one, "rb") as first, open(other, "rb") as second:
            return first.read() == second.read()
    except OSError:
        return False


LIMIT_QUERIES = {
    "postgresql": "SELECT current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int",
    "mysql": "SELECT @@max_connections",
}
"""What asks a database how many connections ordinary users may have."""


def connection_limit(alias: str) -> dict[str, Any]:
    """Ask a database how many connections it lets in; None where it has no limit of that kind."""
    from django.db import connections

    connection = connections[alias]
    query = LIMIT_QUERIES.get(getattr(connection, "vendor", ""))
    if query is None:
        return {}
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return {"connection_limit": int(cursor.fetchone()[0])}
    except Exception as error:
        return {"connection_error": first_line(error)}


if __name__ == "__main__":
    main()
