"""A scoreboard layout like the engine's, smaller."""

from __future__ import annotations

from typing import Any

MAGIC = int.from_bytes(b"FAKEFAKE", "little")


def catalogue() -> dict[str, Any]:
    """Describe it as `penstock._engine.catalogue()` does."""
    worker = ("pid", "state", "requests", "exceptions", "tx_bytes", "running_time_us")
    thread = ("state", "since_us", "since_epoch_us", "requests", "exceptions", "line_sequence", "line_length")
    return {
        "scoreboard": {
            "magic": MAGIC,
            "version": 7,
            "header_bytes": 32,
            "worker_bytes": 48,
            "thread_bytes": 264,
            "header_fields": {"magic": [0, "u64"], "version": [8, "u32"], "slots": [12, "u32"], "threads": [16, "u32"]},
            "worker_fields": {name: [8 * n, "u64"] for n, name in enumerate(worker)},
            "thread_fields": {
                **{name: [8 * n, "u64"] for n, name in enumerate(thread)},
                "line": [56, "bytes200"],
            },
        }
    }
