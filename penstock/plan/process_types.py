"""The parts of a Plan that only the master follows: values, as in `penstock.plan.types`, whose `Plan` holds them.

Every default is "off", so that a plan for a test or a tool names only what it is about.
"""

from __future__ import annotations

from penstock.values import dataclass


@dataclass(frozen=True, slots=True)
class RecyclingPlan:
    """When a worker is replaced that has done nothing wrong; 0 is never, each time."""

    lifetime_s: float = 0.0
    lifetime_delta_s: float = 0.0
    """How much longer each worker lives than the one before it."""
    rss_bytes: int = 0
    """Resident memory from which on a worker is replaced as soon as its replacement is ready."""
    as_bytes: int = 0
    """The same for its address space."""
    evil_rss_bytes: int = 0
    """Resident memory from which on a worker is killed, with what it has in flight."""
    evil_as_bytes: int = 0
    memory_interval_s: float = 3.0
    """How often memory is looked at."""

    @property
    def looks_at_memory(self) -> bool:
        """Whether there is a limit of memory."""
        return any((self.rss_bytes, self.as_bytes, self.evil_rss_bytes, self.evil_as_bytes))
