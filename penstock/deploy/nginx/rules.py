"""What makes a configuration of nginx unsafe or broken, as rules over what was read. Pure.

The generator's files are held against all of them by its tests, and `penstock doctor` holds a person's own against
them. A rule is a function from a scope to findings; its row says what it means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from penstock.config.findings import Finding, Level
from penstock.deploy.nginx.reading import Configuration, Directive
from penstock.deploy.nginx.servers import Location, Scope, Server, http, user
from penstock.plan.findings import Row

ROWS: tuple[Row, ...] = (
    Row(
        "nginx-alias-traversal",
        "error",
        "",
        "a location without a slash at its end has an alias with one, so that /static../ leads out of the folder",
        "end both with a slash",
    ),
    Row(
        "nginx-alias-slash",
        "warning",
        "",
        "a location ends with a slash and its alias does not, so that no file is found",
        "end both with a slash",
    ),
    Row(
        "nginx-allow-without-deny",
        "warning",
        "",
        "allow stands without deny, which changes nothing",
        "add deny all; behind it",
    ),
    Row("nginx-autoindex", "warning", "", "the names of all files in a folder are shown", "remove autoindex on;"),
    Row(
        "nginx-client-chooses",
        "error",
        "",
        "where a request is passed on to is what the client says",
        "name the address, or let a map choose among those that are meant",
    ),
    Row(
        "nginx-code-served",
        "error",
        "",
        "a folder is served that has the project's code and settings in it",
        "serve a folder that has nothing else in it than the files that are meant",
    ),
    Row(
        "nginx-decoded-redirect",
        "error",
        "",
        "the decoded path of a request stands in a header or in a request that is passed on: %0a in it begins a line",
        "write $request_uri in place of $uri",
    ),
    Row(
        "nginx-headers-lost",
        "warning",
        "",
        "an add_header takes away all those of the block around it, some of which protect visitors",
        "repeat them beside it",
    ),
    Row(
        "nginx-host-missing",
        "error",
        "",
        "the app does not learn which name was asked for: it sees that of the upstream",
        "write proxy_set_header Host $host;",
    ),
    Row(
        "nginx-host-raw",
        "note",
        "",
        "the app sees the Host header as the client sends it, which need not be the name that nginx chose the site by",
        "write $host in place of $http_host",
    ),
    Row(
        "nginx-if",
        "warning",
        "",
        "an if in a location does more than return, rewrite and set, which does not do what it seems to",
        "write a location or a map for it",
    ),
    Row(
        "nginx-merge-slashes",
        "warning",
        "",
        "//admin is another path than /admin here, so that what protects the one does not protect the other",
        "remove merge_slashes off;",
    ),
    Row(
        "nginx-params-missing",
        "error",
        "uwsgi-socket",
        "uwsgi_pass stands without the parameters that tell the app what was asked for",
        "write include uwsgi_params;",
    ),
    Row(
        "nginx-proxy-traversal",
        "error",
        "",
        "a location without a slash at its end passes on to a path with one, so that /api../ leads out of it",
        "end both with a slash",
    ),
    Row(
        "nginx-root-user",
        "error",
        "",
        "nginx's workers run as root",
        "write user www-data; (or nginx) at the top of the main file",
    ),
    Row(
        "nginx-scheme-missing",
        "warning",
        "",
        "the app does not learn whether the client came over HTTPS",
        "write proxy_set_header X-Forwarded-Proto $scheme;",
    ),
    Row(
        "nginx-status-public",
        "warning",
        "",
        "the status page can be read by everybody",
        "listen on 127.0.0.1, or write allow 127.0.0.1; deny all;",
    ),
    Row(
        "nginx-tls-missing",
        "warning",
        "",
        "port 443 is listened on without TLS",
        "write ssl behind the port",
    ),
    Row(
        "nginx-tls-old",
        "warning",
        "",
        "TLS is offered in versions that are not safe",
        "write ssl_protocols TLSv1.2 TLSv1.3;",
    ),
    Row(
        "nginx-underscores",
        "warning",
        "",
        "headers with an underscore are let through, and the app can not tell X_Forwarded_For from X-Forwarded-For",
        "remove underscores_in_headers on;",
    ),
)
"""Every code, with its usual level."""
_BY_CODE = {row.code: row for row in ROWS}
_REDIRECTS = re.compile(r"30[12378]|https?://.*|\$scheme.*")
_DECODED = re.compile(r"\$\{?(uri|document_uri)\b")
_CLIENTS_CHOICE = re.compile(r"\$\{?(arg_|http_|cookie_|args\b|query_string\b|[1-9])")
_GROUP_BEHIND_A_WORD = re.compile(r"[^/^(|]\(\.[*+]")
_PROTECTIVE = frozenset(
    {"strict-transport-security", "content-security-policy", "x-frame-options", "x-content-type-options"}
)
_OLD_TLS = frozenset({"SSLv2", "SSLv3", "TLSv1", "TLSv1.1"})
_LOOPBACK = ("127.", "[::1]", "localhost", "unix:")
_SECRET_FOLDERS = frozenset({"/", "/etc", "/home", "/root", "/srv", "/var", "/usr", "/opt", "/tmp"})
"""Nobody means all that is in them."""

Rule = Callable[[Scope, "_Around"], Iterator[Finding]]


class _Around:
    """What rules ask for beside the block: folders that must not be served."""

    def __init__(self, private: Sequence[str]) -> None:
        self.private = tuple(folder.rstrip("/") for folder in private if folder)


def judge(configuration: Configuration, private: Sequence[str] = ()) -> tuple[Finding, ...]:
    """Hold a configuration against every rule; `private` are folders that nobody may see, like a project's own.

    Each place is named once, in the order of the files.
    """
    around = _Around(private)
    found = list(_of_main(configuration))
    whole = http(configuration)
    if whole is not None:
        for scope in whole.walk():
            for rule in _RULES:
                found += rule(scope, around)
    return tuple(dict.fromkeys(found))


def _finding(code: str, what: str, directive: Directive, cure: str = "", level: Level | None = None) -> Finding:
    row = _BY_CODE[code]
    return Finding(level or row.level, code, f"{what}: {row.meaning}", directive.origin, cure or row.fix)


def _of_main(configuration: Configuration) -> Iterator[Finding]:
    said = configuration.main.first("user")
    if said is not None and user(configuration) == "root":
        yield _finding("nginx-root-user", str(said), said)


def _alias(scope: Scope, around: _Around) -> Iterator[Finding]:
    if scope.here.name != "location":
        return
    location = Location(scope)
    for alias in scope.here.every("alias"):
        what = f"location {location.pattern} with alias {alias.text}"
        if location.kind in ("prefix", "prefix first") and location.pattern != "/":
            ends = location.pattern.endswith("/"), alias.text.endswith("/")
            if ends == (False, True):
                cure = f"write location {location.pattern}/"
                yield _finding("nginx-alias-traversal", what, scope.here, cure)
            elif ends == (True, False):
                yield _finding("nginx-alias-slash", what, alias, f"write alias {alias.text}/;")
        elif location.kind == "regex" and _GROUP_BEHIND_A_WORD.search(location.pattern) and "$" in alias.text:
            yield _finding("nginx-alias-traversal", what, scope.here, "write a slash before the group")


def _proxy_path(scope: Scope, around: _Around) -> Iterator[Finding]:
    if scope.here.name != "location":
        return
    location = Location(scope)
    for directive in scope.here.every("proxy_pass"):
        target = directive.text.partition("://")[2]
        path = target.rpartition(":")[2] if target.startswith("unix:") else target[target.find("/") :]
        is_prefix = location.kind in ("prefix", "prefix first") and not location.pattern.endswith("/")
        if is_prefix and path.startswith("/") and path.endswith("/"):
            what = f"location {location.pattern} with proxy_pass {directive.text}"
            yield _finding("nginx-proxy-traversal", what, scope.here, f"write location {location.pattern}/")


def _client_chooses(scope: Scope, around: _Around) -> Iterator[Finding]:
    for directive in scope.here.every("proxy_pass", "uwsgi_pass"):
        rest = directive.text.rpartition("://")[2]
        if _CLIENTS_CHOICE.search(rest.partition("/")[0]) or _CLIENTS_CHOICE.match(directive.text):
            yield _finding("nginx-client-chooses", str(directive), directive)


def _decoded(scope: Scope, around: _Around) -> Iterator[Finding]:
    for directive in scope.here.every("return", "rewrite", "add_header", "proxy_pass", "proxy_set_header"):
        words = directive.args
        if directive.name == "return" and not (words and _REDIRECTS.fullmatch(words[0])):
            continue
        if directive.name == "rewrite" and not _is_redirect(words):
            continue
        if any(_DECODED.search(word) for word in words[1:] or words):
            yield _finding("nginx-decoded-redirect", str(directive), directive)


def _is_redirect(words: Sequence[str]) -> bool:
    leads_away = len(words) > 1 and words[1].startswith(("http://", "https://", "$scheme"))
    return leads_away or bool({"redirect", "permanent"} & set(words[2:]))


def _host(scope: Scope, around: _Around) -> Iterator[Finding]:
    for directive in scope.here.every("proxy_pass"):
        said = {each.text.lower(): each for each in scope.values("proxy_set_header")}
        host = said.get("host")
        if host is None or host.args[1:] == ("$proxy_host",):
            yield _finding("nginx-host-missing", str(directive), directive)
        elif len(host.args) > 1 and host.args[1] == "$http_host":
            yield _finding("nginx-host-raw", str(host), host)
        if "x-forwarded-proto" not in said and "forwarded" not in said:
            yield _finding("nginx-scheme-missing", str(directive), directive)


def _params(scope: Scope, around: _Around) -> Iterator[Finding]:
    for directive in scope.here.every("uwsgi_pass"):
        said = {each.text for each in scope.values("uwsgi_param")}
        missing = sorted({"REQUEST_METHOD", "PATH_INFO", "QUERY_STRING"} - said)
        if missing:
            yield _finding("nginx-params-missing", f"{directive} without {', '.join(missing)}", directive)


def _headers_lost(scope: Scope, around: _Around) -> Iterator[Finding]:
    own = list(scope.here.every("add_header"))
    if not own or len(scope.chain) < 2:
        return
    outer = {each.text.lower(): each for each in Scope(scope.chain[:-1]).values("add_header")}
    lost = sorted(_PROTECTIVE & set(outer) - {each.text.lower() for each in own})
    if lost:
        names = ", ".join(outer[name].text for name in lost)
        yield _finding("nginx-headers-lost", f"{own[0]}, without {names}", own[0])


def _served(scope: Scope, around: _Around) -> Iterator[Finding]:
    for directive in scope.here.every("root", "alias"):
        folder = directive.text.rstrip("/") or "/"
        above = [each for each in around.private if (each + "/").startswith(folder.rstrip("/") + "/")]
        if above or folder in _SECRET_FOLDERS:
            what = f"{directive}, with {above[0]} in it" if above and above[0] != folder else str(directive)
            yield _finding("nginx-code-served", what, directive)


def _switches(scope: Scope, around: _Around) -> Iterator[Finding]:
    for name, value, code in (
        ("merge_slashes", "off", "nginx-merge-slashes"),
        ("underscores_in_headers", "on", "nginx-underscores"),
        ("autoindex", "on", "nginx-autoindex"),
    ):
        for directive in scope.here.every(name):
            if directive.text == value:
                yield _finding(code, str(directive), directive)


def _allow(scope: Scope, around: _Around) -> Iterator[Finding]:
    allowed = scope.here.first("allow")
    if allowed is not None and allowed.text != "all" and scope.here.first("deny") is None:
        yield _finding("nginx-allow-without-deny", str(allowed), allowed)


def _status(scope: Scope, around: _Around) -> Iterator[Finding]:
    status = scope.here.first("stub_status")
    if status is None:
        return
    at = next((index for index, each in enumerate(scope.chain) if each.name == "server"), None)
    if at is None:
        return
    listens = Server(Scope(scope.chain[: at + 1])).listens
    is_kept = any(each.text == "all" for each in scope.values("deny")) or scope.value("auth_basic") is not None
    if not is_kept and not all(each.host.startswith(_LOOPBACK) for each in listens):
        yield _finding("nginx-status-public", str(status), status)


def _tls(scope: Scope, around: _Around) -> Iterator[Finding]:
    if scope.here.name != "server":
        return
    server = Server(scope)
    for each in server.listens:
        if each.port == 443 and not each.is_tls and each.directive is not None and scope.text("ssl") != "on":
            yield _finding("nginx-tls-missing", str(each.directive), each.directive)
    protocols = scope.value("ssl_protocols")
    if server.is_tls and protocols is not None and _OLD_TLS & set(protocols.args):
        yield _finding("nginx-tls-old", str(protocols), protocols)


def _if(scope: Scope, around: _Around) -> Iterator[Finding]:
    if scope.here.name != "if" or not any(each.name == "location" for each in scope.chain):
        return
    odd = [each for each in scope.here.block or () if each.name not in ("return", "rewrite", "set", "break")]
    if odd:
        yield _finding("nginx-if", str(odd[0]), odd[0])


_RULES: tuple[Rule, ...] = (
    _alias,
    _proxy_path,
    _client_chooses,
    _decoded,
    _host,
    _params,
    _headers_lost,
    _served,
    _switches,
    _allow,
    _status,
    _tls,
    _if,
)
