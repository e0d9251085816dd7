"""The page of findings, made from the rows that the findings come from."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.doctor.catalogue import IN_THE_FINDING, chapters


def finding_lines() -> Iterator[str]:
    """Every code, chapter by chapter."""
    yield "# Findings"
    yield ""
    yield "<!-- Generated from rules and codes by tools/generate.py: edit those, then run `make generate`. -->"
    yield ""
    yield "What `penstock check FILE` may say, and most of it a start as well; `penstock doctor` says all of it. The"
    yield "name in brackets behind a finding is its `id` with `--json`; `penstock explain NAME` says what stands"
    yield "here. An error ends a start, a warning does not, a note changes nothing, not even the exit status of"
    yield "`penstock check`: 0, 1 with warnings, 2 with errors. In the chapters of the doctor an error means that"
    yield "somebody is not served now, or that others may do harm."
    for chapter in chapters():
        fixes = any(row.fix != IN_THE_FINDING for row in chapter.rows)
        yield ""
        yield f"## {chapter.title}"
        yield ""
        yield chapter.text
        yield ""
        yield "| finding | severity | option | what it means | what to do |" if fixes else "| finding | meaning |"
        yield "|---|---|---|---|---|" if fixes else "|---|---|"
        for row in chapter.rows:
            if fixes:
                option = f"`{row.option}`" if row.option else ""
                yield f"| `{row.code}` | {row.level} | {option} | {_cell(row.meaning)} | {_cell(row.fix)} |"
            else:
                yield f"| `{row.code}` | {_cell(row.meaning)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
