"""`penstock schema`: a JSON schema of configuration files, for editors. Made from the option table.

It describes YAML, JSON and TOML files: the section `uwsgi`, or `[tool.penstock]`, or a whole penstock.toml. A value may
always be a text with a placeholder, which only a start can fill in; keys that are no options are placeholders, and not
refused. docs/reference/penstock.schema.json is its output.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from penstock.config.convert import FALSE_WORDS, TRUE_WORDS
from penstock.options.option import Option
from penstock.options.table import OPTIONS

SUMMARY = "print a JSON schema of configuration files, for editors"
USAGE = ""

Schema = dict[str, Any]

_PLACEHOLDER: Schema = {"type": "string", "pattern": r"[$@%]\(|%[a-zA-Z0-9]"}
_ANY_TEXT: Schema = {"type": ["string", "number", "boolean", "null"]}


def _in_any_case(*words: str) -> str:
    """Make a pattern of words in small or large letters: that of a schema has no flag for it."""
    return "|".join("".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in word) for word in words)


_REST = r"(\s*|[ \t]*[;#].*|[ \t].*)"
"""A comment or words behind a value are passed over, with a warning."""
_DURATIONS = ("s", "sec", "secs", "second", "seconds", "m", "min", "mins", "minute", "minutes", "h", "hour", "hours")
_COUNT = rf"(?![ \t]*({_in_any_case('k', 'm', 'g')})\b){_REST}"
_UNITS = {
    "bytes": rf"(\s*({_in_any_case('k', 'm', 'g')})({_in_any_case('b', 'ib')})?\b)?{_REST}",
    "seconds": rf"(\s*({_in_any_case(*_DURATIONS)})\b)?{_REST}",
}


def run(arguments: Sequence[str]) -> int:
    """Print it; 1 for a word behind it."""
    if arguments:
        sys.stderr.write(f"[penstock] penstock schema takes no {arguments[0]}: it describes every configuration file\n")
        return 1
    sys.stdout.write(text())
    return 0


def text() -> str:
    """Give the schema as it is written to a file."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def schema() -> Schema:
    """Describe a whole file."""
    options = {"$ref": "#/definitions/options"}
    section = {"anyOf": [options, {"type": "array", "items": options}]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of Penstock",
        "definitions": {"options": _options(), "section": section},
        "type": "object",
        "properties": {
            "uwsgi": {"$ref": "#/definitions/section"},
            "tool": {"type": "object", "properties": {"penstock": {"$ref": "#/definitions/section"}}},
        },
        "if": {"anyOf": [{"required": ["uwsgi"]}, {"required": ["tool"]}]},
        "else": options,
    }


def _options() -> Schema:
    properties: dict[str, Schema] = {}
    for option in OPTIONS:
        if option.role == "command":
            continue
        properties[option.name] = _option(option)
        for alias in option.aliases:
            properties[alias] = {"$ref": f"#/definitions/options/properties/{option.name}"}
    return {"type": "object", "properties": dict(sorted(properties.items()))}


def _option(option: Option) -> Schema:
    described: Schema = {"description": _description(option)}
    if option.default is not None:
        described["default"] = option.default
    one = _value(option)
    if option.repeatable or option.role == "directive":
        described["anyOf"] = [*one, {"type": "array"}]
    else:
        described["anyOf"] = one
    return described


def _description(option: Option) -> str:
    if option.verdict == "not-needed":
        return f"{option.help} (accepted and not needed here: {option.note})"
    return option.help + (f" ({option.note})" if option.note else "")


def _value(option: Option) -> list[Schema]:
    """What one value may be, in the order in which an editor should offer it."""
    if option.type == "flag":
        words = sorted({*TRUE_WORDS, *FALSE_WORDS})
        spelled = {"type": "string", "pattern": rf"^({_in_any_case(*words)})(\s+[;#].*)?$"}
        return [{"type": ["boolean", "null"]}, {"enum": ["", *words, 0, 1]}, spelled, _PLACEHOLDER]
    if option.is_number:
        number: Schema = {"type": "string", "pattern": rf"^\s*[+]?[0-9]+{_UNITS.get(option.type, _COUNT)}$"}
        offers: list[Schema] = [{"enum": list(option.choices)}] if option.choices else []
        switch: list[Schema] = [{"type": ["boolean", "null"]}] if option.choices or option.optional_argument else []
        return [*offers, {"type": "integer", "minimum": 0}, number, *switch, {"type": "null"}, _PLACEHOLDER]
    if option.type in ("mode", "umask"):
        octal = {"type": "string", "pattern": rf"^0?[0-7]{{1,3}}{_REST}$"}
        return [octal, {"type": "integer", "minimum": 0}, _PLACEHOLDER]
    if option.choices:
        return [{"enum": list(option.choices)}, _PLACEHOLDER]
    if option.type in ("mapping", "assignment"):
        # In TOML a table of names and values; in the other kinds NAME=VALUE.
        table: Schema = {"type": "object", "additionalProperties": _ANY_TEXT}
        return [{"type": "string", "pattern": "="}, table, _PLACEHOLDER]
    return [_ANY_TEXT]
