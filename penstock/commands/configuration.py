"""The configuration that a command is about: the same words that a start takes, and the same environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from penstock.config.argv import Positional, parse_argv
from penstock.config.collect import Sources
from penstock.config.environment import parse_environment
from penstock.config.files import STANDARD_INPUT, FileReader
from penstock.config.surroundings import NowhereError, Surroundings

CAN_NOT_LOOK = 2


def take_flags(arguments: Sequence[str], *flags: str) -> tuple[list[str], set[str]]:
    """Separate a command's own flags from what a start would take; behind `--` there are none."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words = [word for word in arguments[:end] if word not in flags] + list(arguments[end:])
    return words, {word for word in arguments[:end] if word in flags}


def sources(words: Sequence[str]) -> Sources | None:
    """Find where the configuration is to be read from; None if nothing is named and the environment has nothing.

    Ends the command where there is no directory to read from.

    A file that is to be looked at need not be trusted: commands whose output it wants are not run.
    """
    environ = dict(os.environ)
    parsed = parse_argv(_with_standard_input(words))
    if not parsed and not parse_environment(environ):
        return None
    try:
        surroundings = Surroundings.here()
    except NowhereError as error:
        sys.stderr.write(f"[penstock] error: {error}\n")
        raise SystemExit(CAN_NOT_LOOK) from error
    return Sources(parsed, environ, surroundings, FileReader(surroundings.cwd, runs_commands=False))


def _with_standard_input(words: Sequence[str]) -> list[str]:
    """A lone `-` is an ini file on standard input, unless an option before it takes it as its value."""
    lone = any(isinstance(word, Positional) and word.word == STANDARD_INPUT for word in parse_argv(words))
    if not lone:
        return list(words)
    index = next(
        index
        for index, word in enumerate(words)
        if word == STANDARD_INPUT
        and any(isinstance(each, Positional) and each.word == STANDARD_INPUT for each in parse_argv(words[: index + 1]))
    )
    return [*words[:index], "--ini", STANDARD_INPUT, *words[index + 1 :]]
