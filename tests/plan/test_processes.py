"""Processes of the plan: replacement, numbers, and what must not be said together."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.options.processes import is_nice
from penstock.plan.process_types import AskingPlan, GroupsPlan, LimitsPlan, RecyclingPlan, ScalingPlan, WatchPlan
from tests.plan.test_resolve import SERVE, plan, refusal

MB = 1 << 20


def test_nothing_is_replaced_unless_it_is_asked_for() -> None:
    assert plan().recycling == RecyclingPlan()
    assert not plan().recycling.looks_at_memory and plan().engine.max_requests_delta == 0


def test_when_workers_are_replaced() -> None:
    made = plan(
        *("--max-requests", "500", "--max-requests-delta", "20"),
        *("--max-worker-lifetime", "1h", "--max-worker-lifetime-delta", "60"),
        *("--reload-on-rss", "256", "--reload-on-as", "1024", "--evil-reload-on-rss", "512"),
        *("--evil-reload-on-as", "2048", "--mem-collector-freq", "1"),
    )
    assert (made.engine.max_requests, made.engine.max_requests_delta) == (500, 20)
    assert made.recycling == RecyclingPlan(3600.0, 60.0, 256 * MB, 1024 * MB, 512 * MB, 2048 * MB, 1.0)
    assert made.recycling.looks_at_memory


@pytest.mark.parametrize("seconds", ["1", "10"])
def test_longest_lifetime_is_longer_than_the_shortest(seconds: str) -> None:
    refused = refusal(*SERVE, "--max-worker-lifetime", seconds)
    assert refused.exit_status == 1 and "min-worker-lifetime, which is 10" in str(refused)
    assert plan("--max-worker-lifetime", seconds, "--min-worker-lifetime", "0").recycling.lifetime_s == float(seconds)


def test_a_reload_may_end_the_instance() -> None:
    assert plan("--exit-on-reload").exit_on_reload and not plan().exit_on_reload
    assert plan("--drain-delay", "10s").drain_delay_s == 10.0 and plan().drain_delay_s == 0.0


def test_how_workers_take_over() -> None:
    assert plan().strategy == "auto"
    assert plan("--reload-strategy", "chain").strategy == "chain"


def test_how_a_new_generation_is_watched() -> None:
    assert plan().watch == WatchPlan() and not plan().watch.seconds
    found = plan("--reload-watch", "1m", "--reload-watch-errors", "0", "--reload-watch-requests", "100").watch
    assert found == WatchPlan(60.0, 0, 100)


def test_the_number_of_workers_is_fixed_unless_cheaper_is_set() -> None:
    assert plan("--processes", "4").scaling == ScalingPlan()
    assert not plan("--processes", "4", "--cheaper", "0").scaling.follows_load


def test_the_number_of_workers_follows_the_load() -> None:
    made = plan(
        *("--processes", "10", "--cheaper", "2", "--cheaper-initial", "4", "--cheaper-step", "3"),
        *("--cheaper-overload", "20", "--cheaper-algo", "busyness", "--cheaper-rss-limit-soft", "1g"),
        *("--cheaper-rss-limit-hard", "2g", "--cheaper-busyness-min", "20", "--cheaper-busyness-max", "60"),
        *("--cheaper-busyness-multiplier", "30", "--cheaper-busyness-penalty", "5"),
        *("--cheaper-busyness-backlog-alert", "16", "--cheaper-busyness-backlog-step", "2"),
        *("--cheaper-busyness-backlog-multiplier", "4", "--cheaper-busyness-backlog-nonzero", "30"),
        "--cheaper-busyness-verbose",
    ).scaling
    assert made == ScalingPlan(
        least=2, initial=4, step=3, overload=20, algorithm="busyness", rss_soft_bytes=1 << 30, rss_hard_bytes=2 << 30,
        busy_least_percent=20, busy_most_percent=60, idle_windows=30, penalty_windows=5, alert_queue=16, alert_step=2,
        alert_idle_windows=4, alert_nonzero_s=30.0, is_verbose=True,
    )  # fmt: skip
    assert made.follows_load and made.needs_load


def test_cheaper_is_lower_than_processes() -> None:
    refused = refusal(*SERVE, "--processes", "2", "--cheaper", "2")
    assert refused.exit_status == 1 and "must be lower than processes, which is 2" in str(refused)
    refused = refusal(*SERVE, "--processes", "2", "--cheaper", "5", "--cheaper-initial", "3")
    assert [finding.code for finding in refused.findings] == ["cheaper-too-high"]


def test_the_initial_number_is_brought_into_its_bounds() -> None:
    made = plan("--processes", "4", "--cheaper", "2", "--cheaper-initial", "9")
    assert made.scaling.initial == 4 and any("4 workers are started" in note for note in made.notes)
    assert plan("--processes", "4", "--cheaper", "2", "--cheaper-initial", "1").scaling.initial == 2


def test_an_algorithm_that_does_not_exist_is_spare() -> None:
    made = plan("--processes", "4", "--cheaper", "2", "--cheaper-algo", "clever")
    assert made.scaling.algorithm == "spare" and any("cheaper-algo = clever" in note for note in made.notes)


def test_no_workers_while_nobody_comes() -> None:
    made = plan("--cheap", "--idle", "60", "--die-on-idle").scaling
    assert (made.starts_asleep, made.idle_s, made.ends_when_idle) == (True, 60.0, True)
    assert made.needs_load and not made.follows_load


def test_titles_of_processes() -> None:
    made = plan().titles
    assert made.of_master(("--ini", "a.ini")) == ("penstock", "master", "--ini", "a.ini")
    assert made.of("worker", 3) == ("penstock worker 3",) and made.of("generation", 2) == ("penstock generation 2",)
    assert plan("--auto-procname").titles.of_master(("--ini", "a.ini")) == ("penstock", "master")


def test_titles_that_are_set() -> None:
    made = plan(
        "--procname", "shop", "--procname-master", "boss", "--procname-prefix", "eu-", "--procname-append", "!"
    ).titles
    assert made.of_master(("x",)) == ("eu-boss!",) and made.of("worker", 1) == ("eu-shop!",)
    assert plan("--procname-prefix-spaced", "[a.com]").titles.of("worker", 1) == ("[a.com] penstock worker 1",)
    assert plan("--procname", "shop").titles.of_master(()) == ("shop",)


def test_what_asks_the_master(tmp_path: Path) -> None:
    made = plan(
        *("--touch-workers-reload", "w", "--touch-chain-reload", "/c", "--master-fifo", "f"),
        *("--py-autoreload", "2", "--py-auto-reload-ignore", "settings"),
        cwd=tmp_path,
    ).asking
    assert made == AskingPlan((f"{tmp_path}/w",), ("/c",), (f"{tmp_path}/f",), 2.0, ("settings",))
    assert plan().asking == AskingPlan()


def test_limits_and_priority() -> None:
    made = plan(
        *("--limit-as", "512", "--limit-nproc", "50", "--max-fd", "1000", "--prio", "-5", "--cpu-affinity", "2")
    ).limits
    assert made == LimitsPlan(512 * MB, 50, 1000, -5, 2) and plan().limits == LimitsPlan()


@pytest.mark.parametrize("text", ["20", "-21", "high"])
def test_priority_is_what_nice_takes(text: str) -> None:
    assert "from -20 to 19" in str(is_nice(text)) and is_nice("19") is None and is_nice("-20") is None


def test_pid_files_beside_the_first(tmp_path: Path) -> None:
    made = plan("--pidfile2", "two", "--safe-pidfile", "three", "--safe-pidfile2", "/four", cwd=tmp_path)
    assert (made.pidfile2, made.safe_pidfiles) == (f"{tmp_path}/two", (f"{tmp_path}/three", "/four"))


def test_groups_beside_the_users_own() -> None:
    assert plan().groups == GroupsPlan()
    made = plan("--add-gid", "www-data", "--no-initgroups", "--master-as-root").groups
    assert made == GroupsPlan(more=("www-data",), takes_users=False, master_stays_root=True)
    assert "no such group" in str(refusal(*SERVE, "--add-gid", "no-such-group-at-all"))


def test_daemonize2_is_daemonize() -> None:
    assert plan("--daemonize2", "/tmp/x.log").daemonize == "/tmp/x.log"
