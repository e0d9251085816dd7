"""Titles of processes, in processes of their own."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import os
from penstock.titles import set_title
set_title({words}, {short!r})
for name in ("cmdline", "comm"):
    print(ascii(open("/proc/self/" + name, "rb").read()))
print(open("/proc/self/environ").read().count("KEPT=1"), os.environ["KEPT"], os.popen("echo $KEPT").read())
"""


def titled(words: str, short: str = "penstock-worker") -> list[str]:
    """What /proc shows of a process that has set its title, and whether its environment is as it was."""
    code = CODE.format(words=words, short=short)
    done = subprocess.run([sys.executable, "-c", code], env={"KEPT": "1"}, capture_output=True, text=True, check=True)
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
