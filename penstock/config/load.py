"""From everything that was collected to `Settings`: placeholders, values, slips, and what is left to say.

`load` is the way from text to `Settings`. The pairs are put in order by `collect`; here placeholders are filled in,
unknown keys are told from slips, and texts become values. All problems are collected before anything is raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from types import MappingProxyType

from penstock.config.collect import Collector, Sources
from penstock.config.convert import FALSE_WORDS, convert
from penstock.config.findings import ConfigError, ConfigExit, Finding
from penstock.config.placeholders import expand, expand_one
from penstock.config.repeated import repeated
from penstock.config.settings import Entry, Kind, Setting, Settings
from penstock.options.known import ZERO_IS_OFF, known_names
from penstock.options.suggest import nearest
from penstock.options.table import BY_NAME

__all__ = ["Sources", "load", "read"]


def load(sources: Sources) -> Settings:
    """Read a whole configuration.

    Raises ConfigError, with everything that is wrong, if it can not be used, and ConfigExit if it says so itself.
    """
    settings, exit_status = _read(sources)
    if exit_status is not None:
        raise ConfigExit(exit_status, settings.output, settings.findings)
    if any(finding.level == "error" for finding in settings.findings):
        raise ConfigError(settings.findings)
    return settings


def read(sources: Sources) -> Settings:
    """Read a whole configuration as far as it can be read; errors are among its findings, and nothing is raised."""
    return _read(sources)[0]


def _read(sources: Sources) -> tuple[Settings, int | None]:
    collector = Collector(sources)
    collector.collect()
    findings = collector.findings
    urls = collector.allows_urls
    entries, found, used, failed = expand(collector.entries, sources.environ, sources.reader, allow_urls=urls)
    known = set(findings)
    findings += [finding for finding in found if finding not in known]
    used |= collector.used
    applied: list[Entry] = []
    for entry in collector.at_once:
        filled = expand_one(entry, entries, sources.environ, sources.reader, allow_urls=urls)
        findings += filled.findings
        used |= filled.used
        if filled.value is not None:
            applied.append(Entry(entry.key, filled.value, entry.origin))
    for entry in entries:
        mine = collector.declared.get(entry.key)
        if mine is None or entry.key in BY_NAME or entry.key in known_names():
            applied.append(entry)
        elif not mine.is_immediate:
            applied += [Entry(key, value, entry.origin) for key, value in mine.pairs(entry.value)]
    refused = {finding.origin for finding in findings if finding.level == "error"}
    usable = [
        one for one in applied if (one.key, one.origin) not in failed and not (one.is_obeyed and one.origin in refused)
    ]
    settings = _convert_all(usable, findings)
    _find_overridden(settings, findings)
    findings += repeated(entries)
    strict = settings.get("strict", ())
    _find_unknown(applied, used, bool(strict and strict[-1].value), findings)
    texts = [*collector.output, *(str(one.value) for one in settings.get("print", ()))]
    kinds = tuple(collector.kinds)
    said = Settings(
        tuple(entries),
        MappingProxyType(settings),
        tuple(collector.files),
        _in_reading_order(findings),
        kinds,
        tuple(texts),
        MappingProxyType(_others(entries, collector.declared.keys(), used)),
    )
    return said, collector.exit_status


def _in_reading_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Put findings of one file in the order of its lines; files and other sources stay in the order they were met."""
    places = list(dict.fromkeys(finding.origin.name if finding.origin else "" for finding in findings))
    return tuple(
        sorted(findings, key=lambda f: (places.index(f.origin.name), f.origin.line) if f.origin else (len(places), 0))
    )


def _convert_all(entries: Sequence[Entry], findings: list[Finding]) -> dict[str, tuple[Setting, ...]]:
    """Turn every pair that is an option into its value, under the option's own name."""
    settings: dict[str, list[Setting]] = {}
    for place, entry in enumerate(entries):
        option = BY_NAME.get(entry.key)
        if option is None:
            continue
        value, found = convert(option, entry.key, entry.value, entry.origin)
        findings += found
        if value is not None:
            settings.setdefault(option.name, []).append(Setting(option, value, entry.origin, place))
    return {name: tuple(said) for name, said in settings.items()}


def _find_overridden(settings: Mapping[str, tuple[Setting, ...]], findings: list[Finding]) -> None:
    """A positional file beats the command line wherever it stands there; that surprises, so it is said."""
    for said in settings.values():
        last = said[-1]
        if last.option.repeatable or last.origin.source == "command line":
            continue
        for earlier in said[:-1]:
            if earlier.origin.source == "command line" and earlier.value != last.value:
                message = f"is overridden by {last.origin}"
                cure = "options of a file win over those before it; write --ini FILE first and the option after it"
                findings.append(Finding("warning", "overridden", message, earlier.origin, cure))


def _others(entries: Sequence[Entry], declared: Set[str], used: frozenset[str]) -> dict[str, Kind]:
    """Tell apart the keys that are no options of Penstock or uWSGI."""
    others: dict[str, Kind] = {}
    for entry in entries:
        if entry.key in BY_NAME or entry.key in known_names():
            continue
        if entry.key in declared:
            others[entry.key] = "declared"
        elif _is_placeholder(entry, used) or others.get(entry.key) == "placeholder":
            others[entry.key] = "placeholder"
        else:
            others[entry.key] = "unknown"
    return others


def _is_placeholder(entry: Entry, used: frozenset[str]) -> bool:
    """Whether `%(key)` uses it or `set` made it; `end` is no option, and closes a block all the same."""
    return entry.is_placeholder or entry.key in used or entry.key == "end"


def _find_unknown(entries: Sequence[Entry], used: frozenset[str], strict: bool, findings: list[Finding]) -> None:
    """Tell slips from placeholders: a key that is no option is one only if `%(key)` is used or `set` made it."""
    unsupported: list[Entry] = []
    for entry in entries:
        if entry.key in BY_NAME:
            continue
        if entry.key in known_names():
            if not changes_nothing(entry):
                unsupported.append(entry)
        elif not _is_placeholder(entry, used):
            guess = nearest(entry.key)
            cure = f"did you mean {guess}?" if guess else "remove it, or use it as %(" + entry.key + ")"
            findings.append(
                Finding(
                    "error" if strict else "warning",
                    "unknown-option",
                    f"there is no option {entry.key}" + ("" if strict else ", it is ignored"),
                    entry.origin,
                    cure,
                )
            )
    if unsupported:
        findings += _unsupported(unsupported)


def changes_nothing(entry: Entry) -> bool:
    """Whether an option that is not supported yet is switched off."""
    value = (entry.value or "").strip().lower()
    is_flag = known_names()[entry.key].argument == "none"
    return (is_flag and value in FALSE_WORDS) or (entry.key in ZERO_IS_OFF and value == "0")


def _unsupported(entries: Sequence[Entry]) -> Iterator[Finding]:
    """Say once for each family what options of uWSGI did that are not here, and what to use instead."""
    # Imported late: an ordinary start has no such option, and reads nothing about them.
    from penstock.options.unsupported import explain, find

    families: dict[str, list[Entry]] = {}
    for entry in entries:
        row = find(entry.key)
        if row is not None:
            families.setdefault(row.family.title, []).append(entry)
    for members in families.values():
        keys = list(dict.fromkeys(entry.key for entry in members))
        message, cure = explain(keys)
        row = find(keys[0])
        if row is not None and row.family.effect == "stops":
            yield Finding("error", "unsupported-essential", message, members[0].origin, cure)
        else:
            yield Finding("warning", "unsupported-option", message, members[0].origin, cure)
