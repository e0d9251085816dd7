"""`static-map`: files beside the app, and nothing but those files."""

from __future__ import annotations

import email.utils
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, Response, get, post, uwsgi_request
from tests.e2e.harness import APPS, Penstock

CSS = b"body { color: black }\n"
BIG = bytes(range(256)) * 8192  # 2 MiB


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a `static` root, a sibling whose name starts alike, and a secret beside them."""
    root = tmp_path_factory.mktemp("site")
    static = root / "static"
    (static / "css").mkdir(parents=True)
    (static / "css" / "site.css").write_bytes(CSS)
    (static / "big.bin").write_bytes(BIG)
    (static / "empty.txt").write_bytes(b"")
    (static / "a b.txt").write_bytes(b"with a space")
    (root / "static-private").mkdir()
    (root / "static-private" / "secret.txt").write_bytes(b"secret")
    (root / "secret.txt").write_bytes(b"secret")
    (static / "inner-link.css").symlink_to(static / "css" / "site.css")
    (static / "outer-link.txt").symlink_to(root / "secret.txt")
    (static / "sibling").symlink_to(root / "static-private")
    return root


@pytest.fixture(scope="module")
def site(root: Path) -> Iterator[Penstock]:
    with Penstock(
        "--http", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py",
        "--static-map", f"/static={root}/static", "--static-map", f"/one.txt={root}/secret.txt",
    ) as instance:  # fmt: skip
        yield instance


def test_a_file(site: Penstock, root: Path) -> None:
    response = get(site.http, "/static/css/site.css")
    assert (response.status, response.body, response.framing) == (200, CSS, "length")
    assert (response.header("content-type") or "").startswith("text/css")
    modified = response.header("last-modified")
    assert modified
    stamp = email.utils.parsedate_to_datetime(modified).timestamp()
    assert stamp == int((root / "static/css/site.css").stat().st_mtime)
    assert response.header("etag")


def test_a_large_file_and_what_follows_on_the_connection(site: Penstock) -> None:
    with Connection(site.http) as connection:
        assert connection.request("GET", "/static/big.bin").body == BIG
        assert connection.request("GET", "/static/empty.txt").body == b""
        assert connection.request("GET", "/hello").body == b"Hello world"


@pytest.mark.parametrize("size", [1, 16383, 16384, 16385, 65536])
def test_sizes_around_the_one_that_changes_how_files_are_sent(site: Penstock, root: Path, size: int) -> None:
    (root / "static" / f"{size}.bin").write_bytes(BIG[:size])
    with Connection(site.http) as connection:
        for _ in range(3):
            response = connection.request("GET", f"/static/{size}.bin")
            assert (response.body, response.framing) == (BIG[:size], "length")
        tail = connection.request("GET", f"/static/{size}.bin", {"Range": "bytes=-1"})
        assert (tail.status, tail.body) == (206, BIG[size - 1 : size])
    assert uwsgi_request(site.uwsgi, f"/static/{size}.bin").body == BIG[:size]


def test_a_root_that_is_switched_to_another_release(tmp_path: Path) -> None:
    for release in ("one", "two"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "name.txt").write_text(release)
    current = tmp_path / "current"
    current.symlink_to("one")
    with (
        Penstock(
            "--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py", "--static-map", f"/s={current}"
        ) as instance,
        Connection(instance.http) as connection,
    ):
        assert connection.request("GET", "/s/name.txt").body == b"one"
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").replace(current)
        assert connection.request("GET", "/s/name.txt").body == b"two"


def test_a_file_over_uwsgi(site: Penstock) -> None:
    assert uwsgi_request(site.uwsgi, "/static/css/site.css").body == CSS


@pytest.mark.option("static-map")
def test_a_map_of_one_file(site: Penstock) -> None:
    assert get(site.http, "/one.txt").body == b"secret"


def test_a_name_with_a_space(site: Penstock) -> None:
    assert get(site.http, "/static/a%20b.txt").body == b"with a space"


def test_head(site: Penstock) -> None:
    with Connection(site.http) as connection:
        response = connection.request("HEAD", "/static/css/site.css")
        assert (response.status, response.body) == (200, b"")
        assert response.header("content-length") == str(len(CSS))
        assert connection.request("GET", "/hello").body == b"Hello world"


def test_if_none_match(site: Penstock) -> None:
    etag = get(site.http, "/static/css/site.css").header("etag") or ""
    with Connection(site.http) as connection:
        for sent in (etag, f'"other", {etag}', "*", f"W/{etag.removeprefix('W/')}"):
            response = connection.request("GET", "/static/css/site.css", {"If-None-Match": sent})
            assert (response.status, response.body) == (304, b""), sent
            assert response.header("etag") == etag
        assert connection.request("GET", "/static/css/site.css", {"If-None-Match": '"other"'}).status == 200


def test_if_modified_since(site: Penstock) -> None:
    modified = get(site.http, "/static/css/site.css").header("last-modified") or ""

    def status(since: str) -> int:
        return get(site.http, "/static/css/site.css", {"If-Modified-Since": since}).status

    assert status(modified) == 304
    assert status("Sat, 01 Jan 2000 00:00:00 GMT") == 200
    assert status("nonsense") == 200


@pytest.mark.parametrize(
    ("value", "status", "content_range", "body"),
    [
        ("bytes=0-9", 206, f"bytes 0-9/{len(BIG)}", BIG[:10]),
        ("bytes=1000-1999", 206, f"bytes 1000-1999/{len(BIG)}", BIG[1000:2000]),
        (f"bytes={len(BIG) - 5}-", 206, f"bytes {len(BIG) - 5}-{len(BIG) - 1}/{len(BIG)}", BIG[-5:]),
        ("bytes=-7", 206, f"bytes {len(BIG) - 7}-{len(BIG) - 1}/{len(BIG)}", BIG[-7:]),
        ("bytes=0-99999999", 206, f"bytes 0-{len(BIG) - 1}/{len(BIG)}", BIG),
        (f"bytes={len(BIG)}-", 416, f"bytes */{len(BIG)}", None),
        ("bytes=5-2", 200, None, BIG),
        ("lines=1-2", 200, None, BIG),
    ],
)
def test_range(site: Penstock, value: str, status: int, content_range: str | None, body: bytes | None) -> None:
    with Connection(site.http) as connection:
        response = connection.request("GET", "/static/big.bin", {"Range": value})
        assert response.status == status
        assert response.header("content-range") == content_range
        if body is not None:
            assert response.body == body
        assert connection.request("GET", "/hello").body == b"Hello world"


def test_if_range(site: Penstock) -> None:
    etag = get(site.http, "/static/big.bin").header("etag") or ""

    def ask(if_range: str) -> Response:
        return get(site.http, "/static/big.bin", {"Range": "bytes=0-9", "If-Range": if_range})

    assert ask('"another"').status == 200
    assert ask(etag).status == (200 if etag.startswith("W/") else 206), (
        "a weak ETag never allows a part (RFC 9110 13.1.5)"
    )


def test_other_methods_go_to_the_app(site: Penstock) -> None:
    assert post(site.http, "/static/css/site.css", b"x").body == b"not found"


@pytest.mark.parametrize(
    "target", ["/static/not-there.css", "/static/css", "/static/css/", "/static/", "/staticx/css/site.css"]
)
def test_what_is_no_file_goes_to_the_app(site: Penstock, target: str) -> None:
    assert get(site.http, target).body == b"not found"


def test_a_link_inside_the_root(site: Penstock) -> None:
    assert get(site.http, "/static/inner-link.css").body == CSS


@pytest.mark.parametrize(
    "target",
    [
        "/static/../secret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/%2e%2e%2fsecret.txt",
        "/static/..%2fsecret.txt",
        "/static/.%2e/secret.txt",
        "/static/css/../../secret.txt",
        "/static/css/..%2f..%2fsecret.txt",
        "/static//../secret.txt",
        "/static/%252e%252e/secret.txt",
        "/static/..\\secret.txt",
        "/static/..%5csecret.txt",
        "/static/%00/../../secret.txt",
        "/static/css/site.css%00.txt",
        "/static-private/secret.txt",
        "/static/../static-private/secret.txt",
        "/static/outer-link.txt",
        "/static/sibling/secret.txt",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/" + "../" * 30 + "etc/passwd",
        "/static/%c0%ae%c0%ae/secret.txt",
    ],
)
def test_the_root_can_not_be_left(site: Penstock, target: str) -> None:
    with Connection(site.http) as connection:
        connection.send(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        data = connection.rest()
    assert b"HTTP/1.1 200" not in data, data[:500]
    assert b"root:" not in data
    # The path as the uwsgi protocol carries it: decoded, by a proxy that checks less than nginx.
    from urllib.parse import unquote

    answer = uwsgi_request(site.uwsgi, target, PATH_INFO=unquote(target, "latin-1"))
    assert answer.status != 200


@pytest.mark.option("static-safe")
def test_a_safe_directory_may_be_linked_to(root: Path) -> None:
    with Penstock(
        "--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py", "--static-map", f"/static={root}/static",
        "--static-safe", root / "static-private",
    ) as instance:  # fmt: skip
        assert get(instance.http, "/static/sibling/secret.txt").body == b"secret"
        assert get(instance.http, "/static/outer-link.txt").body == b"not found"
