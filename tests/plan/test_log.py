"""What is said about logs, to what is done."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from penstock._engine import catalogue
from penstock.options.log_variables import BUILT_IN, VARIABLES, is_log_variable
from penstock.plan.log import CTIME
from penstock.plan.types import EncoderPlan, LoggerPlan, LogPlan, Plan, RequestLogPlan, from_json_value, to_json_value
from tests.plan.test_resolve import SERVE, plan, refusal


def requests(*argv: str) -> RequestLogPlan:
    return plan(*argv).engine.log


def logger(value: str, option: str = "--logger") -> LoggerPlan:
    made = plan(option, value).log
    (one,) = made.requests.loggers if option == "--req-logger" else made.server.loggers
    return one


def test_nothing_said_is_nothing_done() -> None:
    assert plan().log == LogPlan()
    assert requests() == RequestLogPlan(enabled=True)


def test_the_engine_has_the_same_variables() -> None:
    assert sorted(VARIABLES) == list(VARIABLES)
    assert sorted(catalogue()["log_variables"]) == list(VARIABLES)
    assert is_log_variable("uri") and is_log_variable("var.X") and not is_log_variable("mine")


def test_the_guide_has_every_variable() -> None:
    guide = (Path(__file__).parent.parent.parent / "docs" / "guides" / "logging.md").read_text()
    rows = re.findall(r"^\| `%\((\w+)\)` \| (.*) \|$", guide, re.M)
    assert rows == [(name, meaning) for name, (_, meaning) in VARIABLES.items()]


def test_each_condition_is_a_field() -> None:
    for option, field in (
        ("log-4xx", "client_errors"),
        ("log-5xx", "server_errors"),
        ("log-zero", "empty"),
        ("log-micros", "micros"),
        ("memory-report", "memory"),
        ("log-x-forwarded-for", "forwarded_for"),
    ):
        assert to_json_value(requests(f"--{option}")) == to_json_value(RequestLogPlan(True)) | {field: True}
    for option, field in (("log-sendfile", "sendfile"), ("log-ioerror", "io_errors")):
        for word, expected in (("1", True), ("true", True), ("false", False), ("0", False)):
            assert getattr(requests(f"--{option}={word}"), field) is expected
    assert requests("--log-slow", "250").slow_ms == 250 and requests("--log-slow=true").slow_ms == 0
    assert requests("--log-big", "2k").big_bytes == 2048
    assert not requests("--disable-logging").enabled


def test_dates() -> None:
    for value in ("--log-date", "--log-date=true", "--logdate=1", "--log-prefix=yes"):
        assert requests(value).prefix == f"{CTIME} - " == plan(value).log.prefix
    assert requests("--log-date=%Y").prefix == "%Y - "
    assert requests("--log-date=off").prefix == "" == requests().prefix
    assert requests("--log-date=%Y").strftime == ""
    assert requests("--log-date=%Y", "--log-format-strftime").strftime == "%Y"
    assert requests("--log-date", "--log-format-strftime").strftime == ""


def test_a_date_that_became_a_path_is_said(tmp_path: Path) -> None:
    config = tmp_path / "app.ini"
    config.write_text("[uwsgi]\nhttp = :0\nmodule = app\nlog-date = %Y-%m-%d %H\n")
    notes = "\n".join(plan("--ini", str(config), cwd=tmp_path).notes)
    assert f"%d has become {tmp_path}/" in notes and "write %%d" in notes
    config.write_text("[uwsgi]\nhttp = :0\nmodule = app\nlog-date = %Y-%m-%%d %H\n")
    made = plan("--ini", str(config), cwd=tmp_path)
    assert made.log.prefix == "%Y-%m-%d %H - " and "has become" not in "\n".join(made.notes)


def test_formats() -> None:
    assert requests("--log-format", "%(uri) x").format == "%(uri) x"
    assert not requests("--logformat", "%(uri) x").is_json
    for word, text in BUILT_IN.items():
        made = requests("--log-format", word)
        assert (made.format, made.is_json) == (text, word == "json")
    assert requests("--log-format", ' {"a":"%(uri)"} ').is_json


@pytest.mark.parametrize(
    ("form", "is_fine"),
    [
        ('{"a":"%(uri)","b":%(status)}', True),
        ('{"a":%(uri)}', False),
        ('{"a":"%(uri)"', True),
        ("{uri: %(uri)}", False),
        ("json", True),
    ],
)
def test_a_format_that_is_nearly_json_is_said(form: str, is_fine: bool) -> None:
    assert ("looks like JSON" not in "\n".join(plan("--log-format", form).notes)) == is_fine


def test_what_is_wrong_with_a_format() -> None:
    assert "no metric worker.1" in "\n".join(plan("--log-format", "%(metric.worker.1)").notes)
    assert "log-format-too-long" in codes("--log-format", "x" * 3000)
    assert "log-format-too-long" in codes("--log-format", "%(uri)" * 100)


def codes(*argv: str) -> list[str]:
    return [finding.code for finding in refusal(*SERVE, *argv).findings]


def test_loggers() -> None:
    assert logger("file:a.log") == LoggerPlan("file", "--logger", path="/a.log")
    assert logger("file:/a b.log").path == "/a b.log"
    assert logger("my file:/a.log").id == "my"
    parts = logger("file:logfile=a,maxsize=5,backupname=b")
    assert (parts.path, parts.max_bytes, parts.backup) == ("/a", 5, "/b")
    assert logger("fd:7").fd == 7
    assert logger("stdio").kind == logger("systemd").kind == "stdio"
    assert plan("--logger-req", "stdio").log.requests.loggers[0].kind == "stdio"
    syslog = logger("syslog")
    assert (syslog.path, syslog.ident, syslog.priority) == ("/dev/log", "uwsgi", 30)
    assert (logger("syslog:me,local7").ident, logger("syslog:me,local7").priority) == ("me", 190)
    remote = logger("rsyslog:10.0.0.1:5514,me,134")
    assert (remote.host, remote.port, remote.ident, remote.priority) == ("10.0.0.1", 5514, "me", 134)
    assert (logger("rsyslog:logs").port, logger("rsyslog:logs").ident, logger("rsyslog:logs").priority) == (
        514,
        "web1",
        29,
    )
    assert logger("socket:/run/log.sock,p ").path == "/run/log.sock"
    assert logger("socket:/run/log.sock,p ").prefix == "p "
    assert (logger("socket:[::1]:9").host, logger("socket:[::1]:9").port) == ("::1", 9)


def test_shortcuts() -> None:
    assert plan("--log-syslog=me").log.server.loggers[0].ident == "me"
    assert plan("--log-syslog").log.server.loggers[0].ident == "uwsgi"
    assert logger("1.2.3.4:5", "--log-socket").kind == "socket"
    made = plan("--logto", "1.2.3.4:5")
    assert made.logto is None and made.log.server.loggers[0].port == 5
    assert plan("--logto", "a.log").logto == "/a.log"
    assert plan("--logto2", "b.log").log.late_file == "/b.log"


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("--logger", "nothing"), "no-such-logger"),
        (("--logger", "file"), "bad-logger"),
        (("--logger", "file:logfile=a,maxsize=x"), "bad-logger"),
        (("--logger", "fd:x"), "bad-logger"),
        (("--logger", "syslog:me,nowhere"), "bad-logger"),
        (("--logger", "rsyslog:h:1,me,x"), "bad-logger"),
        (("--logger", "socket:h:x"), "bad-address"),
        (("--logger", "socket::514"), "bad-address"),
        (("--logto", "h:x"), "bad-address"),
        (("--req-logger", "zmq:x"), "logger-unsupported"),
        (("--log-encoder", "compress"), "no-such-encoder"),
        (("--log-req-encoder", "msgpack x"), "no-such-encoder"),
        (("--log-route", "x ."), "no-such-logger"),
        (("--logger", "x stdio", "--log-req-route", "x ."), "no-such-logger"),
        (("--logger", "x stdio", "--log-route", "x ("), "bad-pattern"),
        (("--log-drain", "("), "bad-pattern"),
        (("--log-filter", "["), "bad-pattern"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_what_can_not_be(argv: tuple[str, ...], code: str) -> None:
    assert codes(*argv) == [code]


def test_what_is_done_to_lines() -> None:
    made = plan(
        *("--logger", "x stdio", "--req-logger", "y stdio", "--log-encoder", "prefix:x a b ", "--log-encoder", "nl"),
        *("--log-req-encoder", 'json {"a":"${msg}"}', "--log-route", "x ^a b$", "--log-req-route", "y z"),
        *("--log-drain", "d", "--log-filter", "f", "--log-master", "--log-master-bufsize", "100k", "--log-truncate"),
        *("--log-maxsize", "1m", "--log-backupname", "old", "--logfile-chmod", "600", "--logfile-chown"),
        *("--touch-logreopen", "a", "--touch-logrotate", "b"),
    )
    log = made.log
    assert log.server.encoders == (EncoderPlan("prefix", "a b ", "x"), EncoderPlan("nl"))
    assert log.requests.encoders == (EncoderPlan("json", '{"a":"${msg}"}'),)
    assert (log.server.routes, log.requests.routes) == ((("x", "^a b$"),), (("y", "z"),))
    assert (log.server.drains, log.server.filters) == (("d",), ("f",))
    assert (log.through_master, log.line_bytes, log.truncate) == (True, 102400, True)
    assert (log.max_bytes, log.backup, log.file_mode, log.owned) == (1 << 20, "/old", 0o600, True)
    assert (log.touch_reopen, log.touch_rotate) == (("/a",), ("/b",))
    assert from_json_value(Plan, json.loads(json.dumps(to_json_value(made)))) == made


def test_a_json_encoder_that_makes_no_json_is_said() -> None:
    assert "this is no JSON" in "\n".join(plan("--log-encoder", "json ${msg}x").notes)
    assert "this is no JSON" not in "\n".join(plan("--log-encoder", 'json {"a":"${msg}","b":${unix}}').notes)


@pytest.mark.parametrize("name", ["log-master-stream", "log-master-req-stream", "threaded-logger", "log-reopen"])
def test_what_is_so_anyway(name: str) -> None:
    assert plan(f"--{name}").log == plan().log


def test_lines_of_json_are_not_cut() -> None:
    options = ("--http", ":0", "--log-master", "--log-master-bufsize", "600")
    assert plan(*options).log.line_bytes == 600
    assert plan(*options, "--log-format", "json").log.line_bytes == 4096
    assert plan("--http", ":0", "--log-format", "json").log.line_bytes == 8192
