"""Plans for tests of the master, and back from JSON for masters in processes of their own."""

from __future__ import annotations

import sys
from typing import Any

from penstock.plan.types import (
    AppPlan,
    EnginePlan,
    ListenerPlan,
    LogPlan,
    MountingPlan,
    Plan,
    RequestLogPlan,
    RoutesPlan,
    StaticPlan,
    StatsFormPlan,
)
from penstock.values import replace


def app_plan(target: str, chdir: str = "/") -> AppPlan:
    return AppPlan("file", target, "application", chdir, (), (), sys.executable, None, (), ())


def engine_plan() -> EnginePlan:
    return EnginePlan(
        threads=2,
        multiprocess=True,
        server_name="host",
        head_limit_bytes=65536,
        header_limit_count=100,
        underscores_in_headers=False,
        body_limit_bytes=0,
        body_memory_bytes=65536,
        body_memory_total_bytes=1 << 20,
        spool_dir="/tmp",
        response_buffer_bytes=1 << 20,
        response_buffer_total_bytes=1 << 20,
        response_spool_bytes=0,
        response_spool_total_bytes=0,
        header_timeout_s=10.0,
        body_timeout_s=10.0,
        write_timeout_s=10.0,
        keepalive_timeout_s=10.0,
        max_requests=0,
        min_worker_lifetime_s=0.0,
        drain_timeout_s=60.0,
        trusted_proxies=(),
        static=StaticPlan(),
        mounting=MountingPlan(by_path=False, by_script_name=True, count=1, first_id=1, fallback_id=0),
        log=RequestLogPlan(enabled=True),
        routes=RoutesPlan(),
    )


def listener_plan(host: str = "127.0.0.1", port: int = 0, **changes: Any) -> ListenerPlan:
    base = ListenerPlan("http", f"{host}:{port}", "inet", host, port, 64, None, None, "test")
    return replace(base, **changes)


def unix_plan(path: str, **changes: Any) -> ListenerPlan:
    return listener_plan(path, protocol="uwsgi", name=path, family="unix", **changes)


def make_plan(target: str, **changes: Any) -> Plan:
    base = Plan(
        listeners=(listener_plan(),),
        app=app_plan(target),
        engine=engine_plan(),
        processes=2,
        lazy_apps=False,
        need_app=True,
        pidfile=None,
        daemonize=None,
        logto=None,
        vacuum=True,
        term="stop",
        stats=None,
        touch_reload=(),
        uid=None,
        gid=None,
        umask=None,
        drain_timeout_s=60.0,
        log=LogPlan(),
        stats_form=StatsFormPlan(),
        notes=(),
    )
    return replace(base, **changes)
