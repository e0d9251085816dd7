"""Measure Penstock and its peers in turn, case by case, and set what was reached beside what was aimed at.

    python -m benchmarks.run [--cases a,b] [--servers a,b] [--rounds N] [--seconds S] [--quick] [--no-build]
                             [--write-readme] [--commands DIR] [--output DIR]

A round of a case measures every server once, each time in another order, so that what the machine does meanwhile meets
all of them. A server is started anew for each measurement. CPU time for each request is the figure to trust: the rate
also shows where the load generator ends.

Reading order: cases.py (what), servers.py (who), measure.py (how), report.py (what it says).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import report
from benchmarks.cases import CASES, OWN, Case, Entry
from benchmarks.measure import Failed, Sample, allow_many_files, measure
from benchmarks.prepare import BIN, HERE, ROOT, WORK, everything, machine, versions
from benchmarks.servers import SERVERS, CanNot


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    cases: tuple[Case, ...]
    servers: frozenset[str] | None
    """None for those that each case names."""
    rounds: int
    seconds: float
    quick: bool
    build: bool
    commands: Path
    """Directory of the installed servers."""
    output: Path | None
    """Directory for the results, None for the usual ones."""
    write_readme: bool

    @property
    def is_whole(self) -> bool:
        """Whether the result is one to keep: all cases with their own peers."""
        return len(self.cases) == len(CASES) and self.servers is None and not self.quick

    def entries(self, case: Case) -> tuple[Entry, ...]:
        """Who is measured in `case`: those it names, or, if servers are named, exactly these."""
        if self.servers is None:
            return case.entries
        known = tuple(entry for entry in case.entries if entry.server in self.servers)
        there = {entry.server for entry in known}
        return known + tuple(Entry(name, "was asked for") for name in SERVERS if name in self.servers - there)


def say(text: str) -> None:
    """Progress, at once."""
    print(text, flush=True)


def parse(arguments: Sequence[str]) -> Wanted:
    """Read the command line; ends the program at a mistake in it."""
    parser = argparse.ArgumentParser(prog="benchmarks.run", description="Penstock and its peers in turn")
    parser.add_argument("--cases", help=f"some of: {', '.join(CASES)}")
    parser.add_argument("--servers", help=f"instead of each case's own peers, some of: {', '.join(SERVERS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of load in a measurement; some cases take longer")
    parser.add_argument("--quick", action="store_true", help="one round of one second, to see that it works")
    parser.add_argument("--no-build", action="store_true", help="use the wheel that is installed")
    parser.add_argument("--commands", type=Path, default=BIN, help="measure what is installed here, and build nothing")
    parser.add_argument("--output", type=Path, help="directory for the results")
    parser.add_argument("--write-readme", action="store_true", help="put the headline cases into README.md")
    found = parser.parse_args(arguments)
    for names, known, what in ((found.cases, CASES, "case"), (found.servers, SERVERS, "server")):
        for name in (names or "").split(",") if names else []:
            if name not in known:
                parser.error(f"there is no {what} {name!r}; there are: {', '.join(known)}")
    if found.rounds < 1 or found.seconds < 1:
        parser.error("--rounds and --seconds have to be at least 1")
    cases = [CASES[name] for name in found.cases.split(",")] if found.cases else list(CASES.values())
    return Wanted(
        cases=tuple(cases),
        servers=frozenset(found.servers.split(",")) if found.servers else None,
        rounds=1 if found.quick else found.rounds,
        seconds=1.0 if found.quick else found.seconds,
        quick=found.quick,
        build=not found.no_build,
        commands=found.commands.absolute(),
        output=found.output,
        write_readme=found.write_readme,
    )


def run_case(case: Case, wanted: Wanted, missing: Mapping[str, str]) -> dict[str, report.Row]:
    """All rounds of one case."""
    entries = wanted.entries(case)
    rows = {entry.name: report.Row(entry.server) for entry in entries}
    for entry in entries:
        rows[entry.name].cannot = missing.get(entry.server) or case.cannot.get(entry.server, "")
    for number in range(min(wanted.rounds, case.most_rounds or wanted.rounds)):
        # Nobody is always the one that runs after the slowest.
        turn = number % len(entries)
        for entry in (*entries[turn:], *entries[:turn]):
            row = rows[entry.name]
            if row.cannot:
                continue
            try:
                sample, problem = measure(case, entry, wanted.seconds * case.seconds, wanted.commands)
            except CanNot as error:
                row.cannot = str(error)
                say(f"  {entry.name}: {error}")
                continue
            except (Failed, RuntimeError, OSError) as error:
                row.rounds.append(None)
                row.problems.append(str(error))
                say(f"  round {number + 1}  {entry.name:22}  failed: {error}")
                continue
            row.rounds.append(sample)
            row.problems += [problem] if problem else []
            say(f"  round {number + 1}  {entry.name:22}  {line(case, sample)}{f'  ({problem})' if problem else ''}")
    return rows


def line(case: Case, sample: Sample) -> str:
    """One measurement in one line."""
    return "  ".join(
        f"{report.NAMES[metric]} {report.amount(metric, sample[metric])}"
        for metric in report.columns(case)
        if metric in sample
    )


def main(arguments: Sequence[str]) -> int:
    """Run it; 1 if Penstock itself could not be measured in every case."""
    wanted = parse(arguments)
    began_s = time.monotonic()
    allow_many_files()
    names = {entry.server for case in wanted.cases for entry in wanted.entries(case)} | {OWN}
    missing = everything(sorted(names), wanted.commands, say, build=wanted.build)
    facts = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(wanted.commands, built=wanted.build and wanted.commands == BIN),
        "rounds": wanted.rounds,
        "seconds": wanted.seconds,
    }
    cases = {case.name: case for case in wanted.cases}
    results: dict[str, dict[str, report.Row]] = {}
    for case in wanted.cases:
        say(f"{case.name}: {case.title}")
        results[case.name] = run_case(case, wanted, missing)
    took = {"took_s": round(time.monotonic() - began_s)}
    text = report.document(results, cases, facts)
    print(f"\n{text}")
    folder = (wanted.output or (HERE / "results" if wanted.is_whole else WORK / "results")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{facts['date']}.json"
    target.write_text(json.dumps({**report.as_json(results, cases, {**facts, **took})}, indent=1) + "\n")
    target.with_suffix(".md").write_text(text)
    say(f"wrote {target} and the same as .md, {took['took_s']} s after the start")
    if wanted.write_readme:
        readme = ROOT / "README.md"
        link = os.path.relpath(target.with_suffix(".md"), ROOT)
        readme.write_text(report.between_marks(readme.read_text(), report.headlines(results, cases, facts, link)))
        say("wrote the headline cases into README.md")
    measured = [rows for rows in results.values() if OWN in rows and any(rows[OWN].rounds)]
    return 0 if len(measured) == len(results) or (wanted.servers is not None and OWN not in wanted.servers) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
