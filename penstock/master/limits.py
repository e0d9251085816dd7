"""Limits and the priority that all processes of an instance inherit from the master."""

from __future__ import annotations

import os
import resource
import sys

from penstock.plan.process_types import LimitsPlan


def apply(plan: LimitsPlan) -> list[str]:
    """Set what the plan says, as far as the kernel lets this user; return lines for the log."""
    lines = []
    for name, number, wanted in (
        ("limit-as", resource.RLIMIT_AS, plan.address_space_bytes),
        ("limit-nproc", resource.RLIMIT_NPROC, plan.processes),
        ("max-fd", resource.RLIMIT_NOFILE, plan.open_files),
    ):
        if not wanted:
            continue
        hard = resource.getrlimit(number)[1]
        has_bound = hard != resource.RLIM_INFINITY
        # Past what the kernel counts to, a limit is none.
        soft = min(wanted, sys.maxsize)
        try:
            resource.setrlimit(number, (soft, max(soft, hard) if has_bound else hard))
        except (OSError, ValueError):
            used = min(soft, hard) if has_bound else resource.getrlimit(number)[0]
            resource.setrlimit(number, (used, hard))
            lines.append(f"*** WARNING: {name} = {wanted} is above what this user may have: {used} is used ***")
    if plan.nice is not None:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, plan.nice)
        except OSError as error:
            lines.append(f"*** WARNING: prio = {plan.nice} can not be set: {error.strerror} ***")
    return lines
