"""The configuration, read again for a reload: what is wrong with it, and what a reload can not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from penstock.master.logs import fixed_log_parts
from penstock.plan.types import Plan
from penstock.values import replace

Note: TypeAlias = Callable[[str], None]
"""Says what was found that hinders nothing."""

Reread: TypeAlias = Callable[[Note], Plan]
"""Makes the plan that a reload follows; whatever it raises fails the reload and nothing else."""


class NotReread(Exception):
    """There is no plan: what runs is not touched."""

    def __init__(self, cause: Exception) -> None:
        first, _, self.more = str(cause).partition("\n")
        self.reason = f"the configuration could not be read again: {first or type(cause).__name__}"
        super().__init__("\n".join(part for part in (self.reason, self.more) if part))


def reread(make: Reread, note: Note) -> Plan:
    """Make the plan of a reload.

    Raises:
        NotReread: there is none.
    """
    try:
        return make(note)
    except Exception as error:
        raise NotReread(error) from error


def needs_restart(carried_out: Plan, wanted: Plan) -> list[str]:
    """List the options whose change a reload can not carry out."""
    before, after = fixed_parts(carried_out), fixed_parts(wanted)
    return [name for name in before if before[name] != after[name]]


def fixed_parts(plan: Plan) -> dict[str, object]:
    """Take what a reload can not change out of a plan: option -> what it came to."""
    fixed: dict[str, object] = {
        name: getattr(plan, name) for name in ("pidfile", "pidfile2", "daemonize", "logto", "uid", "gid", "umask")
    }
    fixed |= {"safe-pidfile": plan.safe_pidfiles[:1], "safe-pidfile2": plan.safe_pidfiles[1:]}
    limits = plan.limits
    fixed |= {"limit-as": limits.address_space_bytes, "limit-nproc": limits.processes, "max-fd": limits.open_files}
    fixed |= {"prio": limits.nice, "master-fifo": plan.asking.fifos}
    fixed |= {"add-gid": plan.groups.more, "no-initgroups": plan.groups.takes_users}
    fixed |= {"master-as-root": plan.groups.master_stays_root, "drop-after-apps": plan.groups.imports_as_root}
    fixed |= fixed_log_parts(plan.log)
    for point in ("asap", "pre-jail", "post-jail", "in-jail", "as-root", "as-user", "master-start"):
        done = [(one.action, one.argument) for one in plan.hooks.at(point)]
        fixed |= {f"hook-{point}": done} | ({f"exec-{point}": done} if point != "master-start" else {})
    # Where it was written may change.
    for name in ("stats", "admin"):
        listener = getattr(plan, name)
        fixed[name] = listener and replace(listener, mode=None, owner=None, name="", origin="")
    return fixed
