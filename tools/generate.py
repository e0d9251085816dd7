"""Write the files that are made from the option table, or `--check` that they are fresh.

One table, many texts: what is generated is never edited. A test and `make check` run the check, so that the table and
the reference can not disagree. The rows of what is not supported are the one file that is written by hand and kept
here: names that are in the table by now are taken out of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from penstock.commands import schema
from penstock.options import unsupported
from penstock.options.option import Option
from penstock.options.table import BY_NAME, SECTIONS
from tools.doctor_page import with_checks
from tools.findings_page import finding_lines

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
    yield "table, `penstock help NAME` one row of it. At the end stands what uWSGI has and Penstock has not."
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


def unsupported_lines(rows: tuple[unsupported.Unsupported, ...]) -> Iterator[str]:
    """What is not supported, family by family."""
    yield ""
    yield "## Options of uWSGI that are not supported"
    yield ""
    yield "A start with one of these says so, in one line for each family. *Later* belongs to what is still to come;"
    yield "*stops*: the start is refused, because leaving the option out would be unsafe, or make something else of the"
    yield "configuration."
    title = ""
    for row in rows:
        family = row.family
        if family.title != title:
            title = family.title
            outlook = "Later" if family.outlook == "later" else "Will not come"
            why = f"stops: without it {family.why}" if family.effect == "stops" else f"ignored: here {family.why}"
            yield ""
            yield f"### {title}"
            yield ""
            yield cell(f"{outlook}; {why}. Instead: {family.instead}.")
            yield ""
            yield "| option | what it does in uWSGI | instead |"
            yield "|---|---|---|"
        short = f", `-{row.short}`" if row.short else ""
        names = ", ".join(f"`{name}`" for name in row.names) + short
        instead = row.instead if row.instead != family.instead else ""
        yield f"| {names} | {cell(row.does)} | {cell(instead)} |"


def documents() -> dict[Path, str]:
    """Every generated file and its text."""
    rest = unsupported.without(unsupported.PATH.read_text(encoding="ascii"), BY_NAME)
    reference = [*option_lines(), *unsupported_lines(unsupported.parse(rest))]
    guide = ROOT / "docs" / "guides" / "doctor.md"
    return {
        guide: with_checks(guide.read_text(encoding="utf-8")),
        ROOT / "docs" / "reference" / "findings.md": "\n".join(finding_lines()) + "\n",
        ROOT / "docs" / "reference" / "options.md": "\n".join(reference) + "\n",
        ROOT / "docs" / "reference" / "penstock.schema.json": schema.text(),
        unsupported.PATH: rest,
    }


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
        path.parent.mkdir(exist_ok=True)
        path.write_text(documents()[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
