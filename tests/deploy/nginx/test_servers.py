"""Which server and location answers, with what values, and where it passes on: as nginx decides it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.deploy.nginx.reading import Configuration, read
from penstock.deploy.nginx.servers import (
    Server,
    http,
    listen_of,
    passings,
    server_for,
    servers,
    size_bytes,
    user,
)

Reads = Callable[[str], Configuration]


@pytest.fixture
def reads(tmp_path: Path) -> Reads:
    """Read a text as the main file."""

    def from_text(text: str) -> Configuration:
        path = tmp_path / "nginx.conf"
        path.write_text(text)
        found = read(str(path))
        assert found.is_readable, found.problems
        return found

    return from_text


def only(configuration: Configuration) -> Server:
    """The one server."""
    (server,) = servers(configuration)
    return server


def test_values_are_inherited_and_lists_as_a_whole(reads: Reads) -> None:
    server = only(
        reads("""
        user www www; http {
            client_max_body_size 8m; proxy_set_header Host $host; proxy_set_header A a;
            server {
                location /up { client_max_body_size 75M; proxy_read_timeout 1m30s; proxy_pass http://a;
                    location /up/deep { proxy_set_header B b; }
                }
                location / { }
            }
        }""")
    )
    up, deep, root = server.locations()
    assert (root.scope.text("client_max_body_size"), up.scope.size("client_max_body_size")) == ("8m", 75 << 20)
    assert (root.scope.seconds("proxy_read_timeout"), deep.scope.seconds("proxy_read_timeout")) == (60, 90)
    assert [str(each) for each in up.scope.values("proxy_set_header")] == [
        "proxy_set_header Host $host",
        "proxy_set_header A a",
    ]
    assert [str(each) for each in deep.scope.values("proxy_set_header")] == ["proxy_set_header B b"]
    assert deep.scope.value("proxy_pass") is None and root.scope.size("client_header_buffer_size") is None


def test_the_user_is_what_the_file_says_or_what_nginx_was_built_with(reads: Reads) -> None:
    assert user(reads("user www-data;")) == "www-data"
    assert (user(reads("")), user(reads(""), "nginx")) == ("nobody", "nginx")


@pytest.mark.parametrize(
    ("text", "address", "flags"),
    [
        ("80", ("*", 80), set()),
        ("0.0.0.0:8008 default_server", ("*", 8008), {"default_server"}),
        ("[::]:443 ssl http2", ("[::]", 443), {"ssl", "http2"}),
        ("127.0.0.1", ("127.0.0.1", 80), set()),
        ("[::1]", ("[::1]", 80), set()),
        ("*:81 reuseport backlog=511", ("*", 81), {"reuseport", "backlog"}),
        ("unix:/run/x.sock proxy_protocol", ("unix:/run/x.sock", 0), {"proxy_protocol"}),
        ("Example.org:82", ("example.org", 82), set()),
    ],
)
def test_addresses_are_read(reads: Reads, text: str, address: tuple[str, int], flags: set[str]) -> None:
    (directive,) = reads(f"listen {text};").main.block or ()
    found = listen_of(directive)
    assert (found.address, found.flags) == (address, flags)


SERVERS = """
http {
    server { listen 80; server_name first.org; }
    server { listen 80; server_name example.org .dotted.org; }
    server { listen 80; server_name *.example.org; }
    server { listen 80; server_name *.deep.example.org; }
    server { listen 80; server_name www.*; }
    server { listen 80; server_name ~^api[0-9]+\\.; }
    server { listen 80 default_server; server_name _; }
    server { listen 127.0.0.2:80; server_name own.org; }
    server { server_name unsaid.org; listen [::]:80; }
}"""


@pytest.mark.parametrize(
    ("host", "ip", "name"),
    [
        ("EXAMPLE.org", "127.0.0.1", "example.org"),
        ("dotted.org", "127.0.0.1", "example.org"),
        ("x.dotted.org", "127.0.0.1", "example.org"),
        ("a.example.org", "127.0.0.1", "*.example.org"),
        ("a.deep.example.org", "127.0.0.1", "*.deep.example.org"),
        ("www.other.net", "127.0.0.1", "www.*"),
        ("api12.other.net", "127.0.0.1", "~^api[0-9]+\\."),
        ("unknown.net", "127.0.0.1", "_"),
        ("unsaid.org", "127.0.0.1", "_"),
        ("example.org", "127.0.0.2", "own.org"),
        ("example.org", "::1", "unsaid.org"),
    ],
)
def test_the_server_that_answers_is_found(reads: Reads, host: str, ip: str, name: str) -> None:
    found = server_for(reads(SERVERS), host, 80, ip)
    assert found is not None and found.names[0] == name


def test_nobody_answers_where_nobody_listens(reads: Reads) -> None:
    assert server_for(reads(SERVERS), "example.org", 81) is None
    assert server_for(reads("events {}"), "example.org", 80) is None
    assert only(reads("http { server { } }")).names == ("",)
    assert only(reads("http { server { } }")).listens[0].address == ("*", 80)


LOCATIONS = """
http { server {
    location / { }
    location /static/ { alias /srv/s/; }
    location ^~ /first/ { location ~ php { } }
    location = /exact { }
    location ~* \\.PNG$ { }
    location ~^/glued { }
    location /outer/ { root /srv/o; location ~ \\.png$ { } location ^~ /outer/in/ { } }
    location @named { }
} }"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/x", "location /"),
        ("/static/a.css", "location /static/"),
        ("/static/a.png", "location ~* \\.PNG$"),
        ("/first/a.png", "location ^~ /first/"),
        ("/first/php", "location ~ php"),
        ("/exact", "location = /exact"),
        ("/exact/", "location /"),
        ("/glued", "location ~^/glued"),
        ("/outer/a.png", "location ~ \\.png$"),
        ("/outer/in/a", "location ^~ /outer/in/"),
        ("/outer/in/a.png", "location ~* \\.PNG$"),
    ],
)
def test_the_location_that_answers_is_found(reads: Reads, path: str, line: str) -> None:
    found = only(reads(LOCATIONS)).location_for(path)
    assert found is not None and str(found.scope.here) == line


def test_the_file_that_is_looked_for_is_named(reads: Reads) -> None:
    server = only(reads(LOCATIONS))
    for path, file in (
        ("/static/a.css", "/srv/s/a.css"),
        ("/outer/a.gif", "/srv/o/outer/a.gif"),
        ("/outer/a.png", "/srv/o/outer/a.png"),
        ("/x", None),
    ):
        found = server.location_for(path)
        assert found is not None and found.file(path) == file


def test_every_way_on_is_found(reads: Reads) -> None:
    found = list(
        passings(
            reads("""
        http {
            upstream app { server unix:/run/a.sock fail_timeout=0; server 10.0.0.1:8000; keepalive 8; }
            server {
                uwsgi_read_timeout 300;
                location / { uwsgi_pass app; }
                location /b { proxy_pass http://127.0.0.1/x; if ($a) { proxy_pass http://unix:/run/b.sock:/y; } }
                location /c { proxy_pass http://$host; uwsgi_pass 127.0.0.1:3031; }
            }
        }""")
        )
    )
    assert [(each.to.protocol, each.to.target, each.to.read_timeout_s) for each in found] == [
        ("uwsgi", "/run/a.sock", 300),
        ("uwsgi", "10.0.0.1:8000", 300),
        ("http", "127.0.0.1:80", 60),
        ("http", "/run/b.sock", 60),
        ("uwsgi", "127.0.0.1:3031", 300),
    ]
    assert found[0].upstream is not None and found[0].upstream.text("keepalive") == "8"
    assert found[0].to.place.endswith(":6") and found[2].upstream is None


def test_sizes_are_read() -> None:
    assert [size_bytes(text) for text in ("0", "8000", "64k", "75M", "2g")] == [0, 8000, 65536, 75 << 20, 2 << 30]
    assert [size_bytes(text) for text in ("", "x", "5 m", "-1", "1mb")] == [None] * 5


def test_there_may_be_no_http_block(reads: Reads) -> None:
    assert http(reads("events { }")) is None and servers(reads("stream { server { } }")) == ()
