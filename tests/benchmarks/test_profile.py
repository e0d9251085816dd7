"""What is read from strace, perf and callgrind, word for word as they print it."""

from __future__ import annotations

from benchmarks.profile import callgrind_costs, perf_shares, strace_counts


def test_system_calls_with_and_without_errors() -> None:
    text = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 55.10    0.551000           5    100000         7 recvfrom
 44.80    0.448000           4    100001           sendto
  0.10    0.001000          10       100           epoll_wait
------ ----------- ----------- --------- --------- ----------------
100.00    1.000000           4    200101         7 total
"""
    assert strace_counts(text) == {"recvfrom": 100000, "sendto": 100001, "epoll_wait": 100}


def test_shares_by_library_and_by_function() -> None:
    text = """# Samples: 5K of event 'cpu-clock'
#
# Overhead  Shared Object
# ........  .............
#
    75.50%  [kernel.kallsyms]
     6.25%  libpython3.11.so.1.0   [.] insertdict    -      -
"""
    assert perf_shares(text) == [(0.755, "[kernel.kallsyms]"), (0.0625, "libpython3.11.so.1.0 [.] insertdict")]


def test_a_function_is_charged_for_itself_and_not_for_what_it_calls() -> None:
    text = """events: Ir
fn=(1) main
10 5
cfn=(2) serve
calls=3 20
+1 900
+2 7
fn=(2)
20 300
* 600

fn=(1)
cfn=(3) still_running
calls=0 40
12 5000
totals: 912
"""
    assert callgrind_costs(text) == {"main": 12, "serve": 900}
