"""`penstock show FILE`: what was said (Settings, with the origin of each value) and what will be done (the Plan)."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from penstock.commands import configuration
from penstock.commands.terminal import PLAIN_STYLE, Style, plain, style, width, wrap, write
from penstock.config.findings import Origin
from penstock.config.settings import Setting, Settings
from penstock.doctor.report import Report, examine
from penstock.options.configuration import BLOCK_ENDS, BLOCK_OPENERS
from penstock.options.secrets import plan_without_secrets, shown, without_secrets
from penstock.options.table import BY_NAME
from penstock.plan.machine import Machine
from penstock.plan.types import to_json_value

SUMMARY = "show what a configuration says and what would be done, with where each value comes from"
USAGE = "[--json] OPTION ... | FILE"

TEXT = """\
usage: penstock show [--json] FILE | - | OPTION ...

  penstock show app.ini         the settings and the plan that is made of them on this machine
  penstock show --json app.ini  the same for programs: {"settings": [...], "plan": {...}}

Passwords are shown as ***: those of basicauth and in URLs, and the values of variables whose name says that they are
secret. Exit status: 0, or 2 when there is no plan.
"""

NO_PLAN = 2
_UNITS = re.compile(r"_(s|bytes|count)$")
_LONGEST_LINES = 3


def run(arguments: Sequence[str]) -> int:
    """Print settings and plan; 2 when there is no plan."""
    words, flags = configuration.take_flags(arguments, "--json", "--help", "-h")
    if flags & {"--help", "-h"}:
        sys.stdout.write(TEXT)
        return 0
    sources = configuration.sources(words)
    if sources is None:
        sys.stderr.write(TEXT)
        return NO_PLAN
    report = examine(sources, Machine.here())
    write([json.dumps(as_json_value(report), indent=2)] if "--json" in flags else as_text(report, width(), style()))
    return 0 if report.plan is not None else NO_PLAN


def as_json_value(report: Report) -> dict[str, Any]:
    """Everything for programs."""
    return {
        "files": list(report.settings.files),
        "settings": [
            {"name": name, "value": shown(name, said[-1].value), "said": [_said(setting) for setting in said]}
            for name, said in report.settings.settings.items()
        ],
        "plan": None if report.plan is None else plan_without_secrets(to_json_value(report.plan)),
        "errors": [without_secrets(str(finding)) for finding in report.of("error")],
    }


def _said(setting: Setting) -> dict[str, Any]:
    place = setting.origin
    line = place.line if place.source == "file" and place.line else None
    value = shown(setting.option.name, setting.value)
    return {"value": value, "source": place.source, "name": place.name, "line": line}


def as_text(report: Report, columns: int, style: Style = PLAIN_STYLE) -> Iterator[str]:
    """Everything for people: what was said, then what would be done."""
    settings = report.settings
    yield style.heading("Settings")
    rows = [
        (f"{name} = {_value(one)}", *_place(one, said))
        for name, said in settings.settings.items()
        # What stands between them was taken or left out: of the blocks themselves nothing is left.
        if name not in BLOCK_OPENERS and name not in BLOCK_ENDS
        for one in said
    ]
    for verdict in report.verdicts:
        if verdict.word in ("not-supported", "unknown", "placeholder"):
            kind = verdict.word.replace("-", " ")
            rows.append((f"{verdict.name} = {verdict.value}", f"{verdict.origin}, {kind}", False))
    left = min(max((len(plain(text)) for text, _, _ in rows), default=0), columns // 2)
    for text, note, counts in rows:
        shown = plain(text)
        gap = " " * (max(left - len(shown), 0) + 3)
        yield f"  {shown if counts else style.mark('dim', shown)}{gap}{style.mark('dim', plain(note))}"
    yield ""
    if report.plan is None:
        yield style.mark("error", "There is no plan")
        for finding in report.of("error"):
            yield from wrap(plain(without_secrets(str(finding))), columns, "    ", "  ")
        return
    yield style.heading("Plan")
    value = plan_without_secrets(to_json_value(report.plan))
    # Both say again what stands above.
    del value["notes"], value["app"]["options"]
    yield from _nested(value, settings, "  ", style)


def _place(setting: Setting, said: Sequence[Setting]) -> tuple[str, bool]:
    """Where a value was written, and whether it counts."""
    counts = setting.option.repeatable or setting is said[-1]
    return (str(setting.origin) if counts else f"{setting.origin}, overridden", counts)


def _value(setting: Setting) -> str:
    value, option = setting.value, setting.option
    if isinstance(value, bool):
        return "true" if value else "false"
    shown_value = shown(option.name, value)
    return f"{value:03o}" if option.type in ("mode", "umask") and isinstance(value, int) else str(shown_value)


def _nested(value: Mapping[str, Any], settings: Settings, indent: str, style: Style) -> Iterator[str]:
    """A part of the plan, one field a line; the place where an option of the same name was set stands behind it."""
    for name, part in value.items():
        # The processes that limit-nproc allows are not the workers.
        origin = _origin_of(name, settings) if "address_space_bytes" not in value else None
        note = style.mark("dim", f"   ({plain(str(origin))})") if origin is not None else ""
        label = style.name(name)
        if isinstance(part, Mapping):
            yield f"{indent}{label}:"
            yield from _nested(part, settings, indent + "  ", style)
        elif isinstance(part, Sequence) and not isinstance(part, str) and part:
            yield f"{indent}{label}:{note}"
            for item in part:
                yield from _item(item, settings, indent + "  ", style)
        else:
            yield f"{indent}{label}: {_leaf(name, part)}{note}"


def _item(item: Any, settings: Settings, indent: str, style: Style) -> Iterator[str]:
    if isinstance(item, Mapping):
        lines = list(_nested(item, settings, indent + "  ", style))
        yield f"{indent}- {lines[0].strip()}"
        yield from lines[1:]
    elif isinstance(item, Sequence) and not isinstance(item, str):
        yield f"{indent}- {plain(' = '.join('' if part is None else str(part) for part in item))}"
    else:
        yield f"{indent}- {plain(str(item))}"


def _leaf(name: str, value: Any) -> str:
    if value is None or value in ("", (), []):
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if name in ("mode", "umask") and isinstance(value, int):
        return f"{value:03o}"
    text = str(value)
    return f"{text.count(chr(10))} lines" if text.count("\n") > _LONGEST_LINES else plain(text)


def _origin_of(name: str, settings: Settings) -> Origin | None:
    """Where the option was set that a field of the plan is named after."""
    option = BY_NAME.get(_UNITS.sub("", name).replace("_", "-"))
    return settings.origin(option.name) if option is not None and settings.given(option.name) else None
