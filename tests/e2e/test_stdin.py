"""Standard input: empty, unless the application shall have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.clients import get
from tests.e2e.harness import Penstock

APP = """
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.read(0, 100)]
"""


@pytest.mark.option("honour-stdin")
@pytest.mark.parametrize(("option", "expected"), [("--honour-stdin", b"typed"), ("--honour-stdin=false", b"")])
def test_the_application_may_read_what_is_typed(tmp_path: Path, option: str, expected: bytes) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "typed").write_bytes(b"typed")
    prefix = ("sh", "-c", f'exec "$@" <{tmp_path}/typed', "sh")
    with Penstock("--http", "127.0.0.1:0", "--wsgi-file", tmp_path / "app.py", option, prefix=prefix) as instance:
        assert get(instance.http, "/").body == expected
        assert get(instance.http, "/").body == b""
