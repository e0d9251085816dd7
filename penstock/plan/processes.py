"""The processes of the plan: when a worker is replaced, and how many there are."""

from __future__ import annotations

import os
from typing import cast

from penstock.plan.context import Context
from penstock.plan.process_types import (
    Algorithm,
    AskingPlan,
    GroupsPlan,
    LimitsPlan,
    RecyclingPlan,
    ScalingPlan,
    ScriptPlan,
    Strategy,
    TitlesPlan,
    WatchPlan,
)
from penstock.values import replace

MEGABYTE = 1 << 20
ALGORITHMS = ("spare", "backlog", "busyness", "manual")


WORKER_BYTES = 150 * MEGABYTE
"""What a worker of a Django project of middle size takes, where nobody has measured."""


def automatic(context: Context) -> int:
    """Tell how many workers `processes = auto` are: one for each CPU, fewer where a container lacks the memory."""
    cpus, limit = context.machine.cpus, context.machine.memory_limit_bytes
    room = cpus if limit is None else max(1, limit // WORKER_BYTES)
    if room >= cpus:
        return cpus
    limited = f"the memory limit is {(limit or 0) // MEGABYTE} MiB"
    message = f"processes = auto: {room} and not {cpus}, one for each CPU, because {limited}"
    cure = "raise the limit, or set processes to a number"
    context.note("auto-memory", message, context.said.origin("processes"), cure)
    return room


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


def scaling(context: Context, processes: int) -> ScalingPlan:
    """How many workers there are, where that follows the load."""
    said = context.said
    least = said.number("cheaper")
    if least >= processes:
        message = f"cheaper = {least} must be lower than processes, which is {processes}"
        cure = "raise processes, which is the most that there may be, or lower cheaper, which is the least"
        context.error("cheaper-too-high", message, said.origin("cheaper"), cure)
    initial = said.number("cheaper-initial") or least
    if 0 < least < processes and not least <= initial <= processes:
        kept = min(processes, max(least, initial))
        message = f"cheaper-initial = {initial} is not between cheaper and processes: {kept} workers are started"
        context.warn(
            "cheaper-initial-range", message, said.origin("cheaper-initial"), f"set it to {least} ... {processes}"
        )
        initial = kept
    return ScalingPlan(
        least=least,
        initial=initial,
        step=said.number("cheaper-step"),
        overload=said.number("cheaper-overload"),
        algorithm=_algorithm(context),
        rss_soft_bytes=said.number("cheaper-rss-limit-soft"),
        rss_hard_bytes=said.number("cheaper-rss-limit-hard"),
        busy_least_percent=said.number("cheaper-busyness-min"),
        busy_most_percent=said.number("cheaper-busyness-max"),
        idle_windows=said.number("cheaper-busyness-multiplier"),
        penalty_windows=said.number("cheaper-busyness-penalty"),
        alert_queue=said.number("cheaper-busyness-backlog-alert"),
        alert_step=said.number("cheaper-busyness-backlog-step"),
        alert_idle_windows=said.number("cheaper-busyness-backlog-multiplier"),
        alert_nonzero_s=float(said.number("cheaper-busyness-backlog-nonzero")),
        is_verbose=said.flag("cheaper-busyness-verbose"),
        starts_asleep=said.flag("cheap"),
        idle_s=float(said.number("idle")),
        ends_when_idle=said.flag("die-on-idle"),
    )


def _algorithm(context: Context) -> Algorithm:
    name = context.said.text("cheaper-algo") or "spare"
    if name not in ALGORITHMS:
        message = f"cheaper-algo = {name}: there is no such algorithm, and spare is used"
        context.warn(
            "no-such-algorithm", message, context.said.origin("cheaper-algo"), f"use one of {', '.join(ALGORITHMS)}"
        )
        return "spare"
    return cast(Algorithm, name)


def strategy(context: Context) -> Strategy:
    """How the workers of a new generation take over."""
    return cast(Strategy, context.said.text("reload-strategy") or "auto")


def watch(context: Context) -> WatchPlan:
    """How a new generation is watched after a reload."""
    said = context.said
    return WatchPlan(
        seconds=float(said.number("reload-watch")),
        errors_percent=said.number("reload-watch-errors"),
        requests=said.number("reload-watch-requests"),
    )


def titles(context: Context) -> TitlesPlan:
    """What `ps` shows for each process."""
    said = context.said
    prefix, spaced = said.text("procname-prefix"), said.text("procname-prefix-spaced")
    made = TitlesPlan(
        prefix=f"{spaced} " if spaced else prefix or "",
        append=said.text("procname-append") or "",
        name=said.text("procname") or "",
        master_name=said.text("procname-master") or "",
    )
    is_plain = made == TitlesPlan() and not said.flag("auto-procname")
    return made if is_plain else replace(made, shows_arguments=False)


def asking(context: Context) -> AskingPlan:
    """What asks the master for something."""
    said = context.said

    def paths(name: str) -> tuple[str, ...]:
        return tuple(context.after_chdir(path) for path in said.texts(name))

    return AskingPlan(
        touch_workers=paths("touch-workers-reload"),
        touch_chain=paths("touch-chain-reload"),
        fifos=paths("master-fifo")[:10],
        code_interval_s=float(said.number("py-auto-reload")),
        code_ignored=said.texts("py-auto-reload-ignore"),
    )


def limits(context: Context) -> LimitsPlan:
    """What the kernel shall allow the processes."""
    said = context.said
    nice = said.text("prio")
    return LimitsPlan(
        address_space_bytes=said.number("limit-as") * MEGABYTE,
        processes=said.number("limit-nproc"),
        open_files=said.number("max-fd"),
        nice=int(nice) if nice is not None else None,
        cpus_per_worker=said.number("cpu-affinity"),
    )


def groups(context: Context) -> GroupsPlan:
    """Who the processes are, beside `uid` and `gid`."""
    said = context.said
    for setting in said.every("add-gid"):
        if context.machine.group_id(str(setting.value)) is None:
            message = f"add-gid = {setting.value}: there is no such group"
            context.error("no-group", message, setting.origin, "create it, or name another")
    as_root = said.flag("drop-after-apps")
    stays = said.flag("master-as-root") or as_root
    return GroupsPlan(said.texts("add-gid"), not said.flag("no-initgroups"), stays, as_root)


def script(context: Context) -> ScriptPlan:
    """What is run instead of serving; a module that is only imported comes before a file, as in uWSGI."""
    said = context.said
    module, file = said.text("test"), said.text("pyrun")
    if module is not None:
        return ScriptPlan("module", module)
    if file is None:
        return ScriptPlan()
    path = context.after_chdir(file)
    if not os.path.isfile(path):
        message = f"pyrun = {file}: there is no file {path}"
        context.error("no-script", message, said.origin("pyrun"), "correct the path, which counts from chdir")
    return ScriptPlan("file", file)


def safe_pidfiles(context: Context) -> tuple[str, ...]:
    """Pid files that are written when the instance is ready."""
    paths = [context.said.text(name) for name in ("safe-pidfile", "safe-pidfile2")]
    return tuple(context.after_chdir(path) for path in paths if path is not None)
