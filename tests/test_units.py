"""The unit files of the guides, held against systemd's own reader where it is installed. No systemd runs here."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GUIDES = (Path(__file__).parent.parent / "docs" / "deployment.md",)
UNITS = [unit for guide in GUIDES for unit in re.findall(r"^```systemd\n(.*?)^```$", guide.read_text(), re.M | re.S)]

NOTIFY_RELOAD_SINCE = 253


def version() -> int:
    found = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True).stdout
    return int(found.split()[1])


def test_the_guides_have_a_unit_for_each_systemd() -> None:
    types = [match[1] for unit in UNITS if (match := re.search(r"^Type=(.*)$", unit, re.M))]
    assert types == ["notify-reload", "notify"]
    new, old = (unit for unit in UNITS if "[Service]" in unit)
    reload = "ExecReload=/bin/kill -HUP $MAINPID\n"
    assert old == new.replace("notify-reload", "notify").replace("User=", f"{reload}User=", 1)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("number", range(len(UNITS)))
def test_systemd_finds_no_fault(number: int, tmp_path: Path) -> None:
    unit = UNITS[number]
    # What the guide's reader has, and this machine has not.
    unit = unit.replace("/srv/cmdb/venv/bin/penstock", sys.executable).replace("User=cmdb", "User=root")
    if version() < NOTIFY_RELOAD_SINCE:
        unit = unit.replace("Type=notify-reload", "Type=notify")
    name = "cmdb.socket" if "[Socket]" in unit else "cmdb.service"
    (tmp_path / name).write_text(unit)
    if name == "cmdb.socket":
        (tmp_path / "cmdb.service").write_text(f"[Service]\nExecStart={sys.executable}\n")
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)], capture_output=True, text=True, check=False
    )
    about = [line for line in found.stderr.splitlines() if "cmdb" in line]
    assert (found.returncode, about) == (0, [])
