"""nginx in front: a real one, as www-data, before a real instance; each case reads its files anew."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock.doctor.checks import nginx as checks
from penstock.doctor.diagnosis import Diagnosis
from penstock.doctor.examination import Examination
from penstock.doctor.mending import MendError, mend, shown
from penstock.values import replace
from tests.doctor.checks.site import PARAMS, PROXY, Site
from tests.doctor.support import evidence, examination, serious, write_app
from tests.e2e.harness import Penstock, free_port, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nginx"), reason="nginx runs as www-data")

APP = """
import os

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/fails"):
        raise RuntimeError("of the test")
    host = environ.get("HTTP_HOST", "").partition(":")[0]
    status = "200 OK" if host in ("shop.test", "localhost") else "400 Bad Request"
    headers = [("X-Large", "x" * 16000)] if path.startswith("/large") else []
    start_response(status, [("Content-Type", "text/plain"), *headers])
    return [f"{os.getpid()} {environ['REMOTE_ADDR']} {environ['wsgi.url_scheme']}".encode()]
"""
CONFIGURATION = """[uwsgi]
socket = {dir}/run/uwsgi.sock
http = {dir}/run/http.sock
chmod-socket = 666
chdir = {dir}
module = shop.wsgi
pidfile = {dir}/app.pid
processes = 1
threads = 2
die-on-term = true
"""
USUAL = frozenset({"socket-for-everybody"})
"""The sockets of these tests are open to www-data by their mode, which is said."""


class Shop:
    """An instance, and its nginx."""

    def __init__(self) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="doc-"))
        self.dir.chmod(0o755)
        (self.dir / "run").mkdir()
        write_app(self.dir, APP)
        (self.dir / "app.ini").write_text(CONFIGURATION.format(dir=self.dir))
        self.uwsgi, self.http = self.dir / "run" / "uwsgi.sock", self.dir / "run" / "http.sock"
        self.instance = Penstock("app.ini", cwd=self.dir)
        self.site = Site()

    def passes(self, more: str = "", location: str = "/") -> str:
        return f"location {location} {{ {PARAMS} uwsgi_pass unix:{self.uwsgi}; {more} }}"

    def proxies(self, more: str = "", headers: str = PROXY) -> str:
        return f"location / {{ {headers} proxy_pass http://unix:{self.http}:; {more} }}"

    def examine(self, name: str = "app.ini", **more: object) -> Examination:
        return examination(self.dir, name, nginx_file=str(self.site.file), requests=True, **more)

    def look(self, server: str, http: str = "", main: str = "", *, reload: bool = True) -> Examination:
        self.site.serve(server, http, main, reload=reload)
        return self.examine()

    def other(self, more: str) -> str:
        """Another configuration of the same instance."""
        (self.dir / "other.ini").write_text((self.dir / "app.ini").read_text() + more)
        return "other.ini"


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


# -- what is well ------------------------------------------------------------------------------------------------------


def test_a_site_over_the_uwsgi_protocol(shop: Shop) -> None:
    found = shop.look(shop.passes())
    assert codes(found) == set()
    (route,) = found.facts.nginx.routes if found.facts.nginx is not None else ()
    assert (route.via.status, route.direct.status, route.was_reached) == (200, 200, True)
    assert route.via.body == route.direct.body and b"127.0.0.1 http" in route.via.body


def test_a_site_over_http(shop: Shop) -> None:
    found = shop.look(shop.proxies())
    assert codes(found) == set()
    assert found.facts.nginx is not None and b"127.0.0.1 http" in found.facts.nginx.routes[0].via.body


def test_an_upstream_of_others_is_not_mentioned(shop: Shop) -> None:
    other = "server { listen 127.0.0.1:1; server_name a.test; location / { proxy_pass http://127.0.0.1:9; } }"
    shop.site.serve(shop.passes(), reload=True)
    shop.site.serve(shop.passes(), other, reload=False)
    assert codes(shop.examine()) == set()


# -- the wrong way -----------------------------------------------------------------------------------------------------


def test_http_for_a_uwsgi_socket(shop: Shop) -> None:
    found = shop.look(f"location / {{ {PROXY} proxy_pass http://unix:{shop.uwsgi}:; }}")
    diagnosis = one(found, "nginx-speaks-http")
    assert (
        "uwsgi_pass" in diagnosis.cure and "nginx.conf:" in evidence(diagnosis) and "app.ini:2" in evidence(diagnosis)
    )


def test_uwsgi_for_an_http_socket(shop: Shop) -> None:
    diagnosis = one(shop.look(f"location / {{ {PARAMS} uwsgi_pass unix:{shop.http}; }}"), "nginx-speaks-uwsgi")
    assert "proxy_pass http://unix:" in diagnosis.cure and "as it was tried" in evidence(diagnosis)


def test_an_address_where_nobody_listens(shop: Shop) -> None:
    found = shop.look(f"location / {{ {PARAMS} uwsgi_pass unix:{shop.dir}/run/old.sock; }}")
    diagnosis = one(found, "nginx-elsewhere")
    assert "old.sock" in diagnosis.cause and str(shop.uwsgi) in diagnosis.cure


def test_a_socket_that_nginx_may_not_use(shop: Shop) -> None:
    shop.site.serve(shop.passes())
    shop.uwsgi.chmod(0o600)
    try:
        found = shop.examine()
    finally:
        shop.uwsgi.chmod(0o666)
    diagnosis = one(found, "socket-closed-to-nginx")
    assert "0600 root:root" in evidence(diagnosis) and "nginx runs as www-data" in evidence(diagnosis)
    assert diagnosis.commands == (f"chgrp www-data {shop.uwsgi}", f"chmod 660 {shop.uwsgi}")
    assert [each.refuses_nginx for each in found.facts.sockets if each.address == str(shop.uwsgi)] == [True]


def test_that_is_mended(shop: Shop) -> None:
    shop.site.serve(shop.passes())
    shop.uwsgi.chmod(0o600)
    try:
        mend(one(shop.examine(), "socket-closed-to-nginx").mend, subprocess.run)
        assert codes(shop.examine()) == set()
    finally:
        os.chown(shop.uwsgi, 0, 0)
        shop.uwsgi.chmod(0o666)


def test_a_directory_that_nginx_may_not_enter(shop: Shop) -> None:
    shop.site.serve(shop.passes())
    (shop.dir / "run").chmod(0o750)
    try:
        diagnosis = one(shop.examine(), "socket-closed-to-nginx")
    finally:
        (shop.dir / "run").chmod(0o755)
    assert f"may not enter {shop.dir}/run" in diagnosis.cause and "0750 root:root" in evidence(diagnosis)
    assert diagnosis.commands == (f"setfacl -m u:www-data:x {shop.dir}/run",) and diagnosis.mend is None


def test_an_nginx_with_a_tmp_of_its_own(shop: Shop) -> None:
    """As PrivateTmp= makes it: a mount namespace of its own in which the socket's directory is empty."""
    hidden = shop.dir / "run"
    site = Site("unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {hidden} && exec "$@"', "sh")
    try:
        site.serve(shop.passes())
        found = examination(shop.dir, "app.ini", nginx_file=str(site.file), requests=True)
    finally:
        site.stop()
    diagnosis = one(found, "nginx-private-tmp")
    assert str(shop.uwsgi) in diagnosis.cause and "RuntimeDirectory" in diagnosis.cure


def test_files_that_nginx_does_not_take(shop: Shop) -> None:
    shop.site.serve(shop.passes())
    diagnosis = one(shop.look(shop.passes("nosuchdirective on;"), reload=False), "nginx-broken")
    assert "nosuchdirective" in diagnosis.cause


def test_an_nginx_that_does_not_run(shop: Shop) -> None:
    site = Site()
    site.serve(shop.passes())
    file = site.file.read_text()
    site.process.terminate()
    site.process.wait(10)
    site.file.write_text(file)
    try:
        found = examination(shop.dir, "app.ini", nginx_file=str(site.file), requests=True)
    finally:
        shutil.rmtree(site.dir)
    assert one(found, "nginx-not-running").commands == ("systemctl start nginx",)


def test_a_site_that_is_not_linked(shop: Shop) -> None:
    (shop.site.dir / "sites-available").mkdir(exist_ok=True)
    (shop.site.dir / "sites-enabled").mkdir(exist_ok=True)
    site = shop.site.dir / "sites-available" / "shop"
    site.write_text(f"server {{ listen 127.0.0.1:1;\n  {shop.passes()} }}\n")
    try:
        diagnosis = one(shop.look("return 404;", "include sites-enabled/*;"), "nginx-site-not-read")
    finally:
        shutil.rmtree(shop.site.dir / "sites-available")
    assert f"{site}:2" in evidence(diagnosis) and diagnosis.commands[0].startswith(f"ln -s {site} ")


# -- the wrong server --------------------------------------------------------------------------------------------------


def test_another_server_of_the_same_name(shop: Shop) -> None:
    first = f"server {{ listen 127.0.0.1:{shop.site.port}; server_name shop.test; location / {{ return 404; }} }}"
    diagnosis = one(shop.look(shop.passes(), first), "nginx-other-server")
    assert "answered 404" in evidence(diagnosis) and "server_name shop.test" in evidence(diagnosis)


def test_files_that_were_not_loaded(shop: Shop) -> None:
    shop.site.serve("return 404;")
    diagnosis = one(shop.look(shop.passes(), reload=False), "chain-other-answer")
    assert "404" in diagnosis.cause and "reload nginx" in diagnosis.cure
    assert diagnosis.mend is not None
    mend(diagnosis.mend, as_the_tests_nginx(shop))
    until("the site that was written", lambda: codes(shop.examine()) == set())


def test_a_port_that_another_program_has(shop: Shop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = f"server {{ listen {port}; server_name other.test; {shop.passes()} }}"
        shop.site.serve("return 404;")
        found = shop.look("return 404;", server, reload=False)
        diagnosis = next(each for each in found.diagnoses if each.code == "nginx-port-taken")
    assert f"port {port}" in diagnosis.cause and codes(found) <= {"nginx-port-taken", "nginx-broken"}


# -- what comes through ------------------------------------------------------------------------------------------------


def test_uploads_that_end_at_nginx(shop: Shop) -> None:
    shop.site.serve(shop.passes())
    found = shop.examine(shop.other("limit-post = 20000000\n"))
    diagnosis = one(found, "upload-limits")
    assert "1m, the default" in evidence(diagnosis) and "client_max_body_size 20m" in diagnosis.cure
    shop.site.serve(shop.passes("client_max_body_size 20000000;"))
    assert codes(shop.examine("other.ini")) == set()
    shop.site.serve(shop.passes("client_max_body_size 0;"))
    assert "any size" in one(shop.examine("other.ini"), "upload-limits").cause


def test_an_nginx_that_gives_up_first(shop: Shop) -> None:
    shop.site.serve(shop.passes())
    found = shop.examine(shop.other("harakiri = 90\nworker-reload-mercy = 100\n"))
    diagnosis = one(found, "nginx-gives-up-first")
    assert "uwsgi_read_timeout 60s, the default" in evidence(diagnosis)
    shop.site.serve(shop.passes("uwsgi_read_timeout 95s;"))
    assert codes(shop.examine("other.ini")) == set()


@pytest.mark.parametrize(
    ("says", "seconds", "cure"),
    [
        ("", "60s, the default", "harakiri = 45"),
        ("uwsgi_read_timeout 75s;", "75s", "harakiri = 60"),
        ("uwsgi_read_timeout 2m;", "120s", "harakiri = 105"),
        ("uwsgi_read_timeout 9s;", "9s", "harakiri = 4"),
        ("uwsgi_read_timeout 500ms;", "0.5s", "harakiri = 45, and uwsgi_read_timeout 60s; in nginx"),
    ],
)
def test_an_nginx_that_gives_up_on_requests_without_a_limit(shop: Shop, says: str, seconds: str, cure: str) -> None:
    shop.site.serve(shop.passes(says))
    found = shop.examine(shop.other("harakiri = 0\n"))
    assert codes(found) == set()
    (told,) = (each for each in found.diagnoses if each.code == "nginx-gives-up-first")
    assert (told.level, told.cure) == ("note", cure) and "there is no limit" in told.cause
    assert f"uwsgi_read_timeout {seconds}" in evidence(told) and "other.ini:" in evidence(told)


def test_the_limit_that_is_proposed_is_below_nginx(shop: Shop) -> None:
    shop.site.serve(shop.passes())
    (told,) = (each for each in shop.examine().diagnoses if each.code == "nginx-gives-up-first")
    assert "harakiri = 0, no limit" in evidence(told)
    found = shop.examine(shop.other(f"{told.cure}\n"))
    assert "nginx-gives-up-first" not in {each.code for each in found.diagnoses}


def test_addresses_that_are_lost(shop: Shop) -> None:
    headers = "proxy_set_header Host $host; proxy_set_header X-Forwarded-Proto $scheme;"
    found = shop.look(shop.proxies(headers=headers))
    assert "X-Forwarded-For" in one(found, "client-address-lost").cure
    shop.site.serve(shop.proxies())
    found = shop.examine(shop.other("trusted-proxies = none\n"))
    assert "trusted-proxies = unix" in one(found, "client-address-lost").cure


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ("X-Forwarded-Proto $scheme", {"nginx-host-missing"}),
        ("Host $host", {"nginx-scheme-missing"}),
    ],
)
def test_headers_that_are_missing(shop: Shop, headers: str, expected: set[str]) -> None:
    headers = f"proxy_set_header {headers}; proxy_set_header X-Forwarded-For $remote_addr;"
    assert codes(shop.look(shop.proxies(headers=headers))) == expected


def as_the_tests_nginx(shop: Shop) -> Callable[..., object]:
    """Commands are told of the error log of the tests' nginx, which is not the installed one's."""
    return lambda words, **how: subprocess.run([*words, "-e", f"{shop.site.dir}/error.log"], **how)


@pytest.mark.parametrize("headers", ["", "proxy_set_header X-Forwarded-For $remote_addr;"])
def test_headers_are_mended_in_the_file(shop: Shop, headers: str) -> None:
    shop.site.serve(shop.proxies(headers=headers))
    for _ in range(2):
        for each in shop.examine().diagnoses:
            if each.code in ("nginx-host-missing", "nginx-scheme-missing"):
                assert any(line.startswith("+") for line in shown(each.mend))
                mend(each.mend, as_the_tests_nginx(shop))
                break
    left = until("the new files", lambda: codes(shop.examine()) <= {"client-address-lost"} and shop.examine())
    assert codes(left) == (set() if headers else {"client-address-lost"})


def test_inherited_headers_are_not_taken_away(shop: Shop) -> None:
    """One header in the location would take away all those of the server: nothing that is safe to do."""
    found = shop.look("proxy_set_header X-Forwarded-For $remote_addr;" + shop.proxies(headers=""))
    assert "nginx-host-missing" in codes(found)
    assert all(each.mend is None for each in found.diagnoses if each.code == "nginx-host-missing")


def test_a_change_that_nginx_does_not_take_is_taken_back(shop: Shop, files: Path) -> None:
    found = shop.look(shop.passes() + f"location /static {{ alias {files}/; }}")
    diagnosis = one(found, "nginx-alias-traversal")
    before = shop.site.file.read_text()
    shop.site.file.write_text(before + "nonsense")
    with pytest.raises(MendError, match="-t ended with 1"):
        mend(diagnosis.mend, as_the_tests_nginx(shop))
    assert shop.site.file.read_text() == before + "nonsense"
    shop.site.file.write_text("\n" + before)
    with pytest.raises(MendError, match="has changed meanwhile"):
        mend(diagnosis.mend, as_the_tests_nginx(shop))
    shop.site.file.write_text(before)
    mend(diagnosis.mend, as_the_tests_nginx(shop))
    assert "location /static/ {" in shop.site.file.read_text() and codes(shop.examine()) == set()


def test_parameters_that_are_missing(shop: Shop) -> None:
    found = shop.look(f"location / {{ uwsgi_pass unix:{shop.uwsgi}; }}")
    assert "nginx-params-missing" in codes(found)


def test_few_files(shop: Shop) -> None:
    text = shop.site.serve(shop.passes()).read_text()
    shop.site.file.write_text(text.replace("worker_rlimit_nofile 4096", "worker_rlimit_nofile 600"))
    diagnosis = one(shop.examine(), "nginx-files-few")
    assert "600 open files" in evidence(diagnosis)


def test_an_answer_that_nginx_does_not_take(shop: Shop) -> None:
    """Headers larger than its buffer: the application answers, and the visitor has a 502."""
    diagnosis = one(shop.look(shop.passes(location="/large")), "chain-not-passed")
    assert "answers 502" in diagnosis.cause and "answers 200" in diagnosis.cause
    diagnosis = one(shop.examine(), "chain-not-passed")
    assert "upstream sent too big header" in evidence(diagnosis) and "uwsgi_buffer_size 32k" in diagnosis.cure


def test_a_port_that_nginx_has_not_opened_yet(shop: Shop) -> None:
    shop.site.serve(shop.passes())
    text = shop.site.file.read_text()
    shop.site.file.write_text(text.replace(f"127.0.0.1:{shop.site.port};", f"127.0.0.1:{free_port()};"))
    diagnosis = one(shop.examine(), "chain-no-nginx")
    assert "shop.test" in diagnosis.cause and diagnosis.commands[0].endswith("-s reload")


def test_an_application_that_fails(shop: Shop) -> None:
    diagnosis = one(shop.look(shop.passes(location="/fails")), "chain-app-fails")
    assert "500" in diagnosis.cause and "log of the instance" in diagnosis.cure


def test_an_application_that_refuses_the_name(shop: Shop) -> None:
    name = "server_name shop.test;"
    shop.site.serve(shop.passes())
    text = shop.site.file.read_text().replace(name, "server_name forbidden.test;")
    shop.site.file.write_text(text)
    os.kill(int((shop.site.dir / "nginx.pid").read_text()), 1)
    diagnosis = one(shop.examine(), "chain-host-refused")
    assert "ALLOWED_HOSTS = ['forbidden.test'" in diagnosis.cure


# -- static files ------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(shop: Shop) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="dst-"))
    folder.chmod(0o755)
    (folder / "css").mkdir()
    (folder / "css" / "shop.css").write_text("body {}\n")
    yield folder
    shutil.rmtree(folder)


def test_static_files_that_are_served(shop: Shop, files: Path) -> None:
    found = shop.look(shop.passes() + f"location /static/ {{ alias {files}/; }}")
    assert codes(found) == set()
    assert found.facts.nginx is not None
    (fact,) = found.facts.nginx.statics
    assert (fact.url, fact.response.status) == ("/static/css/shop.css", 200)


def test_a_directory_of_static_files_that_is_not_there(shop: Shop, files: Path) -> None:
    diagnosis = one(shop.look(shop.passes() + f"location /static/ {{ alias {files}/none/; }}"), "static-not-found")
    assert f"{files}/none/" in diagnosis.cause and "nginx.conf:" in evidence(diagnosis)


def test_static_files_that_nginx_may_not_read(shop: Shop, files: Path) -> None:
    (files / "css").chmod(0o700)
    diagnosis = one(shop.look(shop.passes() + f"location /static/ {{ alias {files}/; }}"), "static-forbidden")
    assert f"may not enter {files}/css" in diagnosis.cause and "answered 403" in evidence(diagnosis)
    (files / "css").chmod(0o755)
    (files / "css" / "shop.css").chmod(0o600)
    diagnosis = one(shop.examine(), "static-forbidden")
    assert "may not read" in diagnosis.cause and diagnosis.commands[0].startswith("chmod o+r ")


def test_an_alias_that_leads_out(shop: Shop, files: Path) -> None:
    found = shop.look(shop.passes() + f"location /static {{ alias {files}/; }}")
    assert "location /static/" in one(found, "nginx-alias-traversal").cure


def test_the_text_shows_the_chain(shop: Shop) -> None:
    from penstock.commands.doctor import as_text

    shop.site.serve(shop.passes())
    text = "\n".join(as_text(shop.examine(), 100))
    line = f"client -> nginx 127.0.0.1:{shop.site.port} -> {shop.uwsgi} -> app: 200"
    assert line in text
    shop.uwsgi.chmod(0o600)
    try:
        text = "\n".join(as_text(shop.examine(), 100))
    finally:
        shop.uwsgi.chmod(0o666)
    assert f"nginx 127.0.0.1:{shop.site.port} -x- {shop.uwsgi}: nginx answers 502, the app 200" in text


def test_selinux_is_told_by_the_audit_log(shop: Shop) -> None:
    """Recorded: these machines have none."""
    line = 'type=AVC msg=audit(1): avc:  denied  { connectto } for  pid=9 comm="nginx" tclass=tcp_socket permissive=0'
    facts = shop.look(shop.passes()).facts
    found = [each.code for each in checks.check(replace(facts, host=replace(facts.host, avc=(line,))))]
    assert "nginx-selinux" not in found
    host = replace(facts.host, avc=(line,), selinux_enforces=True)
    (diagnosis,) = (each for each in checks.check(replace(facts, host=host)) if each.level != "note")
    assert diagnosis.commands == ("setsebool -P httpd_can_network_connect 1",)


def test_without_nginx_that_is_said(shop: Shop) -> None:
    found = examination(shop.dir, "app.ini", nginx_file=f"{shop.dir}/none.conf")
    assert serious(found) == set(USUAL) and any(each.what == "nginx" for each in found.blind)
