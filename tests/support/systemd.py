"""A real systemd as the first process of namespaces of its own: what units do is seen, not believed.

It has its own processes, mounts, network and control group, and an empty /run; everything else is this machine's, read
by the same paths. Nothing of it reaches the system that the tests run on. Needs root, and a kernel that lets it mount.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.harness import until

PROGRAM = next((path for path in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd") if os.path.exists(path)), "")
BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/system /run/lock
cp "$1"/* /run/systemd/system/
cp "${2%/*}"/system/systemd-journald*.* /run/systemd/system/
for place in /tmp /var/tmp /var/log /var/lib /var/cache /etc/systemd/system; do
    mount -t tmpfs -o mode=755 tmpfs $place
done
chmod 1777 /tmp /var/tmp
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
export SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/systemd/system container=tests
exec "$2" --log-target=console --show-status=0 --log-level=info --unit=tests.target
"""
TARGETS = ("sysinit", "basic", "network", "network-online", "sockets", "timers", "multi-user", "shutdown", "umount")
"""What units are ordered by: empty here, so that nothing of this machine is started."""


def why_not() -> str:
    """Why there can be none here; empty where there can."""
    if os.geteuid() != 0:
        return "only root can make namespaces"
    if not PROGRAM or shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return "there is no systemd to be run"
    words = ["unshare", "--mount", "--pid", "--fork", "--cgroup", "--mount-proc", "--net", "--kill-child", "sh", "-ec"]
    script = "mount --make-rprivate /; umount -R /sys/fs/cgroup 2>/dev/null || true; mount -t cgroup2 x /sys/fs/cgroup"
    done = subprocess.run([*words, script], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"this machine lets nobody mount in namespaces: {done.stderr.strip()}"


class Systemd:
    """A booted systemd with some units."""

    def __init__(self, units: Mapping[str, str], folder: Path) -> None:
        """Boot it with units (name -> text); none is started but what they themselves want. `folder` is for files."""
        place = folder / "units"
        place.mkdir()
        targets = {f"{name}.target": f"[Unit]\nDescription={name}\nDefaultDependencies=no\n" for name in TARGETS}
        targets["tests.target"] = (
            "[Unit]\nDefaultDependencies=no\nWants=systemd-journald.service\nAfter=systemd-journald.service\n"
        )
        for name, text in {**targets, **units}.items():
            (place / name).write_text(text)
        self.log_path = folder / "systemd.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--cgroup", "--mount-proc", "--ipc", "--uts", "--net",
                 "--kill-child", "sh", "-c", BOOT, "boot", str(place), PROGRAM],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )  # fmt: skip
        try:
            self.pid = until("the first process of the namespace", self._first, 30)
            until("systemd has booted", lambda: self.control("is-active", "tests.target").stdout == "active\n", 60)
        except AssertionError as error:
            text = self.log
            self.close()
            raise AssertionError(f"{error}\n{text}") from None

    @property
    def log(self) -> str:
        """What it said so far."""
        return self.log_path.read_text(errors="replace")

    def _first(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def run(self, *words: str | Path, deadline_s: float = 40) -> subprocess.CompletedProcess[str]:
        """Run a command beside it, in its namespaces."""
        return subprocess.run(
            ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-i", "-u", "-C", *map(str, words)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=deadline_s, check=False,
            cwd="/",
        )  # fmt: skip

    def control(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run systemctl."""
        return self.run("systemctl", "--no-pager", *words)

    def show(self, unit: str, what: str) -> str:
        """One property of a unit."""
        return self.control("show", unit, "--value", "-p", what).stdout.strip()

    def journal(self, unit: str) -> str:
        """The log of a unit."""
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit).stdout

    def ok(self, *words: str) -> str:
        """Run systemctl, which has to end with 0; what it printed."""
        done = self.control(*words)
        assert done.returncode == 0, f"systemctl {' '.join(words)}: {done.stderr}{self._about(words[1:])}"
        return done.stdout

    def _about(self, units: Iterable[str]) -> str:
        return "".join(f"\n--- {unit}\n{self.journal(unit)}" for unit in units) + f"\n--- systemd\n{self.log[-3000:]}"

    def path(self, path: str) -> str:
        """A path of its own /run, as it is reached from outside."""
        return f"/proc/{self.pid}/root{path}"

    def close(self) -> None:
        """End it with everything that it runs."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(20)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
