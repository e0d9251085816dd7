"""Options of static files: where they are looked for, in which form they are sent, and for how long they stay fresh."""

from __future__ import annotations

import email.utils
import gzip
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, Response, get, uwsgi_request
from tests.e2e.harness import APPS, Nginx, Penstock

CSS = b"body { color: black }\n" * 50
PLAIN, SMALLER = gzip.compress(CSS, mtime=0), b"brotli, as far as anybody here looks"
SECRET = b"secret"
LISTEN = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A `static` directory with files of many kinds, and a secret beside it."""
    static = tmp_path / "static"
    for folder in ("css", "docs", "docs.py"):
        (static / folder).mkdir(parents=True)
    (tmp_path / "secret.txt").write_bytes(SECRET)
    (static / "css" / "a.css").write_bytes(CSS)
    (static / "css" / "a.css.gz").write_bytes(PLAIN)
    (static / "css" / "a.css.br").write_bytes(SMALLER)
    (static / "css" / "plain.css").write_bytes(CSS)
    (static / "docs" / "index.html").write_bytes(b"the docs")
    (static / "docs.py" / "second.htm").write_bytes(b"second")
    (static / "index.html").write_bytes(b"the root")
    for name in ("code.py", "CODE.PY", "code.py.", "code.pyx", "code.py.css"):
        (static / name).write_bytes(name.encode())
    return tmp_path


def ask(instance: Penstock, path: str, **headers: str) -> Response:
    return get(instance.http, path, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.option("check-static", "static-map2", "static-map")
def test_where_files_are_looked_for(root: Path) -> None:
    (root / "two" / "static").mkdir(parents=True)
    (root / "two" / "static" / "b.txt").write_bytes(b"two")
    options = ("--check-static", root / "static" / "css", "--static-map2", f"/static={root}/two",
               "--static-map", f"/x={root}/static", "--static-map2", f"/css={root}/static")  # fmt: skip
    with Penstock(*LISTEN, *options) as instance:
        assert ask(instance, "/a.css").body == CSS
        assert ask(instance, "/static/b.txt").body == b"two"
        assert ask(instance, "/x/css/a.css").body == CSS
        assert ask(instance, "/css/a.css").body == CSS
        for path in ("/staticx/b.txt", "/b.txt", "/static/static/b.txt", "/css/../index.html", "/"):
            assert ask(instance, path).body in (b"not found", b"Hello world"), path
        assert uwsgi_request(instance.uwsgi, "/a.css").body == CSS


@pytest.mark.option("check-static-docroot")
def test_the_document_root_of_a_trusted_front_end(root: Path) -> None:
    with Penstock(*LISTEN, "--check-static-docroot") as instance:
        answer = uwsgi_request(instance.uwsgi, "/css/a.css", DOCUMENT_ROOT=f"{root}/static")
        assert answer.body == CSS
        for document_root in ("", "static", f"{root}/none", f"{root}/static/css/a.css"):
            assert uwsgi_request(instance.uwsgi, "/css/a.css", DOCUMENT_ROOT=document_root).body == b"not found"
        up = "/../secret.txt"
        escaped = uwsgi_request(instance.uwsgi, up, DOCUMENT_ROOT=f"{root}/static", PATH_INFO=up)
        assert SECRET not in escaped.body
        # Over HTTP nobody names a directory.
        assert ask(instance, "/css/a.css", DOCUMENT_ROOT=f"{root}/static", Document_Root="/").body == b"not found"
    with Penstock(*LISTEN, "--check-static-docroot", "--trusted-proxies", "none") as instance:
        answer = uwsgi_request(instance.uwsgi, "/css/a.css", DOCUMENT_ROOT=f"{root}/static")
        assert answer.body == b"not found"


@pytest.mark.option("static-index", "static-skip-ext")
def test_directories_and_names_that_are_skipped(root: Path) -> None:
    options = ("--static-map", f"/s={root}/static", "--static-index", "index.html", "--static-index", "second.htm",
               "--static-index", "code.py", "--static-skip-ext", ".py")  # fmt: skip
    (root / "static" / "only").mkdir()
    (root / "static" / "only" / "code.py").write_bytes(b"code")
    (root / "static" / "out").mkdir()
    (root / "static" / "out" / "index.html").symlink_to(root / "secret.txt")
    with Penstock(*LISTEN, *options) as instance:
        for path, body in (
            ("/s/docs/", b"the docs"), ("/s/docs", b"the docs"), ("/s/docs//", b"the docs"), ("/s/", b"the root"),
            ("/s", b"the root"), ("/s/docs.py/", b"second"), ("/s/code.pyx", b"code.pyx"), ("/s/code.py.", b"code.py."),
            ("/s/code.py.css", b"code.py.css"),
        ):  # fmt: skip
            assert ask(instance, path).body == body, path
        assert (ask(instance, "/s/docs/").header("content-type") or "").startswith("text/html")
        for path in (
            "/s/code.py", "/s/CODE.PY", "/s/code.Py", "/s/code%2epy", "/s//code.py", "/s/./code.py", "/s/code.py/",
            "/s/code.py%00", "/s/code.py%00.css", "/s/code.py/.", "/s/only/", "/s/only/code.py", "/s/out/", "/s/css/",
            "/s/docs/../code.py",
        ):  # fmt: skip
            body = ask(instance, path).body
            assert b"code" not in body.lower() and SECRET not in body, path


GZIP = {
    "static-gzip-all": "--static-gzip-all",
    "static-gzip": r"--static-gzip=\.css$",
    "static-gzip-ext": "--static-gzip-ext=.css",
    "static-gzip-dir": "--static-gzip-dir={root}/static/css",
}


@pytest.mark.option("static-gzip", "static-gzip-all", "static-gzip-dir", "static-gzip-ext")
@pytest.mark.parametrize("option", GZIP.values())
def test_which_files_are_sent_compressed(root: Path, option: str) -> None:
    (root / "static" / "a.js").write_bytes(CSS)
    (root / "static" / "a.js.gz").write_bytes(PLAIN)
    with Penstock(*LISTEN, "--static-map", f"/s={root}/static", option.format(root=root)) as instance:
        answer = ask(instance, "/s/css/a.css", Accept_Encoding="gzip")
        assert (answer.body, answer.header("content-encoding")) == (PLAIN, "gzip")
        assert answer.header("vary") == "Accept-Encoding"
        assert (answer.header("content-type") or "").startswith("text/css")
        assert ask(instance, "/s/css/a.css").body == CSS
        script = ask(instance, "/s/a.js", Accept_Encoding="gzip")
        assert script.body == (PLAIN if option == "--static-gzip-all" else CSS)


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Penstock, Path]]:
    """Files with compressed forms, some of which lead out."""
    base = tmp_path_factory.mktemp("compressed")
    static = base / "static"
    static.mkdir()
    (base / "secret.txt").write_bytes(SECRET)
    for name, contents in (("a.css", CSS), ("a.css.gz", PLAIN), ("a.css.br", SMALLER), ("plain.css", CSS),
                           ("out.css", CSS), ("folder.css", CSS), ("only.css.gz", PLAIN)):  # fmt: skip
        (static / name).write_bytes(contents)
    (static / "out.css.gz").symlink_to(base / "secret.txt")
    (static / "out.css.br").symlink_to("../secret.txt")
    (static / "folder.css.gz").mkdir()
    os.mkfifo(static / "folder.css.br")
    options = ("--static-map", f"/s={static}", "--static-map", f"/one.css={static}/out.css", "--static-gzip-all")
    with Penstock(*LISTEN, *options) as instance:
        yield instance, static


@pytest.mark.option("static-gzip-all")
@pytest.mark.parametrize(
    ("accept", "body", "coding"),
    [
        ("gzip, br", SMALLER, "br"), ("gzip;q=1, br;q=0.5", PLAIN, "gzip"), ("br;q=0, *", PLAIN, "gzip"),
        ("gzip;q=0", CSS, None), ("identity", CSS, None), ("identity, gzip;q=0.9", CSS, None), ("", CSS, None),
        ("gzipped", CSS, None), ("*", SMALLER, "br"), ("GZIP", PLAIN, "gzip"), ("gzip;q=nonsense", CSS, None),
    ],
)  # fmt: skip
def test_the_form_that_the_client_prefers(
    compressed: tuple[Penstock, Path], accept: str, body: bytes, coding: str | None
) -> None:
    answer = ask(compressed[0], "/s/a.css", Accept_Encoding=accept)
    assert (answer.status, answer.body, answer.header("content-encoding")) == (200, body, coding)
    assert answer.header("vary") == "Accept-Encoding"
    assert answer.header("content-length") == str(len(body))
    over_uwsgi = uwsgi_request(compressed[0].uwsgi, "/s/a.css", HTTP_ACCEPT_ENCODING=accept)
    assert (over_uwsgi.body, over_uwsgi.header("content-encoding")) == (body, coding)


@pytest.mark.option("static-gzip-all")
def test_each_form_has_validators_and_ranges_of_its_own(compressed: tuple[Penstock, Path]) -> None:
    instance = compressed[0]
    tags = {name: ask(instance, "/s/a.css", Accept_Encoding=name).header("etag") or "" for name in ("gzip", "br", "x")}
    assert len(set(tags.values())) == 3
    for name, tag in tags.items():
        same = ask(instance, "/s/a.css", Accept_Encoding=name, If_None_Match=tag)
        assert (same.status, same.header("vary"), same.header("etag")) == (304, "Accept-Encoding", tag)
        for other in tags.keys() - {name}:
            assert ask(instance, "/s/a.css", Accept_Encoding=other, If_None_Match=tag).status == 200
    part = ask(instance, "/s/a.css", Accept_Encoding="gzip", Range="bytes=2-5")
    assert (part.status, part.body, part.header("content-encoding")) == (206, PLAIN[2:6], "gzip")
    assert part.header("content-range") == f"bytes 2-5/{len(PLAIN)}"
    # The rest of a plain file is not continued with bytes of the compressed one.
    stale = ask(instance, "/s/a.css", Accept_Encoding="gzip", Range="bytes=2-5", If_Range=tags["x"])
    assert (stale.status, stale.body) == (200, PLAIN)
    beyond = ask(instance, "/s/a.css", Accept_Encoding="gzip", Range="bytes=999999-")
    assert (beyond.status, beyond.header("content-range")) == (416, f"bytes */{len(PLAIN)}")
    with Connection(instance.http) as connection:
        head = connection.request("HEAD", "/s/a.css", {"Accept-Encoding": "gzip"})
        assert (head.body, head.header("content-length")) == (b"", str(len(PLAIN)))


@pytest.mark.option("static-gzip-all")
def test_a_compressed_form_that_can_not_be_served_leaves_the_plain_one(compressed: tuple[Penstock, Path]) -> None:
    instance = compressed[0]
    for path in ("/s/plain.css", "/s/out.css", "/one.css", "/s/folder.css"):
        answer = ask(instance, path, Accept_Encoding="gzip, br")
        assert (answer.status, answer.body, answer.header("content-encoding")) == (200, CSS, None), path
    assert "secret.txt is not under" in instance.log
    # No plain file, no compressed one: `only.css` is not there.
    assert ask(instance, "/s/only.css", Accept_Encoding="gzip").body == b"not found"
    named = ask(instance, "/s/a.css.gz", Accept_Encoding="gzip")
    assert (named.body, named.header("content-encoding")) == (PLAIN, None)


EXPIRES = {
    "static-expires": r"\.css$ 3600",
    "static-expires-path-info": "^/s/css/ 3600",
    "static-expires-uri": "a\\.css\\?v=1$ 3600",
    "static-expires-type": "text/css=3600",
}


def expiry_s(answer: Response) -> float:
    return email.utils.parsedate_to_datetime(answer.header("expires") or "").timestamp()


@pytest.mark.option("static-expires", "static-expires-path-info", "static-expires-type", "static-expires-uri")
@pytest.mark.parametrize("option", EXPIRES)
def test_how_long_files_stay_fresh(root: Path, option: str) -> None:
    with Penstock(*LISTEN, "--static-map", f"/s={root}/static", f"--{option}", EXPIRES[option]) as instance:
        answer = ask(instance, "/s/css/a.css?v=1")
        assert answer.header("cache-control") == "max-age=3600"
        assert abs(expiry_s(answer) - time.time() - 3600) < 60
        unchanged = ask(instance, "/s/css/a.css?v=1", If_None_Match=answer.header("etag") or "")
        assert (unchanged.status, unchanged.header("cache-control")) == (304, "max-age=3600")
        other = ask(instance, "/s/index.html")
        assert (other.header("expires"), other.header("cache-control")) == (None, None)
        app = ask(instance, "/hello")
        assert app.header("expires") is None


@pytest.mark.option(
    "static-expires-mtime", "static-expires-path-info-mtime", "static-expires-type-mtime", "static-expires-uri-mtime"
)
@pytest.mark.parametrize("option", EXPIRES)
def test_freshness_that_counts_from_the_last_change(root: Path, option: str) -> None:
    changed = int(time.time()) - 1000
    os.utime(root / "static" / "css" / "a.css", (changed, changed))
    with Penstock(*LISTEN, "--static-map", f"/s={root}/static", f"--{option}-mtime", EXPIRES[option]) as instance:
        answer = ask(instance, "/s/css/a.css?v=1")
        assert expiry_s(answer) == changed + 3600
        assert 2000 < int((answer.header("cache-control") or "").removeprefix("max-age=")) <= 2600
        os.utime(root / "static" / "css" / "a.css", (1000, 1000))
        assert ask(instance, "/s/css/a.css?v=1").header("cache-control") == "max-age=0"


@pytest.mark.option("static-expires")
def test_a_pattern_may_name_the_directory_behind_a_link(root: Path) -> None:
    (root / "current").symlink_to("static")
    options = ("--static-map", f"/s={root}/current", "--static-expires", f"^{root}/static/ 60")
    with Penstock(*LISTEN, *options) as instance:
        assert ask(instance, "/s/css/a.css").header("cache-control") == "max-age=60"


@pytest.mark.option("static-expires")
def test_a_pattern_that_explodes_costs_little(root: Path) -> None:
    (root / "static" / ("a" * 200 + "!")).write_bytes(b"x")
    options = ("--static-map", f"/s={root}/static", "--static-expires", r"(a+)+(?=b)\1$ 60")
    with Penstock(*LISTEN, *options) as instance:
        begun = time.monotonic()
        for _ in range(10):
            assert ask(instance, "/s/" + "a" * 200 + "!").body == b"x"
        assert time.monotonic() - begun < 10


@pytest.mark.option("mimefile")
def test_content_types_of_a_file(root: Path) -> None:
    (root / "types").write_text("text/x-special css spc\n")
    (root / "static" / "a.spc").write_bytes(b"x")
    with Penstock(*LISTEN, "--static-map", f"/s={root}/static", "--mimefile", root / "types") as instance:
        assert ask(instance, "/s/css/a.css").header("content-type") == "text/x-special"
        assert ask(instance, "/s/a.spc").header("content-type") == "text/x-special"
        assert ask(instance, "/s/index.html").header("content-type") == "text/html"


@pytest.mark.option("file-serve-mode")
@pytest.mark.parametrize(("mode", "name"), [("x-sendfile", "X-Sendfile"), ("nginx", "X-Accel-Redirect")])
def test_the_front_end_is_told_to_send_the_file(root: Path, mode: str, name: str) -> None:
    odd = "a\n b%\u00e9.css"
    (root / "static" / odd).write_bytes(CSS)
    options = ("--static-map", f"/s={root}/static", "--file-serve-mode", mode, "--static-gzip-all",
               "--static-expires", "css$ 60", "--static-index", "index.html")  # fmt: skip
    with Penstock(*LISTEN, *options) as instance:
        answer = ask(instance, "/s/css/a.css", Accept_Encoding="gzip", Range="bytes=0-0", If_None_Match="*")
        assert (answer.status, answer.body, answer.header(name)) == (200, b"", f"{root}/static/css/a.css")
        assert (answer.header("content-type"), answer.header("cache-control")) == ("text/css", "max-age=60")
        assert answer.header("content-encoding") is None
        assert ask(instance, "/s/docs/").header(name) == f"{root}/static/docs/index.html"
        assert ask(instance, "/s/a%0A%20b%25%C3%A9.css").header(name) == f"{root}/static/a%0A%20b%25%C3%A9.css"
        assert ask(instance, "/s/../secret.txt").header(name) is None


@pytest.mark.option("file-serve-mode")
def test_nginx_sends_the_file_that_it_is_told(root: Path) -> None:
    root.chmod(0o755)
    options = ("--static-map", f"/s={root}/static", "--file-serve-mode", "x-accel-redirect")
    with Penstock(*LISTEN, *options) as instance:
        locations = f"""
            location / {{ include /etc/nginx/uwsgi_params; uwsgi_pass {instance.uwsgi}; }}
            location {root}/ {{ internal; root /; }}
        """
        with Nginx(locations) as nginx:
            assert get(nginx.address, "/s/css/a.css").body == CSS
            part = get(nginx.address, "/s/css/a.css", {"Range": "bytes=0-3"})
            assert (part.status, part.body) == (206, CSS[:4])


@pytest.mark.option("static-expires")
def test_only_the_file_itself_stays_fresh(root: Path) -> None:
    with Penstock(*LISTEN, "--static-map", f"/s={root}/static", "--static-expires", ".* 3600") as instance:
        etag = ask(instance, "/s/css/a.css").header("etag") or ""
        for headers, status, is_fresh in (
            ({}, 200, True),
            ({"Range": "bytes=0-1"}, 206, True),
            ({"If_None_Match": etag}, 304, True),
            ({"If_Match": '"another"'}, 412, False),
            ({"Range": "bytes=999999-"}, 416, False),
        ):
            answer = ask(instance, "/s/css/a.css", **headers)
            fresh = [name for name in ("expires", "cache-control") if answer.header(name)]
            assert (answer.status, bool(fresh)) == (status, is_fresh), headers
