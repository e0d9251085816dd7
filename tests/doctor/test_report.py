"""A whole configuration, looked at: verdicts, findings in order, the value for programs; and no text that breaks it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.config.argv import parse_argv
from penstock.config.collect import Sources
from penstock.config.files import FileReader
from penstock.doctor import catalogue
from penstock.doctor.report import Report, examine
from penstock.options.table import BY_NAME
from tests.config.support import NAMES, case, surroundings
from tests.config.test_properties import PIECES
from tests.plan.test_survey import here

WORDS = {"supported", "not-needed", "not-supported", "unknown", "placeholder"}


def look(cwd: Path, *argv: str, machine: bool = True, environ: dict[str, str] | None = None, **about: Any) -> Report:
    reader = FileReader(str(cwd), runs_commands=False)
    sources = Sources(parse_argv(list(argv)), environ or {}, surroundings(cwd), reader)
    return examine(sources, here(cwd, **about) if machine else None)


def write(cwd: Path, text: str) -> None:
    (cwd / "app.ini").write_text(text)
    (cwd / "app.ini").chmod(0o640)
    (cwd / "shop.py").write_text("application = print\n")


GOOD = "[uwsgi]\nhttp = :8000\nmodule = shop\nprocesses = 2\ndie-on-term = true\n"


def test_a_plain_good_configuration(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    report = look(tmp_path, "app.ini")
    assert (report.findings, report.exit_status, report.counts) == ((), 0, {"supported": 4})
    assert report.plan is not None and report.plan.processes == 2


def test_whoever_checks_is_not_who_starts(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    as_root = look(tmp_path, "app.ini", euid=0)
    assert [(one.code, one.level) for one in as_root.findings] == [("runs-as-root", "note")]
    write(tmp_path, GOOD + "uid = www-data\ngid = www-data\n")
    as_other = look(tmp_path, "app.ini", euid=1000)
    assert [(one.code, one.level) for one in as_other.findings] == [("not-root", "note")]
    assert as_other.exit_status == 0


def test_verdicts(tmp_path: Path) -> None:
    write(
        tmp_path,
        GOOD + "base = x\nenv = A=%(base)\nmaster = true\nzerg-fallback = true\nproceses = 2\nset-ph = mine=1\n"
        "declare-option = two=threads=$1\ntwo = 2\nreaper\nzerg-fallback = false\n",
    )
    report = look(tmp_path, "app.ini", "--vacuum")
    words = [(verdict.name, verdict.word) for verdict in report.verdicts if verdict.name not in ("http", "module")]
    assert words == [
        ("vacuum", "supported"),
        ("processes", "supported"),
        ("die-on-term", "supported"),
        ("base", "placeholder"),
        ("env", "supported"),
        ("master", "not-needed"),
        ("zerg-fallback", "not-supported"),
        ("proceses", "unknown"),
        ("set-ph", "supported"),
        ("mine", "placeholder"),
        ("declare-option", "supported"),
        ("two", "supported"),
        ("reaper", "not-needed"),
        ("zerg-fallback", "not-needed"),
    ]
    assert {verdict.name for verdict in report.verdicts if verdict.differs} == {"http", "env", "die-on-term"}
    assert all(verdict.reason for verdict in report.verdicts if verdict.word in ("not-needed", "not-supported"))


def test_findings_come_the_worst_first_and_in_the_order_of_lines(tmp_path: Path) -> None:
    write(tmp_path, "[uwsgi]\nwork = 3\nthreads = x\nhttp = :8000\nprocesses = y\nmodule = none\npost-buffering = 1\n")
    report = look(tmp_path, "app.ini")
    found = [(one.level, one.origin.line if one.origin else 0) for one in report.findings]
    assert found == [("error", 3), ("error", 5), ("error", 6), ("warning", 2), ("note", 7), ("note", 0)]
    assert report.exit_status == 2 and report.plan is None


def test_what_could_not_be_read_is_not_missed_as_well(tmp_path: Path) -> None:
    report = look(tmp_path, "none.ini")
    assert [one.code for one in report.findings] == ["no-file"]
    write(tmp_path, "[uwsgi]\nini = none.ini\nprocesses = 2\n")
    assert not {"no-app", "no-listener"} & {one.code for one in look(tmp_path, "app.ini").findings}
    write(tmp_path, "[uwsgi]\nprocesses = 2\n")
    assert {"no-app", "no-listener"} <= {one.code for one in look(tmp_path, "app.ini").findings}


def test_without_this_machine_only_the_text_counts(tmp_path: Path) -> None:
    write(tmp_path, "[uwsgi]\nhttp = :80\nchdir = /none\nhome = /none\nmodule = none.wsgi\nprocesses = 2\n")
    report = look(tmp_path, "app.ini", machine=False)
    assert [one.code for one in report.findings] == ["http-as-root"]
    assert report.plan is None and report.exit_status == 1


def test_the_value_for_programs(tmp_path: Path) -> None:
    write(tmp_path, "[uwsgi]\nhttp = :8000\nmodule = shop\nvacuum\nstats = :9191\nprocesses = 2\n")
    value = look(tmp_path, "--threads", "many", "app.ini", "--htpp", environ={"UWSGI_HARAKIRY": "3"}).as_json_value()
    assert json.loads(json.dumps(value)) == value
    assert value["options"][:2] == [
        {"name": "threads", "value": "many", "file": None, "line": None, "verdict": "supported"},
        {"name": "http", "value": ":8000", "file": "app.ini", "line": 2, "verdict": "supported"},
    ]
    by_id = {finding["id"]: finding for finding in value["findings"]}
    assert by_id["stats-reachable"] | {"message": "", "fix": ""} == {
        "id": "stats-reachable",
        "severity": "warning",
        "file": "app.ini",
        "line": 5,
        "option": "stats",
        "message": "",
        "fix": "",
    }
    assert by_id["not-a-number"]["option"] == "threads" and "--threads: " in by_id["not-a-number"]["message"]
    assert by_id["unknown-flag"]["option"] == "htpp"
    assert by_id["environment-near-miss"]["option"] == "harakiry"
    assert by_id["term-stops"]["option"] == "die-on-term"


def test_a_variable_that_counts_for_nothing(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    (found,) = look(tmp_path, "app.ini", environ={"UWSGI_PROCESSES": "8", "UWSGI_THREADS": "4"}).findings
    assert (found.code, found.level, str(found.origin)) == (
        "variable-overridden",
        "note",
        "environment variable UWSGI_PROCESSES",
    )
    assert "app.ini:4" in found.message and "$(UWSGI_PROCESSES)" in found.cure
    assert look(tmp_path, "app.ini", environ={"UWSGI_PROCESSES": "2"}).findings == ()


def test_a_long_file_is_looked_at_in_time(tmp_path: Path) -> None:
    write(tmp_path, GOOD + "".join(f"zz{number} = x\n" for number in range(3000)))
    assert len(look(tmp_path, "app.ini").of("warning")) == 3000


def test_several_options_on_one_line_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "app.json").write_text('{"uwsgi": {"http": ":8000", "need-app": false, "stats": ":1", "threads": "x"}}')
    report = look(tmp_path, "app.json")
    about = {finding.code: report.option_of(finding) for finding in report.findings}
    assert about["stats-reachable"] == "stats" and about["not-a-number"] == "threads"


@pytest.mark.parametrize("name", NAMES)
def test_every_case_of_the_corpus(name: str, tmp_path: Path) -> None:
    this = case(name, tmp_path)
    report = look(tmp_path, *this.argv, environ=this.environ)
    value = report.as_json_value()
    assert json.loads(json.dumps(value)) == value
    assert {finding["severity"] for finding in value["findings"]} <= {"error", "warning", "note"}
    assert {option["verdict"] for option in value["options"]} <= WORDS
    assert all(catalogue.find(finding["id"]) for finding in value["findings"])
    if this.expected.get("errors"):
        assert report.exit_status == 2


LINES = st.one_of(
    st.tuples(st.sampled_from(sorted(BY_NAME)), st.text(max_size=20)).map(" = ".join),
    st.sampled_from(
        [
            "module = /etc/passwd",
            "module = a..b",
            "module = :",
            "module = os.path:join",
            "wsgi-file = /dev/zero",
            "wsgi-file = /",
            "chdir = /tmp",
            "home = /usr",
            "socket = /dev/null",
            "socket = :99999",
            "http = [::",
            "stats = /proc/self/x/y",
            "uid = 99999999999999999999",
            "gid = www-data",
            "pidfile = /dev/full/x",
            "logto = /",
            "static-map = /=/",
            "static-map = =",
            "env = DJANGO_SETTINGS_MODULE=a..b",
            "env = SECRET=1",
            "pythonpath = /tmp/*",
            "pythonpath = \ud800",
            "trusted-proxies = all",
            "daemonize",
        ]
    ),
)


@given(st.lists(LINES, max_size=8), st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_options_can_be_looked_at(lines: list[str], machine: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        text = "\n".join(["[uwsgi]", *lines])
        (Path(name) / "app.ini").write_bytes(text.encode("utf-8", "surrogatepass"))
        report = look(Path(name), "app.ini", machine=machine, is_under_systemd=True, euid=0)
        json.dumps(report.as_json_value())
        assert all(catalogue.find(finding.code) for finding in report.findings)


@given(st.sampled_from(sorted(PIECES)), st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_can_be_looked_at(kind: str, data: st.DataObject) -> None:
    pieces = st.one_of(st.sampled_from(PIECES[kind]), st.text(max_size=5), st.just("http = :0\n"))
    text = "".join(data.draw(st.lists(pieces, max_size=30)))
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / f"app.{kind}").write_bytes(text.encode("utf-8", "surrogatepass"))
        json.dumps(look(Path(name), f"app.{kind}").as_json_value())
