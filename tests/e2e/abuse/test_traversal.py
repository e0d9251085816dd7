"""No target leads out of a static map's directory, however it is written, over HTTP and over uwsgi."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import pytest

from tests.e2e.abuse import judge
from tests.e2e.abuse.conftest import APP
from tests.e2e.clients import Connection, uwsgi_exchange, uwsgi_packet, uwsgi_variables
from tests.e2e.harness import Penstock

SECRET = b"this is the secret"
OPEN = b"this is for everybody"
UP = (
    "..", "%2e%2e", "%2E%2e", ".%2e", "%252e%252e", "..;", "..%00", "%00..", "..%20", "..%09", "..%5c", "..\\", "...",
    "%c0%ae%c0%ae", "%e0%80%ae%e0%80%ae", "%uff0e%uff0e", "\xc0\xae\xc0\xae", ".", "", "%2f..", "..%2f", "%5c..",
    "..%c0%af", "..%ef%bc%8f", "..%252f", "x/../..", "x/%2e%2e/..", "./..", "css/../..", "css/../../",
)  # fmt: skip
TARGETS = (
    *(f"/static/{up}/secret.txt" for up in UP),
    *(f"/static{up}/secret.txt" for up in UP),
    *(f"/static/{up}{up}/secret.txt" for up in UP),
    *(f"/static/{'../' * depth}{{root}}/secret.txt" for depth in (5, 20)),
    *(f"/static/{'%2e%2e/' * depth}{{root}}/secret.txt" for depth in (5, 20)),
    *(f"/static{{root}}/secret.txt{end}" for end in ("", "/", "%00", "%00.css", "?", "#")),
    *(f"/static//{{root}}/secret.txt{end}" for end in ("", "/", "%00.css")),
    *(f"/static/{link}" for link in ("link.txt", "link/secret.txt", "link/../secret.txt", "loop/loop/secret.txt")),
    *(f"/static/css/{link}" for link in ("../link.txt", "../../secret.txt", "%2e./link.txt")),
    *(f"/{name}" for name in ("secret.txt", "static-private/secret.txt", "STATIC/../secret.txt", "x/../secret.txt")),
    *(f"/static/{name}" for name in (".", "..", "", "css", "css/", "pipe", "socket", "device", "proc/self/environ")),
    "/static/" + "../" * 300 + "secret.txt",
    "/static/" + "a" * 5000,
    "/static/" + "a/" * 3000,
    "http://localhost/static/../secret.txt",
    "http://localhost/static/%2e%2e/secret.txt",
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that is served, and secrets beside it that links of many kinds lead to."""
    root = tmp_path_factory.mktemp("root")
    (root / "secret.txt").write_bytes(SECRET)
    (root / "static-private").mkdir()
    (root / "static-private" / "secret.txt").write_bytes(SECRET)
    static = root / "static"
    (static / "css").mkdir(parents=True)
    (static / "css" / "open.css").write_bytes(OPEN)
    (static / "link.txt").symlink_to(root / "secret.txt")
    (static / "link").symlink_to(root / "static-private")
    (static / "css" / "open.css.gz").symlink_to(root / "secret.txt")
    (static / "css" / "index.html").symlink_to(root / "secret.txt")
    (static / "loop").symlink_to(static / "loop")
    (static / "device").symlink_to("/dev/zero")
    (static / "proc").symlink_to("/proc")
    os.mkfifo(static / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(static / "socket"))
    return root


OPTIONS: dict[str, tuple[str, ...]] = {
    "static-map": ("--static-map=/static={root}/static",),
    "all": (
        "--check-static={root}/static", "--static-map2=/css={root}/static", "--static-map2=/static={root}/static",
        "--static-map=/static={root}/static", "--static-index=index.html", "--static-index=secret.txt",
        "--static-gzip-all", "--static-skip-ext=.css/", "--static-expires=/* 60", "--check-static-docroot",
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=OPTIONS)
def server(root: Path, request: pytest.FixtureRequest) -> Iterator[Penstock]:
    listen = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0")
    options = [option.format(root=root) for option in OPTIONS[request.param]]
    with Penstock(*listen, "--wsgi-file", APP, "--master", *options) as instance:
        yield instance


def test_what_is_in_the_directory_is_served(unharmed: Penstock) -> None:
    with Connection(unharmed.http) as connection:
        assert connection.request("GET", "/static/css/open.css").body == OPEN


@pytest.mark.parametrize("number", range(len(TARGETS)))
def test_nothing_outside_is(unharmed: Penstock, root: Path, number: int) -> None:
    target = TARGETS[number].replace("{root}", str(root))
    with Connection(unharmed.http) as connection:
        line = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip, br\r\n\r\n".encode("latin-1")
        judge.send(connection, line + judge.CANARY)
        answers = judge.collect(connection, ["GET", "GET"])
    assert answers.responses, "a refusal is an answer"
    assert not answers.fault and not answers.cut and not answers.open
    assert not [body for _, body in answers.responses if SECRET in body or b"PATH=" in body]
    path = unquote_to_bytes(quote(target.partition("?")[0], safe="%/:;")).decode("latin-1")
    for info in {target, path}:
        variables = [*uwsgi_variables("/"), ("PATH_INFO", info), ("REQUEST_URI", info), ("HTTP_ACCEPT_ENCODING", "br")]
        variables.append(("DOCUMENT_ROOT", f"{root}/static"))
        data = uwsgi_exchange(unharmed.uwsgi, uwsgi_packet(variables))
        assert SECRET not in data
        assert b"PATH=" not in data
