"""Wheels of what is installed here, so that a test installs packages for real and needs no network."""

from __future__ import annotations

import zipfile
from importlib.metadata import distribution
from pathlib import Path


def wheelhouse(folder: Path, *names: str) -> dict[str, str]:
    """Put wheels of installed packages into a folder; the variables that have pip take them and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        found = distribution(name)
        file = f"{found.metadata['Name'].replace('-', '_').lower()}-{found.version}-py3-none-any.whl"
        with zipfile.ZipFile(folder / file, "w") as wheel:
            for path in found.files or ():
                # Other languages than English are half of Django, and of no use here.
                is_foreign = path.suffix == ".mo" and "en" not in path.parts
                if ".." in path.parts or path.suffix in (".pyc", ".po") or is_foreign:
                    continue
                wheel.write(str(path.locate()), str(path))
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_NO_COMPILE": "1"}
