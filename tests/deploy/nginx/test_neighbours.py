"""A new site among others: it takes nothing from them, follows them where it has to, and says which line is meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.deploy.nginx.installed import ASSUMED
from penstock.deploy.nginx.neighbours import advice, fit
from penstock.deploy.nginx.reading import Configuration, read
from penstock.deploy.nginx.site import NoSite, Site
from penstock.deploy.nginx.text import render
from penstock.values import replace
from tests.deploy.nginx.test_site import SOCKET, TLS, plan, site

Among = Callable[..., Site]


@pytest.fixture
def among(tmp_path: Path) -> Among:
    """Fit a site among servers; `own` is the text of a file of its own."""

    def fitted(text: str, own: str = "", version: tuple[int, ...] = (1, 22, 1), **wish: Any) -> Site:
        path, own_path = tmp_path / "nginx.conf", tmp_path / "own.conf"
        path.write_text(f"http {{\ninclude own.conf;\n{text} }}")
        own_path.write_text(own)
        made = site(**{"server_names": ("a.org", "localhost"), **wish})
        return fit(made, read(str(path)), replace(ASSUMED, version=version), [str(own_path)])

    return fitted


def notes(made: Site) -> str:
    """All that is said."""
    return "\n".join(map(str, made.notes))


@pytest.mark.parametrize(
    ("text", "wish", "message"),
    [
        ("server { listen 80; server_name b.org a.org; }", {}, "a.org at port 80 is served already"),
        ("server { server_name A.org; }", {}, "a.org at port 80 is served already"),
        ("server { listen [::]:80; server_name a.org; }", {}, "a.org at port 80 is served already"),
        (
            "server { listen 80 default_server; }",
            {"drops_unknown": True},
            "unknown names at port 80 go to",
        ),
        ("server { listen 443; server_name b.org; }", TLS, "port 443 speaks plain HTTP already"),
        ("server { listen 80 ssl; server_name b.org; }", {}, "port 80 speaks TLS already"),
        ("upstream penstock_shop { server 10.0.0.1; }", {}, "a site shop is there already"),
        ("server_names_hash_bucket_size 32;", {"server_names": ("a" * 20 + ".org",)}, "longer than names may be"),
    ],
)
def test_a_clash_is_found_first_with_its_place(among: Among, text: str, wish: dict[str, Any], message: str) -> None:
    with pytest.raises(NoSite) as caught:
        among(text, **wish)
    assert message in str(caught.value) and "nginx.conf:3" in str(caught.value) and caught.value.note.cure
    # The same in its own file of an earlier time is no clash.
    if "bucket" not in text:
        among("", text, **wish)


@pytest.mark.parametrize(
    "text",
    [
        "server { listen 80; server_name *.a.org b.org; }",
        "server { listen 81; server_name a.org; }",
        "server { listen 127.0.0.1:80; server_name a.org; }",
        "server { listen 80 default_server; server_name _; root /var/www/html; }",
        "server { listen 443 ssl; server_name b.org; }",
        "upstream shop { server 10.0.0.1; }",
    ],
)
def test_neighbours_that_do_not_disturb(among: Among, text: str) -> None:
    assert among(text) == site(server_names=("a.org", "localhost"))


def test_the_names_of_the_machine_stay_with_who_has_them(among: Among) -> None:
    made = among("server { listen 80; server_name localhost; }")
    assert made.names == ("a.org",) and "another site answers for localhost" in notes(made)
    with pytest.raises(NoSite):
        among("server { listen 80; server_name localhost; }", server_names=("localhost",))


def test_http2_is_not_turned_on_for_others(among: Among) -> None:
    others = "server { listen 443 ssl; server_name b.org; }"
    made = among(others, **TLS)
    assert not made.http2 and "would turn it on for every site at port 443" in notes(made)
    assert among(others, version=(1, 25, 1), **TLS).http2
    assert among(others.replace("ssl", "ssl http2"), **TLS).http2 and among("", **TLS).http2


def test_the_proxy_protocol_of_others_is_told(among: Among) -> None:
    assert "PROXY protocol" in notes(among("server { listen 80 proxy_protocol; server_name b.org; }"))


def test_a_second_status_page_is_left_out(among: Among) -> None:
    made = among("server { listen 127.0.0.1:8090; location / { stub_status; } }")
    assert made.status_port is None and "is there already" in notes(made)
    made = among("server { listen 8090; }")
    assert made.status_port is None and "port 8090 is taken" in notes(made) and "--status PORT" in notes(made)


def test_long_names_get_room(among: Among) -> None:
    made = among("", server_names=("a" * 60 + ".example.org",))
    assert made.names_bucket_bytes == 128
    assert "server_names_hash_bucket_size 128;" in render(made, ASSUMED)
    assert among("server_names_hash_bucket_size 128;", server_names=("a" * 60 + ".org",)).names_bucket_bytes == 0


def counsel(tmp_path: Path, text: str) -> list[tuple[str, str]]:
    """What is advised for a main file: directive and value."""
    (tmp_path / "nginx.conf").write_text(text)
    return [
        (each.directive, each.wanted) for each in advice(configuration(tmp_path), plan(*SOCKET, "--listen", "1024"))
    ]


def configuration(tmp_path: Path) -> Configuration:
    """The main file of the test."""
    return read(str(tmp_path / "nginx.conf"))


def test_advice_for_the_main_file(tmp_path: Path) -> None:
    assert counsel(tmp_path, "user www-data;\nevents { worker_connections 768; }") == [
        ("worker_connections", "4096"),
        ("worker_rlimit_nofile", "8192"),
        ("worker_processes", "auto"),
    ]
    told = str(advice(configuration(tmp_path), plan(*SOCKET))[0])
    assert "worker_connections 4096; (now 768, " in told and "nginx.conf:2" in told
    enough = "worker_processes auto; worker_rlimit_nofile 65535; events { worker_connections 9000; }"
    assert counsel(tmp_path, enough) == []
    assert counsel(tmp_path, enough.replace("65535", "1024")) == [("worker_rlimit_nofile", "18000")]
