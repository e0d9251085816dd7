"""The memory that workers share: what is written about it."""

from __future__ import annotations

from benchmarks.sharing import table


def test_the_table_has_the_median_of_each_way() -> None:
    samples = [{"idle_mib": idle, "after_mib": 2 * idle} for idle in (1.0, 30.0, 2.0)]
    lines = table({"one import": samples, "an import in each worker": samples[:1]}).splitlines()
    assert lines[2:] == ["| one import | 2.0 MiB | 4.0 MiB |", "| an import in each worker | 1.0 MiB | 2.0 MiB |"]
