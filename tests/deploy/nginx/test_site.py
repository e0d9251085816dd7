"""What the site of a configuration is: socket, names, files and limits, and what is said where something is missing."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.deploy.nginx.installed import ASSUMED, Nginx
from penstock.deploy.nginx.site import Files, NoSite, Note, Site, Wish, make
from penstock.deploy.nginx.text import render
from penstock.plan.resolve import resolve
from penstock.plan.types import Plan
from penstock.project.django_facts import DjangoFacts
from penstock.values import replace
from tests.config.support import read
from tests.plan.test_resolve import machine
from tests.support.facts import django

SOCKET = ("--http-socket", "/run/shop/shop.sock", "--module", "app")


def plan(*words: str) -> Plan:
    """A plan for exactly these words."""
    return resolve(read(*words, cwd="/"), machine("/"))


def site(*words: str, facts: DjangoFacts | None = None, nginx: Nginx = ASSUMED, **wish: Any) -> Site:
    """The site of a configuration."""
    return make(plan(*(words or SOCKET)), facts, Wish(**wish), nginx, name="shop", hostname="web1.example.net")


def text(*words: str, facts: DjangoFacts | None = None, nginx: Nginx = ASSUMED, **wish: Any) -> str:
    """Its file."""
    return render(site(*words, facts=facts, nginx=nginx, **wish), nginx)


def warnings(made: Site) -> list[str]:
    """What is said that should be done something about."""
    return [str(note) for note in made.notes if note.level == "warning"]


def refusal(*words: str, facts: DjangoFacts | None = None, nginx: Nginx = ASSUMED, **wish: Any) -> str:
    """Why there is no site."""
    with pytest.raises(NoSite) as caught:
        site(*words, facts=facts, nginx=nginx, **wish)
    assert caught.value.note.cure
    return str(caught.value)


# -- the socket --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "protocol", "address"),
    [
        (("--http-socket", "/run/a.sock"), "http", "unix:/run/a.sock"),
        (("--socket", "/run/a.sock"), "uwsgi", "unix:/run/a.sock"),
        (("--http", ":8000", "--socket", "/run/a.sock"), "uwsgi", "unix:/run/a.sock"),
        (("--http", "/run/h.sock", "--socket", "/run/a.sock"), "http", "unix:/run/h.sock"),
        (("--http", ":8000", "--socket", ":8001"), "http", "127.0.0.1:8000"),
        (("--http", "0.0.0.0:8000"), "http", "127.0.0.1:8000"),
        (("--http", "[::]:8000"), "http", "[::1]:8000"),
        (("--http", "[::1]:8000"), "http", "[::1]:8000"),
        (("--socket", "10.0.0.5:3031"), "uwsgi", "10.0.0.5:3031"),
        (("--http", ":0", "--socket", "127.0.0.1:3031"), "uwsgi", "127.0.0.1:3031"),
    ],
)
def test_a_unix_socket_comes_first_and_then_http(words: tuple[str, ...], protocol: str, address: str) -> None:
    upstream = site(*words, "--module", "app").upstream
    assert (upstream.protocol, upstream.address) == (protocol, address)


def test_uwsgi_can_be_forced_and_is_said_where_it_is_missing() -> None:
    both = ("--http-socket", "/run/h.sock", "--socket", "/run/u.sock", "--module", "app")
    assert site(*both, uwsgi=True).upstream.address == "unix:/run/u.sock"
    assert "socket = /run/shop/shop.sock and chmod-socket = 660" in refusal(uwsgi=True)


def test_a_socket_that_nginx_can_not_be_pointed_at() -> None:
    assert "http-socket = /run/shop/shop.sock" in refusal("--http", ":0", "--module", "app")
    assert "@shop" in refusal("--http-socket", "@shop", "--module", "app")
    without = replace(plan(*SOCKET), listeners=())
    with pytest.raises(NoSite, match="no socket; add to it: http-socket ="):
        make(without, None, Wish(), ASSUMED, name="shop")
    lacks = replace(ASSUMED, modules=ASSUMED.modules - {"http_uwsgi"})
    assert "built without uwsgi_pass" in refusal("--socket", "/run/u.sock", "--module", "app", nginx=lacks)


def test_connections_to_http_are_kept_and_nginx_lets_go_first() -> None:
    assert "keepalive 16;" in text() and "keepalive_timeout" not in text()
    assert "keepalive 32;" in text(*SOCKET, "--processes", "8", "--threads", "4")
    short = text(*SOCKET, "--http-keepalive", "10")
    assert "keepalive_timeout 5s;" in short
    assert "keepalive_timeout" not in text(
        *SOCKET, "--http-keepalive", "10", nginx=replace(ASSUMED, version=(1, 14, 2))
    )
    assert "keepalive" not in text(*SOCKET, "--http-keepalive", "0")
    assert "keepalive" not in text("--socket", "/run/u.sock", "--module", "app")


def test_what_hinders_is_told() -> None:
    assert "PrivateTmp" in warnings(site("--http-socket", "/tmp/a.sock", "--module", "app", server_names=("a.org",)))[0]
    told = warnings(site(*SOCKET, "--trusted-proxies", "none", server_names=("a.org",)))
    assert "every client has nginx's address" in told[0]


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        (("shop.example.org", "Example.ORG."), ("shop.example.org", "example.org")),
        ((".example.org", "10.0.0.7", "[::1]"), (".example.org", "10.0.0.7", "[::1]")),
        (("*", "a.org"), ("a.org",)),
        (("bücher.example",), ("xn--bcher-kva.example",)),
    ],
)
def test_names_come_from_allowed_hosts(allowed: tuple[str, ...], names: tuple[str, ...]) -> None:
    made = site(facts=django(allowed_hosts=allowed))
    assert (made.names, warnings(made)) == (names, [])


def test_names_that_are_asked_for_count_more() -> None:
    assert site(facts=django(), server_names=("a.org", "*.b.org", "a.org")).names == ("a.org", "*.b.org")
    for wrong in (
        "a b",
        "a;b",
        "a/b",
        "$host",
        "a{",
        "~^x$",
        "-a.org",
        "a..b",
        "a.org:80",
        "*.a.*",
        "",
        "x" * 64,
        "é" * 300,
    ):
        assert "--server-name example.org" in refusal(server_names=(wrong,))


def test_without_names_it_is_the_machine_and_that_is_said() -> None:
    for facts in (None, django(allowed_hosts=("*",)), django(allowed_hosts=())):
        made = site(facts=facts)
        assert made.names == ("web1.example.net",) and "--server-name example.org" in warnings(made)[0]
    debug = site(facts=django(allowed_hosts=(), debug=True))
    assert debug.names == ("localhost", "127.0.0.1", "[::1]") and "DEBUG" in warnings(debug)[0]
    odd = site(facts=django(allowed_hosts=("a b", "c.org")))
    assert odd.names == ("c.org",) and "'a b' is no host name" in warnings(odd)[0]
    assert make(plan(*SOCKET), None, Wish(), ASSUMED, name="shop", hostname="").names == ("localhost",)


# -- files -------------------------------------------------------------------------------------------------------------


def test_static_and_media_files_are_aliases_with_slashes_at_both_ends() -> None:
    made = site(facts=django())
    assert made.files == (
        Files("static", "/static/", "/srv/shop/static/"),
        Files("media", "/media/", "/srv/shop/media/"),
    )
    assert "location ^~ /static/ {\n        alias /srv/shop/static/;" in text(facts=django())


@pytest.mark.parametrize(
    ("url", "prefix"),
    [("static/", "/static/"), ("/a/b/", "/a/b/"), ("/st%C3%A4tic/", "/stätic/"), ("https://cdn.example.org/s/", None),
     ("/", None), ("/a/../b/", None), ("/a//b/", None), ("/a%0ab/", None)],
)  # fmt: skip
def test_static_urls_as_django_has_them(url: str, prefix: str | None) -> None:
    made = site(facts=django(static_url=url, media_root=""))
    assert [each.prefix for each in made.files] == ([prefix] if prefix else [])
    assert made.files or made.notes


def test_what_is_missing_is_said() -> None:
    assert "set STATIC_ROOT" in warnings(site(facts=django(static_root="")))[0]
    assert warnings(site(facts=django(static_root="", installed_apps=()))) == []
    assert "nothing to protect" in warnings(site(facts=django(media_root=""), protected_media="/p/"))[0]
    assert "/static/ is two folders" in warnings(site(facts=django(media_url="/static/")))[0]


@pytest.mark.parametrize("folder", ["/srv/shop", "/srv", "/", "/srv/shop/shop", "/srv/shop/"])
def test_a_folder_with_the_code_in_it_is_not_given_out(folder: str) -> None:
    made = site(facts=django(media_root=folder))
    assert [each.kind for each in made.files] == ["static"]
    assert "its code and settings" in warnings(made)[0]


def test_hashed_names_may_be_kept_for_ever() -> None:
    hashed = text(facts=django(static_is_hashed=True))
    assert "immutable" in hashed and "add_header Cache-Control $penstock_shop_cache;" in hashed
    assert "immutable" not in text(facts=django())


def test_compressed_files_are_sent_where_nginx_can() -> None:
    assert "gzip_static on;" in text(facts=django())
    lacks = replace(ASSUMED, modules=ASSUMED.modules - {"http_gzip_static", "http_gzip"})
    assert "gzip" not in text(facts=django(), nginx=lacks)


def test_protected_media_is_internal_and_its_url_goes_to_the_app() -> None:
    made = text(facts=django(), protected_media="/protected-media/")
    assert (
        "location ^~ /protected-media/ {" in made
        and "internal;" in made
        and "/media/ {" not in made.replace("-media/ {", "")
    )


def test_maps_of_the_configuration_are_taken_where_no_django_is() -> None:
    maps = (
        "--static-map",
        "/s=/srv/s",
        "--static-map2",
        "/t=/srv",
        "--static-map",
        "/f.ico=/srv/f.ico",
        "--check-static",
        "/srv/x",
    )
    assert [(each.prefix, each.folder) for each in site(*SOCKET, *maps).files] == [
        ("/s/", "/srv/s/"),
        ("/t/", "/srv/t/"),
    ]


# -- limits ------------------------------------------------------------------------------------------------------------


def test_the_largest_body() -> None:
    assert site().body_limit_bytes == 75 << 20
    assert "client_max_body_size 20m;" in text(*SOCKET, "--limit-post", str(20 << 20))
    assert site(facts=django(data_upload_max_memory_size=(100 << 20) + 1)).body_limit_bytes == 101 << 20
    assert site(facts=django(data_upload_max_memory_size=None)).body_limit_bytes == 75 << 20
    assert "client_max_body_size 0;" in text(body_limit_bytes=0)
    told = warnings(site(*SOCKET, "--limit-post", "1000", body_limit_bytes=2000, server_names=("a.org",)))
    assert "raise limit-post" in told[0]


def test_nginx_waits_longer_than_harakiri() -> None:
    assert "proxy_read_timeout 45s;" in text(*SOCKET, "--harakiri", "30")
    assert "uwsgi_read_timeout 315s;" in text("--socket", "/run/u.sock", "--module", "app", "--harakiri", "300")
    assert "proxy_read_timeout 60s;" in text()
    assert any("set harakiri = 45" in str(note) for note in site().notes)


def test_long_heads_are_let_through_where_the_configuration_takes_them() -> None:
    assert "large_client_header_buffers 4 16k;" in text()
    assert "large_client_header_buffers 4 8k;" in text(*SOCKET, "--header-limit", "16384")


# -- TLS ---------------------------------------------------------------------------------------------------------------

TLS: dict[str, Any] = {"certificate": "/c.pem", "key": "/c.key", "server_names": ("a.org",)}


@pytest.mark.parametrize(
    ("version", "expected", "unexpected"),
    [
        ((1, 18, 0), "listen 443 ssl http2;", "http2 on"),
        ((1, 25, 0), "listen 443 ssl http2;", "http2 on"),
        ((1, 25, 1), "http2 on;", "ssl http2"),
        ((1, 28), "http2 on;", "ssl http2"),
    ],
)
def test_http2_in_the_words_of_that_nginx(version: tuple[int, ...], expected: str, unexpected: str) -> None:
    made = text(nginx=replace(ASSUMED, version=version), **TLS)
    assert expected in made and unexpected not in made
    lacks = replace(ASSUMED, version=version, modules=ASSUMED.modules - {"http_v2"})
    assert "http2" not in text(nginx=lacks, **TLS)


def test_plain_http_leads_to_https_unless_told_otherwise() -> None:
    assert "return 301 https://$host$request_uri;" in text(**TLS)
    assert "return 301 https://$host:8443$request_uri;" in text(tls_port=8443, **TLS)
    assert "return 301" not in text(redirects=False, **TLS)
    assert "ssl" not in text()


def test_hsts() -> None:
    made = text(facts=django(static_is_hashed=True), hsts_s=600, **TLS)
    line = 'add_header Strict-Transport-Security "max-age=600" always;'
    # A location with headers of its own repeats it: for static, for media, and for all.
    assert made.count(line) == 3 and "proxy_hide_header Strict-Transport-Security;" in made
    assert "nothing without a certificate" in warnings(site(hsts_s=600, server_names=("a.org",)))[0]
    assert "without the redirect" in warnings(site(hsts_s=600, redirects=False, **TLS))[0]


def test_certificates_that_can_not_be() -> None:
    assert "write --key as well" in refusal(certificate="/c.pem")
    assert "write --cert as well" in refusal(key="/c.key")
    assert "without $" in refusal(certificate="/c$x.pem", key="/c.key")
    assert "whole path" in refusal(certificate="c.pem", key="/c.key")
    assert "built without TLS" in refusal(nginx=replace(ASSUMED, modules=frozenset()), **TLS)


def test_a_redirect_of_django_without_a_certificate() -> None:
    assert "SECURE_SSL_REDIRECT" in warnings(site(facts=django(secure_ssl_redirect=True)))[0]
    assert warnings(site(facts=django(secure_ssl_redirect=True), certificate="/c.pem", key="/c.key")) == []


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_websockets_are_for_whoever_needs_them() -> None:
    assert "upgrade" not in text(facts=django())
    for facts in (django(installed_apps=("channels",)), django(asgi_application="shop.asgi.application")):
        assert "proxy_set_header Upgrade $penstock_shop_upgrade;" in text(facts=facts)
    made = text(websocket=("/ws/",))
    assert "location ^~ /ws/ {\n        proxy_read_timeout 3600s;" in made
    # Nothing but a websocket: whoever upgrades to h2c talks past nginx.
    assert '"~*^websocket$" websocket;' in made and "Upgrade $http_upgrade" not in made
    told = warnings(site("--socket", "/run/u.sock", "--module", "app", websocket=("/ws",), server_names=("a.org",)))
    assert "add http-socket" in told[0]
    assert "files are served there" in refusal(facts=django(), websocket=("/static",))


def test_a_status_page_is_on_this_machine_alone() -> None:
    assert "listen 127.0.0.1:8090;" in text()
    assert "stub_status" not in text(status_port=None)
    lacks = replace(ASSUMED, modules=ASSUMED.modules - {"http_stub_status"})
    assert "stub_status" not in text(nginx=lacks)


def test_unknown_names_can_be_dropped() -> None:
    plain = text(drops_unknown=True)
    assert "listen 80 default_server;" in plain and "return 444;" in plain
    assert "ssl_reject_handshake on;" in text(drops_unknown=True, nginx=replace(ASSUMED, version=(1, 22, 1)), **TLS)
    old = text(drops_unknown=True, **TLS)
    assert "ssl_reject_handshake" not in old and old.count("ssl_certificate /c.pem;") == 2


def test_the_host_that_the_app_sees_has_its_port() -> None:
    assert "proxy_set_header Host $host;" in text()
    other = text(port=8008)
    assert "proxy_set_header Host $host$penstock_shop_port;" in other and "map $server_port" in other
    new = text(port=8008, nginx=replace(ASSUMED, version=(1, 30, 0)))
    assert "proxy_set_header Host $host$is_request_port$request_port;" in new and "map $server_port" not in new


def test_a_balancer_is_believed_by_its_address() -> None:
    made = text(behind=("10.0.0.7", "fd00::/8"), port=8080)
    assert "set_real_ip_from 10.0.0.7/32;" in made and "set_real_ip_from fd00::/8;" in made
    assert "proxy_set_header X-Forwarded-Proto $penstock_shop_scheme;" in made
    assert "proxy_set_header Host $host;" in made
    assert warnings(site(facts=django(secure_ssl_redirect=True), behind=("10.0.0.7",))) == []
    assert "no address" in refusal(behind=("balancer",))
    assert "without realip" in refusal(behind=("::1",), nginx=replace(ASSUMED, modules=frozenset({"http_uwsgi"})))


def test_a_machine_without_ipv6() -> None:
    assert "[::]:80" in text() and "[::]" not in text(nginx=replace(ASSUMED, has_ipv6=False))


def test_notes_say_what_to_do() -> None:
    assert str(Note("note", "a", "b")) == "a; b" and str(Note("note", "a")) == "a"


def test_a_name_is_one_that_files_and_variables_can_have() -> None:
    for name, made in (
        ("My Shop", "my_shop"),
        ("2fast", "site_2fast"),
        ("Ünï", "n"),
        ("", "site"),
        ("a" * 90, "a" * 24),
    ):
        assert site(name=name or "!").name == made
