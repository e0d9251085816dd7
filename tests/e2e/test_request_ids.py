"""The id and the trace of a request: taken from who may give them, made else, and seen by everybody alike."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, get, uwsgi_request
from tests.e2e.harness import APPS, ROOT, Nginx, Penstock

MADE = re.compile(r"[0-9a-f]{32}")
PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GIVEN = f"00-{TRACE}-00f067aa0ba902b7-00"
STRANGER = ("--trusted-proxies", "none")
CASES = ROOT / "tests" / "cases" / "trace"


def start(*options: str | Path) -> Penstock:
    return Penstock("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--wsgi-file", APPS / "seen.py", *options)


def seen(address: str, headers: dict[str, str] | None = None, target: str = "/") -> dict[str, str]:
    """The environ of a request with these headers."""
    environ: dict[str, str] = json.loads(get(address, target, headers or {}).body)
    return environ


def cases(name: str) -> list[tuple[str, str]]:
    """(verdict, value) of the corpus."""
    lines = (CASES / name).read_text().splitlines()
    return [(verdict, value) for verdict, _, value in (line.partition("\t") for line in lines if line[0] != "#")]


@pytest.fixture(scope="module")
def named() -> Iterator[Penstock]:
    with start("--request-id", "--trace-context", "--log-format", "LINE %(uri) %(reqid) %(traceid)") as instance:
        yield instance


@pytest.fixture(scope="module")
def suspicious() -> Iterator[Penstock]:
    with start("--request-id", "--trace-context", *STRANGER) as instance:
        yield instance


@pytest.mark.option("request-id")
def test_a_request_without_an_id_gets_one_of_its_own(named: Penstock) -> None:
    ids = {seen(named.http)["HTTP_X_REQUEST_ID"] for _ in range(20)}
    assert len(ids) == 20 and all(MADE.fullmatch(one) for one in ids)
    environ = seen(named.http, target="/one")
    named.wait_log(f"^LINE /one {environ['HTTP_X_REQUEST_ID']} {environ['HTTP_X_REQUEST_ID']}$")


@pytest.mark.option("request-id")
@pytest.mark.parametrize(("verdict", "value"), cases("request-id.tsv"))
def test_an_id_of_a_trusted_proxy_is_taken_if_it_can_be_one(named: Penstock, verdict: str, value: str) -> None:
    sent = value.encode().decode("latin-1")
    taken = [json.loads(uwsgi_request(named.uwsgi, HTTP_X_REQUEST_ID=sent).body)["HTTP_X_REQUEST_ID"]]
    if not set(sent) & set("\x1b\x7f"):  # Over HTTP such a head is refused.
        taken.append(seen(named.http, {"X-Request-ID": sent})["HTTP_X_REQUEST_ID"])
    assert all(one == value if verdict == "valid" else MADE.fullmatch(one) for one in taken)


@pytest.mark.option("request-id")
def test_long_and_repeated_ids_are_replaced(named: Penstock) -> None:
    longest = "a" * 128
    assert seen(named.http, {"X-Request-ID": longest})["HTTP_X_REQUEST_ID"] == longest
    assert MADE.fullmatch(seen(named.http, {"X-Request-ID": longest + "a"})["HTTP_X_REQUEST_ID"])
    with Connection(named.http) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: one\r\nx-request-id: two\r\n\r\n")
        assert MADE.fullmatch(json.loads(client.read().body)["HTTP_X_REQUEST_ID"])


@pytest.mark.option("request-id", "trace-context", "trusted-proxies")
def test_a_stranger_gives_no_names(suspicious: Penstock) -> None:
    environ = seen(suspicious.http, {"X-Request-ID": "mine", "traceparent": GIVEN, "tracestate": "vendor=1"})
    assert MADE.fullmatch(environ["HTTP_X_REQUEST_ID"])
    match = PARENT.fullmatch(environ["HTTP_TRACEPARENT"])
    assert match and match[1] != TRACE and match[1] == environ["HTTP_X_REQUEST_ID"]
    assert environ["HTTP_TRACESTATE"] == ""


@pytest.mark.option("trace-context")
@pytest.mark.parametrize(("verdict", "value"), cases("traceparent.tsv"))
def test_a_trace_of_a_trusted_proxy_goes_on(named: Penstock, verdict: str, value: str) -> None:
    sent = value.strip(" ").encode().decode("latin-1")
    if value != value.strip(" "):
        verdict = TRACE  # Blanks around a header's value are not its own.
    environ = seen(named.http, {"traceparent": sent, "tracestate": "vendor=1"})
    if verdict != "invalid":
        assert environ["HTTP_TRACEPARENT"] == sent and environ["HTTP_TRACESTATE"] == "vendor=1"
    else:
        assert PARENT.fullmatch(environ["HTTP_TRACEPARENT"]) and environ["HTTP_TRACESTATE"] == ""


@pytest.mark.option("request-id")
def test_rules_and_files_have_the_id_too(short_dir: Path) -> None:
    (short_dir / "file.txt").write_text("a file")
    options = ("--route-run", "addheader:X-Request-ID: ${HTTP_X_REQUEST_ID}", "--static-map", f"/static={short_dir}")
    with start("--request-id", "--log-format", "LINE %(uri) %(reqid)", *options) as instance:
        for target in ("/", "/static/file.txt"):
            response = get(instance.http, target)
            told = response.header("X-Request-ID")
            assert response.status == 200 and told is not None and MADE.fullmatch(told)
            instance.wait_log(f"^LINE {re.escape(target)} {told}$")
            assert get(instance.http, target, {"X-Request-ID": "given-1"}).header("X-Request-ID") == "given-1"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), None),
        (("--log-format", "json"), "made"),
        (("--log-format", "LINE %(reqid)"), "made"),
        (("--log-format", "json", "--request-id=false"), None),
        (("--log-format", "combined"), None),
        (("--request-id",), "made"),
    ],
)
@pytest.mark.option("request-id")
def test_where_the_log_shows_ids_each_request_has_one(options: tuple[str, ...], expected: str | None) -> None:
    with start(*options) as instance:
        found = seen(instance.http).get("HTTP_X_REQUEST_ID")
        assert (found is not None and MADE.fullmatch(found) is not None) if expected else found is None
        assert seen(instance.http, {"X-Request-ID": "a b"})["HTTP_X_REQUEST_ID"] == "a b" or expected


@pytest.mark.option("request-id", "log-format")
def test_json_has_the_id_that_the_app_has(short_dir: Path) -> None:
    log = short_dir / "requests.log"
    with start("--log-format", "json", "--req-logger", f"file:{log}", "--trace-context") as instance:
        environ = seen(instance.http, {"User-Agent": '"\\\u0001'.encode().decode("latin-1").replace("\u0001", "")})
        instance.stop()
        (line,) = log.read_text().splitlines()
        told = json.loads(line)
        assert told["request_id"] == told["trace_id"] == environ["HTTP_X_REQUEST_ID"]
        assert told["queue_micros"] >= 0 and told["app_micros"] > 0 and told["status"] == 200


@pytest.mark.option("request-id", "trusted-proxies")
def test_the_id_of_nginx_is_taken_as_the_guide_says(named: Penstock) -> None:
    guide = (ROOT / "docs" / "guides" / "request-ids.md").read_text()
    proxied, passed = re.findall(r"^(?:proxy_set_header|uwsgi_param) .* [$]request_id;", guide, re.M)
    site = (
        "add_header X-Seen $request_id always;"
        f"location /proxied {{ {proxied} proxy_pass http://{named.http}; }}"
        f"location /passed {{ include /etc/nginx/uwsgi_params; {passed} uwsgi_pass {named.uwsgi}; }}"
    )
    with Nginx(site) as nginx:
        for target in ("/proxied", "/passed"):
            response = get(nginx.address, target, {"X-Request-ID": "forged"})
            told = response.header("X-Seen")
            assert told is not None and MADE.fullmatch(told)
            assert json.loads(response.body)["HTTP_X_REQUEST_ID"] == told


@pytest.mark.option("request-id")
def test_an_exception_is_logged_with_the_id_of_its_request() -> None:
    options = ("--http", "127.0.0.1:0", "--wsgi-file", APPS / "logged.py", "--request-id")
    with Penstock(*options) as instance:
        assert get(instance.http, "/raise", {"X-Request-ID": "abc-1"}).status == 500
        instance.wait_log(r"the app raised an exception on GET /raise \(request id abc-1\)$")


@pytest.mark.option("request-id")
def test_two_workers_make_different_ids() -> None:
    with start("--request-id", "--processes", "4", "--log-format", "LINE %(pid) %(reqid)") as instance:
        for _ in range(200):
            get(instance.http, "/", {"Connection": "close"})
        log = instance.stop()
    lines = [line.split() for line in log.splitlines() if line.startswith("LINE ")]
    assert len(lines) == 200 == len({name for _, _, name in lines})
