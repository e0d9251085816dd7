"""Measure Penstock and its peers in turn on the same apps, and print ratios.

    python benchmarks/run.py [--quick] [--rounds N] [--seconds S] [--servers a,b] [--scenarios a,b] [--write-readme]

The server runs on core 1, wrk on core 0. Every round measures every server once, so that what the machine does
meanwhile meets all of them; the median of the rounds counts. Beside the rate there is the CPU time of all the
server's processes for each request: trust it over the rate, which also shows where the load generator ends. The
result goes to benchmarks/results/ with the machine and all versions, and, with --write-readme, into README.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.servers import SERVERS, Scenario, Server

ROOT = Path(__file__).parent.parent
HERE = ROOT / "benchmarks"
WORK = HERE / "build"
BIN = WORK / "venv" / "bin"
SCENARIOS: tuple[Scenario, ...] = ("keep-alive", "close", "nginx", "django")
TITLES: dict[Scenario, str] = {
    "keep-alive": "hello world, 64 connections kept alive",
    "close": "hello world, a connection for each request",
    "nginx": "hello world behind nginx, `uwsgi_pass` to a unix socket",
    "django": "Django page (ORM query and template)",
}
MARK = "BENCHMARK_OF_PENSTOCK"
TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"


@dataclass(frozen=True)
class Sample:
    """One measurement of one server."""

    rate: float
    """Requests a second."""
    cpu_us: float
    """User and system CPU time of all processes of the server for each request."""
    p99_ms: float
    memory_mib: float
    """Proportional set size of all processes after the load."""
    errors: int


def say(text: str) -> None:
    """Progress, at once."""
    print(text, flush=True)


# -- preparing ---------------------------------------------------------------------------------------------------------


def run_quietly(command: Sequence[str | Path], **more: Any) -> None:
    """Run `command`; what it printed is shown only if it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **more)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")


def prepare(servers: Sequence[Server], *, build: bool) -> list[Server]:
    """Build the release wheel, install everything into benchmarks/build/venv; the servers that could be installed."""
    WORK.mkdir(exist_ok=True)
    if not (BIN / "python").exists():
        say("creating benchmarks/build/venv")
        run_quietly([sys.executable, "-m", "venv", WORK / "venv"])
    pip: list[str | Path] = [BIN / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    requirements = subprocess.check_output([sys.executable, ROOT / "tools/requirements.py", "demo"], text=True).split()
    run_quietly([*pip, *requirements])
    usable = []
    for server in servers:
        if not server.package:
            if build or not (BIN / "penstock").exists():
                say("building the release wheel (link-time optimisation takes a minute or two)")
                shutil.rmtree(WORK / "wheel", ignore_errors=True)
                maturin = Path(sys.executable).with_name("maturin")
                run_quietly([maturin, "build", "--release", "--out", WORK / "wheel"], cwd=ROOT)
                run_quietly([*pip, "--force-reinstall", "--no-deps", *(WORK / "wheel").glob("*.whl")])
            usable.append(server)
            continue
        try:
            say(f"installing {server.package}")
            run_quietly([*pip, server.package])
            usable.append(server)
        except RuntimeError as error:
            say(f"{server.name} can not be installed and is left out: {str(error).strip().splitlines()[-1]}")
    return usable


def versions() -> dict[str, str]:
    """Version of everything that was measured or measured with."""
    listing = subprocess.check_output([BIN / "python", "-m", "pip", "list", "--format", "json"], text=True)
    installed = {entry["name"].lower(): entry["version"] for entry in json.loads(listing)}
    wanted = ("django", "penstock", *(server.package for server in SERVERS if server.package))
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout.split()
    nginx = subprocess.run([nginx_program(), "-v"], capture_output=True, text=True, check=False).stderr
    return {
        **{name: installed[name] for name in wanted if name in installed},
        "python": platform.python_version(),
        "wrk": wrk[1] if len(wrk) > 1 else "unknown",
        "nginx": nginx.strip().rpartition("/")[2],
    }


def machine() -> dict[str, Any]:
    """What was measured on, without names."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory_mib": int(memory[1]) // 1024 if memory else 0,
        "kernel": platform.release(),
    }


def nginx_program() -> str:
    """Where nginx is: Debian keeps it out of an ordinary user's PATH."""
    return shutil.which("nginx") or "/usr/sbin/nginx"


# -- running a server --------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(what: str, address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until `address` takes connections."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        family = socket.AF_UNIX if address.startswith("/") else socket.AF_INET
        target = address if address.startswith("/") else ("127.0.0.1", int(address.rpartition(":")[2]))
        with socket.socket(family) as sock:
            try:
                sock.connect(target)
                return
            except OSError:
                time.sleep(0.02)
    raise RuntimeError(f"{what} does not answer:\n{log.read_text()[-2000:]}")


class Running:
    """A server's processes, found by a mark in their environment."""

    def __init__(self, server: Server, scenario: Scenario, address: str) -> None:
        command = server.command(scenario)
        assert command is not None
        self.mark = uuid.uuid4().hex
        self.log = WORK / f"{server.name}.log"
        module, folder = ("hello", HERE / "apps") if scenario != "django" else ("penstock.demo.site.wsgi", WORK)
        environment = {
            **os.environ,
            MARK: self.mark,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            **(demo_environment() if scenario == "django" else {}),
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", "1" if (os.cpu_count() or 1) > 1 else "0", *command(BIN, module, folder, address)],
                env=environment,
                cwd=WORK,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        try:
            wait_for(server.name, address, self.process, self.log)
        except RuntimeError:
            self.stop()
            raise

    def pids(self) -> list[int]:
        """Every living process of the server."""
        found = []
        mark = f"{MARK}={self.mark}".encode()
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if mark in Path(f"/proc/{entry}/environ").read_bytes():
                    found.append(int(entry))
            except OSError:
                continue
        return found

    def cpu_us(self) -> float:
        """User and system time of every process so far."""
        total = 0
        for pid in self.pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])
        return total * TICK_US

    def memory_mib(self) -> float:
        """Proportional set size of every process."""
        total = 0
        for pid in self.pids():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            if match := re.search(r"^Pss:\s+(\d+)", text, re.M):
                total += int(match[1])
        return total / 1024

    def stop(self) -> None:
        """End it: politely, then not."""
        for number in (signal.SIGINT, signal.SIGKILL):
            for pid in self.pids():
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                continue
            if not self.pids():
                return


@contextmanager
def nginx_before(path: str) -> Iterator[str]:
    """An nginx that passes everything to the unix socket `path`; its address."""
    address = f"127.0.0.1:{free_port()}"
    folder = WORK / "nginx"
    folder.mkdir(exist_ok=True)
    places = "".join(
        f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "uwsgi", "fastcgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"""daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
{"user root;" if os.getuid() == 0 else ""}
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000000; {places}
  server {{ listen {address}; location / {{ include /etc/nginx/uwsgi_params; uwsgi_pass unix:{path}; }} }} }}
"""
    )
    log = folder / "stderr"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            ["taskset", "-c", "0", nginx_program(), "-p", str(folder), "-c", str(folder / "nginx.conf")],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
        )
    try:
        wait_for("nginx", address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def demo_environment() -> dict[str, str]:
    """What the bundled Django project needs to be served by anybody."""
    return {"DJANGO_SETTINGS_MODULE": "penstock.demo.site.settings", "PENSTOCK_DEMO_DIR": str(WORK / "demo")}


# -- measuring ---------------------------------------------------------------------------------------------------------


def wrk(url: str, seconds: float, *, close: bool) -> tuple[float, int, float, int]:
    """Load `url`; (requests a second, requests, 99th percentile in ms, errors)."""
    command = ["taskset", "-c", "0", "wrk", "-t", "1", "-c", "64", "-d", f"{seconds:g}s", "--latency"]
    command += ["-H", "Connection: close"] if close else []
    text = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout

    def number(pattern: str) -> float:
        match = re.search(pattern, text)
        return float(match[1]) if match else 0.0

    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
    errors += int(number(r"Non-2xx or 3xx responses: (\d+)"))
    latency = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    p99 = float(latency[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[latency[2]] if latency else 0.0
    return number(r"Requests/sec:\s+([\d.]+)"), int(number(r"(\d+) requests in")), p99, errors


def measure(server: Server, scenario: Scenario, seconds: float) -> Sample:
    """Start `server`, load it, stop it."""
    path = "/" if scenario != "django" else DJANGO_PAGE
    if scenario == "nginx":
        address = str(WORK / "app.sock")
        Path(address).unlink(missing_ok=True)
    else:
        address = f"127.0.0.1:{free_port()}"
    running = Running(server, scenario, address)
    try:
        if scenario == "nginx":
            with nginx_before(address) as front:
                return load(running, f"http://{front}{path}", seconds, close=False)
        return load(running, f"http://{address}{path}", seconds, close=scenario == "close")
    finally:
        running.stop()


def load(running: Running, url: str, seconds: float, *, close: bool) -> Sample:
    """Check that `url` answers, warm it up, measure."""
    with urllib.request.urlopen(url, timeout=20) as response:
        assert response.status == 200 and response.read(), url
    wrk(url, min(1.0, seconds), close=close)
    before = running.cpu_us()
    rate, count, p99, errors = wrk(url, seconds, close=close)
    cpu = running.cpu_us() - before
    return Sample(rate, cpu / count if count else 0.0, p99, running.memory_mib(), errors)


DJANGO_PAGE = "/entries/"


def prepare_demo() -> None:
    """Give the bundled Django project its database."""
    run_quietly([BIN / "python", "-m", "penstock.demo", "prepare"], cwd=WORK, env={**os.environ, **demo_environment()})


# -- the report --------------------------------------------------------------------------------------------------------


def median(samples: Iterable[Sample]) -> dict[str, float]:
    """Each value's own median."""
    rows = list(samples)
    return {
        name: round(statistics.median(getattr(row, name) for row in rows), 3)
        for name in ("rate", "cpu_us", "p99_ms", "memory_mib", "errors")
    }


def table(results: dict[Scenario, dict[str, dict[str, float]]], versions_found: dict[str, str]) -> str:
    """The results as Markdown: for each scenario one table, Penstock first, ratios against it."""
    notes = {server.name: server.notes for server in SERVERS}
    lines: list[str] = []
    for scenario, rows in results.items():
        lines += [f"**{TITLES[scenario]}**", ""]
        lines += ["| server | requests/s | of Penstock's | CPU for each request | of Penstock's | p99 | memory |"]
        lines += ["|---|--:|--:|--:|--:|--:|--:|"]
        own = rows.get("penstock")
        for name, row in sorted(rows.items(), key=lambda item: -item[1]["rate"]):
            rate = f"{row['rate'] / own['rate']:.2f}" if own else ""
            cpu = f"{row['cpu_us'] / own['cpu_us']:.2f}" if own and own["cpu_us"] else ""
            note = f" ({notes[name][scenario]})" if notes.get(name, {}).get(scenario) else ""
            if row["errors"]:
                note += f" ({row['errors']:.0f} errors)"
            lines.append(
                f"| {name} {versions_found.get(name, '')}{note} | {row['rate']:,.0f} | {rate} "
                f"| {row['cpu_us']:,.1f} us | {cpu} | {row['p99_ms']:.2f} ms | {row['memory_mib']:.0f} MiB |"
            )
        lines.append("")
    return "\n".join(lines).rstrip()


def write_readme(text: str, facts: dict[str, Any]) -> None:
    """Put the tables between the markers of README.md."""
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    machine_facts, found = facts["machine"], facts["versions"]
    intro = (
        f"Measured {facts['date']} on {machine_facts['cpu']}, {machine_facts['cores']} cores, "
        f"Linux {machine_facts['kernel']}, CPython {found['python']}, nginx {found['nginx']}, wrk {found['wrk']}: "
        f"one process on one core, 64 connections, medians of {facts['rounds']} alternating rounds of "
        f"{facts['seconds']:g} s."
    )
    readme.write_text(f"{before}{BEGIN}\n{intro}\n\n{text}\n{END}{after}")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Penstock and its peers in turn on the same apps")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--quick", action="store_true", help="one round of one second, to see that it works")
    parser.add_argument("--servers", default=",".join(server.name for server in SERVERS))
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    parser.add_argument("--no-build", action="store_true", help="use the wheel that is installed")
    parser.add_argument("--write-readme", action="store_true")
    found = parser.parse_args(arguments)
    if found.quick:
        found.rounds, found.seconds = 1, 1.0
    return found


def main(arguments: Sequence[str]) -> int:
    """Run it; 1 if Penstock itself could not be measured."""
    wanted = parse(arguments)
    names = wanted.servers.split(",")
    servers = prepare([server for server in SERVERS if server.name in names], build=not wanted.no_build)
    scenarios = [scenario for scenario in SCENARIOS if scenario in wanted.scenarios.split(",")]
    if "django" in scenarios:
        prepare_demo()
    samples: dict[Scenario, dict[str, list[Sample]]] = {scenario: {} for scenario in scenarios}
    for number in range(1, wanted.rounds + 1):
        for scenario in scenarios:
            for server in servers:
                if server.command(scenario) is None:
                    continue
                try:
                    sample = measure(server, scenario, wanted.seconds)
                except (RuntimeError, OSError, AssertionError) as error:
                    say(f"round {number}  {scenario:10}  {server.name:9}  failed: {error}")
                    continue
                samples[scenario].setdefault(server.name, []).append(sample)
                say(
                    f"round {number}  {scenario:10}  {server.name:9}  {sample.rate:10,.0f} /s  "
                    f"{sample.cpu_us:8.1f} us  {sample.memory_mib:6.0f} MiB"
                    + (f"  {sample.errors} errors" if sample.errors else "")
                )
    results = {
        scenario: {name: median(rows) for name, rows in by_server.items()} for scenario, by_server in samples.items()
    }
    found = versions()
    text = table(results, found)
    facts = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "versions": found,
        "rounds": wanted.rounds,
        "seconds": wanted.seconds,
    }
    print(f"\n{text}\n")
    if not wanted.quick:
        target = HERE / "results" / f"{facts['date']}.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps({**facts, "results": results}, indent=1) + "\n")
        say(f"wrote {target.relative_to(ROOT)}")
        if wanted.write_readme:
            write_readme(text, facts)
            say("wrote the tables into README.md")
    return 0 if all("penstock" in rows for rows in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
