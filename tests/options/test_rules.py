"""Each rule over several options: what breaks it, and what does not."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from penstock.options.option import Value
from penstock.options.rules import RULES
from penstock.options.table import BY_NAME


@dataclass
class FakeSaid:
    """What was said, as plain values."""

    said: dict[str, list[Value]] = field(default_factory=dict)

    def given(self, name: str) -> bool:
        return name in self.said

    def value(self, name: str) -> Value | None:
        return self.said[name][-1] if name in self.said else BY_NAME[name].default

    def values(self, name: str) -> tuple[Value, ...]:
        return tuple(self.said.get(name, ()))


SERVING: dict[str, list[Value]] = {"http": [":8000"], "module": ["a"]}


def broken(**said: list[Value]) -> set[str]:
    everything = {name.replace("_", "-"): values for name, values in said.items()}
    return {rule.id for rule in RULES if rule.broken(FakeSaid(everything))}


def test_rules_are_complete_rows() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.about in BY_NAME
        assert rule.why and rule.fix


def test_the_least_that_serves_breaks_none() -> None:
    assert broken(**SERVING) == set()
    assert broken(http_socket=[":1"], wsgi_file=["a.py"]) == set()
    assert broken(socket=["a.sock"], need_app=[False]) == set()
    assert broken(socket=["a.sock"], mount=["/a=a"], manage_script_name=[True]) == set()
    assert broken(module=["a"], no_server=[True]) == set()
    assert broken(socket=["a.sock"], worker_mount=["/a=a"]) == set()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("no-listener", {"http": []}),
        ("no-app", {"module": None}),
        ("two-apps", {"wsgi_file": ["a.py"]}),
        ("nothing-mounted", {"manage_script_name": [True]}),
        ("http-to-elsewhere", {"http_to": ["/other.sock"]}),
        ("http-to-elsewhere", {"http_to": ["/a.sock", "/b.sock"], "socket": ["/a.sock"]}),
        ("chmod-without-unix-socket", {"chmod_socket": [0o660]}),
        ("chown-without-unix-socket", {"chown_socket": ["me"]}),
        ("lifetime-too-short", {"max_worker_lifetime": [10]}),
        ("header-limit-without-effect", {"header_limit": [100000]}),
        ("daemonize-is-no-file", {"daemonize": ["True"]}),
        ("plugin-not-there", {"plugins": ["python3,php"]}),
        ("plugin-needed", {"need_plugin": ["python3", "php"]}),
    ],
)
def test_broken(rule: str, said: dict[str, list[Value] | None]) -> None:
    everything = {**SERVING, **said}
    assert broken(**{name: values for name, values in everything.items() if values is not None}) == {rule}


def test_every_rule_is_tested() -> None:
    cases = test_broken.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {case[0] for case in cases} == {rule.id for rule in RULES}


@pytest.mark.parametrize(
    "said",
    [
        {"http_to": ["/a.sock"], "socket": ["/a.sock"]},
        {"chmod_socket": [0o660], "socket": ["/a.sock"]},
        {"header_limit": [100000], "buffer_size": [200000]},
        {"header_limit": [8192]},
        {"daemonize": ["/var/log/a.log"]},
        {"plugins": ["python3", "http,python311", "/usr/lib/uwsgi/python3_plugin.so", ""]},
    ],
)
def test_not_broken(said: dict[str, list[Value]]) -> None:
    assert broken(**{**SERVING, **said}) == set()
