"""A real Django project behind a real nginx: what its settings mean together with what is in front of it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.doctor.diagnosis import Diagnosis
from penstock.doctor.examination import Examination
from penstock.project.django_facts import DjangoFacts
from tests.doctor.checks.site import PARAMS, Site
from tests.doctor.support import evidence, examination, serious
from tests.e2e.harness import Penstock, free_port
from tests.support.projects import make_django, manage

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nginx"), reason="nginx runs as www-data")

SETTINGS = """
SECRET_KEY = "7d0f6c0b5a2e4f5d9c8b7a6e5d4c3b2a1f0e9d8c7b6a5f4e3d2c1b0a9f8e7d6c"
ALLOWED_HOSTS = ["shop.test"]
LOGGING = {
    "version": 1, "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
"""
CONFIGURATION = """[uwsgi]
socket = {dir}/app.sock
chmod-socket = 666
chdir = {dir}
module = cmdb.wsgi
pidfile = {dir}/app.pid
processes = 1
threads = 2
die-on-term = true
"""
USUAL = frozenset({"socket-for-everybody"})


class Shop:
    """A project, its instance and its nginx."""

    def __init__(self) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="doc-"))
        self.dir.chmod(0o755)
        make_django(self.dir, settings=SETTINGS)
        manage(self.dir, "migrate", "--verbosity", "0")
        manage(self.dir, "collectstatic", "--noinput", "--verbosity", "0")
        (self.dir / "app.ini").write_text(CONFIGURATION.format(dir=self.dir))
        self.settings = self.dir / "cmdb" / "settings.py"
        self.instance = Penstock("app.ini", cwd=self.dir)
        self.site = Site()

    def look(self, more: str = "") -> Examination:
        server = f"client_max_body_size 20m; location / {{ {PARAMS} uwsgi_pass unix:{self.dir}/app.sock; }}"
        self.site.serve(f"{server}\n{more or self.static()}")
        return self.examine()

    def examine(self) -> Examination:
        return examination(self.dir, "app.ini", nginx_file=str(self.site.file), imports=True, requests=True)

    def static(self) -> str:
        return f"location /static/ {{ alias {self.dir}/static/; }} location /media/ {{ alias {self.dir}/media/; }}"


def codes(found: Examination) -> set[str]:
    return serious(found) - USUAL


def one(found: Examination, code: str) -> Diagnosis:
    assert codes(found) == {code}, [(each.code, each.cause) for each in found.diagnoses]
    return next(each for each in found.diagnoses if each.code == code)


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.site.stop()
    made.instance.stop()
    shutil.rmtree(made.dir, ignore_errors=True)


@pytest.fixture
def settings(shop: Shop) -> Iterator[Path]:
    """The settings, which are put back."""
    before = shop.settings.read_text()
    yield shop.settings
    shop.settings.write_text(before)


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(f"\n{text}\n")


def test_a_project_that_is_well(shop: Shop) -> None:
    (shop.dir / "media").mkdir(exist_ok=True)
    (shop.dir / "media" / "photo.txt").write_text("photo\n")
    found = shop.look()
    assert codes(found) == set(), [(each.code, each.cause, evidence(each)) for each in found.diagnoses]
    assert isinstance(found.facts.django, DjangoFacts) and found.facts.nginx is not None
    assert {fact.url.split("/")[1]: fact.response.status for fact in found.facts.nginx.statics} == {
        "static": 200,
        "media": 200,
    }


def test_a_name_that_is_not_allowed(shop: Shop, settings: Path) -> None:
    shop.look()
    add(settings, 'ALLOWED_HOSTS = ["other.test"]')
    assert "shop.test" in one(shop.examine(), "django-hosts").cause


def test_static_files_that_nginx_looks_for_elsewhere(shop: Shop) -> None:
    diagnosis = one(shop.look("location /static/ { root /var/www; }"), "static-not-found")
    assert f"STATIC_ROOT {shop.dir}/static/" in evidence(diagnosis)
    assert f"location /static/ {{ alias {shop.dir}/static/; }}" in diagnosis.cure


def test_static_files_that_nginx_passes_on(shop: Shop) -> None:
    shop.look("location /media/ { return 204; }")
    found = shop.examine()
    diagnosis = one(found, "static-not-found")
    assert "static-map = /static/=" in diagnosis.cure and "404" in diagnosis.cause


def test_migrations_that_are_not_applied(shop: Shop) -> None:
    shop.look()
    migration = shop.dir / "shop" / "migrations" / "0002_more.py"
    migration.write_text(
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        '    dependencies = [("shop", "0001_initial")]\n    operations = []\n'
    )
    try:
        diagnosis = one(shop.examine(), "django-migrations")
    finally:
        migration.unlink()
    assert "shop.0002_more" in evidence(diagnosis)


def test_static_files_that_were_not_collected(shop: Shop) -> None:
    shop.look()
    css = shop.dir / "shop" / "static" / "shop" / "new.css"
    css.write_text("p {}\n")
    try:
        diagnosis = one(shop.examine(), "django-static-missing")
    finally:
        css.unlink()
    assert "new.css" in evidence(diagnosis) and "collectstatic" in diagnosis.commands[0]


def test_debug(shop: Shop, settings: Path) -> None:
    shop.look()
    add(settings, "DEBUG = True")
    assert "django-debug" in codes(shop.examine())


def test_uploads_above_what_nginx_takes(shop: Shop, settings: Path) -> None:
    shop.look()
    add(settings, "DATA_UPLOAD_MAX_MEMORY_SIZE = 50 << 20")
    diagnosis = one(shop.examine(), "upload-limits")
    shown = evidence(diagnosis)
    for name in (
        "client_max_body_size 20m",
        "limit-post",
        "DATA_UPLOAD_MAX_MEMORY_SIZE",
        "FILE_UPLOAD_MAX_MEMORY_SIZE",
    ):
        assert name in shown


def test_settings_that_do_not_import_are_said_once(shop: Shop, settings: Path) -> None:
    shop.look()
    add(settings, "import nosuchlibrary")
    assert "nosuchlibrary" in one(shop.examine(), "app-import-fails").cause


# -- https -------------------------------------------------------------------------------------------------------------

HEADER = 'SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")'
FORGED, LOOP = {"django-ssl-header-forged"}, {"django-redirect-loop"}


@pytest.mark.parametrize(
    ("listens", "header", "expected"),
    [
        ("http = 0.0.0.0:{port}", HEADER, FORGED),
        ("http = :{port}", HEADER, FORGED),
        ("http = [::]:{port}", HEADER, FORGED),
        ("http = :{port}", "", set()),
        ("http = 127.0.0.1:{port}", HEADER, set()),
        ("http = 10.0.0.1:{port}", HEADER, set()),
        ("http = app.sock", HEADER, set()),
        # Strangers' X-Forwarded-* is dropped where trusted-proxies is named, and nothing else is.
        ("http = :{port}\ntrusted-proxies = 10.0.0.0/8", HEADER, set()),
        ("http = :{port}\ntrusted-proxies = all", HEADER, FORGED),
        ("http = :{port}\ntrusted-proxies = 10.0.0.0/8", HEADER.replace("X_FORWARDED_PROTO", "X_SCHEME"), FORGED),
    ],
)
def test_a_header_that_any_client_may_send(
    shop: Shop, settings: Path, listens: str, header: str, expected: set[str]
) -> None:
    add(settings, header)
    lines = listens.format(port=free_port())
    (shop.dir / "open.ini").write_text(f"[uwsgi]\n{lines}\nchdir = {shop.dir}\nmodule = cmdb.wsgi\n")
    found = examination(shop.dir, "open.ini", imports=True)
    told = [each for each in found.diagnoses if each.code.startswith("django-ssl")]
    assert {each.code for each in told} == expected
    if told:
        assert "open.ini:2" in evidence(told[0]) and "settings.py:" in evidence(told[0])


def test_a_header_that_nginx_takes_from_clients(shop: Shop, settings: Path) -> None:
    add(settings, HEADER)
    (shop.dir / "both.ini").write_text((shop.dir / "app.ini").read_text() + f"http = :{free_port()}\n")
    shop.look()
    found = examination(shop.dir, "both.ini", nginx_file=str(shop.site.file), imports=True)
    assert found.facts.nginx is not None and found.facts.nginx.mine
    assert not FORGED & serious(found)


@pytest.mark.parametrize(
    ("server", "params", "header", "expected"),
    [
        ("", "", "", LOOP),
        ("", "uwsgi_param HTTP_X_FORWARDED_PROTO $scheme;", HEADER, LOOP),
        ("set_real_ip_from 10.0.0.0/8;", "", "", set()),
        # Django believes what comes through as the client, or a balancer, has sent it.
        ("", "", HEADER, set()),
        ("", "uwsgi_param HTTPS $http_x_forwarded_ssl;", "", set()),
        ("listen unix:{dir}/balanced.sock proxy_protocol;", "", "", set()),
    ],
)
def test_a_site_without_tls_that_leads_to_https(
    shop: Shop, settings: Path, server: str, params: str, header: str, expected: set[str]
) -> None:
    add(settings, f"SECURE_SSL_REDIRECT = True\n{header}")
    passes = f"location / {{ {PARAMS} {params} uwsgi_pass unix:{shop.dir}/app.sock; }}"
    shop.site.serve(f"client_max_body_size 20m; {server.format(dir=shop.dir)} {passes} {shop.static()}")
    found = shop.examine()
    assert LOOP & serious(found) == expected, [(each.code, each.cause) for each in found.diagnoses]


@pytest.mark.parametrize("sent", ["X-Forwarded-Proto $scheme", "X-Forwarded-Proto $http_x_forwarded_proto", "X-A b"])
def test_what_nginx_says_of_the_scheme_over_http(shop: Shop, settings: Path, sent: str) -> None:
    add(settings, "SECURE_SSL_REDIRECT = True")
    text = (shop.dir / "app.ini").read_text().replace("socket = ", "http = ", 1).replace("app.sock", "web.sock")
    (shop.dir / "web.ini").write_text(text)
    passes = f"proxy_set_header Host $host; proxy_set_header {sent}; proxy_pass http://unix:{shop.dir}/web.sock:;"
    shop.site.serve(f"location / {{ {passes} }}")
    found = examination(shop.dir, "web.ini", nginx_file=str(shop.site.file), imports=True)
    assert LOOP & serious(found) == (LOOP if sent.endswith("$scheme") else set())
