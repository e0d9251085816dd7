"""Each rule sees exactly what it is about, and nothing in a configuration that is as it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.deploy.nginx.reading import read
from penstock.deploy.nginx.rules import ROWS, judge

HEADERS = "proxy_set_header Host $host; proxy_set_header X-Forwarded-Proto $scheme;"
PARAMS = "include params;"


def codes(folder: Path, text: str, *private: str) -> list[tuple[str, int]]:
    """What is found in a main file: code and line."""
    (folder / "nginx.conf").write_text(text)
    (folder / "params").write_text(
        "".join(f"uwsgi_param {name} $x;" for name in ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING"))
    )
    configuration = read(str(folder / "nginx.conf"))
    assert configuration.is_readable, configuration.problems
    found = judge(configuration, private)
    assert all(finding.origin is not None and finding.cure and finding.level for finding in found)
    return [(finding.code.removeprefix("nginx-"), finding.origin.line) for finding in found if finding.origin]


def server(text: str) -> str:
    """A whole file around a server; the text begins in line 2."""
    return f"user www-data; http {{ server {{ listen 80;\n{text}\n}} }}"


BAD = [
    ("alias-traversal", "location /static { alias /srv/static/; }"),
    ("alias-traversal", "location ^~ /static { alias /srv/static/; }"),
    ("alias-traversal", "location ~ ^/static(.*)$ { alias /srv/static/$1; }"),
    ("alias-slash", "location /static/ { alias /srv/static; }"),
    ("allow-without-deny", "location /x { allow 10.0.0.0/8; }"),
    ("autoindex", "location /x/ { autoindex on; }"),
    ("client-chooses", f"location / {{ proxy_pass http://$arg_to; {HEADERS} }}"),
    ("client-chooses", f"location ~ ^/to/([^/]+) {{ proxy_pass http://$1; {HEADERS} }}"),
    ("client-chooses", f"location / {{ proxy_pass $http_x_to; {HEADERS} }}"),
    ("code-served", "location /x/ { root /; }"),
    ("code-served", "location /x/ { alias /etc/; }"),
    ("code-served", "root /srv/shop;"),
    ("code-served", "location /media/ { alias /srv/shop/; }"),
    ("decoded-redirect", "return 301 https://$host$uri;"),
    ("decoded-redirect", "location / { rewrite ^ https://x.org$document_uri permanent; }"),
    ("decoded-redirect", "return 302 https://x.org${uri};"),
    ("decoded-redirect", "return http://x.org$uri;"),
    ("decoded-redirect", "add_header X-Path $uri;"),
    ("decoded-redirect", f"location / {{ proxy_pass http://app$uri; {HEADERS} }}"),
    ("headers-lost", "add_header X-Frame-Options DENY;\nlocation / { add_header X-A b; }"),
    ("host-missing", "location / { proxy_pass http://app; proxy_set_header X-Forwarded-Proto $scheme; }"),
    ("host-missing", f"{HEADERS} location / {{ proxy_pass http://app; proxy_set_header X-Forwarded-Proto $scheme; }}"),
    ("host-raw", f"location / {{ proxy_pass http://app; {HEADERS.replace('$host', '$http_host')} }}"),
    ("if", f"location / {{ {HEADERS} if ($args) {{ proxy_pass http://app; }} }}"),
    ("merge-slashes", "merge_slashes off;"),
    ("params-missing", "location / { uwsgi_pass app; }"),
    ("params-missing", f"{PARAMS} location / {{ uwsgi_pass app; uwsgi_param HTTPS on; }}"),
    ("proxy-traversal", f"location /api {{ proxy_pass http://app/; {HEADERS} }}"),
    ("proxy-traversal", f"location /api {{ proxy_pass http://unix:/run/x.sock:/v1/; {HEADERS} }}"),
    ("scheme-missing", "location / { proxy_pass http://app; proxy_set_header Host $host; }"),
    ("status-public", "location = /status { stub_status; }"),
    ("tls-missing", "listen 443;"),
    ("tls-old", "listen 443 ssl; ssl_protocols TLSv1 TLSv1.2;"),
    ("underscores", "underscores_in_headers on;"),
]


@pytest.mark.parametrize(("code", "text"), BAD)
def test_what_is_wrong_is_found_at_its_line(tmp_path: Path, code: str, text: str) -> None:
    assert codes(tmp_path, server(text), "/srv/shop") == [(code, 1 + len(text.split("\n")))]


def test_workers_that_run_as_root(tmp_path: Path) -> None:
    assert codes(tmp_path, "user root;") == [("root-user", 1)]
    assert codes(tmp_path, "user www-data;") == codes(tmp_path, "") == []


def test_every_rule_has_a_case() -> None:
    assert {f"nginx-{code}" for code, _ in BAD} | {"nginx-root-user"} == {row.code for row in ROWS}
    assert len({row.code for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize(
    "text",
    [
        "location /static/ { alias /srv/static/; }",
        "location = /favicon.ico { alias /srv/static/favicon.ico; }",
        "location ~ ^/static/(.*)$ { alias /srv/static/$1; }",
        "location / { alias /srv/static/; }",
        "location /x { allow 10.0.0.0/8; deny all; }",
        "location /x { allow all; }",
        f"{HEADERS} location / {{ proxy_pass http://app; }}",
        f"{HEADERS} location /api/ {{ proxy_pass http://app/v1/; }}",
        f"{HEADERS} location /api {{ proxy_pass http://app; }}",
        f"{HEADERS} location /api {{ proxy_pass http://unix:/run/x.sock; }}",
        f"{HEADERS} location / {{ proxy_pass http://app$request_uri; }}",
        f"{PARAMS} location / {{ uwsgi_pass app; }}",
        "return 301 https://$host$request_uri;",
        "return 200 $uri;",
        "location / { try_files $uri $uri/ =404; }",
        "location / { rewrite ^/old/(.*)$ /new/$1 last; }",
        "location / { if ($args) { return 403; } }",
        "if ($args) { set $a b; }",
        "add_header X-Frame-Options DENY; location / { add_header x-frame-options DENY; add_header X-A b; }",
        "location = /status { stub_status; allow 127.0.0.1; deny all; }",
        "listen 443 ssl; ssl_protocols TLSv1.2 TLSv1.3;",
        "root /srv/shop/static;",
        "root /var/www/html;",
        "root /srv/shopping;",
    ],
)
def test_what_is_right_is_not_found(tmp_path: Path, text: str) -> None:
    assert codes(tmp_path, server(text), "/srv/shop") == []


def test_a_status_page_on_this_machine_alone_is_right(tmp_path: Path) -> None:
    assert codes(tmp_path, "http { server { listen 127.0.0.1:81; location = /s { stub_status; } } }") == []


@pytest.mark.parametrize("path", sorted(Path("tests/cases/nginx").glob("*.conf")), ids=lambda path: path.stem)
def test_sites_as_people_write_them(tmp_path: Path, path: Path) -> None:
    """The first line of each file lists what is to be found in it."""
    text = path.read_text()
    (tmp_path / "uwsgi_params").write_text(Path("/etc/nginx/uwsgi_params").read_text())
    wanted = text.split("\n")[0].removeprefix("#").split()
    assert [f"{code}:{line}" for code, line in codes(tmp_path, text, "/srv/shop")] == wanted
