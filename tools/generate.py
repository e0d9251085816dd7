"""Write the files that are made from the option table, or `--check` that they are fresh.

One table, many texts: what is generated is never edited. A test runs the check, so that the table and the reference
can not disagree.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from penstock.options.option import Option
from penstock.options.rules import RULES
from penstock.options.table import SECTIONS

ROOT = Path(__file__).parent.parent

VERDICTS = {
    "same": "as in uWSGI",
    "differs": "differs from uWSGI",
    "not-needed": "accepted, not needed",
    "new": "new in Penstock",
}


def cell(text: str) -> str:
    """`text` inside a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def spelled(option: Option) -> str:
    """Every way to write an option, with its argument."""
    names = [f"`{name}`" for name in option.names] + ([f"`-{option.short}`"] if option.short else [])
    argument = f" = `{option.placeholder}`" if option.placeholder else ""
    return ", ".join(names) + cell(argument)


def default(option: Option) -> str:
    """The default as a person would write it; empty where the option is off or the help explains it."""
    if option.default is None or option.default is False or option.default == "":
        return ""
    return f"`{'true' if option.default is True else option.default}`"


def option_lines() -> Iterator[str]:
    """The reference of options, section by section."""
    yield "# Options"
    yield ""
    yield "<!-- Generated from penstock/options by tools/generate.py: edit the table, then run `make generate`. -->"
    yield ""
    yield "Every option has the same name on the command line (`--name value`, `--name=value`), in an ini file"
    yield "(`name = value`) and in the environment (`PENSTOCK_NAME` or `UWSGI_NAME`). `penstock --help` shows the same"
    yield "table, `penstock help NAME` one row of it."
    for section in SECTIONS:
        yield ""
        yield f"## {section.title}"
        yield ""
        yield "| option | what it does | default | compared with uWSGI |"
        yield "|---|---|---|---|"
        for option in section.options:
            repeat = "; may be given more than once" if option.repeatable else ""
            verdict = VERDICTS[option.verdict] + (f": {option.note}" if option.note else "")
            yield f"| {spelled(option)} | {cell(option.help)}{repeat} | {default(option)} | {cell(verdict)} |"
    yield ""
    yield "## Options that do not go together"
    yield ""
    yield "| finding | level | why | what to do |"
    yield "|---|---|---|---|"
    for rule in RULES:
        yield f"| `{rule.id}` | {rule.level} | {cell(rule.why)} | {cell(rule.fix)} |"


def documents() -> dict[Path, str]:
    """Every generated file and its text."""
    return {ROOT / "docs" / "options.md": "\n".join(option_lines()) + "\n"}


def stale() -> list[Path]:
    """The generated files that are not what the table makes of them."""
    return [path for path, text in documents().items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def main(arguments: list[str]) -> int:
    """Write, or with `--check` only compare; 1 if something is stale."""
    found = stale()
    if arguments == ["--check"]:
        for path in found:
            print(f"{path.relative_to(ROOT)} is stale: run `make generate`")
        return 1 if found else 0
    for path in found:
        path.write_text(documents()[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
