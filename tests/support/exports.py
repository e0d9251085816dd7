"""Exported files as tests read them: the way that Docker, a kubelet or a person would."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.harness import run_penstock


def export(kind: str, target: Path, output: Path, *options: str) -> dict[str, str]:
    """Export into a folder; name -> text of each file that is there then."""
    result = run_penstock("export", kind, target, "--output", output, *options)
    assert result.returncode == 0, result.stderr
    return {path.name: path.read_text() for path in output.iterdir() if path.is_file()}


def placed(text: str, folder: Path) -> str:
    """Write `folder` for the image's /app."""
    return re.sub(r"(?<![\w./])/app(?![\w.-])", str(folder), text)


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Read a Dockerfile: (instruction, arguments), comments left out and continued lines joined."""
    text = re.sub(r"^#.*\n", "", dockerfile, flags=re.M).replace("\\\n", "")
    words = [line.partition(" ") for line in text.splitlines() if line.strip()]
    return [(name, rest.strip()) for name, _, rest in words]


def last(dockerfile: str, name: str) -> Any:
    """Give the last of one instruction's arguments; a JSON list is read."""
    found = [rest for instruction, rest in instructions(dockerfile) if instruction == name][-1]
    return json.loads(found) if found.startswith("[") else found


def by_kind(manifest: str) -> dict[str, Mapping[str, Any]]:
    """Read the documents of a manifest."""
    return {document["kind"]: document for document in yaml.safe_load_all(manifest)}
