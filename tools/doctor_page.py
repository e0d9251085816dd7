"""The table in the doctor's guide, made from the rows of its checks."""

from __future__ import annotations

from penstock.doctor.checks import GROUPS

BEGIN = "<!-- checks:begin: generated from penstock/doctor/checks by `make generate` -->"
END = "<!-- checks:end -->"


def with_checks(guide: str) -> str:
    """Put the table between its marks in the text of the guide."""
    before, rest = guide.split(BEGIN)
    lines = []
    for group in GROUPS:
        lines += [
            "",
            f"### {group.TITLE}",
            "",
            "| finding | severity | what it means | what to do |",
            "|---|---|---|---|",
        ]
        for row in group.ROWS:
            lines.append(f"| `{row.code}` | {row.level} | {_cell(row.meaning)} | {_cell(row.fix)} |")
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n\n{END}{rest.split(END)[1]}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
