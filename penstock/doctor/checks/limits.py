"""Limits: of files, and of memory."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.doctor.diagnosis import Diagnosis, Evidence
from penstock.doctor.facts import Facts
from penstock.plan.findings import Row

TITLE = "Limits"
ROWS: tuple[Row, ...] = (
    Row(
        "open-files-few",
        "warning",
        "max-fd",
        "a process may open fewer files than the backlog and the threads may need",
        "LimitNOFILE= of the unit, or max-fd; penstock tune shows what is needed",
    ),
    Row(
        "memory-short",
        "warning",
        "processes",
        "the workers, at the size that was measured, do not fit into the memory that they may use",
        "fewer processes with more threads, or reload-on-rss; or more memory",
    ),
)
FILES_FOR_A_WORKER = 64
"""What the interpreter, the application and its databases keep open, roughly."""
FILES_FOR_A_THREAD = 4
_MIB = 1 << 20


def check(facts: Facts) -> Iterator[Diagnosis]:
    """Hold what is needed against what is allowed."""
    yield from _files(facts)
    yield from _memory(facts)


def _files(facts: Facts) -> Iterator[Diagnosis]:
    plan, instance = facts.plan, facts.instance
    if plan is None or instance is None or not instance.open_files:
        return
    backlog = max((one.backlog for one in plan.listeners), default=0)
    need = backlog + plan.engine.threads * FILES_FOR_A_THREAD + FILES_FOR_A_WORKER
    if instance.open_files < need:
        seen = (
            Evidence(f"/proc/{instance.pid}/limits", f"{instance.open_files} open files"),
            Evidence("", f"{need} needed: a backlog of {backlog}, {plan.engine.threads} threads, the application"),
        )
        cause = f"a worker may open {instance.open_files} files, and {need} can be needed: connections are refused then"
        cure = f"LimitNOFILE={max(need * 2, 65536)} in the unit, or max-fd = {need * 2} in the configuration; restart"
        files = facts.report.settings.files if facts.report is not None else ()
        commands = (f"penstock tune {files[0]}",) if files else ()
        yield Diagnosis("open-files-few", "warning", cause, seen, cure, commands)


def _memory(facts: Facts) -> Iterator[Diagnosis]:
    plan, instance, limit = facts.plan, facts.instance, facts.host.memory
    if plan is None or instance is None or instance.stats is None or limit is None:
        return
    sizes = [int(one.get("rss", 0)) for one in instance.stats.get("workers", ())]
    largest = max(sizes, default=0)
    total = largest * plan.processes
    if not largest or total <= limit.size_bytes:
        return
    seen = (
        Evidence(limit.source, f"{limit.size_bytes // _MIB} MiB"),
        Evidence(f"pid {instance.pid}", f"{plan.processes} workers x {largest // _MIB} MiB = {total // _MIB} MiB"),
        Evidence("", f"now {instance.memory_bytes // _MIB} MiB together, as shared pages count once"),
    )
    fitting = max(1, limit.size_bytes * 8 // 10 // largest)
    cause = "the workers do not fit into memory once they share less of it: the kernel will kill one in the middle"
    cure = f"processes = {fitting} with more threads, and reload-on-rss = {max(largest // _MIB * 3 // 2, 1)}"
    yield Diagnosis("memory-short", "warning", cause, seen, cure)
