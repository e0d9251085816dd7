"""Each judgement on a Django project: the broken situation made for real, exactly that finding, and a healthy one."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from penstock.doctor.checks.django import ROWS, Served, check, is_allowed
from penstock.doctor.diagnosis import Diagnosis, Evidence
from penstock.plan.access import Person
from penstock.project.django_facts import DjangoFacts, Unanswered, ask
from penstock.values import replace
from tests.support.projects import found, make_django, manage, write_files

HEALTHY = """
from .settings import *

import os
SECRET_KEY = "a key that is not the one of startproject, and long enough for everybody 0123456789"
SECURE_HSTS_SECONDS = 3600
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"]},
}
"""
HTTPS = Served(
    server_names=("shop.example.org",),
    is_https=True,
    tells_scheme=True,
    processes=2,
    threads=4,
    limit_post_bytes=0,
    proxy_limit_bytes=75 << 20,
)
NO_REDIRECT = "SECURE_SSL_REDIRECT = False\nSILENCED_SYSTEM_CHECKS = ['security.W008']"
HTTP = replace(HTTPS, is_https=False)


@pytest.fixture(scope="module")
def project_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_django(tmp_path_factory.mktemp("checks") / "cmdb")
    manage(folder, "migrate", "-v0")
    manage(folder, "collectstatic", "--noinput", "-v0")
    write_files(folder, {"cmdb/healthy.py": HEALTHY})
    return folder


def answer(folder: Path, settings: str = "", *wanted: str) -> DjangoFacts | Unanswered:
    """Ask a project, with settings on top of the healthy ones."""
    module = f"case_{abs(hash(settings))}"
    write_files(folder, {f"cmdb/{module}.py": f"from .healthy import *\n{settings}\n"})
    return ask(replace(found(folder), settings=f"cmdb.{module}"), *(wanted or ("deploy", "static", "migrations")))


def judged(facts: DjangoFacts | Unanswered, served: Served = HTTPS) -> list[Diagnosis]:
    return list(check(facts, served))


def the_one(found: list[Diagnosis]) -> Diagnosis:
    """The only finding."""
    assert len(found) == 1, found
    return found[0]


def test_a_healthy_site_has_no_findings(project_dir: Path) -> None:
    facts = answer(project_dir, "", "deploy", "static", "migrations", "database")
    assert isinstance(facts, DjangoFacts) and facts.messages == () and facts.unapplied == ()
    assert judged(facts) == []


@pytest.mark.parametrize(
    ("settings", "served", "code", "says"),
    [
        ("ALLOWED_HOSTS = ['other.org']", HTTPS, "django-hosts", "shop.example.org"),
        ("ALLOWED_HOSTS = []", replace(HTTPS, server_names=()), "django-hosts", "everybody"),
        ("DEBUG = True", HTTPS, "django-debug", "DEBUG is on"),
        ("", replace(HTTPS, tells_scheme=False), "django-redirect-loop", "takes every request for http"),
        ("SECURE_HSTS_SECONDS = 0", HTTP, "django-redirect-loop", "nobody serves https"),
        (
            NO_REDIRECT,
            replace(HTTPS, tells_scheme=False),
            "django-csrf-origin",
            "refuses their forms",
        ),
        (
            "SECURE_PROXY_SSL_HEADER = ('HTTP_X_FORWARDED_PROTO', 'https')",
            replace(HTTPS, exposed=Evidence("app.ini:2", ":8000")),
            "django-ssl-header-forged",
            "X-Forwarded-Proto",
        ),
        ("STATIC_ROOT = None", HTTPS, "django-static-root", "the admin's CSS"),
        ("STATIC_ROOT = BASE_DIR / 'empty'", HTTPS, "django-static-missing", "404"),
        (
            "STATIC_ROOT = BASE_DIR / 'static'\nSTATICFILES_DIRS = [STATIC_ROOT]",
            HTTPS,
            "django-static-in-source",
            "STATICFILES_DIRS",
        ),
        (
            "MIDDLEWARE += ['django.middleware.cache.FetchFromCacheMiddleware']",
            HTTPS,
            "django-cache-of-each",
            "2 workers",
        ),
        ("SESSION_ENGINE = 'django.contrib.sessions.backends.cache'", HTTPS, "django-cache-of-each", "logged out"),
        ("", replace(HTTPS, processes=16), "django-sqlite", "64 threads"),
        ("LOGGING = {'version': 1}", HTTPS, "django-errors-nowhere", "nobody gets the traceback"),
        ("", replace(HTTPS, limit_post_bytes=1 << 20, proxy_limit_bytes=1 << 20), "django-upload-limit", "1 MiB"),
        ("", replace(HTTPS, limit_post_bytes=10 << 20), "django-upload-limit", "passes on"),
        ("X_FRAME_OPTIONS = 'SAMEORIGIN'", HTTPS, "django-check", "security.W019"),
        ("CSRF_TRUSTED_ORIGINS = ['shop.example.org']", HTTPS, "django-check", "4_0.E001"),
    ],
)
def test_a_broken_site_has_exactly_its_finding(
    project_dir: Path, settings: str, served: Served, code: str, says: str
) -> None:
    one = {each.code: each for each in judged(answer(project_dir, settings), served)}
    assert list(one) == [code]
    told = one[code]
    assert says in told.cause and told.cure
    assert any(each.place.startswith(str(project_dir)) or each.value for each in told.evidence)


def test_the_settings_line_is_found_behind_a_star_import(project_dir: Path) -> None:
    told = the_one(judged(answer(project_dir, ""), replace(HTTPS, server_names=("other.org",))))
    lines = (project_dir / "cmdb/settings.py").read_text().splitlines()
    number = max(number for number, line in enumerate(lines, 1) if line.startswith("ALLOWED_HOSTS"))
    assert told.evidence[0].place == f"{project_dir}/cmdb/settings.py:{number}"
    assert "shop.example.org" in told.evidence[0].value and "other.org" in told.cure


def test_static_files_that_are_older_than_the_code(tmp_path: Path, project_dir: Path) -> None:
    folder = tmp_path / "cmdb"
    shutil.copytree(project_dir, folder)
    css = folder / "shop/static/shop/shop.css"
    css.write_text("body { color: red }\n")
    later = (folder / "static/shop/shop.css").stat().st_mtime + 60
    os.utime(css, (later, later))
    told = the_one(judged(answer(folder)))
    assert told.code == "django-static-old" and "shop/shop.css" in told.evidence[1].value
    assert "collectstatic" in told.commands[0]
    manage(folder, "collectstatic", "--noinput", "-v0")
    assert judged(answer(folder)) == []


def test_migrations_that_are_not_applied(tmp_path: Path, project_dir: Path) -> None:
    folder = tmp_path / "cmdb"
    shutil.copytree(project_dir, folder)
    manage(folder, "migrate", "shop", "zero", "-v0")
    told = the_one(judged(answer(folder)))
    assert told.code == "django-migrations" and told.evidence[0].value == "shop.0001_initial"
    assert told.commands == (f"cd {folder} && python manage.py migrate",)


def test_looking_for_migrations_makes_no_database(tmp_path: Path) -> None:
    folder = make_django(tmp_path / "cmdb")
    (folder / "db.sqlite3").unlink(missing_ok=True)
    facts = ask(found(folder), "migrations")
    assert isinstance(facts, DjangoFacts) and "shop.0001_initial" in facts.unapplied
    assert not (folder / "db.sqlite3").exists()


@pytest.mark.parametrize(("processes", "level"), [(2, None), (3, "warning"), (6, "error")])
def test_more_connections_than_the_database_lets_in(project_dir: Path, processes: int, level: str | None) -> None:
    # A server that is asked in the way of PostgreSQL, and answers 20.
    write_files(
        project_dir,
        {
            "served/base.py": """
from django.db.backends.sqlite3 import base
from django.db.backends.sqlite3.base import *


class Cursor:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def execute(self, query):
        assert "max_connections" in query

    def fetchone(self):
        return (20,)


class DatabaseWrapper(base.DatabaseWrapper):
    vendor = "postgresql"

    def cursor(self):
        return Cursor()
""",
            "served/__init__.py": "",
        },
    )
    settings = "DATABASES = {'default': {'ENGINE': 'served', 'NAME': BASE_DIR / 'db.sqlite3', 'PASSWORD': 'geheim'}}"
    facts = answer(project_dir, settings, "database")
    assert isinstance(facts, DjangoFacts) and facts.databases[0].connection_limit == 20
    assert "geheim" not in repr(facts)
    found = judged(facts, replace(HTTPS, processes=processes, threads=4))
    assert [(each.code, each.level) for each in found] == ([("django-connections", level)] if level else [])


def test_a_database_that_does_not_answer(project_dir: Path) -> None:
    settings = "DATABASES['default']['NAME'] = '/proc/nothing/db.sqlite3'\nDATABASES['default']['ENGINE'] = 'refusing'"
    write_files(
        project_dir,
        {
            "refusing/base.py": """
from django.db.backends.sqlite3 import base
from django.db.utils import OperationalError


class DatabaseWrapper(base.DatabaseWrapper):
    vendor = "postgresql"

    def get_new_connection(self, params):
        raise OperationalError("connection to server at 10.0.0.9 failed: Connection refused")
""",
            "refusing/__init__.py": "",
        },
    )
    told = the_one(judged(answer(project_dir, settings, "database")))
    assert told.code == "django-database" and "Connection refused" in told.cause


STRANGER = Person(54321, frozenset({54321}))


def test_files_that_the_user_of_the_instance_may_not_write(project_dir: Path) -> None:
    # Not below pytest's own directory, which each run of pytest closes to others anew.
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o755)
        shutil.copytree(project_dir, place / "cmdb")
        (place / "cmdb").chmod(0o755)
        settings = f"LOGGING['handlers']['file'] = {{'class': 'logging.FileHandler', 'filename': '{place}/site.log'}}"
        found = judged(answer(place / "cmdb", settings), replace(HTTPS, person=STRANGER))
        codes = {each.code: each for each in found}
        assert sorted(codes) == ["django-log-unwritable", "django-sqlite-readonly"]
        assert str(place / "site.log") in codes["django-log-unwritable"].cause
        assert "54321" in codes["django-sqlite-readonly"].commands[0]


def test_a_log_file_in_a_directory_that_is_not_there_is_what_does_not_come_up(project_dir: Path) -> None:
    settings = "LOGGING['handlers']['file'] = {'class': 'logging.FileHandler', 'filename': '/nowhere/at/all/site.log'}"
    told = the_one(judged(answer(project_dir, settings)))
    assert told.code == "django-not-up" and "Unable to configure handler 'file'" in told.cause


def test_a_project_that_does_not_import_is_told_with_its_line(project_dir: Path) -> None:
    told = the_one(judged(answer(project_dir, "import no_such_library")))
    assert told.code == "django-not-up" and "no_such_library" in told.cause
    assert told.evidence[0].place.endswith(":2") and "pip install no_such_library" in told.cure


def test_each_code_has_a_row_and_is_tested_here() -> None:
    text = Path(__file__).read_text()
    assert [row.code for row in ROWS if f'"{row.code}"' not in text] == []
    source = Path(__file__).parents[3].joinpath("penstock/doctor/checks/django.py").read_text()
    assert [row.code for row in ROWS if source.count(f'"{row.code}"') < 2] == []


@pytest.mark.parametrize(
    ("host", "allowed", "verdict"),
    [
        ("shop.example.org", ("shop.example.org",), True),
        ("SHOP.example.org.", ("shop.example.org",), True),
        ("a.example.org", (".example.org",), True),
        ("example.org", (".example.org",), True),
        ("badexample.org", (".example.org",), False),
        ("anything", ("*",), True),
        ("shop.example.org", ("example.org",), False),
    ],
)
def test_hosts_are_compared_as_django_compares_them(host: str, allowed: tuple[str, ...], verdict: bool) -> None:
    from django.http.request import validate_host

    assert is_allowed(host, allowed) is verdict
    assert validate_host(host.rstrip(".").lower(), list(allowed)) is verdict
