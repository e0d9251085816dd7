"""Rules over several options, held against what was said: each broken one as a finding at the value at fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from penstock.config.findings import Finding, Origin
from penstock.config.settings import Settings
from penstock.options.rules import Rule


def broken(rules: Iterable[Rule], said: Settings) -> Iterator[Finding]:
    """Find the rules that this configuration breaks, in their order."""
    for rule in rules:
        if rule.broken(said):
            yield Finding(rule.level, rule.id, rule.why, _at_fault(rule, said), rule.fix)


def _at_fault(rule: Rule, said: Settings) -> Origin | None:
    """Where the value stands that breaks a rule; nowhere where it is missing."""
    settings = said.every(rule.about, *rule.also)
    blamed = [setting for setting in settings if rule.blames is not None and rule.blames(setting.value)]
    return (blamed or settings)[-1].origin if settings else None
