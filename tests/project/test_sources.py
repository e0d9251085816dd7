"""Reading Python files: whatever they hold, the answer is a value."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.project import sources
from tests.support.projects import write_files

PIECES = st.lists(
    st.sampled_from(
        [
            "app", "application", " = ", "Flask", "(", ")", "def ", "async def ", ":\n", "    pass\n", "\n",
            "import os\n", "os.environ", ".setdefault", "[", "]", '"DJANGO_SETTINGS_MODULE"', ", ", '"a.b"',
            "create_app",
            "from .base", " import *\n", "if True:\n", "    ", "class A", "lambda: ", "await ", "*", "{", "}", "=",
        ]
    ),
    max_size=30,
).map("".join)  # fmt: skip


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(PIECES.map(str.encode), st.binary(max_size=200)))
def test_whatever_a_file_holds_is_read_or_passed_over(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.py"
    path.write_bytes(content)
    name = str(path)
    for bound in sources.applications(name):
        assert bound.name and bound.line > 0 and bound.kind in ("wsgi", "asgi")
    list(sources.taken_over(name))
    sources.settings_named(name)
    sources.is_settings(name)
    sources.imports(name)
    assert sources.place_of(name, "app").startswith(name)
    assert isinstance(sources.constant(name, "app"), str)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("DEBUG", "base.py:2"),
        ("OWN", "site.py:2"),
        ("TWICE", "site.py:4"),
        ("DEEP", "root.py:1"),
        ("NOWHERE", "site.py"),
    ],
)
def test_the_place_of_a_setting_is_found_through_star_imports(tmp_path: Path, name: str, place: str) -> None:
    write_files(
        tmp_path,
        {
            "conf/site.py": "from .base import *\nOWN = 1\nTWICE = 1\nTWICE: int = 2\n",
            "conf/base.py": "from ..root import *\nDEBUG = True\n",
            "root.py": "DEEP = 1\n",
        },
    )
    assert sources.place_of(str(tmp_path / "conf/site.py"), name).endswith(place)
