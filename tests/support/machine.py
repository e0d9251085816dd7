"""A machine of its own for a test: the real paths of this one, but everything that is written there is the test's.

Namespaces of mounts, processes and the network, with an overlay over each folder that a deployment writes to: `/etc`,
`/srv`, `/var`, `/run` and so on. Port 80 is free, nginx's files are the real ones, users can be made, and when the test
ends nothing of it is left. Needs root and overlayfs; `why_not` says what is missing.

The file is also the program that is process 1 in there: it sets the mounts up, runs what it is told, and reaps. With
`systemd=True` it becomes a real systemd once the mounts are there, and what is told is run beside that.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

COVERED = ("etc", "srv", "var", "run", "home", "opt", "root")
SYSTEMD = next((path for path in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd") if os.path.exists(path)), "")
_TIME_LIMIT_S = 120


@cache
def why_not() -> str:
    """Why there can be no such machine here; empty if there can."""
    if os.geteuid() != 0:
        return "only root can make users and mount: run the tests as root"
    if shutil.which("unshare") is None:
        return "there is no unshare (util-linux)"
    try:
        with Machine() as machine:
            done = machine.run("true")
    except (OSError, AssertionError) as error:
        return f"namespaces or overlayfs can not be used here: {error}"
    return "" if done.status == 0 else f"namespaces or overlayfs can not be used here: {done.output}"


@cache
def why_no_systemd() -> str:
    """Why there can be no such machine with a systemd; empty if there can."""
    if reason := why_not():
        return reason
    if not SYSTEMD or shutil.which("nsenter") is None:
        return "there is no systemd to be run"
    try:
        with Machine(systemd=True) as machine:
            done = machine.run("systemctl", "is-active", "tests.target")
    except (OSError, AssertionError) as error:
        return f"systemd can not be run here: {error}"
    return "" if done.status == 0 else f"systemd can not be run here: {done.output}"


def until(what: str, probe: Callable[[], int], deadline_s: float) -> int:
    """Ask until the answer is true. Not the harness's: this file is a program as well, and imports nothing of ours."""
    end = time.monotonic() + deadline_s
    while not (answer := probe()):
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        threading.Event().wait(0.02)
    return answer


@dataclass(frozen=True, slots=True)
class Done:
    """How a command in the machine ended."""

    status: int
    output: str


class Machine:
    """One such machine; everything in it ends with it."""

    def __init__(self, *, systemd: bool = False) -> None:
        # Not in /tmp, which is covered where there is a systemd.
        self.folder = Path(tempfile.mkdtemp(prefix="pst-machine-", dir="/dev/shm"))
        self.folder.chmod(0o755)
        self._systemd: subprocess.Popen[bytes] | None = None
        unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        program = [sys.executable, __file__, str(self.folder)]
        command = [*unshare, *program, "serve"]
        if systemd:
            with (self.folder / "systemd.log").open("wb") as log:
                self._systemd = subprocess.Popen(
                    [*unshare, "--cgroup", "--ipc", "--uts", *program, "boot"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            pid = until("the first process of the namespace", self._first, 30)
            inside = ["nsenter", "-t", str(pid), "-m", "-p", "-n", "-i", "-u", "-C"]
            command = [*inside, *program, "beside"]
            until("systemd has booted", lambda: self._is_booted(inside), 60)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/"
        )

    def _first(self) -> int:
        assert self._systemd is not None
        children = Path(f"/proc/{self._systemd.pid}/task/{self._systemd.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def _is_booted(self, inside: Sequence[str]) -> bool:
        words = [*inside, "systemctl", "is-active", "tests.target"]
        return subprocess.run(words, capture_output=True, text=True, check=False, cwd="/").stdout == "active\n"

    def run(self, *argv: str | Path, env: Mapping[str, str] | None = None, cwd: str | Path = "/",
            deadline_s: float = _TIME_LIMIT_S) -> Done:  # fmt: skip
        """Run a command to its end."""
        told = {"argv": [str(word) for word in argv], "env": dict(env or {}), "cwd": str(cwd), "limit": deadline_s}
        answer = self._ask(told)
        return Done(answer["status"], answer["output"])

    def python(self, code: str, *arguments: str | Path) -> Any:
        """Run a piece of Python in there, and return what it leaves in `result`."""
        program = f"import json, sys\n{code}\nprint('\\n' + json.dumps(result))"
        done = self.run(sys.executable, "-c", program, *arguments)
        assert done.status == 0, done.output
        return json.loads(done.output.splitlines()[-1])

    def get(self, url: str, host: str = "", data: bytes = b"", headers: Mapping[str, str] | None = None) -> Done:
        """Make an HTTP request in there; the status, and the body as text."""
        code = (
            "import urllib.request, urllib.error\n"
            "url, headers, data = sys.argv[1], json.loads(sys.argv[2]), open(sys.argv[3], 'rb').read()\n"
            "try:\n"
            "    answer = urllib.request.urlopen(urllib.request.Request(url, data or None, headers), timeout=60)\n"
            "except urllib.error.HTTPError as error:\n"
            "    answer = error\n"
            "result = answer.status, answer.read().decode('utf-8', 'replace')\n"
        )
        sent = {**({"Host": host} if host else {}), **(headers or {})}
        body = self.folder / "body"
        body.write_bytes(data)
        return Done(*self.python(code, url, json.dumps(sent), body))

    def changed(self) -> dict[str, str]:
        """Every path that is not as it is on the machine around: path -> what is different."""
        return dict(self._ask({"changed": True}))

    def _ask(self, told: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(told) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self._process.stdout.readline()
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            raise AssertionError(f"the machine says: {line}{self._process.stdout.read()}") from None
        return answer

    def close(self) -> None:
        """End everything in it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        if self._systemd is not None:
            os.killpg(self._systemd.pid, signal.SIGKILL)
            self._systemd.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _changed(layers: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in COVERED:
        upper = layers / name / "upper"
        for path in sorted(upper.rglob("*")):
            inside = path.relative_to(upper)
            word = _difference(path, layers / name / "lower" / inside)
            if word:
                found[f"/{name}/{inside}"] = word
    return found


def _difference(above: Path, below: Path) -> str:
    """How what was written differs from what was there; empty if it does not."""
    now = above.lstat()
    if stat.S_ISCHR(now.st_mode) and now.st_rdev == 0:
        return "gone" if os.path.lexists(below) else ""
    try:
        before = below.lstat()
    except OSError:
        return "new"
    words = []
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        words.append(f"owner {before.st_uid}:{before.st_gid} -> {now.st_uid}:{now.st_gid}")
    if now.st_mode != before.st_mode:
        words.append(f"mode {before.st_mode:o} -> {now.st_mode:o}")
    elif stat.S_ISREG(now.st_mode) and above.read_bytes() != below.read_bytes():
        words.append("content")
    elif stat.S_ISLNK(now.st_mode) and os.readlink(above) != os.readlink(below):
        words.append("link")
    return ", ".join(words)


# -- process 1 in there ------------------------------------------------------------------------------------------------


def _boot(folder: Path) -> None:
    """Become systemd, with nothing of this machine's units but nginx's and the journal's."""
    _mount(folder, (*COVERED, "tmp"))
    place = Path("/run/systemd/system")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in ("sysinit", "basic", "network", "network-online", "multi-user", "shutdown", "umount"):
        (place / f"{name}.target").write_text(f"[Unit]\nDescription={name}\nDefaultDependencies=no\n")
    wants = "[Unit]\nDefaultDependencies=no\nWants=systemd-journald.service\nAfter=systemd-journald.service\n"
    (place / "tests.target").write_text(wants)
    for unit in (*Path("/lib/systemd/system").glob("systemd-journald*.*"), Path("/lib/systemd/system/nginx.service")):
        shutil.copy(unit, place)
    subprocess.run(["umount", "-R", "/sys/fs/cgroup"], check=False, capture_output=True)
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"], check=True)
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "SYSTEMD_UNIT_PATH": "/etc/systemd/system:/run/systemd/system",
        "container": "tests",
    }
    words = [SYSTEMD, "--log-target=console", "--show-status=0", "--log-level=info", "--unit=tests.target"]
    os.execve(SYSTEMD, words, environment)


def _serve(folder: Path) -> None:
    for line in sys.stdin:
        told = json.loads(line)
        if "changed" in told:
            print(json.dumps(_changed(folder / "layers")), flush=True)
            continue
        with tempfile.TemporaryFile() as output:
            # Not a pipe: a daemon that keeps it open would be waited for.
            try:
                process = subprocess.Popen(
                    told["argv"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=told["cwd"],
                    env={**os.environ, **told["env"]},
                )
                status, more = _wait(process, told["limit"]), ""
            except (OSError, AssertionError) as error:
                status, more = 127, str(error)
            output.seek(0)
            answer = {"status": status, "output": output.read().decode("utf-8", "replace") + more}
        print(json.dumps(answer), flush=True)


def _wait(process: subprocess.Popen[bytes], limit_s: float) -> int:
    """Wait for a command, and reap whatever ends meanwhile, as process 1 has to: a zombie looks as if it still ran."""
    ended: dict[int, int] = {}

    def reap() -> bool:
        try:
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                ended[found[0]] = os.waitstatus_to_exitcode(found[1])
        except ChildProcessError:
            pass
        return process.pid in ended

    try:
        until(f"the end of {process.args!r}", reap, limit_s)
    except AssertionError:
        process.kill()
        raise
    process.returncode = ended[process.pid]
    return process.returncode


def _mount(folder: Path, covered: Sequence[str] = COVERED) -> None:
    def mount(*words: str | Path) -> None:
        subprocess.run(["mount", *map(str, words)], check=True)

    layers = folder / "layers"
    mount("--make-rprivate", "/")
    layers.mkdir()
    # Not on the disk below: an overlay takes no other overlay as its upper layer.
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", layers)
    for name in covered:
        if not Path("/", name).is_dir():
            continue
        for each in ("lower", "upper", "work"):
            (layers / name / each).mkdir(parents=True)
        # The overlay's own directory is the upper one.
        shutil.copystat(f"/{name}", layers / name / "upper")
        mount("--bind", f"/{name}", layers / name / "lower")
        options = f"lowerdir=/{name},upperdir={layers / name / 'upper'},workdir={layers / name / 'work'}"
        mount("-t", "overlay", "overlay", "-o", options, f"/{name}")
    # What runs around is not there: its numbers are other processes' in here, or nobody's.
    for path in (*Path("/run").glob("*.pid"), *Path("/run").glob("*/*.pid")):
        path.unlink()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=False, capture_output=True)


if __name__ == "__main__":
    if sys.argv[2] == "boot":
        _boot(Path(sys.argv[1]))
    if sys.argv[2] == "serve":
        _mount(Path(sys.argv[1]))
    _serve(Path(sys.argv[1]))
