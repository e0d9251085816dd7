"""Regular expressions of options, checked before anything starts.

The engine says what it can use. Where it can not be loaded (a configuration checked by another Python), Python's own
`re` judges instead: it differs in rarities, and nothing can be served there anyway.
"""

from __future__ import annotations

import re

from penstock.config.settings import Setting
from penstock.plan.context import Context

CURE = "correct it; a character that has a meaning in patterns is taken literally behind a backslash: \\."


def check(context: Context, setting: Setting, pattern: str, shown: str = "") -> bool:
    """Whether the pattern can be used; if not, that is an error of the setting that it stands in.

    `shown`: what is quoted of its value, if not all of it.
    """
    problem = problem_of(pattern)
    if problem is not None:
        message = f"{setting.option.name} = {shown or setting.value}: {pattern!r} is no regular expression: {problem}"
        context.error("bad-pattern", message, setting.origin, CURE)
    return problem is None


def problem_of(pattern: str) -> str | None:
    """What is wrong with a regular expression; None if nothing is."""
    try:
        # Not with this module: few configurations have patterns, and a broken engine must not keep the rest from being
        # checked.
        from penstock._engine import check_pattern
    except ImportError:
        return problem_without_engine(pattern)
    return check_pattern(pattern)


def problem_without_engine(pattern: str) -> str | None:
    """What Python's own parser objects to, with the two spellings that only the engine knows."""
    known = re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", pattern)
    known = re.sub(r"\[:(alpha|digit|alnum|upper|lower|space|punct|xdigit|word):\]", "a", known)
    try:
        re.compile(known.encode())
    except (re.error, RecursionError, OverflowError) as error:
        return str(error)
    return None
