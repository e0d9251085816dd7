"""Limits are set in a process of their own, so that the tests keep theirs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from penstock.plan.process_types import LimitsPlan

PROGRAM = """
import resource
from penstock.master.limits import apply
from penstock.plan.process_types import LimitsPlan
before = resource.getrlimit(resource.{limit})
lines = apply({plan!r})
print(*lines, sep="\\n")
print(resource.getrlimit(resource.{limit}) == before, resource.getrlimit(resource.{limit})[0])
"""


def applied(limit: str, plan: LimitsPlan) -> list[str]:
    """Apply a plan elsewhere: the lines for the log, and what became of the limit."""
    program = PROGRAM.format(limit=limit, plan=plan)
    return (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        .stdout.strip()
        .splitlines()
    )


@pytest.mark.option("limit-as")
def test_a_limit_is_set() -> None:
    assert applied("RLIMIT_AS", LimitsPlan(address_space_bytes=4 << 30)) == [f"False {4 << 30}"]


@pytest.mark.option("limit-as")
def test_a_limit_that_no_kernel_can_count_is_none_and_no_traceback() -> None:
    *lines, _ = applied("RLIMIT_AS", LimitsPlan(address_space_bytes=1 << 80))
    assert not any("Traceback" in line for line in lines)


@pytest.mark.option("max-fd")
def test_more_files_than_the_kernel_allows_are_as_many_as_it_allows() -> None:
    warning, after = applied("RLIMIT_NOFILE", LimitsPlan(open_files=1 << 40))
    assert "max-fd = 1099511627776 is above what this user may have" in warning
    assert after.split()[1] in warning
