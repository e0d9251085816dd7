"""What is read from wrk's output, word for word as wrk prints it."""

from __future__ import annotations

import pytest

from benchmarks.wrk import parse

GOOD = """Running 2s test @ http://127.0.0.1:8000/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.12ms    2.37ms  12.74ms   84.55%
    Req/Sec    32.35k     4.85k   38.31k    60.00%
  Latency Distribution
     50%  799.00us
     75%    3.22ms
     90%    5.44ms
     99%   10.26ms
  65142 requests in 2.01s, 4.84MB read
Requests/sec:  32184.97
Transfer/sec:      2.39MB
"""


def test_a_run_without_errors() -> None:
    result = parse(GOOD)
    assert result.requests == 65142
    assert result.rate == 32184.97
    assert result.latency_ms == pytest.approx({"p50_ms": 0.799, "p99_ms": 10.26, "max_ms": 12.74})
    assert (result.errors, result.what) == (0, "")


def test_errors_of_every_kind_are_counted_and_named() -> None:
    text = GOOD.replace(
        "Requests/sec",
        "  Socket errors: connect 1, read 20, write 300, timeout 4000\n  Non-2xx or 3xx responses: 50000\nRequests/sec",
    )
    result = parse(text)
    assert result.errors == 54321
    assert result.what == "Socket errors: connect 1, read 20, write 300, timeout 4000; Non-2xx or 3xx responses: 50000"


def test_seconds_and_minutes_are_read() -> None:
    result = parse(GOOD.replace("12.74ms", "1.50m").replace("10.26ms", "1.86s"))
    assert result.latency_ms["max_ms"] == 90_000
    assert result.latency_ms["p99_ms"] == 1860


def test_a_percentile_that_wrk_does_not_know_is_left_out() -> None:
    # With pipelined requests it prints zeros.
    result = parse(GOOD.replace("799.00us", "0.00us").replace("10.26ms", "0.00us"))
    assert result.latency_ms == {"max_ms": pytest.approx(12.74)}


@pytest.mark.parametrize(
    "text", ["", "unable to connect to 127.0.0.1:1 Connection refused\n", GOOD.split("Requests/")[0]]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not what wrk prints"):
        parse(text)
