"""What `penstock convert` writes is started and serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.clients import get
from tests.e2e.harness import Penstock, read_stats, run_penstock

APP = """
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ["SAID"].encode()]
"""

GUNICORN = """
import os

here = os.path.dirname(os.path.abspath(__file__))
bind = f"127.0.0.1:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("WEB_WORKERS", 3)) - 1
threads = 2
chdir = here
wsgi_app = "site1:application"
raw_env = ["SAID=100%"]
accesslog = "-"
max_requests = 1000
graceful_timeout = 5

def when_ready(server):
    raise RuntimeError("this is never run")
"""


@pytest.fixture
def place(short_dir: Path) -> Path:
    (short_dir / "site1.py").write_text(APP)
    return short_dir


@pytest.mark.parametrize("kind", ["ini", "toml", "yaml", "json"])
def test_gunicorns_file(kind: str, place: Path) -> None:
    (place / "gunicorn.conf.py").write_text(GUNICORN)
    done = run_penstock("convert", "gunicorn.conf.py", "--output", f"site.{kind}", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "when_ready is left out" in done.stderr
    stats = place / "stats"
    with Penstock(f"--{kind}", f"site.{kind}", "--stats", stats, cwd=place, env={"PORT": "0"}) as instance:
        assert get(instance.http).body == b"100%"
        assert len(read_stats(str(stats))["workers"]) == 2


@pytest.mark.parametrize("kind", ["toml", "yaml", "json"])
def test_a_file_with_blocks_and_sections(kind: str, place: Path) -> None:
    (place / "site.ini").write_text(
        "[uwsgi]\nif-env = SAY\nenv = SAID=%(_)\nendif =\nif-not-env = SAY\nenv = SAID=nothing\nendif =\nini = :more\n"
        "[more]\nhttp = 127.0.0.1:0\nchdir = %d\nmodule = site1\nworkers = 2  ; two\n"
    )
    assert run_penstock("convert", "site.ini", "--output", f"site.{kind}", cwd=place).returncode == 0
    for environ, said in (({"SAY": "it"}, b"it"), ({}, b"nothing")):
        with Penstock(f"site.{kind}", cwd=place, env=environ) as instance:
            assert get(instance.http).body == said
