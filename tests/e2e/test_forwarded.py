"""Who the client is when a proxy stands between: X-Forwarded-For and -Proto, and from whom they are believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients import get
from tests.e2e.harness import APPS, Nginx, Penstock


def environ(address: str, headers: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(address, "/environ", headers).body)
    return found


def test_a_loopback_peer_is_believed(server: Penstock) -> None:
    found = environ(server.http, {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https"})
    assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"]) == ("198.51.100.7", "https")


def test_the_nearest_address_that_is_no_proxy_is_the_client(server: Penstock) -> None:
    # The left part is what the client itself claims.
    found = environ(server.http, {"X-Forwarded-For": "6.6.6.6, 198.51.100.7, 127.0.0.1"})
    assert found["REMOTE_ADDR"] == "198.51.100.7"


def test_an_address_that_is_none_is_not_taken(server: Penstock) -> None:
    assert environ(server.http, {"X-Forwarded-For": "<script>"})["REMOTE_ADDR"] == "127.0.0.1"


def test_a_scheme_that_is_none_is_not_taken(server: Penstock) -> None:
    assert environ(server.http, {"X-Forwarded-Proto": "javascript"})["wsgi.url_scheme"] == "http"


def test_nobody_is_believed_where_the_option_says_none() -> None:
    with Penstock("--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py", "--trusted-proxies", "none") as instance:
        found = environ(instance.http, {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https"})
        assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"]) == ("127.0.0.1", "http")


@pytest.mark.option("trusted-proxies")
def test_a_named_proxy_is_looked_through() -> None:
    with Penstock(
        "--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py", "--trusted-proxies", "203.0.113.0/24"
    ) as instance:
        found = environ(instance.http, {"X-Forwarded-For": "6.6.6.6, 198.51.100.7, 203.0.113.9"})
        assert found["REMOTE_ADDR"] == "198.51.100.7"


def test_nginx_over_http_on_a_unix_socket(short_dir: Path) -> None:
    address = f"{short_dir}/app.sock"
    site = f"""
        location / {{
            proxy_pass http://unix:{address}:;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto https;
        }}"""
    with Penstock("--http-socket", address, "--wsgi-file", APPS / "cases.py"), Nginx(site) as nginx:
        found = environ(nginx.address, {})
        assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"]) == ("127.0.0.1", "https")
        assert found["HTTP_HOST"] == "localhost"


def test_a_unix_peer_without_a_header(short_dir: Path) -> None:
    address = f"{short_dir}/app.sock"
    with Penstock("--http-socket", address, "--wsgi-file", APPS / "cases.py"):
        found = environ(address, {})
        assert (found["REMOTE_ADDR"], found["SERVER_PORT"]) == ("0.0.0.0", "80")


@pytest.mark.parametrize("option", ["--http", "--http-socket"])
def test_ipv6(option: str) -> None:
    with Penstock(option, "[::1]:0", "--wsgi-file", APPS / "cases.py") as instance:
        found = environ(instance.http, {})
        assert found["REMOTE_ADDR"] == "::1"
        assert found["SERVER_PORT"] == instance.http.rpartition(":")[2]
        found = environ(instance.http, {"X-Forwarded-For": "2001:db8::7"})
        assert found["REMOTE_ADDR"] == "2001:db8::7"
