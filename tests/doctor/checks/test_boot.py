"""Service managers and logrotate, read from real files below a root of their own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from penstock.doctor.gather.services import seconds
from penstock.doctor.mending import MendError, mend
from tests.doctor.support import evidence, examination, serious, write_configuration
from tests.e2e.harness import Penstock

UNIT = """[Unit]
Description=shop
After=network.target

[Service]
Type=notify
ExecStart=/usr/bin/env penstock \\
    --ini {configuration}
User=www-data
TimeoutStopSec={stop}
PrivateTmp=true

[Install]
WantedBy=multi-user.target
"""
LOGROTATE = """# of the shop
{log} {{
    weekly
    {how}
}}
"""


def put(root: Path, path: str, text: str, mode: int = 0o644) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def put_unit(root: Path, configuration: Path, stop: str = "90", *, enabled: bool = True) -> Path:
    unit = put(root, "etc/systemd/system/shop.service", UNIT.format(configuration=configuration, stop=stop))
    if enabled:
        wants = root / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / "shop.service").symlink_to("/etc/systemd/system/shop.service")
    return unit


def codes(folder: Path, root: Path) -> set[str]:
    return serious(examination(folder, "app.ini", root=root))


def test_a_service_that_is_as_it_should_be(running: tuple[Path, Penstock], tmp_path: Path) -> None:
    folder, _ = running
    unit = put_unit(tmp_path, folder / "app.ini")
    if shutil.which("systemd-analyze"):
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    found = examination(folder, "app.ini", root=tmp_path)
    assert serious(found) == set()
    (service,) = found.facts.services
    assert (service.manager, service.name, service.is_enabled) == ("systemd", "shop.service", True)
    assert (service.stop_timeout_s, service.has_private_tmp, service.user) == (90.0, True, "www-data")
    assert service.place.endswith("shop.service:7")


def test_a_service_that_nothing_starts(running: tuple[Path, Penstock], tmp_path: Path) -> None:
    folder, _ = running
    put_unit(tmp_path, folder / "app.ini", enabled=False)
    found = examination(folder, "app.ini", root=tmp_path)
    assert serious(found) == {"not-enabled"}
    one = next(each for each in found.diagnoses if each.code == "not-enabled")
    assert one.commands == ("systemctl enable shop.service",) and one.mend is not None


def test_a_service_that_kills_too_soon(running: tuple[Path, Penstock], tmp_path: Path) -> None:
    folder, _ = running
    put_unit(tmp_path, folder / "app.ini", stop="20s")
    found = examination(folder, "app.ini", root=tmp_path)
    assert serious(found) == {"stop-too-short"}
    one = next(each for each in found.diagnoses if each.code == "stop-too-short")
    assert "kills shop.service 20 seconds after a stop, and requests may take 60" in one.cause
    assert "shop.service:10" in evidence(one)
    drop_in = "[Service]\nTimeoutStopSec=2min\n"
    put(tmp_path, "etc/systemd/system/shop.service.d/stop.conf", drop_in)
    assert codes(folder, tmp_path) == set()


def test_a_limit_of_requests_makes_a_stop_shorter(folder: Path, tmp_path: Path) -> None:
    write_configuration(folder, "harakiri = 15\n")
    put_unit(tmp_path, folder / "app.ini", stop="20s")
    assert codes(folder, tmp_path) == {"not-running"}
    (one,) = (each for each in examination(folder, "app.ini", root=tmp_path).diagnoses if each.level == "error")
    assert one.commands == ("systemctl start shop.service",) and "journalctl -u shop.service" in one.cure


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("etc/supervisor/conf.d/shop.conf", "[program:shop]\ncommand = penstock --ini {configuration}\n"),
        ("etc/rc.local", "#!/bin/sh\nuwsgi {configuration} --daemonize /tmp/x\nexit 0\n"),
        ("etc/cron.d/shop", "@reboot www-data penstock {configuration}\n"),
        ("etc/sv/shop/run", "#!/bin/sh\nexec penstock --ini={configuration}\n"),
        ("etc/init.d/shop", "#!/bin/sh\nDAEMON=/usr/bin/uwsgi\n$DAEMON --ini {configuration}\n"),
    ],
)
def test_two_managers(running: tuple[Path, Penstock], tmp_path: Path, path: str, text: str) -> None:
    folder, _ = running
    put_unit(tmp_path, folder / "app.ini")
    put(tmp_path, path, text.format(configuration=folder / "app.ini"))
    if path == "etc/init.d/shop":
        put(tmp_path, "etc/rc3.d/S20shop", "")
    found = examination(folder, "app.ini", root=tmp_path)
    assert serious(found) == {"two-managers"}
    one = next(each for each in found.diagnoses if each.code == "two-managers")
    assert path in evidence(one) and "shop.service:7" in evidence(one)


def test_a_vassal_of_an_emperor(running: tuple[Path, Penstock], tmp_path: Path) -> None:
    folder, _ = running
    put_unit(tmp_path, folder / "app.ini")
    vassals = tmp_path / "etc/uwsgi/vassals"
    vassals.mkdir(parents=True)
    (vassals / "shop.ini").symlink_to(folder / "app.ini")
    assert codes(folder, tmp_path) == {"two-managers"}


def test_services_of_others_are_not_mentioned(running: tuple[Path, Penstock], tmp_path: Path) -> None:
    folder, _ = running
    put_unit(tmp_path, Path("/srv/other/app.ini"), stop="1s", enabled=False)
    put(tmp_path, "etc/cron.d/other", "@reboot root penstock /srv/other/app.ini\n")
    assert codes(folder, tmp_path) == set()


def test_a_template_counts_for_its_instances(running: tuple[Path, Penstock], tmp_path: Path) -> None:
    folder, _ = running
    text = UNIT.format(configuration=f"{folder}/%i.ini", stop="20s")
    put(tmp_path, "etc/systemd/system/app@.service", text)
    assert codes(folder, tmp_path) == set()
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir()
    (wants / "app@app.service").symlink_to("/etc/systemd/system/app@.service")
    assert codes(folder, tmp_path) == {"stop-too-short"}


def test_daemonize_under_systemd(folder: Path, tmp_path: Path) -> None:
    write_configuration(folder, f"daemonize = {folder}/app.log\n")
    put_unit(tmp_path, folder / "app.ini")
    found = examination(folder, "app.ini", root=tmp_path)
    assert serious(found) == {"not-running", "daemonize-under-systemd"}
    (one,) = (each for each in found.diagnoses if each.code == "daemonize-under-systemd")
    assert "shop.service" in one.cause


@pytest.mark.parametrize(
    ("how", "is_found"),
    [
        ("compress", True),
        ("postrotate\n        true\n    endscript", True),
        ("prerotate\n        penstock --reload x\n    endscript", True),
        ("copytruncate", False),
        ("postrotate\n        penstock --reload /run/app.pid\n    endscript", False),
        ("postrotate\n        systemctl reload shop\n    endscript", False),
    ],
)
def test_logrotate(folder: Path, tmp_path: Path, how: str, is_found: bool) -> None:
    write_configuration(folder, f"logto = {folder}/app.log\n")
    (folder / "app.log").touch()
    file = put(tmp_path, "etc/logrotate.d/shop", LOGROTATE.format(log=f"{folder}/*.log", how=how))
    if shutil.which("logrotate"):
        state = ["-s", str(tmp_path / "state")]
        done = subprocess.run(["logrotate", "-d", *state, str(file)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    found = examination(folder, "app.ini", root=tmp_path)
    assert serious(found) == {"not-running"} | ({"logrotate-without-reopen"} if is_found else set())
    if is_found:
        (one,) = (each for each in found.diagnoses if each.code == "logrotate-without-reopen")
        assert "etc/logrotate.d/shop:2" in evidence(one) and "app.pid" in one.cure


@pytest.mark.parametrize(
    ("text", "found"),
    [("90", 90), ("1min 30s", 90), ("1h", 3600), ("500ms", 0.5), ("infinity", None), ("soon", None), ("1.2.3s", None)],
)
def test_times_as_systemd_writes_them(text: str, found: float | None) -> None:
    assert seconds(text) == found


def test_what_is_mended_by_a_recorded_systemctl(running: tuple[Path, Penstock], tmp_path: Path) -> None:
    """There is no systemd to ask here: a program of its name writes down what it was told."""
    folder, _ = running
    put_unit(tmp_path, folder / "app.ini", enabled=False)
    one = next(each for each in examination(folder, "app.ini", root=tmp_path).diagnoses if each.code == "not-enabled")
    heard = tmp_path / "heard"
    put(tmp_path, "bin/systemctl", f'#!/bin/sh\necho "$@" >> {heard}\nexit 0\n', 0o755)

    def run(words: tuple[str, ...], **how: object) -> object:
        return subprocess.run([str(tmp_path / "bin" / words[0]), *words[1:]], **how)  # type: ignore[call-overload]

    mend(one.mend, run)
    assert heard.read_text() == "enable shop.service\n"
    put(tmp_path, "bin/systemctl", "#!/bin/sh\necho no such unit >&2\nexit 5\n", 0o755)
    with pytest.raises(MendError, match="ended with 5: no such unit"):
        mend(one.mend, run)
