"""Titles of processes, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os
from penstock.titles import set_title
set_title({words}, {short!r})
for name in ("cmdline", "comm"):
    print(ascii(open("/proc/self/" + name, "rb").read()))
print(open("/proc/self/environ").read().count("KEPT=1"), os.environ["KEPT"], os.popen("echo $KEPT").read())
"""


LOADERS = sorted(Path("/").glob("lib*/ld-linux-*.so.*"))


def titled(words: str, short: str = "penstock-worker", prefix: tuple[str, ...] = ()) -> list[str]:
    """What /proc shows of a process that has set its title, and whether its environment is as it was."""
    code = CODE.format(words=words, short=short)
    done = subprocess.run(
        [*prefix, sys.executable, "-c", code], env={"KEPT": "1"}, capture_output=True, text=True, check=True
    )
    return done.stdout.split("\n")


def test_title_takes_the_place_of_the_command_line() -> None:
    title, short, kept, *_ = titled("('penstock', 'worker', '1')")
    assert title.replace("\\x00", "|").rstrip("|'") == "b'penstock|worker|1"
    assert (short, kept) == ("b'penstock-worker\\n'", "1 1 1")


def test_title_that_is_too_long_is_cut_and_spares_the_environment() -> None:
    title, _, kept, *_ = titled("('x' * 100000,)")
    assert set(title.removeprefix("b'").removesuffix("\\x00'")) == {"x"} and len(title) < 1000
    assert kept == "1 1 1"


def test_title_of_any_text() -> None:
    assert titled(r"('h\u00e9 \udcff',)", short="é" * 30)[2] == "1 1 1"


@pytest.mark.skipif(not LOADERS, reason="a system whose dynamic loader is called otherwise")
def test_the_command_line_of_a_program_that_runs_python_is_left_alone() -> None:
    title, short, kept, *_ = titled("('penstock', 'worker', '1')", prefix=(str(LOADERS[0]),))
    assert title.startswith(f"b'{LOADERS[0]}\\x00") and "penstock|" not in title.replace("\\x00", "|")[:100]
    assert (short, kept) == ("b'penstock-worker\\n'", "1 1 1")
