"""The bundled Django project, used as a person would: through a browser, and through nginx."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import Browser, Connection, fields_of, get, post
from tests.e2e.harness import Nginx, Penstock, clean_environment


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    """The demo on HTTP and uwsgi, two workers of two threads, with a database of its own."""
    data = tmp_path_factory.mktemp("demo")
    env = {
        "PENSTOCK_DEMO_DIR": str(data),
        "PENSTOCK_DEMO_ORIGINS": "http://localhost",
        "DJANGO_SETTINGS_MODULE": "penstock.demo.site.settings",
    }
    prepared = subprocess.run(
        [sys.executable, "-m", "penstock.demo", "prepare"],
        cwd=data,
        env={**clean_environment(), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert prepared.returncode == 0, prepared.stderr
    with Penstock(
        "--http", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--chdir", data, "--module", "penstock.demo.site.wsgi",
        "--master", "--processes", "2", "--threads", "2", "--static-map", f"/static={data}/static",
        cwd=data, env=env,
    ) as instance:  # fmt: skip
        yield instance


@pytest.fixture(params=["direct", "nginx"])
def address(request: pytest.FixtureRequest, demo: Penstock) -> Iterator[str]:
    """Where the browser goes: to Penstock itself over HTTP, or to an nginx that speaks uwsgi to it."""
    if request.param == "direct":
        yield demo.http
        return
    site = f"""
        client_max_body_size 75M;
        location / {{ include /etc/nginx/uwsgi_params; uwsgi_pass {demo.uwsgi}; }}"""
    with Nginx(site) as nginx:
        yield nginx.address


def logged_in(address: str) -> Browser:
    browser = Browser(address)
    page = browser.get("/admin/")
    assert "Log in" in page.text
    page = browser.post("/admin/login/?next=/admin/", {"username": "admin", "password": "admin", "next": "/admin/"})
    assert "Log out" in page.text
    return browser


def test_pages(address: str) -> None:
    assert get(address, "/").status == 200
    entries = get(address, "/entries/")
    assert entries.status == 200
    assert (entries.header("content-type") or "").startswith("text/html")
    assert get(address, "/plain/").text == "Hello from Django\n"
    assert get(address, "/not/there/").status == 404


def test_the_admin_in_full(address: str) -> None:
    browser = logged_in(address)
    add = "/admin/guestbook/entry/add/"
    form = browser.get(add)
    assert "csrfmiddlewaretoken" in fields_of(form.text)
    author = f"tests {os.urandom(4).hex()}"
    page = browser.post(add, {"author": author, "message": "added <by> tests"}, {"attachment": ("", b"")})
    assert "was added successfully" in page.text

    listing = browser.get("/admin/guestbook/entry/")
    found = re.search(rf'href="(/admin/guestbook/entry/(\d+)/change/)[^"]*">{author}<', listing.text)
    assert found, "the new entry is in the list"

    page = browser.post(found[1], {"author": author, "message": "changed"}, {"attachment": ("", b"")})
    assert "was changed successfully" in page.text

    delete = f"/admin/guestbook/entry/{found[2]}/delete/"
    assert "Are you sure" in browser.get(delete).text
    page = browser.post(delete, {"post": "yes"})
    assert "was deleted successfully" in page.text
    assert author not in browser.get("/admin/guestbook/entry/").text.split("messagelist")[-1].split("</ul>", 1)[-1]

    page = browser.post("/admin/logout/", {})
    assert "Logged out" in page.text or "Log in" in page.text


def test_the_admin_needs_its_csrf_token(address: str) -> None:
    browser = logged_in(address)
    fields = {"author": "a", "message": "m", "csrfmiddlewaretoken": "x" * 64}
    assert browser.post("/admin/guestbook/entry/add/", fields, follow=False).status == 403


def test_a_wrong_password(address: str) -> None:
    browser = Browser(address)
    browser.get("/admin/login/")
    page = browser.post("/admin/login/", {"username": "admin", "password": "wrong"})
    assert "Please enter the correct username and password" in page.text


def test_a_form_with_a_file(address: str) -> None:
    browser = Browser(address)
    browser.get("/entries/new/")
    content = os.urandom(3_000_000)
    name = f"{os.urandom(4).hex()}.bin"
    page = browser.post("/entries/new/", {"author": "tests", "message": "with a file"}, {"attachment": (name, content)})
    assert "with a file" in page.text
    link = re.search(rf'href="(/media/[^"]*{name})"', page.text)
    assert link, page.text
    assert browser.get(link[1]).body == content


def test_a_large_upload(address: str) -> None:
    body = os.urandom(5 << 20)
    answer = post(address, "/count/", body).text
    assert f'"bytes": {len(body)}' in answer
    assert hashlib.sha256(body).hexdigest() in answer


def test_streaming(address: str) -> None:
    response = get(address, "/stream/?lines=5&pause=0")
    assert response.text.splitlines() == [f"line {number} of 5" for number in range(1, 6)]
    assert len(get(address, "/stream/?bytes=20000000").body) == 20_000_000


def test_a_slow_view(address: str) -> None:
    with Connection(address) as slow:
        slow.send(b"GET /slow/?seconds=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _ in range(20):
            assert get(address, "/plain/").status == 200
        assert slow.read().text.startswith("Slept for 1 seconds")


def test_an_error(address: str, demo: Penstock) -> None:
    since = len(demo.log)
    response = get(address, "/error/")
    assert response.status == 500
    assert "this view always fails" not in response.text
    demo.wait_log("RuntimeError: this view always fails", since=since)
    assert get(address, "/plain/").status == 200


def test_static_files(address: str) -> None:
    response = get(address, "/static/admin/css/base.css")
    assert response.status == 200
    assert (response.header("content-type") or "").startswith("text/css")


def test_large_cookies(address: str) -> None:
    text = get(address, "/whoami/", {"Cookie": "big=" + "x" * 3500}).text
    assert '"big": 3500' in text


def test_django_sees_the_client_and_https(demo: Penstock) -> None:
    text = get(demo.http, "/whoami/", {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https"}).text
    assert '"remote_addr": "198.51.100.7"' in text
    assert '"secure": true' in text


def test_the_demo_command_serves_and_stops(short_dir: Path) -> None:
    """`python -m penstock.demo serve`, which is what `make demo` runs; Ctrl-C ends it."""
    import signal

    from tests.e2e.harness import until

    log = short_dir / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "penstock.demo", "serve", "--dir", str(short_dir / "data"), "--http", "127.0.0.1:0"],
            cwd=short_dir,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    try:
        found = until("an address", lambda: re.search(r"bound to TCP address (\S+)", log.read_text()), 60)
        assert get(found[1], "/entries/").status == 200
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(15) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
