"""The sites that `penstock nginx` makes, served by a real nginx in front of a real Penstock with a Django project.

One nginx serves all cases, each on ports of its own, and one Penstock is behind all of them.
"""

from __future__ import annotations

import gzip
import re
import shutil
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from penstock.deploy.nginx.site import Site, Wish, make
from penstock.deploy.nginx.text import render
from penstock.plan.resolve import resolve
from penstock.project.django_facts import DjangoFacts, ask
from penstock.values import replace
from tests.config.support import read
from tests.e2e.clients import Connection, Response, connect, get, post
from tests.e2e.harness import Penstock, until
from tests.plan.test_resolve import machine
from tests.support.nginx import OwnNginx, PortTaken, certificate, free_ports
from tests.support.projects import found, make_django, manage

NAME = "shop.example.org"
SECRETS = re.compile(rb"SECRET_KEY|DJANGO_SETTINGS_MODULE|SQLite format|os\.environ|root:x:0")
"""What stands in files that nobody may see."""
PROTECTED_VIEW = """
from django.http import HttpResponse


def private(request, name):
    return HttpResponse(headers={"X-Accel-Redirect": f"/protected-media/{name}", "Content-Type": ""})


urlpatterns.append(path("private/<name>", private))
"""
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "http-unix": ("http-unix", {"drops_unknown": True}),
    "http-tcp": ("http-tcp", {}),
    "uwsgi-unix": ("uwsgi-unix", {}),
    "uwsgi-tcp": ("uwsgi-tcp", {"body_limit_bytes": 2000}),
    "behind": ("http-unix", {"behind": ("127.0.0.0/8",)}),
    "behind-uwsgi": ("uwsgi-unix", {"behind": ("127.0.0.0/8",)}),
    "stranger": ("http-unix", {"behind": ("10.0.0.0/8",)}),
    "protected": ("http-unix", {"protected_media": "/protected-media/"}),
    "protected-uwsgi": ("uwsgi-unix", {"protected_media": "/protected-media/"}),
    "tls": ("http-unix", {"certificate": "PEM", "hsts_s": 600, "drops_unknown": True}),
    "tls-uwsgi": ("uwsgi-unix", {"certificate": "PEM", "redirects": False}),
}
PLAIN = [name for name in CASES if not name.startswith(("tls", "behind", "stranger"))]


class Echo:
    """Stands where the app does: tells what it was sent, and becomes a websocket where it is asked to."""

    def __init__(self, path: str) -> None:
        self.heads: list[str] = []
        self.connections = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        with accepted:
            data = b""
            while piece := accepted.recv(65536):
                data += piece
                while b"\r\n\r\n" in data:
                    head, _, data = data.partition(b"\r\n\r\n")
                    self.heads.append(head.decode("latin-1"))
                    if b"\r\nUpgrade: websocket\r\n" in head + b"\r\n":
                        accepted.sendall(
                            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
                        )
                        while piece := accepted.recv(65536):
                            accepted.sendall(piece)
                        return
                    accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def close(self) -> None:
        """Accept nobody any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Served:
    """A running nginx with all the sites, and where each is."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.project = make_django(folder / "site")
        with (self.project / "cmdb/urls.py").open("a") as urls:
            urls.write(PROTECTED_VIEW)
        manage(self.project, "collectstatic", "-v", "0", "--no-input")
        self.facts = self._facts()
        self._more_files()
        certificate(folder, NAME)
        self.own = OwnNginx(folder, http="variables_hash_max_size 4096;")
        self.instance = stack.enter_context(self._penstock())
        self.echo = Echo(f"{folder}/e.sock")
        stack.callback(self.echo.close)
        self.sites: dict[str, Site] = {}
        stack.callback(self.own.stop)
        self._start()
        until("the last site answers", lambda: self.own.listens(self.sites["echo"].port))

    def _start(self, attempts: int = 3) -> None:
        self._write_sites()
        told = self.own.test()
        assert told == "", told
        try:
            self.own.start()
        except PortTaken:
            if attempts == 1:
                raise
            self._start(attempts - 1)

    def _facts(self) -> DjangoFacts:
        facts = ask(found(self.project))
        assert isinstance(facts, DjangoFacts), str(facts)
        return replace(facts, static_is_hashed=True)

    def _more_files(self) -> None:
        static, media = self.project / "static", self.project / "media"
        (static / "shop/app.0123456789ab.js").write_text("let a;\n" * 400)
        (static / "shop/packed.css").write_text("a {}\n")
        (static / "shop/packed.css.gz").write_bytes(gzip.compress(b"packed {}\n"))
        media.mkdir()
        (media / "page.html").write_text("<script>alert(1)</script>")
        (self.project / "static.secret").write_text("SECRET_KEY beside the folder")

    def _penstock(self) -> Penstock:
        return Penstock(
            "--http-socket", f"{self.folder}/h.sock", "--socket", f"{self.folder}/u.sock", "--http", "127.0.0.1:0",
            "--socket", "127.0.0.1:0", "--chdir", self.project, "--module", "cmdb.wsgi", "--threads", "2",
            cwd=self.project,
        )  # fmt: skip

    def _write_sites(self) -> None:
        tcp = {
            "http" if "http" in before else "uwsgi": address
            for before, address in self.instance.bound()
            if not address.startswith("/")
        }
        sockets = {
            "http-unix": ("--http-socket", f"{self.folder}/h.sock"),
            "http-tcp": ("--http", tcp["http"]),
            "uwsgi-unix": ("--socket", f"{self.folder}/u.sock"),
            "uwsgi-tcp": ("--socket", tcp["uwsgi"]),
        }
        ports = free_ports(3 * (len(CASES) + 1))
        files = {"PEM": {"certificate": f"{self.folder}/site.pem", "key": f"{self.folder}/site.key"}}
        cases = [(name, sockets[kind], wish) for name, (kind, wish) in CASES.items()]
        cases.append(("echo", ("--http-socket", f"{self.folder}/e.sock"), {"websocket": ("/ws/",)}))
        for name, words, asked in cases:
            wish = {**asked, **files.get(str(asked.get("certificate")), {})}
            placed = Wish(port=ports.pop(), tls_port=ports.pop(), status_port=ports.pop(), **wish)
            plan = resolve(read(*words, "--module", "cmdb.wsgi", cwd=str(self.project)), machine(self.project))
            made = make(plan, self.facts, placed, self.own.facts, name=name)
            self.sites[name] = made
            self.own.site(name, render(made, self.own.facts))

    def address(self, case: str) -> str:
        """Where a case is served over plain HTTP."""
        return f"127.0.0.1:{self.sites[case].port}"

    def get(self, case: str, target: str = "/", **headers: str) -> Response:
        """Ask a case by its name."""
        named = {"Host": NAME, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return get(self.address(case), target, named)

    def tls(self, case: str, alpn: tuple[str, ...] = (), name: str = NAME) -> ssl.SSLSocket:
        """Connect to a case over TLS, trusting its own certificate alone."""
        context = ssl.create_default_context(cafile=f"{self.folder}/site.pem")
        if alpn:
            context.set_alpn_protocols(alpn)
        plain = connect(f"127.0.0.1:{self.sites[case].tls_port}")
        return context.wrap_socket(plain, server_hostname=name)

    def tls_get(self, case: str, target: str) -> tuple[str, bytes]:
        """GET over TLS; head and body."""
        with self.tls(case) as sock:
            sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
            data = b"".join(iter(lambda: sock.recv(65536), b""))
        head, _, body = data.partition(b"\r\n\r\n")
        return head.decode("latin-1"), body


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Everything that the tests ask."""
    if shutil.which("nginx") is None:
        pytest.skip("needs an installed nginx")
    folder = Path(tempfile.mkdtemp(prefix="ngs-"))
    folder.chmod(0o755)
    try:
        with ExitStack() as stack:
            yield Served(folder, stack)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("case", PLAIN)
def test_the_app_sees_who_asks_and_for_what_whatever_the_client_claims(served: Served, case: str) -> None:
    answer = served.get(
        case, "/host/", X_Forwarded_For="6.6.6.6", X_Forwarded_Proto="https", X_Forwarded_Host="evil.example.net",
        Forwarded="for=6.6.6.6;proto=https;host=evil.example.net", X_Real_IP="6.6.6.6",
    )  # fmt: skip
    assert (answer.status, answer.body) == (200, f"http {NAME}:{served.sites[case].port} 127.0.0.1\n".encode())


@pytest.mark.parametrize("case", ["behind", "behind-uwsgi"])
def test_a_balancer_says_who_the_client_is(served: Served, case: str) -> None:
    answer = served.get(case, "/host/", X_Forwarded_For="6.6.6.6, 198.51.100.7, 127.0.0.9", X_Forwarded_Proto="https")
    assert answer.body == f"https {NAME} 198.51.100.7\n".encode()
    answer = served.get(case, "/host/", X_Forwarded_For="198.51.100.7", X_Forwarded_Proto="gopher")
    assert answer.body == f"http {NAME} 198.51.100.7\n".encode()


def test_who_is_no_balancer_says_nothing(served: Served) -> None:
    answer = served.get("stranger", "/host/", X_Forwarded_For="6.6.6.6", X_Forwarded_Proto="https")
    assert answer.body == f"http {NAME} 127.0.0.1\n".encode()


@pytest.mark.parametrize("case", PLAIN)
def test_pages_and_their_style_sheets_come(served: Served, case: str) -> None:
    page = served.get(case, "/admin/login/")
    assert page.status == 200
    for sheet in re.findall(r'href="(/static/[^"]+\.css)"', page.body.decode()):
        answer = served.get(case, sheet)
        assert answer.status == 200 and answer.header("content-type") == "text/css"
    own = served.get(case, "/static/shop/shop.css")
    assert own.body == b"body { color: teal }\n"


def test_compression_and_caching_of_static_files(served: Served) -> None:
    packed = served.get("http-unix", "/static/shop/packed.css", Accept_Encoding="gzip")
    assert gzip.decompress(packed.body) == b"packed {}\n" and packed.header("content-encoding") == "gzip"
    assert served.get("http-unix", "/static/shop/packed.css").body == b"a {}\n"
    hashed = served.get("http-unix", "/static/shop/app.0123456789ab.js", Accept_Encoding="gzip")
    assert hashed.header("cache-control") == "public, max-age=31536000, immutable"
    assert hashed.header("content-encoding") == "gzip" and hashed.header("vary") == "Accept-Encoding"
    plain = served.get("http-unix", "/static/shop/shop.css")
    assert plain.header("cache-control") is None and plain.header("etag")
    assert served.get("http-unix", "/static/shop/gone.0123456789ab.js").header("cache-control") is None


WAYS = (
    "../", "/../", "/%2e%2e/", "/..%2f", "/%2e%2e%2f", "//../", "/./../", "/..\\", "/..%5c", "/%252e%252e/",
    "/..;/", "/%c0%ae%c0%ae/", "/shop/../../", "/%00/../", "/..%00/",
)  # fmt: skip
PREFIXES = ("static", "media", "protected-media")
TRAVERSALS = [
    *(f"/{prefix}{way}{name}" for prefix in PREFIXES for way in WAYS for name in ("manage.py", "cmdb/settings.py")),
    "/static.secret",
    "/static%2e%2e/manage.py",
    "//static/../manage.py",
    "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/static//etc/passwd",
    "/static/shop/shop.css%00.py",
    "/%2e%2e/manage.py",
    "/../manage.py",
    "/manage.py",
    "/protected-media/page.html",
    "/media/../static.secret",
]


@pytest.mark.parametrize("case", PLAIN)
def test_no_way_leads_out_of_a_folder(served: Served, case: str) -> None:
    for target in TRAVERSALS:
        # nginx closes after some of them.
        with Connection(served.address(case)) as connection:
            answer = connection.request("GET", target, {"Host": NAME})
        assert answer.status in (400, 404), f"{target}: {answer.status}"
        assert SECRETS.search(answer.body) is None, target


@pytest.mark.parametrize("case", ["http-unix", "uwsgi-unix"])
def test_an_upload_comes_back_as_a_file_in_which_nothing_runs(served: Served, case: str) -> None:
    content = b"x" * 300_000
    answer = upload(served, case, f"{case}.bin", content)
    url = answer.body.split()[0].decode()
    assert answer.status == 200 and url.startswith("/media/")
    file = served.get(case, url)
    assert file.body == content and file.header("x-content-type-options") == "nosniff"
    assert served.get(case, "/media/page.html").header("content-security-policy") == "script-src 'none'"


def upload(served: Served, case: str, name: str, content: bytes) -> Response:
    """Send a file as a browser does."""
    body = (
        f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
        + content
        + b"\r\n--b--\r\n"
    )
    headers = {"Host": NAME, "Content-Type": "multipart/form-data; boundary=b"}
    return post(served.address(case), "/upload/", body, headers)


def test_an_upload_that_is_too_large_is_refused(served: Served) -> None:
    assert upload(served, "uwsgi-tcp", "small.bin", b"x" * 500).status == 200
    assert upload(served, "uwsgi-tcp", "large.bin", b"x" * 5000).status == 413


@pytest.mark.parametrize("case", ["protected", "protected-uwsgi"])
def test_protected_media_is_sent_when_the_app_says_so_and_not_before(served: Served, case: str) -> None:
    for target in ("/media/page.html", "/protected-media/page.html"):
        answer = served.get(case, target)
        assert answer.status == 404 and b"<script>" not in answer.body
    answer = served.get(case, "/private/page.html")
    assert (answer.status, answer.body) == (200, b"<script>alert(1)</script>")
    assert answer.header("content-security-policy") == "script-src 'none'"


def test_tls_with_http2_and_a_redirect_that_keeps_the_path(served: Served) -> None:
    site = served.sites["tls"]
    with served.tls("tls", ("h2", "http/1.1")) as sock:
        assert sock.selected_alpn_protocol() == "h2" and (sock.version() or "") >= "TLSv1.2"
    head, body = served.tls_get("tls", "/host/")
    assert body.endswith(f"https {NAME}:{site.tls_port} 127.0.0.1\n".encode())
    for target in ("/host/", "/static/shop/shop.css", "/media/page.html"):
        assert served.tls_get("tls", target)[0].count("Strict-Transport-Security: max-age=600") == 1, target
    answer = served.get("tls", "/a%0d%0aX-Evil:1/b?c=%0a")
    assert answer.status == 301
    assert answer.header("location") == f"https://{NAME}:{site.tls_port}/a%0d%0aX-Evil:1/b?c=%0a"
    assert answer.header("x-evil") is None and "200 OK" in head


def test_tls_beside_plain_http(served: Served) -> None:
    site = served.sites["tls-uwsgi"]
    assert served.tls_get("tls-uwsgi", "/host/")[1] == f"https {NAME}:{site.tls_port} 127.0.0.1\n".encode()
    assert served.get("tls-uwsgi", "/host/").body == f"http {NAME}:{site.port} 127.0.0.1\n".encode()


def test_unknown_names_are_dropped(served: Served) -> None:
    with connect(served.address("http-unix")) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: unknown.example.net\r\n\r\n")
        assert sock.recv(100) == b""
    with pytest.raises(ssl.SSLError):
        served.tls("tls", name="unknown.example.net")


def test_the_status_page(served: Served) -> None:
    address = f"127.0.0.1:{served.sites['http-tcp'].status_port}"
    assert b"Active connections" in get(address, "/nginx_status").body
    assert get(address, "/").status == 404


def test_connections_to_the_app_are_kept(served: Served) -> None:
    with Connection(served.address("echo")) as connection:
        before = served.echo.connections
        for _ in range(5):
            assert connection.request("GET", "/", {"Host": NAME}).status == 200
    assert served.echo.connections - before <= 1


@pytest.mark.parametrize("target", ["/ws/chat", "/elsewhere"])
def test_a_connection_becomes_a_websocket(served: Served, target: str) -> None:
    with connect(served.address("echo")) as sock:
        head = f"GET {target} HTTP/1.1\r\nHost: {NAME}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        sock.sendall(head.encode())
        answer = sock.recv(1000)
        assert answer.startswith(b"HTTP/1.1 101 ")
        sock.sendall(b"\x81\x02hi")
        assert sock.recv(100) == b"\x81\x02hi"


def test_nothing_but_a_websocket_is_upgraded_to(served: Served) -> None:
    answer = served.get("echo", "/h2c", Upgrade="h2c", Connection="Upgrade, HTTP2-Settings", HTTP2_Settings="AAMAAABk")
    assert answer.status == 200
    head = next(head for head in served.echo.heads if head.startswith("GET /h2c "))
    assert "\r\nUpgrade:" not in head and "\r\nConnection:" not in head
