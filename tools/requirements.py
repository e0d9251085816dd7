"""Print the requirements of one group of pyproject.toml, one a line: `build`, or the name of an extra.

So that the development environment can be installed before (and without) building the project, and no second list of
versions exists.
"""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def requirements(pyproject: dict[str, Any], group: str) -> list[str]:
    """The requirements of `group`, with the project's own extras (`penstock[demo]`) put in the place of their name.

    Raises KeyError if pyproject.toml has no such group.
    """
    if group == "build":
        return list(pyproject["build-system"]["requires"])
    own = re.compile(rf"{pyproject['project']['name']}\[([\w,-]+)\]$")
    found: list[str] = []
    for requirement in pyproject["project"]["optional-dependencies"][group]:
        if match := own.match(requirement):
            for inner in match[1].split(","):
                found += requirements(pyproject, inner)
        else:
            found.append(requirement)
    return found


if __name__ == "__main__":
    with PYPROJECT.open("rb") as file:
        print("\n".join(requirements(tomllib.load(file), sys.argv[1])))
