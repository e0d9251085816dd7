"""What is made of samples: medians, verdicts, tables, JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from benchmarks import report
from benchmarks.cases import CASES, HEADLINES, OWN, Against, First, Limit, Target
from benchmarks.report import Row, judge
from benchmarks.servers import SERVERS

FACTS = {
    "date": "2030-01-02",
    "rounds": 3,
    "seconds": 2.0,
    "machine": {"cpu": "a CPU", "cores": 2, "kernel": "6.1", "memory_mib": 1, "load_before": 0.1},
    "versions": {"python": "3.11.1", "nginx": "1.2", "wrk": "4", "commit": "abc", "penstock": "0.1.0", "bjoern": "3"},
}


def row(server: str, metric: str, *values: float | None, **more: float) -> Row:
    return Row(server, [None if value is None else {metric: value, **more} for value in values])


def rows(metric: str, **values: tuple[float, ...]) -> Mapping[str, Row]:
    return {server: row(server, metric, *each) for server, each in values.items()}


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Against("cpu_us", "floor", at_most=1.5), True),
        (Against("cpu_us", "floor", at_most=1.49), False),
        (Against("cpu_us", "bjoern", at_least=0.75), True),
        (Against("cpu_us", "bjoern", at_least=0.76), False),
        (Limit("cpu_us", at_most=6), True),
        (Limit("cpu_us", at_most=5.9), False),
        (Limit("cpu_us", at_least=6), True),
        (Limit("cpu_us", at_least=6.1), False),
    ],
)
def test_a_bound_is_kept_or_not(target: Target, met: bool) -> None:
    assert judge(target, rows("cpu_us", penstock=(6, 6, 6), floor=(4, 4, 4), bjoern=(8, 8, 8))).met is met


def test_first_compares_with_the_best_peer_and_neither_floor_nor_nginx() -> None:
    verdict = judge(First("cpu_us"), rows("cpu_us", penstock=(6,), floor=(4,), nginx=(5,), bjoern=(7,), granian=(9,)))
    assert verdict.met is True
    assert "x bjoern's" in verdict.reached


def test_first_in_rate_is_the_other_way_round() -> None:
    assert judge(First("rate"), rows("rate", penstock=(90,), bjoern=(100,))).met is False
    assert judge(First("rate"), rows("rate", penstock=(100,), bjoern=(90,))).met is True


def test_first_allows_for_the_spread_and_no_more() -> None:
    noisy = {"penstock": row(OWN, "cpu_us", 90, 104, 120), "bjoern": row("bjoern", "cpu_us", 100, 100, 100)}
    assert judge(First("cpu_us"), noisy).met is True
    steady = {"penstock": row(OWN, "cpu_us", 104, 104, 104), "bjoern": row("bjoern", "cpu_us", 100, 100, 100)}
    assert judge(First("cpu_us"), steady).met is False


def test_a_peer_that_does_not_stream_is_not_compared() -> None:
    found = {
        OWN: row(OWN, "cpu_us", 50, streams=1),
        "fastwsgi": row("fastwsgi", "cpu_us", 18, streams=0),
        "granian": row("granian", "cpu_us", 71, streams=1),
    }
    assert judge(First("cpu_us"), found).met is True
    assert "keeps pieces back" in report.case_table(CASES["pieces-64k"], found, {})


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert judge(Against("cpu_us", "floor", at_most=1.5), rows("cpu_us", penstock=(6,))).met is None
    assert judge(First("cpu_us"), rows("cpu_us", penstock=(6,))).met is None
    assert judge(Limit("cpu_us", at_most=5), rows("rate", penstock=(6,))).met is None
    failed = {"penstock": row(OWN, "cpu_us", None), "floor": row("floor", "cpu_us", 4)}
    assert judge(Against("cpu_us", "floor", at_most=1.5), failed).met is None


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [
        ("cpu_us", 5.84, "5.8 us"),
        ("cpu_us", 2341.0, "2.34 ms"),
        ("p99_ms", 1.234, "1.23 ms"),
        ("p99_ms", 1234.5, "1234 ms"),
        ("rate", 161234.4, "161,234/s"),
        ("idle_mib", 57.04, "57.0 MiB"),
        ("startup_s", 1.0949, "1.09 s"),
        ("waited", 3.0, "3"),
        ("open", 5000.0, "5,000"),
    ],
)
def test_amounts_have_their_unit(metric: str, value: float, expected: str) -> None:
    assert report.amount(metric, value) == expected


def test_a_table_names_failures_and_who_can_not_do_it() -> None:
    found = {
        OWN: row(OWN, "cpu_us", 6, 6),
        "bjoern": Row("bjoern", cannot="loses pipelined requests"),
        "granian": Row("granian", [None, {"cpu_us": 9.0}], problems=["long story\nstatus 500 b'no'"]),
    }
    text = report.case_table(CASES["pipelined"], found, {"granian": "2.8"})
    assert "| granian 2.8 | 9.0 us |" in text
    assert "- bjoern loses pipelined requests." in text
    assert "- granian: 1 of its rounds had problems, the first: status 500 b'no'" in text
    assert "| bjoern" not in text


def test_the_best_comes_first() -> None:
    text = report.case_table(CASES["hello"], rows("cpu_us", penstock=(6,), floor=(4,), granian=(11,)), {})
    assert text.index("| floor |") < text.index("| penstock |") < text.index("| granian |")


def test_the_document_has_each_target_and_each_case() -> None:
    found = {"hello": rows("cpu_us", penstock=(6,), floor=(4,), fastwsgi=(7,))}
    text = report.document(found, CASES, FACTS)
    assert "| hello | CPU for each request: at most 1.45 x floor's (5.8 us where the floor takes 4.0) | 1.50 x" in text
    assert "### hello: hello world (13 bytes)" in text
    assert "2030-01-02" in text and "Commit abc" in text


def test_the_readme_gets_a_line_for_each_headline_between_its_marks() -> None:
    found = {
        "hello": rows("cpu_us", penstock=(6,), bjoern=(8,), fastwsgi=(7,)),
        "startup": rows("startup_s", penstock=(1,)),
    }
    text = report.headlines(found, CASES, FACTS, "benchmarks/results/2030-01-02.md")
    assert "| 6.0 us | fastwsgi 7.0 us, bjoern 8.0 us |" in text
    assert "startup" not in text
    assert report.between_marks(f"a\n{report.BEGIN}\nold\n{report.END}\nz\n", "new") == (
        f"a\n{report.BEGIN}\nnew\n{report.END}\nz\n"
    )


def test_a_readme_without_marks_is_left_alone() -> None:
    with pytest.raises(ValueError, match="README"):
        report.between_marks("nothing here", "new")


def test_the_json_has_every_round_as_it_was() -> None:
    found = {"hello": {OWN: row(OWN, "cpu_us", 6.0, None, 8.0), "floor": row("floor", "cpu_us", 4.0, 4.0, 4.0)}}
    whole = json.loads(json.dumps(report.as_json(found, CASES, FACTS)))
    assert whole["versions"] == FACTS["versions"]
    own = whole["cases"]["hello"]["servers"][OWN]
    assert own["rounds"] == [{"cpu_us": 6.0}, None, {"cpu_us": 8.0}]
    assert own["median"] == {"cpu_us": 7.0}
    assert whole["cases"]["hello"]["targets"][0]["met"] is False


def test_the_cases_name_servers_that_exist_and_metrics_that_are_shown() -> None:
    for case in CASES.values():
        names = [entry.name for entry in case.entries]
        assert len(set(names)) == len(names), case.name
        assert {entry.server for entry in case.entries} | set(case.cannot) <= set(SERVERS)
        for target in case.targets:
            assert target.metric in report.columns(case), (case.name, target)
            assert isinstance(target, Limit) or not target.peer or target.peer in names, (case.name, target)
    assert set(HEADLINES) <= set(CASES)
