"""Log files that are moved away while requests are answered: every request is in one of them, once and whole."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.clients import get
from tests.e2e.harness import APPS, Penstock, until
from tests.e2e.test_log_destinations import address_in

APP = APPS / "logged.py"
LINE = re.compile(r"^(\d+) /print/\?n=(\d+) 200 end$")
PRINTED = re.compile(r"^n=(\d+)$")


def start(*options: str | Path) -> Penstock:
    form = ("--log-format", "%(pid) %(uri) %(status) end")
    return Penstock("--http", "127.0.0.1:0", "--wsgi-file", APP, "--processes", "2", "--threads", "2", *form, *options)


class Load:
    """Clients that ask without a break until they are told to stop."""

    def __init__(self, address: str, clients: int = 2) -> None:
        self.address = address
        self.asked = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        # With a breath between, because nothing is gained by more than a few hundred requests for each rotation.
        while not self._over.wait(0.002):
            with self._lock:
                number = self.asked
                self.asked += 1
            assert get(self.address, f"/print/?n={number}").status == 200

    def more(self) -> None:
        """Wait until some more requests have been answered."""
        seen = self.asked
        until("more requests", lambda: self.asked > seen + 20)

    def stop(self) -> int:
        """End it; return how many requests there were."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self.asked


def check(files: list[Path], asked: int) -> None:
    """Every request has its line, and every print of the app; no line is torn."""
    lines = [line for path in files for line in path.read_text().split("\n")]
    numbers = [int(match[2]) for line in lines if (match := LINE.match(line))]
    printed = [int(match[1]) for line in lines if (match := PRINTED.match(line))]
    assert [line for line in lines if ("/print/" in line or line.startswith("n=")) and not is_whole(line)] == []
    for found in (numbers, printed):
        assert len(found) == asked and set(found) == set(range(asked)), sorted(set(range(asked)) - set(found))[:20]


def is_whole(line: str) -> bool:
    """Whether a line of a request, or of the app, is all there and nothing else."""
    return bool(LINE.match(line) or PRINTED.match(line))


def rotated(
    instance: Penstock, log: Path, rotate: Callable[[int], None], is_done: Callable[[], bool], times: int = 20
) -> list[Path]:
    """Rotate a log often under load; the files."""
    load = Load(address_in(log))
    try:
        for number in range(times):
            load.more()
            rotate(number)
            until("it is rotated", is_done)
    finally:
        asked = load.stop()
    # An idle worker writes what it has; what is written afterwards is only the end of the instance.
    instance.stop()
    files = sorted(log.parent.glob(f"{log.name}*"))
    check(files, asked)
    return files


def move(log: Path, number: int) -> None:
    """As logrotate does: another name, and no new file."""
    log.rename(f"{log}.{number:02}")


@pytest.mark.option("touch-logreopen", "logto")
def test_twenty_rotations_by_name(short_dir: Path) -> None:
    log, trigger = short_dir / "log", short_dir / "trigger"
    trigger.touch()

    def rotate(number: int) -> None:
        move(log, number)
        os.utime(trigger, (number, number))

    with start("--logto", log, "--touch-logreopen", trigger) as instance:
        files = rotated(instance, log, rotate, log.exists)
        assert len(files) == 21
        assert "triggering log-reopen" in files[1].read_text()
        assert f"{log} reopened." in files[2].read_text()


@pytest.mark.option("log-reopen", "req-logger", "logger")
@pytest.mark.parametrize("is_forwarded", [False, True])
def test_a_reload_opens_logs_anew(short_dir: Path, is_forwarded: bool) -> None:
    log, requests = short_dir / "log", short_dir / "log-requests"
    options = ("--log-master",) if is_forwarded else ()
    loggers = ("--logger", f"file:{log}", "--req-logger", f"file:{requests}")
    with start(*loggers, "--log-reopen", *options) as instance:

        def rotate(number: int) -> None:
            move(log, number)
            move(requests, number)
            instance.reload()

        files = rotated(instance, log, rotate, lambda: log.exists() and requests.exists(), times=5)
        assert len(files) == 12


@pytest.mark.option("touch-logrotate")
def test_rotation_when_a_file_is_touched(short_dir: Path) -> None:
    log, trigger = short_dir / "log", short_dir / "trigger"
    trigger.touch()

    def count() -> int:
        return len(list(short_dir.glob("log.*")))

    with start("--logto", log, "--touch-logrotate", trigger) as instance:
        before = [0]

        def rotate(number: int) -> None:
            before[0] = count()
            os.utime(trigger, (number, number))

        files = rotated(instance, log, rotate, lambda: count() > before[0], times=4)
        assert len(files) == 5
        assert all(re.fullmatch(r"log\.\d{10}(\.\d+)?", path.name) for path in files[1:])
        assert re.search(r"logsize: \d+, triggering rotation to ", files[1].read_text())


@pytest.mark.option("master-fifo", "logto")
@pytest.mark.parametrize("letter", ["l", "L"])
def test_rotation_by_a_letter_in_the_fifo(short_dir: Path, letter: str) -> None:
    """`l` opens the log anew after somebody has moved it; `L` moves it itself."""
    log, fifo = short_dir / "log", short_dir / "fifo"
    seen = [0]

    def count() -> int:
        return len(list(short_dir.glob("log.*")))

    def rotate(number: int) -> None:
        seen[0] = count()
        if letter == "l":
            move(log, number)
        fifo.write_text(letter)

    with start("--logto", log, "--master-fifo", fifo) as instance:
        files = rotated(instance, log, rotate, lambda: count() > seen[0] and log.exists(), times=3)
        assert len(files) == 4


@pytest.mark.option("log-maxsize", "log-backupname")
def test_rotation_by_size(short_dir: Path) -> None:
    log, backup = short_dir / "log", short_dir / "old"
    with start("--logto", log, "--log-maxsize", "20000", "--log-backupname", backup) as instance:
        load = Load(address_in(log))
        until("there is a backup", backup.exists)
        asked = load.stop()
        get(load.address, "/plain")
        instance.stop()
    check([log, backup], asked)
    assert backup.stat().st_size > 20_000
    assert f"triggering rotation to {backup}" in backup.read_text()


@pytest.mark.option("log-maxsize", "logger")
def test_a_logger_rotates_by_its_own_size(short_dir: Path) -> None:
    log = short_dir / "log"
    with start(
        "--logger", f"file:logfile={log},maxsize=5000,backupname={short_dir}/first", "--logger", "stdio"
    ) as instance:
        address = address_in(log)
        for _ in range(3):
            get(address, "/print/?" + "x" * 3000)
        until("it is rotated", (short_dir / "first").exists)
        instance.stop()


def test_a_rotation_that_fails_changes_nothing(short_dir: Path) -> None:
    log = short_dir / "log"
    backup = short_dir / "no" / "such" / "directory"
    with start("--logto", log, "--log-maxsize", "100", "--log-backupname", backup) as instance:
        until("it is said", lambda: "can not become" in log.read_text())
        get(address_in(log), "/print/?n=0")
        instance.stop()
    check([log], 1)
    assert log.read_text().count("can not become") == 1
