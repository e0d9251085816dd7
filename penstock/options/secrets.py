"""What of a value is not shown to whoever looks at a configuration: passwords in it.

A report is pasted into tickets and chats; the file itself is not. What is meant is recognised by its form: a variable
whose name says so, the password of `basicauth`, the password in a URL.
"""

from __future__ import annotations

import re
from typing import Any

from penstock.options.known import known_names
from penstock.options.table import BY_NAME

HIDDEN = "***"

_SECRET_NAME = r"(?i)(SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|PRIVATE|(^|_)(API_?)?KEY(_|$)|(^|_)PASS(_|$))"
_BASIC = r"(\bbasicauth(?:-next)?:[^,]*,[^:,\s]*:)(.+)"
_IN_URL = r"(://[^/\s:@]*:)[^@/\s]+(?=@)"


def is_secret_name(name: str) -> bool:
    """Tell whether a variable of this name holds a secret."""
    return re.search(_SECRET_NAME, name) is not None


def without_secrets(text: str) -> str:
    """Hide the passwords of a text whose form shows them.

    >>> without_secrets("^/x basicauth:Admins,joe:pw"), without_secrets("postgres://joe:pw@db/shop")
    ('^/x basicauth:Admins,joe:***', 'postgres://joe:***@db/shop')
    """
    if ":" not in text:
        return text
    return re.sub(_IN_URL, rf"\g<1>{HIDDEN}", re.sub(_BASIC, rf"\g<1>{HIDDEN}", text))


def shown(key: str, value: Any) -> Any:
    """Give the value of an option as a report shows it; `key` is the option's name or one of its aliases.

    >>> shown("env", "SECRET_KEY=abc"), shown("env", "LANG=C"), shown("processes", 4), shown("db_password", "abc")
    ('SECRET_KEY=***', 'LANG=C', 4, '***')
    """
    if not isinstance(value, str):
        return value
    if key not in BY_NAME and key not in known_names() and is_secret_name(key.replace("-", "_")):
        # A variable of the user's own, for placeholders.
        return HIDDEN
    name, equals, _ = value.partition("=")
    if key in ("env", "http-var") and equals and is_secret_name(name):
        return f"{name}={HIDDEN}"
    return without_secrets(value)


def plan_without_secrets(value: Any) -> Any:
    """Hide the passwords in a plan that was made a JSON value."""
    if isinstance(value, dict):
        made = {key: plan_without_secrets(part) for key, part in value.items()}
        for key in ("environment", "options"):
            if key in made:
                made[key] = [_pair(key, part) for part in made[key]]
        if str(made.get("action", "")).startswith("basicauth"):
            made["arguments"] = [made["arguments"][0], *map(_password, made["arguments"][1:])]
        return made
    if isinstance(value, (list, tuple)):
        return [plan_without_secrets(part) for part in value]
    return without_secrets(value) if isinstance(value, str) else value


def _pair(field: str, pair: Any) -> Any:
    name, value = pair
    if field == "options":
        return [name, shown(name, value)]
    return [name, HIDDEN if value is not None and is_secret_name(name) else value]


def _password(template: Any) -> Any:
    """Of `USER:PASSWORD` in a rule, made of texts and variables, only the user is shown."""
    first = template[0][1].partition(":")[0] if template and template[0][0] == "text" else ""
    return [["text", f"{first}:{HIDDEN}"]]
