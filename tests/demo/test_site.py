"""The demo's pages, through Django's test client."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from pathlib import Path
from typing import Any

import pytest


def token(page: Any) -> str:
    """Read the CSRF token of a page's form."""
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.content.decode())
    assert found
    return found[1]


def body(answer: Any) -> bytes:
    """Read a streamed answer and close it."""
    try:
        return b"".join(answer.streaming_content)
    finally:
        answer.close()


def test_the_index_links_every_page_and_each_answers(client: Any) -> None:
    index = client.get("/")
    assert index.status_code == 200
    links = set(re.findall(r'href="(/[^"]*)"', index.content.decode()))
    expected = {"/entries/", "/entries/new/", "/admin/", "/whoami/", "/plain/", "/stream/", "/error/"}
    assert expected <= links
    for link in links - {"/error/", "/admin/", "/slow/?seconds=5", "/stream/", "/stream/?bytes=104857600"}:
        answer = client.get(link)
        assert answer.status_code == 200, link
        answer.close()


def test_an_entry_with_an_upload(client: Any, demo_dir: Path) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    form = client.get("/entries/new/")
    upload = SimpleUploadedFile("水.txt", b"water", "text/plain")
    posted = client.post(
        "/entries/new/",
        {"csrfmiddlewaretoken": token(form), "author": "Visitor", "message": "hello", "attachment": upload},
    )
    assert posted.status_code == 302
    page = client.get("/entries/").content.decode()
    assert "Visitor" in page
    (name,) = re.findall(r'href="(/media/[^"]+)"', page)
    assert body(client.get(name)) == b"water"


def test_a_form_without_its_token_is_refused(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert client.post("/entries/new/", {"author": "x", "message": "y"}).status_code == 403


def test_the_admin_logs_in_adds_and_deletes(client: Any) -> None:
    from penstock.demo.guestbook.models import Entry

    login = client.get("/admin/login/")
    answer = client.post(
        "/admin/login/?next=/admin/",
        {"csrfmiddlewaretoken": token(login), "username": "admin", "password": "admin"},
    )
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    add = client.get("/admin/guestbook/entry/add/")
    client.post(
        "/admin/guestbook/entry/add/",
        {"csrfmiddlewaretoken": token(add), "author": "by the admin", "message": "text"},
    )
    entry = Entry.objects.get(author="by the admin")
    delete = client.get(f"/admin/guestbook/entry/{entry.pk}/delete/")
    client.post(f"/admin/guestbook/entry/{entry.pk}/delete/", {"csrfmiddlewaretoken": token(delete), "post": "yes"})
    assert not Entry.objects.filter(author="by the admin").exists()


def test_whoami(client: Any) -> None:
    answer = client.get("/whoami/?a=b", REMOTE_ADDR="198.51.100.7", secure=True).json()
    assert answer["remote_addr"] == "198.51.100.7"
    assert (answer["scheme"], answer["secure"]) == ("https", True)
    assert answer["query"] == "a=b"
    assert answer["thread"] == threading.current_thread().name


def test_plain(client: Any) -> None:
    assert client.get("/plain/").content == b"Hello from Django\n"


def test_slow(client: Any) -> None:
    assert client.get("/slow/?seconds=0").content.startswith(b"Slept for 0 seconds")


@pytest.mark.parametrize("path", ["/slow/?seconds=x", "/slow/?seconds=-1", "/slow/?seconds=nan", "/stream/?bytes=1e99"])
def test_a_number_that_can_not_be_taken_is_the_visitor_s_fault(client: Any, path: str) -> None:
    assert client.get(path).status_code == 400


def test_stream(client: Any) -> None:
    answer = client.get("/stream/?lines=3&pause=0")
    assert answer.streaming
    assert list(answer.streaming_content) == [b"line 1 of 3\n", b"line 2 of 3\n", b"line 3 of 3\n"]
    assert "Content-Length" not in answer


@pytest.mark.parametrize("size", [1, 65536, 200_000])
def test_stream_of_a_size(client: Any, size: int) -> None:
    assert len(body(client.get(f"/stream/?bytes={size}"))) == size


def test_count(client: Any) -> None:
    sent = b"x" * 300_000
    answer = client.post("/count/", sent, content_type="application/octet-stream").json()
    assert answer == {"bytes": 300_000, "sha256": hashlib.sha256(sent).hexdigest()}


def test_an_error_is_logged_and_not_shown(client: Any) -> None:
    records: list[logging.LogRecord] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    collector = Collector()
    logging.getLogger("django").addHandler(collector)
    try:
        answer = client.get("/error/")
    finally:
        logging.getLogger("django").removeHandler(collector)
    assert answer.status_code == 500
    assert b"always fails" not in answer.content
    assert any(record.exc_info and "this view always fails" in str(record.exc_info[1]) for record in records)


def test_static_files_are_collected(client: Any, demo_dir: Path) -> None:
    assert (demo_dir / "static/guestbook/style.css").is_file()
    assert (demo_dir / "static/admin/css/base.css").is_file()
    assert body(client.get("/static/guestbook/style.css")).startswith(b"/*")


def test_preparing_again_keeps_what_visitors_wrote(demo_dir: Path) -> None:
    from penstock.demo.__main__ import prepare
    from penstock.demo.guestbook.models import Entry

    key = (demo_dir / "secret-key").read_text()
    before = list(Entry.objects.values_list("pk", flat=True))
    prepare(demo_dir)
    assert list(Entry.objects.values_list("pk", flat=True)) == before
    assert (demo_dir / "secret-key").read_text() == key
    assert (demo_dir / "secret-key").stat().st_mode & 0o777 == 0o600


def test_migrations_are_complete(demo_dir: Path) -> None:
    from django.core.management import call_command

    call_command("makemigrations", check_changes=True, dry_run=True, verbosity=0)


def test_wsgi_validates(demo_dir: Path) -> None:
    from wsgiref.util import setup_testing_defaults
    from wsgiref.validate import validator

    from penstock.demo.site.wsgi import application

    environ: dict[str, Any] = {"PATH_INFO": "/plain/", "HTTP_HOST": "localhost", "QUERY_STRING": "", "SCRIPT_NAME": ""}
    setup_testing_defaults(environ)
    statuses: list[str] = []
    result = validator(application)(environ, lambda status, headers, info=None: statuses.append(status) or print)
    read = b"".join(result)
    result.close()  # type: ignore[attr-defined]
    assert (statuses, read) == (["200 OK"], b"Hello from Django\n")
