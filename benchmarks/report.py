"""From samples to tables: medians with their spread, and each target beside what was reached. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks import figures
from benchmarks.cases import HEADLINES, OWN, RISES, Against, Case, Idle, Limit, Memory, Open, Startup, Target

BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"


@dataclass
class Row:
    """One server's rounds in one case."""

    server: str
    rounds: list[Mapping[str, float] | None] = field(default_factory=list)
    """None for a round that failed."""
    cannot: str = ""
    """Why the server has no rounds."""
    problems: list[str] = field(default_factory=list)
    """What went wrong, in the order of the rounds."""

    def values(self, metric: str) -> list[float | None]:
        """One for each round."""
        return [sample.get(metric) if sample is not None else None for sample in self.rounds]

    def known(self, metric: str) -> list[float]:
        return [value for value in self.values(metric) if value is not None]

    def median(self, metric: str) -> float | None:
        known = self.known(metric)
        return statistics.median(known) if known else None

    @property
    def streams(self) -> bool:
        """False only for a server that was seen to keep the pieces of a response back."""
        return self.median("streams") != 0


Rows = Mapping[str, Row]


@dataclass(frozen=True)
class Verdict:
    """A target beside what was reached."""

    target: str
    reached: str
    met: bool | None
    """None if it can not be said, because somebody was not measured."""

    @property
    def word(self) -> str:
        return {True: "yes", False: "**no**", None: "?"}[self.met]


# -- words -------------------------------------------------------------------------------------------------------------

NAMES = {
    "cpu_us": "CPU for each request",
    "rate": "requests/s",
    "p50_ms": "p50",
    "p99_ms": "p99",
    "memory_mib": "memory",
    "fast_p50_ms": "p50 of the fast",
    "fast_p99_ms": "p99 of the fast",
    "fast_max_ms": "longest of the fast",
    "waited": "fast that waited over 50 ms",
    "late_p99_ms": "generator's own delay, p99",
    "startup_s": "to the first 200",
    "idle_mib": "idle",
    "after_mib": "after load",
    "master_mib": "master, idle",
    "growth_mib": "more than before",
    "open": "still open",
}


def columns(case: Case) -> tuple[str, ...]:
    """The metrics that a case's table shows, the most telling one first."""
    match case.load:
        case Open():
            return ("fast_p99_ms", "fast_p50_ms", "fast_max_ms", "waited", "cpu_us", "late_p99_ms")
        case Startup():
            return ("startup_s",)
        case Memory():
            return ("idle_mib", "after_mib", "master_mib")
        case Idle():
            return ("growth_mib", "open")
        case _:
            return ("cpu_us", "rate", "p50_ms", "p99_ms", "memory_mib")


def amount(metric: str, value: float) -> str:
    """A value with its unit, in as many digits as mean something."""
    if metric.endswith("_us"):
        return f"{value / 1000:.2f} ms" if value >= 1000 else f"{value:.1f} us"
    if metric.endswith("_ms"):
        return f"{value:.2f} ms" if value < 100 else f"{value:.0f} ms"
    if metric.endswith("_mib"):
        return f"{value:.1f} MiB"
    if metric.endswith("_s"):
        return f"{value:.2f} s"
    return f"{value:,.0f}" + ("/s" if metric == "rate" else "")


def with_spread(row: Row, metric: str) -> str:
    """The median, and the spread where there are rounds enough to have one."""
    value = row.median(metric)
    if value is None:
        return ""
    return amount(metric, value) + (f" ±{figures.spread(row.known(metric)):.0%}" if len(row.known(metric)) > 1 else "")


def bound(at_most: float | None, at_least: float | None) -> str:
    return f"at most {at_most:g}" if at_most is not None else f"at least {at_least:g}"


def keeps(value: float, at_most: float | None, at_least: float | None) -> bool:
    return (at_most is None or value <= at_most) and (at_least is None or value >= at_least)


# -- verdicts ----------------------------------------------------------------------------------------------------------


def best(rows: Rows, metric: str, besides: str) -> str | None:
    """The name of the peer with the best median: no floor, no variant of Penstock, nobody who keeps pieces back."""
    found = {
        name: value
        for name, row in rows.items()
        if name != besides and row.server not in (OWN, "floor", "nginx") and row.streams
        if (value := row.median(metric)) is not None
    }
    if not found:
        return None
    return (max if metric in RISES else min)(found, key=lambda name: found[name])


def judge(target: Target, rows: Rows) -> Verdict:
    """Compare what was reached with `target`."""
    name = NAMES.get(target.metric, target.metric)
    if isinstance(target, Limit):
        return _judge_limit(target, name, rows)
    if isinstance(target, Against):
        words = f"{name}: {bound(target.at_most, target.at_least)} x {target.peer}'s"
        words += f" ({target.why})" if target.why else ""
        subject, peer = OWN, target.peer
    else:
        subject = target.subject
        peer = target.peer or best(rows, target.metric, subject) or ""
        words = f"{name}: not worse than {target.peer or 'any peer'}'s beyond the spread"
    own, other = rows.get(subject), rows.get(peer)
    ratio = figures.paired(own.values(target.metric), other.values(target.metric)) if own and other else None
    if ratio is None:
        unmeasured = [
            name or "any peer"
            for name, row in ((subject, own), (peer, other))
            if not row or not row.known(target.metric)
        ]
        return Verdict(words, f"without {' and '.join(unmeasured) or 'a common round'}", None)
    reached = f"{ratio.value:.2f} x {peer}'s, ±{ratio.spread:.0%}"
    if isinstance(target, Against):
        return Verdict(words, reached, keeps(ratio.value, target.at_most, target.at_least))
    if target.metric in RISES:
        return Verdict(words, reached, ratio.value >= 1 - ratio.spread)
    return Verdict(words, reached, ratio.value <= 1 + ratio.spread)


def _judge_limit(target: Limit, name: str, rows: Rows) -> Verdict:
    limit = target.at_most if target.at_most is not None else target.at_least
    assert limit is not None
    words = f"{name}: {'at most' if target.at_most is not None else 'at least'} {amount(target.metric, limit)}"
    value = rows[OWN].median(target.metric) if OWN in rows else None
    if value is None:
        return Verdict(words, "was not measured", None)
    return Verdict(words, with_spread(rows[OWN], target.metric), keeps(value, target.at_most, target.at_least))


# -- tables ------------------------------------------------------------------------------------------------------------


def target_table(results: Mapping[str, Rows], cases: Mapping[str, Case]) -> str:
    """Every target of the measured cases beside what was reached."""
    lines = ["| case | target | reached | met |", "|---|---|---|---|"]
    for name, rows in results.items():
        for target in cases[name].targets:
            verdict = judge(target, rows)
            lines.append(f"| {name} | {verdict.target} | {verdict.reached} | {verdict.word} |")
    return "\n".join(lines)


def case_table(case: Case, rows: Rows, versions: Mapping[str, str]) -> str:
    """One case: everybody's medians, the best of the first column first, with what went wrong."""
    shown = columns(case)
    lines = [f"### {case.name}: {case.title}", ""]
    lines += ["| server | " + " | ".join(NAMES[metric] for metric in shown) + " | of Penstock's |"]
    lines += ["|---|" + "--:|" * (len(shown) + 1)]
    own = rows.get(OWN)
    measured = {name: row for name, row in rows.items() if row.known(shown[0])}
    for name, row in sorted(measured.items(), key=lambda item: item[1].median(shown[0]) or 0.0):
        cells = [with_spread(row, metric) for metric in shown]
        ratio = figures.paired(row.values(shown[0]), own.values(shown[0])) if own else None
        version = versions.get(row.server, "")
        title = f"{name} {version}".strip() if name == row.server else name
        lines.append(f"| {title} | " + " | ".join(cells) + f" | {f'{ratio.value:.2f}' if ratio else ''} |")
    remarks = [remark for name, row in rows.items() for remark in _remarks(name, row)]
    return "\n".join([*lines, *(["", *remarks] if remarks else [])])


def _remarks(name: str, row: Row) -> list[str]:
    """What a reader has to know about a row."""
    found = [f"- {name} {row.cannot}."] if row.cannot else []
    if not row.streams:
        found.append(f"- {name} keeps pieces back until the response is complete, and is not compared.")
    if row.problems:
        lines = row.problems[0].strip().splitlines()
        found.append(
            f"- {name}: {len(row.problems)} of its rounds had problems, the first: {lines[-1] if lines else ''}"
        )
    return found


def introduction(facts: Mapping[str, Any]) -> str:
    """When, where and with what."""
    machine, versions = facts["machine"], facts["versions"]
    return (
        f"Measured {facts['date']} on {machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, "
        f"CPython {versions['python']}, nginx {versions['nginx']}, wrk {versions['wrk']}; medians of "
        f"{facts['rounds']} alternating rounds of {facts['seconds']:g} s or more."
    )


def document(results: Mapping[str, Rows], cases: Mapping[str, Case], facts: Mapping[str, Any]) -> str:
    """The whole report as Markdown."""
    versions = facts["versions"]
    parts = [
        f"# Penstock and its peers, {facts['date']}",
        f"{introduction(facts)} Commit {versions['commit']}, load before the run {facts['machine']['load_before']}.",
        "CPU is user and system time of all of a server's processes. ± is half the distance between the quartiles of "
        "the rounds. Ratios are medians of the rounds' own ratios: in a round both servers meet the same machine. "
        "Unless a case says otherwise: one process with one app thread on one core, the load generator on another, "
        "64 connections, no request log.",
        "## Targets",
        target_table(results, cases),
        "## Cases",
        *(case_table(cases[name], rows, versions) for name, rows in results.items()),
    ]
    return "\n\n".join(parts) + "\n"


def headlines(results: Mapping[str, Rows], cases: Mapping[str, Case], facts: Mapping[str, Any], link: str) -> str:
    """The README's short table: one line for each headline case, Penstock and its peers, best first."""
    lines = [introduction(facts), "", "| case | measured | Penstock | peers |", "|---|---|--:|---|"]
    for name in HEADLINES:
        rows = results.get(name)
        if not rows or OWN not in rows:
            continue
        metric = columns(cases[name])[0]
        own = rows[OWN].median(metric)
        peers = sorted(
            (value, row.server)
            for row in rows.values()
            if row.server != OWN and (value := row.median(metric)) is not None
        )
        if own is None:
            continue
        others = ", ".join(f"{server} {amount(metric, value)}" for value, server in peers)
        lines.append(f"| {cases[name].title} | {NAMES[metric]} | {amount(metric, own)} | {others} |")
    return "\n".join([*lines, "", f"All cases, with what was aimed at: [{link}]({link})."])


def between_marks(readme: str, text: str) -> str:
    """`readme` with `text` in the place of its benchmark section. Raises ValueError if it has none."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} ... {END} in the README")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


# -- JSON --------------------------------------------------------------------------------------------------------------


def as_json(results: Mapping[str, Rows], cases: Mapping[str, Case], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was seen, raw samples first, and what was made of it."""
    return {
        **facts,
        "cases": {
            name: {
                "title": cases[name].title,
                "targets": [
                    {"target": verdict.target, "reached": verdict.reached, "met": verdict.met}
                    for verdict in (judge(target, rows) for target in cases[name].targets)
                ],
                "servers": {
                    label: {
                        "server": row.server,
                        **({"cannot": row.cannot} if row.cannot else {}),
                        **({"problems": row.problems} if row.problems else {}),
                        "rounds": [_rounded(sample) for sample in row.rounds],
                        "median": {
                            metric: _short(value)
                            for metric in _metrics(row)
                            if (value := row.median(metric)) is not None
                        },
                        "spread": {metric: round(figures.spread(row.known(metric)), 4) for metric in _metrics(row)},
                    }
                    for label, row in rows.items()
                },
            }
            for name, rows in results.items()
        },
    }


def _metrics(row: Row) -> Sequence[str]:
    return sorted({metric for sample in row.rounds if sample is not None for metric in sample})


def _short(value: float) -> float:
    return round(value, 3)


def _rounded(sample: Mapping[str, float] | None) -> dict[str, float] | None:
    return {metric: _short(value) for metric, value in sample.items()} if sample is not None else None
