"""Each piece of advice: a configuration that calls for it, and one that does not."""

from __future__ import annotations

import pytest

from penstock.options.advice import ADVICE, is_reachable, is_unix, meant_variable
from penstock.options.option import Value
from penstock.options.table import BY_NAME
from tests.options.test_rules import FakeSaid

Said = dict[str, list[Value]]

SERVING: Said = {"http": [":8000"], "module": ["a"], "processes": [2]}
UWSGI: Said = {"socket": ["/run/a.sock"], "module": ["a"], "processes": [2]}

FIRES: list[tuple[str, Said]] = [
    ("uwsgi-socket-reachable", {**UWSGI, "socket": ["127.0.0.1:3031", "0.0.0.0:3031"]}),
    ("uwsgi-socket-reachable", {**UWSGI, "socket": ["[::]:3031"]}),
    ("stats-reachable", {**UWSGI, "stats": [":9191"]}),
    ("stats-reachable", {**UWSGI, "stats": ["8.8.8.8:9191"]}),
    ("http-around-proxy", {**UWSGI, "http-socket": [":8000"]}),
    ("http-behind-proxy", {**SERVING, "http": ["127.0.0.1:8000", "/run/a.sock"]}),
    ("http-as-root", {**SERVING, "http": [":80"]}),
    ("uid-is-root", {**SERVING, "uid": ["root"], "gid": ["root"]}),
    ("uid-without-gid", {**SERVING, "uid": ["www-data"]}),
    ("gid-without-uid", {**SERVING, "gid": ["www-data"]}),
    ("socket-for-everybody", {**UWSGI, "chmod-socket": [0o666]}),
    ("stats-for-everybody", {**SERVING, "chmod-socket": [0o666], "stats": ["/run/a.stats"]}),
    ("socket-for-owner", {**UWSGI, "uid": ["deploy"], "gid": ["deploy"]}),
    ("socket-in-tmp", {**UWSGI, "socket": ["/tmp/uwsgi.sock"]}),
    ("harakiri-above-http-timeout", {**SERVING, "harakiri": [60], "http-timeout": [30]}),
    ("harakiri-above-mercy", {**SERVING, "harakiri": [61]}),
    ("harakiri-above-nginx", {**UWSGI, "harakiri": [90], "worker-reload-mercy": [90]}),
    ("max-requests-together", {**SERVING, "max-requests": [5000]}),
    ("memory-limit-unlikely", {**SERVING, "reload-on-rss": [536870912]}),
    ("memory-limit-unlikely", {**SERVING, "evil-reload-on-as": [2]}),
    ("threads-although-off", {**SERVING, "enable-threads": [False], "threads": [2]}),
    ("threads-at-import", {**SERVING, "enable-threads": [True]}),
    ("one-at-a-time", {"http": [":8000"], "module": ["a"]}),
    ("two-logs", {**SERVING, "daemonize": ["/a.log"], "logto": ["/b.log"]}),
    ("touch-of-own-file", {**SERVING, "touch-reload": ["/x", "/a.log"], "logto": ["/a.log"]}),
    ("module-is-a-file", {**SERVING, "module": ["project/wsgi.py"]}),
    ("module-is-a-file", {**SERVING, "module": ["wsgi.py:app"]}),
    ("two-callables", {**SERVING, "module": ["a:app"], "callable": ["application"]}),
    ("no-app-needed", {**SERVING, "need-app": [False]}),
    ("post-buffering-is-a-size", {**SERVING, "post-buffering": [1]}),
    ("term-reloads", {**SERVING, "die-on-term": [False]}),
    ("variable-near-miss", {**SERVING, "env": ["A=1", "DJANGO_SETTING_MODULE=a.settings"]}),
    ("settings-module-is-a-file", {**SERVING, "env": ["DJANGO_SETTINGS_MODULE=a/settings.py"]}),
]

SILENT: list[Said] = [
    SERVING,
    UWSGI,
    {"http": ["0.0.0.0:8080"], "wsgi-file": ["a.py"], "threads": [4]},
    {"socket": ["127.0.0.1:3031", "@app", "./a.sock", "10.0.0.5:3031"], "module": ["a"], "threads": [4]},
    {"socket": ["0.0.0.0:3031"], "protocol": ["http"], "module": ["a"], "threads": [4]},
    {**UWSGI, "stats": ["127.0.0.1:9191"]},
    {**UWSGI, "http": ["127.0.0.1:8000"]},
    {**UWSGI, "stats": ["/run/a.stats"], "chmod-socket": [0o660], "uid": ["deploy"], "gid": ["deploy"]},
    {**UWSGI, "uid": ["deploy"], "gid": ["www-data"]},
    {**UWSGI, "uid": ["deploy"], "gid": ["deploy"], "umask": [0o007]},
    {**SERVING, "http": [":80"], "uid": ["www-data"], "gid": ["www-data"]},
    {**SERVING, "chmod-socket": [0o666]},
    {**UWSGI, "harakiri": [60]},
    {**SERVING, "harakiri": [120], "worker-reload-mercy": [120]},
    {**SERVING, "reload-on-rss": [512], "reload-on-as": [0], "evil-reload-on-rss": [1024]},
    {**SERVING, "max-requests": [5000], "max-requests-delta": [100]},
    {**SERVING, "processes": [1], "max-requests": [5000], "enable-threads": [True]},
    {**SERVING, "enable-threads": [True], "lazy-apps": [True]},
    {**SERVING, "enable-threads": [False]},
    {**SERVING, "daemonize": ["/a.log"], "logto": ["/a.log"], "touch-reload": ["/x"]},
    {**SERVING, "module": ["project.wsgi:app"], "callable": ["app"]},
    {**SERVING, "post-buffering": [8192], "die-on-term": [True], "need-app": [True]},
    {**SERVING, "env": ["DJANGO_SETTINGS_MODULE=a.settings", "SETTINGS=1", "PATH=/bin", "LANG=C"]},
]


def called_for(said: Said) -> set[str]:
    assert said.keys() <= BY_NAME.keys()
    return {rule.id for rule in ADVICE if rule.broken(FakeSaid(said))}


@pytest.mark.parametrize(("rule", "said"), FIRES, ids=[rule for rule, _ in FIRES])
def test_called_for(rule: str, said: Said) -> None:
    assert called_for(said) == {rule}


@pytest.mark.parametrize("said", SILENT)
def test_not_called_for(said: Said) -> None:
    assert called_for(said) == set()


def test_every_piece_is_tested_and_complete() -> None:
    assert {rule for rule, _ in FIRES} == {rule.id for rule in ADVICE}
    for rule in ADVICE:
        assert {rule.about, *rule.also} <= BY_NAME.keys()
        assert rule.why and rule.fix and not rule.why.endswith(".") and not rule.fix.endswith(".")


@pytest.mark.parametrize(
    ("address", "unix", "reachable"),
    [
        ("/run/a.sock", True, False),
        ("a.sock", True, False),
        ("@app", False, False),
        (":80", False, True),
        ("*:80", False, True),
        ("0.0.0.0:80", False, True),
        ("[::]:80", False, True),
        ("[::1]:80", False, False),
        ("127.0.0.2:80", False, False),
        ("localhost:80", False, False),
        ("192.168.1.1:80", False, False),
        ("1.1.1.1:80", False, True),
        ("", True, False),
        ("[fe80::1%eth0]:80", False, False),
    ],
)
def test_addresses(address: str, unix: bool, reachable: bool) -> None:
    assert (is_unix(address), is_reachable(address)) == (unix, reachable)


def test_variables_that_are_nearly_known() -> None:
    assert meant_variable("DJANGO_SETTINGS_MODUL=a") == "DJANGO_SETTINGS_MODULE"
    assert meant_variable("django_settings_module=a") == "DJANGO_SETTINGS_MODULE"
    assert meant_variable("PYTHON_PATH=a") == "PYTHONPATH"
    assert meant_variable("PYTHONPATH=a") is None
    assert meant_variable("PATH=a") is None
