"""The table itself: every section in the order of the help, and the ways to look an option up."""

from __future__ import annotations

from types import ModuleType

from penstock.options import (
    app,
    commands,
    compatibility,
    configuration,
    gates,
    hooks,
    identity,
    lifecycle,
    logging,
    mounting,
    processes,
    programs,
    python,
    requests,
    responses,
    routing,
    scaling,
    sockets,
    static,
    stats,
    titles,
)
from penstock.options.option import Option
from penstock.values import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """Options that belong together, under one heading of the help."""

    name: str
    title: str
    options: tuple[Option, ...]


def _section(module: ModuleType) -> Section:
    return Section(module.__name__.rpartition(".")[2], module.TITLE, module.OPTIONS)


SECTIONS: tuple[Section, ...] = tuple(
    _section(module)
    for module in (
        sockets,
        app,
        mounting,
        python,
        processes,
        scaling,
        programs,
        titles,
        requests,
        responses,
        static,
        routing,
        logging,
        stats,
        lifecycle,
        gates,
        hooks,
        identity,
        configuration,
        compatibility,
        commands,
    )
)

OPTIONS: tuple[Option, ...] = tuple(option for section in SECTIONS for option in section.options)

BY_NAME: dict[str, Option] = {name: option for option in OPTIONS for name in option.names}
"""Names and aliases."""

BY_SHORT: dict[str, Option] = {option.short: option for option in OPTIONS if option.short}


def find(name: str) -> Option | None:
    """Look an option up by its name or an alias, byte for byte as uWSGI does."""
    return BY_NAME.get(name)
