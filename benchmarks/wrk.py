"""Running wrk, and reading what it prints."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.process import pinned

UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Result:
    """What wrk saw."""

    requests: int
    rate: float
    """Requests a second."""
    latency_ms: dict[str, float]
    """`p50_ms`, `p99_ms` and `max_ms`, as far as wrk knows them: with pipelining it often does not."""
    errors: int
    """Connections, reads and writes that failed, answers that did not come in time or had another status than 2xx."""
    what: str
    """The errors as wrk names them."""


def parse(text: str) -> Result:
    """Read what `wrk --latency` prints. Raises ValueError if this is not it."""
    requests, rate = re.search(r"(\d+) requests in", text), re.search(r"Requests/sec:\s+([\d.]+)", text)
    longest = re.search(r"Latency\s+[\d.]+\w+\s+[\d.]+\w+\s+([\d.]+)(us|ms|s|m)\b", text)
    if not requests or not rate or not longest:
        raise ValueError(f"not what wrk prints:\n{text}")

    latency = {"max_ms": float(longest[1]) * UNITS_MS[longest[2]]}
    for share, value, unit in re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)\b", text, re.MULTILINE):
        if float(value):
            latency[f"p{share}_ms"] = float(value) * UNITS_MS[unit]
    problems = [line.strip() for line in text.splitlines() if re.match(r"\s+(Socket errors|Non-2xx)", line)]
    errors = sum(
        int(number) for line in problems for number in re.findall(r"(?:connect|read|write|timeout|:) (\d+)", line)
    )
    return Result(
        int(requests[1]),
        float(rate[1]),
        latency,
        errors,
        "; ".join(problems),
    )


def run(
    url: str, *, seconds: float, connections: int, core: int | None, script: str = "", headers: Sequence[str] = ()
) -> Result:
    """Load `url` from one thread. Raises RuntimeError if wrk fails."""
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--latency", "--timeout", "10s"]
    # wrk takes whole seconds only.
    command += ["--duration", f"{max(1, round(seconds))}s", *(["--script", script] if script else [])]
    command += [word for header in headers for word in ("--header", header)]
    done = subprocess.run(
        pinned(core, [*command, url]),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
        start_new_session=True,
    )
    if done.returncode:
        raise RuntimeError(f"wrk failed: {done.stdout}{done.stderr}")
    return parse(done.stdout)
