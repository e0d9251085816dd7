"""The processes of the plan: when a worker is replaced, and how many there are."""

from __future__ import annotations

from penstock.plan.context import Context
from penstock.plan.process_types import RecyclingPlan

MEGABYTE = 1 << 20


def recycling(context: Context) -> RecyclingPlan:
    """When a worker is replaced that has done nothing wrong."""
    said = context.said
    return RecyclingPlan(
        lifetime_s=float(said.number("max-worker-lifetime")),
        lifetime_delta_s=float(said.number("max-worker-lifetime-delta")),
        rss_bytes=said.number("reload-on-rss") * MEGABYTE,
        as_bytes=said.number("reload-on-as") * MEGABYTE,
        evil_rss_bytes=said.number("evil-reload-on-rss") * MEGABYTE,
        evil_as_bytes=said.number("evil-reload-on-as") * MEGABYTE,
        memory_interval_s=float(said.number("mem-collector-freq")),
    )
