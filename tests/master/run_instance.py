"""Run a master with the fake generation: `run_instance.py PLAN.json`. Named `penstock` by the test that starts it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from penstock.master.start import start
from penstock.plan.types import Plan, from_json_value
from tests.master.fake_layout import catalogue

BOOT = Path(__file__).resolve().with_name("fake_generation.py")


def read_plan() -> Plan:
    return from_json_value(Plan, json.loads(Path(sys.argv[1]).read_text()))


if __name__ == "__main__":
    sys.exit(start(read_plan(), lambda note: read_plan(), catalogue, BOOT))
