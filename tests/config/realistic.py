"""Configurations as people write them, in tests/cases/config/realistic, made usable anywhere.

`expected.toml` tells of each what is found in it. Absolute paths are moved below a directory of the test's own, and
what they need there is created: directories, virtual environments, the application that is named.
"""

from __future__ import annotations

import re
import shlex
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.config.settings import Settings
from tests.config.support import CASES

HERE = CASES / "realistic"
EXPECTED: dict[str, dict[str, Any]] = tomllib.loads((HERE / "expected.toml").read_text())
FILES = sorted(path.name for path in HERE.iterdir() if path.name != "expected.toml")

APP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"served"]

app = api = application

def create_app():
    return application
"""
_PATH = re.compile(
    r"(?:(?<![\w.~:%)/*-])|(?<=\bfile:))/(?=(?:srv|var|run|opt|data|home|app|code|etc|tmp|usr|www)/|app\b|code\b)"
)
_ADDRESS = re.compile(
    r"((?:^|[\s{<\"'-])(?:http|http-socket|socket|uwsgi-socket|stats|UWSGI_HTTP_SOCKET|UWSGI_SOCKET)[\"']?\s*[=:>\s]\s*[\"']?)"
    r"(?:[0-9.]*|\[::\])?:[0-9]{2,5}\b"
)


@dataclass(frozen=True)
class Realistic:
    """One configuration below a directory of its own."""

    name: str
    root: Path
    argv: list[str]
    environ: dict[str, str]

    @property
    def cwd(self) -> Path:
        return self.root / "cwd"


def lay_out(name: str, root: Path) -> Realistic:
    """Write a configuration out; ports become 0."""
    expected = EXPECTED[name]
    (root / "cwd").mkdir(parents=True)
    text = (HERE / name).read_bytes().decode()
    text = _ADDRESS.sub(r"\g<1>127.0.0.1:0", _PATH.sub(f"{root}/", text))
    environ = {key: _PATH.sub(f"{root}/", value) for key, value in expected.get("environ", {}).items()}
    for path, inside in expected.get("files", {}).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(_ADDRESS.sub(r"\g<1>127.0.0.1:0", _PATH.sub(f"{root}/", inside)))
    if name.endswith(".argv"):
        words = [re.sub(r"\$(\w+)", lambda match: environ[match[1]], word) for word in shlex.split(text)]
        return Realistic(name, root, words, environ)
    if name.endswith(".env"):
        environ |= dict(line.split("=", 1) for line in text.splitlines())
        return Realistic(name, root, [], environ)
    (root / "cwd" / name).write_bytes(text.encode())
    section = expected.get("section", "")
    words = [f"--{name.rpartition('.')[2]}", f"{name}:{section}"] if section else [name]
    return Realistic(name, root, words, environ)


def provide(case: Realistic, settings: Settings) -> None:
    """Create what a configuration needs: directories, virtual environments, the application."""
    below = str(case.root)
    for name, every in settings.settings.items():
        for one in every:
            value = str(one.value).partition("=")[2] if one.option.type == "mapping" else str(one.value)
            value = value.removeprefix("file:")
            if value.startswith(below) and one.option.type in ("path", "address", "mapping", "text"):
                is_directory = name in ("chdir", "pythonpath", "static-map", "spooler")
                (Path(value) if is_directory else Path(value).parent).mkdir(parents=True, exist_ok=True)
    home = settings.text("home")
    if home is not None and home.startswith(below):
        venv.create(home, with_pip=False, symlinks=True)
    where = case.cwd / (settings.text("chdir") or "")
    file = settings.text("wsgi-file")
    module = settings.text("module")
    if file is not None:
        (where / file).parent.mkdir(parents=True, exist_ok=True)
        (where / file).write_text(APP)
    if module is not None and re.fullmatch(r"[\w.]+(:[\w.()]+)?", module):
        path = where / (module.partition(":")[0].replace(".", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(APP)
