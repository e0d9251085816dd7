"""What an installed nginx tells of itself, and where its main file wants sites."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from penstock.deploy.nginx.installed import NoPlace, Place, find_program, from_version, look, place_of
from penstock.deploy.nginx.reading import read

DEBIAN = """nginx version: nginx/1.22.1
built with OpenSSL 3.0.8 7 Feb 2023
TLS SNI support enabled
configure arguments: --with-cc-opt='-g -O2 -fdebug-prefix-map=/x=.' --prefix=/usr/share/nginx
 --conf-path=/etc/nginx/nginx.conf --http-log-path=/var/log/nginx/access.log --pid-path=/run/nginx.pid
 --with-http_ssl_module --with-http_v2_module --with-http_gzip_static_module --with-http_stub_status_module=dynamic
 --without-http_uwsgi_module""".replace("\n --", " --")
RED_HAT = """nginx version: nginx/1.26.3
configure arguments: --prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf --pid-path=/run/nginx.pid
 --user=nginx --group=nginx --with-http_ssl_module --with-http_realip_module""".replace("\n --", " --")


def test_what_debian_has() -> None:
    found = from_version("/usr/sbin/nginx", DEBIAN)
    assert found is not None
    assert (found.version, found.main_file, found.pid_file) == ((1, 22, 1), "/etc/nginx/nginx.conf", "/run/nginx.pid")
    assert (found.prefix, found.log_directory, found.user) == ("/usr/share/nginx", "/var/log/nginx", "nobody")
    assert found.has("http_ssl") and found.has("http_v2") and found.has("http_gzip_static") and found.has("http_gzip")
    # What has to be loaded, or was left out, can not be counted on.
    assert not found.has("http_stub_status") and not found.has("http_uwsgi") and not found.has("http_realip")
    assert (found.version_text, found.directory) == ("1.22.1", "/etc/nginx")


def test_what_others_have() -> None:
    found = from_version("nginx", RED_HAT, has_ipv6=False)
    assert found is not None and (found.user, found.log_directory, found.has_ipv6) == ("nginx", "", False)
    own = from_version("nginx", "nginx version: openresty/1.27.1.2\nconfigure arguments: --with-cc-opt='unclosed")
    assert own is not None and own.version == (1, 27, 1, 2)
    assert (own.main_file, own.pid_file) == ("/usr/local/nginx/conf/nginx.conf", "/usr/local/nginx/logs/nginx.pid")
    named = from_version("nginx", RED_HAT, "/x/nginx.conf", "/x")
    assert named is not None and (named.main_file, named.prefix) == ("/x/nginx.conf", "/x")
    assert from_version("nginx", "usage: something else") is None


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs an installed nginx")
def test_the_one_that_is_here() -> None:
    found = look(os.environ)
    assert found is not None and found.version > (1, 14) and os.path.isabs(found.main_file)
    assert find_program({}) == found.program


def test_none_is_here(tmp_path: Path) -> None:
    program = tmp_path / "nginx"
    program.write_text("#!/bin/sh\necho something else >&2\n")
    assert look({}, str(program)) is None
    program.chmod(0o755)
    assert look({}, str(program)) is None
    assert look({}, str(tmp_path / "missing")) is None


@pytest.mark.parametrize(
    ("http", "file", "link"),
    [
        ("include conf.d/*.conf; include sites-enabled/*;", "sites-available/shop", "sites-enabled/shop"),
        ("include sites-enabled/*.conf;", "sites-available/shop.conf", "sites-enabled/shop.conf"),
        ("include mime.types; include conf.d/*.conf;", "conf.d/shop.conf", None),
        ("include vhosts/*.conf;", "vhosts/shop.conf", None),
    ],
)
def test_where_a_site_goes(tmp_path: Path, http: str, file: str, link: str | None) -> None:
    (tmp_path / "mime.types").write_text("")
    (tmp_path / "nginx.conf").write_text(
        f"include conf.d/main/*.conf; http {{ {http} server {{ include snippets/*.conf; }} }}"
    )
    expected = Place(f"{tmp_path}/{file}", f"{tmp_path}/{link}" if link else None)
    assert place_of("shop", read(str(tmp_path / "nginx.conf"))) == expected


def test_a_main_file_that_reads_no_sites(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_text("http { server { include parts/*.conf; } }")
    with pytest.raises(NoPlace, match=r"include .*/conf\.d/\*\.conf; into its http block"):
        place_of("shop", read(str(tmp_path / "nginx.conf")))
