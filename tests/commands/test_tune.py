"""`penstock tune` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.harness import run_penstock
from tests.support.projects import write_files

APP = "def application(env, start_response): ...\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A configuration that wants more than any kernel has at first."""
    return write_files(
        tmp_path / "shop", {"app.py": APP, "shop.ini": "[uwsgi]\nmodule = app\nsocket = :3031\nlisten = 65000\n"}
    )


def test_it_says_what_to_do_and_does_it_in_a_folder(shop: Path, tmp_path: Path) -> None:
    somaxconn = Path("/proc/sys/net/core/somaxconn").read_text().strip()
    if int(somaxconn) >= 65000:
        pytest.skip("this kernel takes everything")
    done = run_penstock("tune", "shop.ini", cwd=shop)
    assert done.returncode == 1 and f"net.core.somaxconn  {somaxconn} -> 65000\n" in done.stdout
    root = tmp_path / "root"
    (root / "etc/nginx").mkdir(parents=True)
    (root / "etc/nginx/nginx.conf").write_text("worker_rlimit_nofile 100;\nevents { worker_connections 9000; }\n")
    words = ("tune", "shop.ini", "--root", root)
    document = json.loads(run_penstock(*words, "--json", cwd=shop).stdout)
    needs = {need["key"]: need for need in document["needs"]}
    assert needs["net.core.somaxconn"]["state"] == "raise" and needs["net.core.somaxconn"]["wanted"] == "65000"
    assert needs["nofile of nginx"]["cure"] == "worker_rlimit_nofile 18000; at /etc/nginx/nginx.conf:1"
    applied = run_penstock(*words, "--apply", cwd=shop)
    # What nginx's own file says only a person changes.
    assert applied.returncode == 1 and "worker_rlimit_nofile 18000" in applied.stdout
    file = root / "etc/sysctl.d/60-penstock-shop.conf"
    assert "net.core.somaxconn = 65000\n" in file.read_text()
    assert Path("/proc/sys/net/core/somaxconn").read_text().strip() == somaxconn
    by_name = ("tune", "--revert", "--name", "shop", "--root", root)
    assert run_penstock(*by_name, cwd=tmp_path).returncode == 0 and not file.exists()
    assert "nothing to take back" in run_penstock(*words, "--revert", cwd=shop).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "usage: penstock tune"),
        (("nowhere.ini",), "nowhere.ini"),
        (("shop.ini", "--root", "/no/such/folder"), "there is no such folder"),
        (("shop.ini", "--root"), "--root needs a value"),
    ],
)
def test_what_can_not_be_followed_is_said(words: tuple[str, ...], said: str, shop: Path) -> None:
    done = run_penstock("tune", *words, cwd=shop)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_a_damaged_record_is_named(shop: Path, tmp_path: Path) -> None:
    record = tmp_path / "root/var/lib/penstock/shop.tune/kernel.json"
    record.parent.mkdir(parents=True)
    record.write_text("[1")
    done = run_penstock("tune", "shop.ini", "--revert", "--root", tmp_path / "root", cwd=shop)
    assert done.returncode == 2 and "kernel.json is damaged" in done.stderr


def test_help() -> None:
    assert run_penstock("tune", "--help").stdout.startswith("usage: penstock tune")
