"""The same rules and requests in the real uWSGI: the same answers, but for the numbered deviations.

Each file of tests/cases/routing has rules, requests (target, headers, method) and under `differs` the deviations that
requests show. Compared are the status, the headers that rules or the app made, and what the app was given. A difference
that is not named fails, and so does a name without a difference.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

import pytest

from penstock.plan.route_deviations import ROUTE_DEVIATIONS
from tests.config import uwsgi
from tests.e2e.clients import Connection, Cut, request_bytes
from tests.e2e.harness import APPS, Penstock, clean_environment, until

CASES = Path(__file__).parent.parent / "cases" / "routing"
NAMES = sorted(path.stem for path in CASES.glob("*.json"))

OWN_HEADERS = {
    *("accept-ranges", "connection", "content-length", "content-type", "date", "etag", "last-modified"),
    *("allow", "keep-alive", "transfer-encoding"),
}
"""What the two servers say by themselves, each in its way."""

OWN_VARIABLES = re.compile(r"SERVER_NAME|SERVER_PORT|REMOTE_PORT|wsgi\.(?!url_scheme).*|uwsgi\..*|HTTPS|UWSGI_SCHEME")


class Uwsgi:
    """The real uWSGI with HTTP on a port of its own."""

    def __init__(self, lines: list[str]) -> None:
        self.dir = tempfile.TemporaryDirectory(prefix="uwsgi-")
        self.log = Path(self.dir.name) / "log"
        text = ["[uwsgi]", "http-socket = 127.0.0.1:0", f"wsgi-file = {APPS}/seen.py", "master = true", *lines]
        (Path(self.dir.name) / "site.ini").write_text("\n".join(text) + "\n")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [uwsgi.binary(), "--ini", "site.ini"],
                cwd=self.dir.name,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        def ready() -> str:
            text = self.log.read_text(errors="replace")
            assert self.process.poll() is None, text
            found = re.search(r"bound to TCP address (\S+)", text)
            return found[1] if found and "spawned uWSGI worker" in text else ""

        try:
            self.http = until("uWSGI's worker", ready)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.dir.cleanup()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that rules ask about."""
    root = tmp_path_factory.mktemp("files") / "root"
    (root / "directory").mkdir(parents=True)
    (root / "file.txt").write_text("text of a file\n")
    (root / "program").write_text("#!/bin/sh\n")
    (root / "program").chmod(0o755)
    (root / "link").symlink_to("file.txt")
    (root.parent / "secret.txt").write_text("secret\n")
    (root / "outer").symlink_to(root.parent / "secret.txt")
    return root


def case(name: str, root: Path) -> tuple[list[str], list[list[Any]], dict[str, str]]:
    """Lines of a configuration, requests, and what differs."""
    text = (CASES / f"{name}.json").read_text().replace("{root}", str(root)).replace("{apps}", str(APPS))
    content = json.loads(text)
    return [*content.get("options", ()), *content["rules"]], content["requests"], content.get("differs", {})


def ask(address: str, target: str, headers: dict[str, str], method: str) -> object:
    """What came back, as far as it can be compared."""
    fields = {"Host": "ex.example", "Connection": "close", **headers}
    with Connection(address) as connection:
        connection.send(request_bytes(method, target, fields))
        try:
            _, status, _, found = connection.read_head()
            body = b"" if method == "HEAD" or status == 304 else connection.rest()
        except (Cut, ConnectionResetError):
            return "no answer"
    shown: object = body.decode("latin-1")
    if dict(found).get("Content-Type") == "application/json" and body:
        environ = json.loads(body).items()
        shown = {name: value for name, value in environ if not OWN_VARIABLES.fullmatch(name)}
    is_rule = {name.lower() for name, _ in found} >= {"www-authenticate"}
    made = [(name, value) for name, value in found if name.lower() not in OWN_HEADERS and not is_rule]
    return status, sorted(made), shown


@pytest.mark.parametrize("name", NAMES)
def test_the_same_answers(name: str, root: Path, tmp_path: Path) -> None:
    lines, requests, differs = case(name, root)
    site = tmp_path / "site.ini"
    site.write_text("\n".join(["[uwsgi]", *lines]) + "\n")
    arguments = ("--http", "127.0.0.1:0", "--wsgi-file", APPS / "seen.py", "--ini", site)
    found: dict[str, bool] = {}
    with Uwsgi(lines) as theirs, Penstock(*arguments) as ours:
        for request in requests:
            target, headers, method = [*request, *[{}, "GET"][len(request) - 1 :]]
            key = target if method == "GET" else f"{target} {method}"
            left, right = ask(theirs.http, target, headers, method), ask(ours.http, target, headers, method)
            found[key] = found.get(key, False) or left != right
            assert left == right or key in differs, f"{key} {headers}\nuWSGI:    {left}\nPenstock: {right}"
    assert {key for key in found if found[key]} == set(differs)
    assert set(differs.values()) <= {row.id for row in ROUTE_DEVIATIONS}


@pytest.mark.parametrize("row", ROUTE_DEVIATIONS, ids=lambda row: row.id)
def test_the_case_of_a_deviation_shows_it(row: object, root: Path) -> None:
    _, _, differs = case(row.case, root)  # type: ignore[attr-defined]
    assert row.id in differs.values()  # type: ignore[attr-defined]


def test_uwsgi_is_there() -> None:
    assert os.access(uwsgi.binary(), os.X_OK) and "route-if" in uwsgi.options()
