"""Where the time of one server in one case goes; `python -m benchmarks.profile CASE [--server NAME] [--callgrind]`.

Three looks at the same load: system calls for each request (strace), CPU time by library and by function (perf, by the
clock, since a virtual machine may have no hardware counters), and, if asked for, instructions for each request
(callgrind; exact, and the same on a busy machine, but without the kernel's). The result is printed and kept in
benchmarks/build/profile.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.cases import CASES, OWN, Case, Entry, Idle, Memory, Startup
from benchmarks.measure import Sample, allow_many_files, ask, loaded, patiently, serving, warm
from benchmarks.prepare import BIN, WORK, everything
from benchmarks.process import Process
from benchmarks.servers import SERVERS

FOLDER = WORK / "profile"
FREQUENCY_HZ = 1999
"""Of perf's samples; not a divisor of anything that the kernel does regularly."""
SHOWN = 25
"""Functions that a table has."""


# -- reading what the tools print --------------------------------------------------------------------------------------


def strace_counts(text: str) -> dict[str, int]:
    """Calls by name, from `strace -c`."""
    found = {}
    for line in text.splitlines():
        # Share, seconds, microseconds for a call, calls, errors (or nothing), name.
        match = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?([a-z]\w*)$", line)
        if match and match[2] != "total":
            found[match[2]] = int(match[1])
    return found


def perf_shares(text: str) -> list[tuple[float, str]]:
    """Share (0 to 1) and what it is a share of, from `perf report --stdio`."""
    # After a function come columns about where it was inlined, which are dashes.
    return [
        (float(match[1]) / 100, re.sub(r"\s+", " ", match[2]))
        for match in re.finditer(r"^\s+([\d.]+)%\s+(\S.*?)(?:\s+-)*\s*$", text, re.MULTILINE)
    ]


def callgrind_costs(text: str) -> dict[str, int]:
    """Instructions in each function itself, by name, from a file of callgrind.

    Read here because `callgrind_annotate` counts a call that was under way at the dump (`calls=0`) as the caller's own.
    """
    names: dict[str, str] = {}
    found: dict[str, int] = {}
    function, is_callee = "", False
    for line in text.splitlines():
        if match := re.match(r"(c?)fn=(\(\d+\))(?: (.*))?$", line):
            # A name is given once and stands for its number from then on.
            names.setdefault(match[2], match[3] or "")
            if not match[1]:
                function = names[match[2]]
        elif line.startswith("calls="):
            is_callee = True
        elif match := re.match(r"[+*-]?\d*\s+(\d+)$", line):
            # The line after `calls=` has what the call cost, which is the callee's.
            if not is_callee:
                found[function] = found.get(function, 0) + int(match[1])
            is_callee = False
    return found


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; the first column to the left, numbers to the right."""
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


# -- looking -----------------------------------------------------------------------------------------------------------


@contextmanager
def watching(command: Sequence[str], attached: Callable[[], bool]) -> Iterator[None]:
    """Run `command` from when `attached` until the end, where it is interrupted. Raises RuntimeError."""
    tool = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    ends_s = time.monotonic() + 10
    try:
        while not attached():
            if tool.poll() is not None or time.monotonic() > ends_s:
                tool.kill()
                raise RuntimeError(f"{command[0]} does not start: {tool.communicate()[0]}")
            time.sleep(0.02)
        yield
    finally:
        if tool.poll() is None:
            tool.send_signal(signal.SIGINT)
        tool.communicate()


def traced(pids: Iterable[int]) -> bool:
    """Whether every one of the processes has a tracer."""
    return all("TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text() for pid in pids)


def system_calls(case: Case, process: Process, address: str, seconds: float) -> str:
    """System calls for each request."""
    output = FOLDER / "strace.txt"
    pids = process.pids()
    command = ["strace", "-f", "-c", "-o", str(output), *(word for pid in pids for word in ("-p", str(pid)))]
    with watching(command, lambda: traced(pids)):
        sample, _ = loaded(case, process, address, seconds)
    counts = strace_counts(output.read_text())
    requests = sample["requests"]
    rows = [
        (name, f"{count / requests:.2f}")
        for name, count in sorted(counts.items(), key=lambda item: -item[1])
        if count / requests >= 0.005
    ]
    rows.insert(0, ("all", f"{sum(counts.values()) / requests:.2f}"))
    return table(("system call", "for each request"), rows)


def cpu_time(case: Case, process: Process, address: str, seconds: float) -> str:
    """CPU time for each request by library and by function."""
    data = FOLDER / "perf.data"
    data.unlink(missing_ok=True)
    command = ["perf", "record", "-e", "cpu-clock", "-F", str(FREQUENCY_HZ), "-o", str(data), "-p"]
    command.append(",".join(map(str, process.pids())))
    # It writes its header once it has attached.
    with watching(command, lambda: data.exists() and data.stat().st_size > 0):
        sample, _ = loaded(case, process, address, seconds)

    def report(sort: str) -> list[tuple[float, str]]:
        words = ["perf", "report", "-i", str(data), "--stdio", "--no-children", "--sort", sort]
        return perf_shares(subprocess.run(words, capture_output=True, text=True, check=False).stdout)

    def rows(shares: Iterable[tuple[float, str]]) -> list[tuple[str, str, str]]:
        return [
            (name, f"{share:.1%}", f"{share * sample['cpu_us']:.2f} us") for share, name in shares if share >= 0.002
        ]

    libraries = table(("library", "share", "for each request"), rows(report("dso")))
    functions = table(("function", "share", "for each request"), rows(report("dso,symbol")[:SHOWN]))
    return f"{sample['cpu_us']:.2f} us of CPU time for each request.\n\n{libraries}\n\n{functions}"


def instructions(case: Case, entry: Entry, commands: Path, seconds: float) -> str:
    """Instructions for each request outside the kernel, and the functions that most of them are in."""
    folder = FOLDER / "callgrind"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    under = ["valgrind", "--quiet", "--tool=callgrind", "--trace-children=yes", "--trace-children-skip=*/taskset"]
    under.append(f"--callgrind-out-file={folder}/%p")
    if entry.server == OWN:
        # valgrind keeps the last real-time signal to itself, and Penstock's master listens to all.
        program = "import runpy, signal, sys; signal.SIGRTMAX = int(signal.SIGRTMAX) - 1; del sys.argv[0]; "
        under += [str(commands / "python"), "-c", f"{program} runpy.run_path(sys.argv[0], run_name='__main__')"]
    with serving(case, entry, commands, under) as (process, address):
        ready(case, address)
        pids = [str(pid) for pid in process.pids()]
        _control("--zero", pids)
        sample, _ = loaded(case, process, address, seconds)
        _control("--dump", pids)
    # A dump that was asked for ends in a number; what is written at the end holds the rest.
    costs: Counter[str] = Counter()
    for path in folder.glob("*.1"):
        costs.update(callgrind_costs(path.read_text()))
    if not costs:
        return "callgrind counted nothing."
    rows = [(name, f"{count / sample['requests']:,.0f}") for name, count in costs.most_common(SHOWN)]
    rows.insert(0, ("all", f"{costs.total() / sample['requests']:,.0f}"))
    return table(("function", "instructions for each request"), rows)


def _control(what: str, pids: Sequence[str]) -> None:
    """Tell the valgrinds that run `pids` to do something; those that are not one are passed over."""
    for pid in pids:
        subprocess.run(["callgrind_control", what, pid], capture_output=True, check=False, timeout=60)


def ready(case: Case, address: str) -> Sample:
    """Wait until the server answers, and warm it."""
    close = case.connections == "closed"
    patiently(lambda: ask(address, case.answer, close=close))
    warm(address, case.answer, close=close)
    return {}


def main(arguments: Sequence[str]) -> int:
    """Profile one case."""
    able = [name for name, case in CASES.items() if not isinstance(case.load, Startup | Memory | Idle)]
    parser = argparse.ArgumentParser(prog="benchmarks.profile", description="where the time of one server goes")
    parser.add_argument("case", choices=able, metavar="CASE", help=f"one of: {', '.join(able)}")
    parser.add_argument("--server", choices=SERVERS, default=OWN)
    parser.add_argument("--threads", type=int, help="another number of app threads than the case's")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--commands", type=Path, default=BIN, help="profile what is installed here, and build nothing")
    parser.add_argument("--no-build", action="store_true", help="use the wheel that is installed")
    parser.add_argument("--callgrind", action="store_true", help="count instructions too (slow)")
    wanted = parser.parse_args(arguments)
    case, entry = CASES[wanted.case], Entry(wanted.server, "", threads=wanted.threads)
    commands = wanted.commands.absolute()
    FOLDER.mkdir(parents=True, exist_ok=True)
    allow_many_files()
    everything([OWN, wanted.server], commands, print, build=not wanted.no_build)
    parts = [f"# {case.name}, {wanted.server}: {case.title}"]
    looks: Mapping[str, Callable[[Case, Process, str, float], str]] = {"strace": system_calls, "perf": cpu_time}
    for tool, look in looks.items():
        if not shutil.which(tool):
            parts.append(f"{tool} is not installed (Debian: {'linux-perf' if tool == 'perf' else tool}).")
            continue
        # A server that was traced is not one to take the time of.
        with serving(case, entry, commands) as (process, address):
            ready(case, address)
            parts.append(look(case, process, address, wanted.seconds))
    if wanted.callgrind:
        missing = not shutil.which("valgrind")
        parts.append("valgrind is not installed." if missing else instructions(case, entry, commands, wanted.seconds))
    text = "\n\n".join(parts) + "\n"
    print(f"\n{text}")
    (FOLDER / f"{case.name}-{wanted.server}.md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
