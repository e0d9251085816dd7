"""A site as the text of nginx's file. Pure: everything was decided in `site`.

What is the same for all that is passed on stands in the server, and its locations inherit it. A block that has an
`add_header` of its own inherits none, so it repeats what has to be everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.deploy.nginx.installed import Nginx
from penstock.deploy.nginx.site import HEADER_BYTES, WEBSOCKET_TIMEOUT_S, Files, Site
from penstock.deploy.nginx.words import path, quoted, size

HTTP2_DIRECTIVE = (1, 25, 1)
"""Since then `http2 on` says it, and not a word behind `listen`."""
REJECT_HANDSHAKE = (1, 19, 4)
REQUEST_PORT = (1, 29, 3)
"""Since then nginx tells the port of the Host header without the rest of it, which is whatever the client sends."""
UPSTREAM_KEEPALIVE_TIMEOUT = (1, 15, 3)
_COMPRESSED = (
    "text/css text/plain text/xml text/javascript application/javascript application/json application/manifest+json "
    "application/xml application/rss+xml application/wasm image/svg+xml font/ttf font/otf"
)
_HASHED = r"~\.[0-9a-f]{12}(\.[^./]+)?$"
"""How Django's ManifestStaticFilesStorage names files: NAME.HASH.EXT."""

Lines = Iterator[str]


def render(site: Site, nginx: Nginx) -> str:
    """Write the file."""
    lines = [line.rstrip() for line in _Writer(site, nginx).all()]
    return "\n".join(lines).rstrip("\n") + "\n"


def _indented(lines: Lines) -> Lines:
    return (f"    {line}" if line else "" for line in lines)


def _block(head: str, lines: Lines) -> Lines:
    yield f"{head} {{"
    yield from _indented(lines)
    yield "}"


class _Writer:
    def __init__(self, site: Site, nginx: Nginx) -> None:
        self.site, self.nginx = site, nginx
        self.variable = site.variable

    def all(self) -> Lines:
        """The whole file."""
        site = self.site
        source = f", from {_comment(site.origin)}" if site.origin else ""
        yield f"# {site.name}: nginx in front of Penstock, made by `penstock nginx`{source}."
        yield "# Make it anew after a change there: what is changed here by hand is lost then."
        yield ""
        yield from self._shared()
        if site.redirects:
            yield from _block("server", self._redirecting())
            yield ""
        yield from _block("server", self._serving())
        if site.drops_unknown:
            yield ""
            yield "# Whoever asks for a name that no site has gets no answer."
            yield from _block("server", self._dropping())
        if site.status_port is not None:
            yield ""
            yield "# How busy nginx is, for whoever watches this machine."
            yield from _block("server", self._status())

    # -- beside the servers --------------------------------------------------------------------------------------------

    def _shared(self) -> Lines:
        site = self.site
        if site.names_bucket_bytes:
            yield f"server_names_hash_bucket_size {site.names_bucket_bytes};"
            yield ""
        yield from _block(f"upstream {self.variable}", self._upstream())
        yield ""
        if self._asks_for_port:
            yield "# The port belongs to the Host that the app sees, where it is not the usual one."
            yield from _block(
                f"map $server_port ${self.variable}_port", iter(['default ":$server_port";', '80 "";', '443 "";'])
            )
            yield ""
        if site.behind:
            yield from self._balancers()
            yield ""
        if any(each.is_hashed for each in site.files):
            yield "# A file whose name holds a hash of its content never changes."
            cached = f'"{_HASHED}" "public, max-age=31536000, immutable";'
            yield from _block(f"map $uri ${self.variable}_cache", iter(['default "";', cached]))
            yield ""
        if site.websocket:
            yield "# Connections become websockets and nothing else, and others are kept for the next request."
            for name, word in (("upgrade", "websocket"), ("connection", "upgrade")):
                lines = iter(['default "";', f'"~*^websocket$" {word};'])
                yield from _block(f"map $http_upgrade ${self.variable}_{name}", lines)
            yield ""
        if self._has_dollar:
            yield "# nginx has no other way to write a dollar sign."
            yield from _block(f"geo ${self._dollar}", iter(['default "$";']))
            yield ""

    def _balancers(self) -> Lines:
        yield "# A balancer may say whether the client came over HTTPS, and nobody else."
        known = ("default 0;", *(f"{each} 1;" for each in self.site.behind))
        yield from _block(f"geo $realip_remote_addr ${self.variable}_known", iter(known))
        told = f'"${self.variable}_known:$http_x_forwarded_proto"'
        wanted = [("scheme", "$scheme", "https", "http")]
        if self.site.upstream.protocol == "uwsgi":
            wanted.append(("https", "$https", "on", '""'))
        for name, default, secure, plain in wanted:
            values = (f"default {default};", f'"1:https" {secure};', f'"1:http" {plain};')
            yield from _block(f"map {told} ${self.variable}_{name}", iter(values))

    def _upstream(self) -> Lines:
        upstream = self.site.upstream
        yield f"server {quoted(upstream.address)};"
        if upstream.keepalive:
            yield f"keepalive {upstream.keepalive};"
            if upstream.keepalive_timeout_s and self.nginx.version >= UPSTREAM_KEEPALIVE_TIMEOUT:
                yield f"keepalive_timeout {upstream.keepalive_timeout_s}s;"

    @property
    def _dollar(self) -> str:
        return f"{self.variable}_dollar"

    @property
    def _has_dollar(self) -> bool:
        folders = [each.folder for each in self.site.files]
        return any("$" in text for text in (*folders, self.site.acme_folder))

    @property
    def _asks_for_port(self) -> bool:
        if self.site.behind:
            # The balancer has the port that clients know.
            return False
        ports = {self.site.port, self.site.tls_port} if self.site.has_tls else {self.site.port}
        return not ports <= {80, 443} and self.nginx.version < REQUEST_PORT

    @property
    def _scheme(self) -> str:
        return f"${self.variable}_scheme" if self.site.behind else "$scheme"

    @property
    def _host(self) -> str:
        """What the app sees as Host: never what the client sent as it stands, which need not fit its request."""
        if self.nginx.version >= REQUEST_PORT:
            return "$host$is_request_port$request_port"
        return f"$host${self.variable}_port" if self._asks_for_port else "$host"

    # -- the servers ---------------------------------------------------------------------------------------------------

    def _listen(self, port: int, *flags: str) -> Lines:
        words = " ".join(("", *flags))
        yield f"listen {port}{words};"
        if self.nginx.has_ipv6:
            yield f"listen [::]:{port}{words};"

    def _listen_tls(self, *flags: str) -> Lines:
        is_new = self.nginx.version >= HTTP2_DIRECTIVE
        old = ("http2",) if self.site.http2 and not is_new else ()
        yield from self._listen(self.site.tls_port, "ssl", *old, *flags)
        if self.site.http2 and is_new:
            yield "http2 on;"

    def _names(self) -> str:
        return f"server_name {' '.join(map(quoted, self.site.names))};"

    def _redirecting(self) -> Lines:
        site = self.site
        yield from self._listen(site.port)
        yield self._names()
        yield "server_tokens off;"
        yield from self._acme()
        yield ""
        port = "" if site.tls_port == 443 else f":{site.tls_port}"
        yield from _block("location /", iter([f"return 301 https://$host{port}$request_uri;"]))

    def _acme(self) -> Lines:
        if self.site.acme_folder:
            yield ""
            yield "# Where certbot puts its answers."
            root = f"root {path(self.site.acme_folder, self._dollar)};"
            yield from _block("location ^~ /.well-known/acme-challenge/", iter([root, "default_type text/plain;"]))

    def _serving(self) -> Lines:
        site = self.site
        if not site.redirects:
            yield from self._listen(site.port)
        if site.has_tls:
            yield from self._listen_tls()
        yield self._names()
        yield "server_tokens off;"
        yield "charset utf-8;"
        yield from self._logs()
        if site.has_tls:
            yield ""
            yield from self._tls()
        yield ""
        if site.behind:
            yield "# The client is whom the balancer names."
            yield from (f"set_real_ip_from {each};" for each in site.behind)
            yield "real_ip_header X-Forwarded-For;"
            yield "real_ip_recursive on;"
            yield ""
        yield "# Larger uploads get 413; the app's own limits are to be looked at too, if this is raised."
        yield f"client_max_body_size {size(site.body_limit_bytes)};"
        yield f"large_client_header_buffers 4 {size(site.header_line_bytes)};"
        yield ""
        yield from self._gzip()
        yield ""
        yield from self._passing()
        if not site.redirects:
            yield from self._acme()
        for files in site.files:
            yield ""
            yield from _block(f"location ^~ {quoted(files.prefix)}", self._files(files))
        for prefix in site.websocket:
            if prefix != "/":
                yield ""
                yield from _block(f"location ^~ {quoted(prefix)}", self._websocket())
        yield ""
        yield from _block("location /", iter([self._pass()]))

    def _logs(self) -> Lines:
        folder = self.nginx.log_directory
        # nginx would look for a variable in the name, and open the file for each request anew.
        if folder and "$" not in folder:
            yield f"access_log {quoted(f'{folder}/{self.site.name}.access.log')};"
            yield f"error_log {quoted(f'{folder}/{self.site.name}.error.log')};"

    def _tls(self) -> Lines:
        site = self.site
        yield f"ssl_certificate {quoted(site.certificate)};"
        yield f"ssl_certificate_key {quoted(site.key)};"
        yield from _tls_rules(self.variable)
        yield from self._hsts()

    def _hsts(self) -> Lines:
        if self.site.hsts_s:
            yield f'add_header Strict-Transport-Security "max-age={self.site.hsts_s}" always;'

    def _gzip(self) -> Lines:
        if self.nginx.has("http_gzip"):
            yield "gzip on;"
            yield "gzip_vary on;"
            yield "gzip_proxied any;"
            yield "gzip_min_length 1024;"
            yield f"gzip_types {_COMPRESSED};"

    def _passing(self) -> Lines:
        """What counts for all that is passed on."""
        site = self.site
        module = "uwsgi" if site.upstream.protocol == "uwsgi" else "proxy"
        if site.harakiri_s:
            yield f"# Longer than harakiri ({site.harakiri_s} s), which ends a request and says why."
        yield f"{module}_read_timeout {site.read_timeout_s}s;"
        yield f"{module}_connect_timeout 5s;"
        yield f"{module}_buffer_size {size(HEADER_BYTES)};"
        yield f"{module}_buffers 8 {size(HEADER_BYTES)};"
        yield f"{module}_busy_buffers_size {size(2 * HEADER_BYTES)};"
        if site.hsts_s:
            yield f"{module}_hide_header Strict-Transport-Security;"
        yield "# The app sees the client that nginx saw, whatever the client itself claims."
        if module == "uwsgi":
            yield from (f"uwsgi_param {name} {value};" for name, value in self._params())
            return
        yield "proxy_http_version 1.1;"
        yield from (f"proxy_set_header {name} {value};" for name, value in self._headers())

    def _headers(self) -> Iterator[tuple[str, str]]:
        yield "Host", self._host
        yield "X-Real-IP", "$remote_addr"
        yield "X-Forwarded-For", "$remote_addr"
        yield "X-Forwarded-Proto", self._scheme
        yield "X-Forwarded-Host", self._host
        # The port of nginx is not the one that clients of a balancer know.
        yield "X-Forwarded-Port", '""' if self.site.behind else "$server_port"
        yield "Forwarded", '""'
        yield "X-Request-ID", "$request_id"
        if self.site.websocket:
            yield "Upgrade", f"${self.variable}_upgrade"
            yield "Connection", f"${self.variable}_connection"
        else:
            yield "Connection", '""'

    def _params(self) -> Iterator[tuple[str, str]]:
        """All that the protocol wants; written out, because the file uwsgi_params is another one on each system."""
        yield "REQUEST_METHOD", "$request_method"
        yield "REQUEST_URI", "$request_uri"
        yield "PATH_INFO", "$document_uri"
        yield "QUERY_STRING", "$query_string"
        yield "CONTENT_TYPE", "$content_type"
        yield "CONTENT_LENGTH", "$content_length"
        yield "DOCUMENT_ROOT", "$document_root"
        yield "SERVER_PROTOCOL", "$server_protocol"
        yield "REQUEST_SCHEME", self._scheme
        yield "HTTPS", f"${self.variable}_https if_not_empty" if self.site.behind else "$https if_not_empty"
        yield "REMOTE_ADDR", "$remote_addr"
        yield "REMOTE_PORT", "$remote_port"
        yield "SERVER_PORT", "$server_port"
        yield "SERVER_NAME", "$server_name"
        for name, value in self._headers():
            if name not in ("Connection", "Upgrade"):
                yield f"HTTP_{name.upper().replace('-', '_')}", value if value != '""' else '"" if_not_empty'

    def _pass(self) -> str:
        if self.site.upstream.protocol == "uwsgi":
            return f"uwsgi_pass {self.variable};"
        return f"proxy_pass http://{self.variable};"

    def _websocket(self) -> Lines:
        yield f"proxy_read_timeout {WEBSOCKET_TIMEOUT_S}s;"
        yield f"proxy_send_timeout {WEBSOCKET_TIMEOUT_S}s;"
        yield self._pass()

    def _files(self, files: Files) -> Lines:
        if files.kind == "protected":
            yield "# Only the app leads here: X-Accel-Redirect with this path and the name of a file in MEDIA_ROOT."
            yield "internal;"
        yield f"alias {path(files.folder, self._dollar)};"
        if files.kind == "static":
            if self.nginx.has("http_gzip_static"):
                yield "gzip_static on;"
            if files.is_hashed:
                yield f"add_header Cache-Control ${self.variable}_cache;"
                yield from self._hsts()
            return
        yield "# People upload these: nothing in them runs as a script of this site."
        yield "add_header X-Content-Type-Options nosniff always;"
        yield "add_header Content-Security-Policy \"script-src 'none'\" always;"
        yield from self._hsts()

    def _dropping(self) -> Lines:
        site = self.site
        yield from self._listen(site.port, "default_server")
        if site.has_tls:
            yield from self._listen_tls("default_server")
        yield 'server_name "";'
        if site.has_tls:
            if self.nginx.version >= REJECT_HANDSHAKE:
                yield "ssl_reject_handshake on;"
            else:
                yield f"ssl_certificate {quoted(site.certificate)};"
                yield f"ssl_certificate_key {quoted(site.key)};"
            yield from _tls_rules(self.variable)
        yield "return 444;"

    def _status(self) -> Lines:
        yield f"listen 127.0.0.1:{self.site.status_port};"
        yield "server_name localhost;"
        yield "access_log off;"
        yield from _block("location = /nginx_status", iter(["stub_status;"]))
        yield from _block("location /", iter(["return 404;"]))


def _tls_rules(name: str) -> Lines:
    """Which TLS: what Mozilla calls intermediate, which all browsers of the last ten years speak."""
    yield "ssl_protocols TLSv1.2 TLSv1.3;"
    yield "ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;"
    yield "ssl_prefer_server_ciphers off;"
    yield f"ssl_session_cache shared:{name}:10m;"
    yield "ssl_session_timeout 1d;"
    yield "ssl_session_tickets off;"


def _comment(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
