"""Who the client is when a proxy stands between: X-Forwarded-For and -Proto, and from whom they are believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients import Connection, get
from tests.e2e.harness import APPS, Nginx, Penstock, run_penstock, until

CASES = ("--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py")


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


ALL = "x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-port"


@pytest.mark.option("trusted-headers")
def test_host_and_port_count_where_they_are_named_and_the_log_sees_them_too() -> None:
    with Penstock(*CASES, "--trusted-headers", ALL, "--log-format", "%(addr) asks %(host) over %(proto)") as instance:
        headers = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.example"}
        found = environ(instance.http, {**headers, "X-Forwarded-Port": "8443"})
        assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"], found["HTTPS"]) == ("198.51.100.7", "https", "on")
        assert (found["HTTP_HOST"], found["SERVER_PORT"]) == ("a.example", "8443")
        until("the log names both", lambda: "198.51.100.7 asks a.example" in instance.log)
        found = environ(instance.http, {"X-Forwarded-Host": "evil.example, b.example:444"})
        assert (found["HTTP_HOST"], found["SERVER_PORT"]) == ("b.example:444", "444")
        # What can not be a host or a port is not taken.
        found = environ(instance.http, {"X-Forwarded-Host": "<b>", "X-Forwarded-Port": "99999"})
        assert (found["HTTP_HOST"], found["SERVER_PORT"]) == ("localhost", instance.http.rpartition(":")[2])


def test_host_and_port_do_not_count_unless_they_are_named(server: Penstock) -> None:
    # A proxy that does not set them passes on what its client wrote.
    found = environ(server.http, {"X-Forwarded-Host": "evil.example", "X-Forwarded-Port": "1", "X-Real-IP": "6.6.6.6"})
    assert (found["HTTP_HOST"], found["REMOTE_ADDR"]) == ("localhost", "127.0.0.1")
    assert found["SERVER_PORT"] == server.http.rpartition(":")[2]
    found = environ(server.http, {"Forwarded": "for=6.6.6.6;proto=https;host=evil.example"})
    assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"], found["HTTP_HOST"]) == ("127.0.0.1", "http", "localhost")


@pytest.mark.option("trusted-headers")
def test_forwarded_counts_where_it_is_named() -> None:
    options = ("--trusted-headers", "forwarded", "--trusted-proxies", "10.0.0.0/8", "--processes", "2")
    with Penstock(*CASES, *options) as instance:
        found = environ(instance.http, {"Forwarded": 'for="[2001:db8::1]:4711";proto=https;host="a.example:8443"'})
        assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"]) == ("2001:db8::1", "https")
        assert (found["HTTP_HOST"], found["SERVER_PORT"]) == ("a.example:8443", "8443")
        chain = "for=6.6.6.6;proto=https, for=192.0.2.1;proto=http, for=10.1.1.1;proto=https"
        found = environ(instance.http, {"Forwarded": chain})
        assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"]) == ("192.0.2.1", "http")
        # Neither a line that is malformed nor the headers that are not named say anything.
        for headers in ({"Forwarded": 'for="6.6.6.6, for=192.0.2.1;proto=https'}, {"X-Forwarded-For": "6.6.6.6"}):
            found = environ(instance.http, headers)
            assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"]) == ("127.0.0.1", "http")


@pytest.mark.option("trusted-headers")
def test_the_address_of_x_real_ip() -> None:
    with Penstock(*CASES, "--trusted-headers", "x-real-ip") as instance:
        assert environ(instance.http, {"X-Real-IP": "198.51.100.7"})["REMOTE_ADDR"] == "198.51.100.7"
        assert environ(instance.http, {"X-Real-IP": "none"})["REMOTE_ADDR"] == "127.0.0.1"


@pytest.mark.option("trusted-headers")
def test_rules_see_what_the_app_sees() -> None:
    rule = ("--route-if", "equal:${HTTP_HOST}${HTTPS};a.exampleon redirect:/secure")
    with Penstock(*CASES, "--trusted-headers", ALL, *rule) as instance:
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.example"}
        assert get(instance.http, "/hello", headers).header("location") == "/secure"
        assert get(instance.http, "/hello").body == b"Hello world"


def test_rules_and_the_app_take_the_scheme_from_the_line_that_the_proxy_has_added() -> None:
    with Penstock(*CASES, "--route-if", "equal:${HTTPS};on return:403") as instance:
        for name, client, proxy in (("X-Forwarded-Proto", "https", "http"), ("X-Forwarded-SSL", "on", "off")):
            with Connection(instance.http) as connection:
                response = connection.request("GET", "/environ", [(name, client), (name, proxy)])
                assert response.status == 200 and json.loads(response.body)["wsgi.url_scheme"] == "http"
                assert connection.request("GET", "/environ", [(name, proxy), (name, client)]).status == 403


@pytest.mark.option("trusted-proxies")
def test_strangers_lose_their_headers_where_proxies_are_named() -> None:
    spoken = {
        "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example",
        "X-Forwarded-User": "admin", "X-Real-IP": "6.6.6.6", "Forwarded": "for=6.6.6.6", "X-Forward": "stays",
    }  # fmt: skip
    with (
        Penstock(*CASES, "--trusted-proxies", "none") as strict,
        Penstock(*CASES, "--trusted-proxies", "192.0.2.1", "--underscores-in-headers") as named,
    ):
        found = environ(strict.http, spoken)
        assert [name for name in found if "FORWARD" in name or "REAL" in name] == ["HTTP_X_FORWARD"]
        assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"]) == ("127.0.0.1", "http")
        # Loopback stays among those who are believed.
        found = environ(named.http, {**spoken, "X_Forwarded_Port": "1"})
        assert (found["REMOTE_ADDR"], found["HTTP_X_FORWARDED_PORT"]) == ("6.6.6.6", "1")


@pytest.mark.option("trusted-headers")
def test_wrong_names_are_refused() -> None:
    for value in ("x-forwarded-by", "", "forwarded;x-real-ip"):
        result = run_penstock(*CASES, "--trusted-headers", value)
        assert result.returncode == 1 and "is none of forwarded, x-forwarded-for" in result.stderr


@pytest.mark.option("trusted-headers")
def test_nginx_speaks_for_its_client_by_all_headers(short_dir: Path) -> None:
    address = f"{short_dir}/app.sock"
    site = f"""
        location / {{
            proxy_pass http://unix:{address}:;
            proxy_http_version 1.1;
            proxy_set_header Host internal;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto https;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Port 443;
        }}"""
    options = ("--http-socket", address, "--wsgi-file", APPS / "cases.py", "--trusted-headers", ALL)
    with Penstock(*options), Nginx(site) as nginx:
        found = environ(nginx.address, {"X-Forwarded-Host": "evil.example", "X-Forwarded-Port": "1"})
    assert (found["REMOTE_ADDR"], found["HTTP_HOST"], found["SERVER_PORT"]) == ("127.0.0.1", "localhost", "443")
    assert found["wsgi.url_scheme"] == "https"


@pytest.mark.option("trusted-proxies")
def test_a_proxy_that_nobody_has_named_is_named_once() -> None:
    with Penstock(*CASES, "--trusted-proxies", "none") as instance:
        for _ in range(3):
            environ(instance.http, {"X-Forwarded-Proto": "https"})
        until("it is named", lambda: "trusted-proxies = 127.0.0.1" in instance.log)
        environ(instance.http, {"X-Forwarded-For": "192.0.2.1"})
        assert instance.stop().count("sends headers of proxies") == 1
    # Behind the PROXY protocol it would be a client that is to be trusted.
    with Penstock(*CASES, "--trusted-proxies", "none", "--enable-proxy-protocol") as instance:
        environ(instance.http, {"X-Forwarded-Proto": "https"})
        assert "sends headers of proxies" not in instance.stop()
