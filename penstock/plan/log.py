"""The log of requests."""

from __future__ import annotations

from penstock.plan.context import Context
from penstock.plan.types import RequestLogPlan


def request_log(context: Context) -> RequestLogPlan:
    """Which requests are logged, and how."""
    return RequestLogPlan(enabled=not context.said.flag("disable-logging"))
