"""What new code has to pass: URLs of `warmup` and `health-check`, statuses and time limits."""

from __future__ import annotations

import pytest

from penstock.options.gates import is_status_list
from penstock.plan.process_types import GatesPlan, ProbePlan
from penstock.plan.types import Plan, from_json_value, to_json_value
from tests.plan.test_resolve import SERVE, plan, refusal


def test_nothing_has_to_be_answered_unless_it_is_asked_for() -> None:
    gates = plan().gates
    assert gates.warmups == gates.checks == () and gates.longest_s(4) == 0.0
    assert gates.reload_timeout_s == 600.0


@pytest.mark.parametrize(
    ("said", "uri", "host", "scheme"),
    [
        ("/", "/", "", ""),
        ("/shop/?page=2&q=a+b", "/shop/?page=2&q=a+b", "", ""),
        (" /status ", "/status", "", ""),
        ("//double", "//double", "", ""),
        ("/caf\u00e9/%C3%A9", "/caf%C3%A9/%C3%A9", "", ""),
        ("/a#part", "/a", "", ""),
        ("example.org/status", "/status", "example.org", ""),
        ("example.org:8443/", "/", "example.org:8443", ""),
        ("[::1]:80/x", "/x", "[::1]:80", ""),
        ("http://example.org/status", "/status", "example.org", "http"),
        ("HTTPS://example.org", "/", "example.org", "https"),
    ],
)
def test_a_url_is_a_path_with_or_without_its_host(said: str, uri: str, host: str, scheme: str) -> None:
    (probe,) = plan("--warmup", said).gates.warmups
    assert (probe.uri, probe.host, probe.scheme) == (uri, host, scheme)


@pytest.mark.parametrize(
    "said",
    ["status", "example.org", "ftp://example.org/", "http:///x", "http://", "user@example.org/", "/a b",
     "/a\tb", "http://[::1/x", "h:port/x", "b\u00fccher.example/", "http://a b/"],
)  # fmt: skip
@pytest.mark.parametrize("option", ["warmup", "health-check"])
def test_what_is_no_url_is_refused(option: str, said: str) -> None:
    finding = str(refusal(*SERVE, f"--{option}", said))
    assert f"{option} = " in finding and "write a path as in /status/" in finding


def test_statuses_and_limits() -> None:
    gates = plan(
        *("--health-check", "/a", "--health-check", "b.example/c", "--health-check-status", "200, 204,300-399"),
        *("--health-check-timeout", "3", "--health-check-retries", "1", "--warmup", "/w", "--warmup-timeout", "7"),
        *("--reload-timeout", "90"),
    ).gates
    assert gates.statuses == ((200, 200), (204, 204), (300, 399))
    assert [probe.name for probe in gates.checks] == ["/a", "http://b.example/c"]
    assert gates.longest_s(1) == 7 + 2 * 2 * (3 + 1)
    # Each thread warms up for itself, one after the other; the check is asked for once.
    assert gates.longest_s(4) == 4 * 7 + 2 * 2 * (3 + 1)
    assert gates.reload_timeout_s == 90.0


@pytest.mark.parametrize(
    "said", ["ok", "2xx", "99", "200-", "-200", "600", "300-200", "200,,204", "\u0662\u0660\u0660"]
)
def test_what_are_no_statuses_is_refused(said: str) -> None:
    assert is_status_list(said) is not None


def test_gates_go_into_json_and_come_back() -> None:
    made = plan("--warmup", "/w", "--health-check", "h.example/c", "--health-check-status", "200,300-302")
    assert from_json_value(Plan, to_json_value(made)).gates == made.gates
    assert GatesPlan(warmups=(ProbePlan("/"),)) != GatesPlan()


def test_an_option_about_a_check_that_is_not_made_is_mentioned() -> None:
    notes = plan("--health-check-status", "204", "--warmup-timeout", "3").notes
    assert any("health-check-status changes nothing without health-check" in note for note in notes)
    assert any("warmup-timeout changes nothing without warmup" in note for note in notes)
