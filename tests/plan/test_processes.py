"""Processes of the plan: replacement, numbers, and what must not be said together."""

from __future__ import annotations

import pytest

from penstock.plan.process_types import RecyclingPlan
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
