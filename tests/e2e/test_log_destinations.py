"""Where lines go: files, descriptors, sockets, syslog, several at once; and what is done to lines on their way."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import re
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import get
from tests.e2e.harness import APPS, Penstock, run_penstock, until

APP = APPS / "logged.py"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def start(*options: str | Path, prefix: tuple[str, ...] = ()) -> Penstock:
    return Penstock("--http", "127.0.0.1:0", "--wsgi-file", APP, *options, prefix=prefix)


def address_in(log: Path) -> str:
    """Where an instance listens whose log is a file."""
    found = until("its address is in the log", lambda: re.search(r"TCP address ([\d.:]+)", log.read_text()))
    return found[1]


class Receiver:
    """What a log server hears."""

    def __init__(self, path: Path | None = None) -> None:
        family = socket.AF_UNIX if path else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind(str(path) if path else ("127.0.0.1", 0))
        self.socket.setblocking(False)
        self._heard: list[bytes] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.socket.getsockname()[1]}"

    def heard(self) -> list[bytes]:
        """Every datagram so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._heard.append(self.socket.recv(1 << 16))
        return self._heard

    def wait(self, pattern: bytes) -> bytes:
        """Wait for a datagram that matches."""

        def probe() -> bytes | None:
            return next((one for one in self.heard() if re.search(pattern, one)), None)

        return until(f"{pattern!r} was sent", probe)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.socket.close()


@pytest.mark.option("logger", "req-logger")
def test_requests_have_a_file_of_their_own(short_dir: Path) -> None:
    server, requests = short_dir / "server.log", short_dir / "requests.log"
    with start("--logger", f"file:{server}", "--req-logger", f"file:{requests}", "--processes", "2") as instance:
        address = address_in(server)
        for target in ("/plain", "/print/?from-the-app", "/raise"):
            get(address, target)
        rest = instance.stop()
    assert len(re.findall(r"^\[pid: .* GET /(?:plain|print|raise)", requests.read_text(), re.M)) == 3
    assert requests.read_text().count("\n") == 3
    assert "[pid: " not in server.read_text()
    for text in ("from-the-app", "a reason", "the app raised an exception on GET /raise", "goodbye"):
        assert text in server.read_text(), text
    assert rest == ""


@pytest.mark.option("logger", "req-logger")
def test_several_loggers_get_everything(short_dir: Path, receiver: Receiver) -> None:
    one, unix = short_dir / "one.log", Receiver(short_dir / "socket")
    loggers = (f"file:{one}", f"socket:{receiver.address}", f"socket:{short_dir}/socket,app ", "stdio")
    options = [word for logger in loggers for word in ("--logger", logger)]
    with start(*options, "--req-logger", "stdio", "--req-logger", f"file:{short_dir}/requests") as instance:
        get(instance.http, "/print/?printed")
        receiver.wait(rb"^printed\n$")
        unix.wait(rb"^app printed\n$")
        log = instance.stop()
    unix.socket.close()
    assert "goodbye" in one.read_text() and "goodbye" in log
    assert re.search(r"^printed$", one.read_text(), re.M) and re.search(r"^printed$", log, re.M)
    assert log.count("[pid: ") == 1 and "[pid: " not in one.read_text()
    assert (short_dir / "requests").read_text().count("[pid: ") == 1


@pytest.mark.option("logger", "log-syslog", "log-socket", "logto")
def test_datagrams_are_as_uwsgi_sends_them(receiver: Receiver, short_dir: Path) -> None:
    stamp = rb"\w{3} [ \d]\d \d\d:\d\d:\d\d"
    with start("--logger", f"rsyslog:{receiver.address},myapp,134") as instance:
        until("it listens", lambda: receiver.wait(rb"bound to TCP"))
        assert re.match(
            rb"<134>" + stamp + rb" myapp: penstock .* \(pid \d+.*[^\n]$", receiver.wait(rb"penstock \S+ is ready")
        )
        instance.stop()
    with start("--logger", f"rsyslog:{receiver.address},other") as instance:
        assert receiver.wait(rb"other: penstock .* is ready").startswith(b"<29>")
        instance.stop()
    for option in ("--log-socket", "--logto"):
        receiver.heard().clear()
        with start(option, receiver.address) as instance:
            assert re.match(rb"penstock .*\)\n$", receiver.wait(rb"penstock \S+ is ready"))
            instance.stop()


@pytest.mark.option("log-syslog")
@needs_root
def test_syslog() -> None:
    # systemd's package leaves a link there that points to nothing where systemd does not run.
    device = Path("/dev/log").resolve()
    with contextlib.ExitStack() as stack:
        if not device.exists():
            for folder in reversed([folder for folder in device.parents if not folder.exists()]):
                stack.callback(folder.rmdir)
            device.parent.mkdir(parents=True, exist_ok=True)
            heard = Receiver(device)
            stack.callback(device.unlink)
            stack.callback(heard.socket.close)
        else:
            heard = None
        for options, head in (
            (("--log-syslog=shop",), rb"<30>"),
            (("--log-syslog",), rb"<30>"),
            (("--logger", "syslog:shop,local3"), rb"<158>"),
        ):
            with start(*options) as instance:
                if heard is not None:
                    ident = b"uwsgi" if options == ("--log-syslog",) else b"shop"
                    line = heard.wait(ident + rb": penstock .* is ready")
                    assert line.startswith(head), line
                    heard.heard().clear()
                instance.stop()


@pytest.mark.option("logger")
def test_a_descriptor_that_the_caller_has_opened(short_dir: Path) -> None:
    prefix = ("sh", "-c", f'exec "$@" 7>>{short_dir}/seven', "sh")
    with start("--logger", "fd:7", prefix=prefix) as instance:
        get(address_in(short_dir / "seven"), "/plain")
        assert instance.stop() == ""
    assert "GET /plain" in (short_dir / "seven").read_text()
    done = run_penstock("--http", "127.0.0.1:0", "--wsgi-file", APP, "--logger", "fd:77")
    assert done.returncode == 1 and "descriptor 77 is not open" in done.stderr


@pytest.mark.option("log-encoder", "log-req-encoder")
def test_encoders(short_dir: Path) -> None:
    requests = short_dir / "requests"
    options = (
        *("--log-encoder", 'json {"at":${unix},"ms":${millis},"us":${micros},"day":"${strftime:%Y}","text":"${msg}"}'),
        *("--log-encoder", "nl", "--req-logger", f"file:{requests}", "--log-format", "%(uri)"),
        *("--log-req-encoder", "prefix <", "--log-req-encoder", "suffix >", "--log-req-encoder", "format ${msg}${msg}"),
    )
    with start(*options) as instance:
        get(instance.http, '/print/?"quoted"\\')
        get(instance.http, "/raise")
        log = instance.stop()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert [line for line in log.splitlines() if not line.startswith(("{", "[penstock] warning"))] == []
    texts = [line["text"] for line in lines]
    assert '"quoted"\\' in texts
    # A traceback is one message.
    (traceback,) = [text for text in texts if text.startswith("Traceback")]
    assert traceback.count("\n") >= 2 and "ValueError: a reason" in traceback
    now = lines[0]
    assert now["at"] == now["ms"] // 1000 == now["us"] // 1_000_000 and re.fullmatch(r"\d{4}", now["day"])
    assert requests.read_text().splitlines() == [
        '</print/?"quoted"\\\\></print/?"quoted"\\\\>'.replace('"', r"\x22").replace(r"\\", r"\x5C"),
        "</raise></raise>",
    ]


@pytest.mark.option("log-encoder", "log-route", "log-req-route")
def test_routes_and_encoders_of_one_logger(short_dir: Path) -> None:
    prints, slow, rest = short_dir / "prints", short_dir / "slow", short_dir / "rest"
    options = (
        *("--logger", f"prints file:{prints}", "--logger", f"file:{rest}", "--log-route", "prints ^printed"),
        *("--log-encoder", "prefix:prints P:"),
        *("--req-logger", f"file:{short_dir}/requests", "--req-logger", f"slow file:{slow}"),
        *("--log-req-route", "slow GET /(slow|big)"),
    )
    with start(*options):
        address = address_in(rest)
        for target in ("/print/?printed-by-the-app", "/slow", "/plain", "/big"):
            get(address, target)
    assert prints.read_text() == "P:printed-by-the-app\n"
    assert "printed-by-the-app" not in rest.read_text() and "goodbye" in rest.read_text()
    assert re.findall(r"GET (\S+)", slow.read_text()) == ["/slow", "/big"]
    assert re.findall(r"GET (\S+)", (short_dir / "requests").read_text()) == ["/print/?printed-by-the-app", "/plain"]


@pytest.mark.option("log-drain", "log-filter")
def test_lines_that_are_dropped() -> None:
    with start("--log-drain", "GET /health", "--log-drain", r"^spawned") as instance:
        for target in ("/health", "/plain"):
            get(instance.http, target)
        log = instance.stop()
    assert "GET /plain" in log and "GET /health" not in log and "spawned worker" not in log and "goodbye" in log
    with start("--log-filter", "GET /", "--log-filter", "bound to") as instance:
        get(instance.http, "/plain")
        log = instance.stop()
    lines = [line for line in log.splitlines() if not line.startswith("[penstock]")]
    assert all("GET /" in line or "bound to" in line for line in lines) and "GET /plain" in log


@pytest.mark.option("log-master", "log-master-bufsize")
def test_lines_pass_through_the_master(short_dir: Path) -> None:
    options = (
        "--log-master",
        "--log-master-bufsize",
        "1000",
        "--logto",
        short_dir / "log",
        "--log-format",
        "LINE %(method)",
    )
    with start(*options) as instance:
        address = address_in(short_dir / "log")
        master = instance.pid
        holders = [pid for pid in instance.processes() if holds(pid, short_dir / "log")]
        assert holders == [master]
        get(address, "/print/?" + "y" * 2500)
        get(address, "/plain")
        instance.stop()
    log = (short_dir / "log").read_text()
    assert re.findall(r"^y+$", log, re.M) == ["y" * 1000, "y" * 1000, "y" * 500]
    assert log.count("LINE GET") == 2 and log.rstrip().endswith("goodbye to Penstock.")


@pytest.mark.option("log-master-bufsize", "log-format")
def test_json_that_passes_through_the_master_is_not_cut(short_dir: Path) -> None:
    options = ("--log-master", "--log-master-bufsize", "600", "--log-format", "json", "--logto", short_dir / "log")
    with start(*options) as instance:
        address = address_in(short_dir / "log")
        for _ in range(5):
            get(address, "/plain?" + "y" * 2500, {"User-Agent": "z" * 3000})
        instance.stop()
    lines = [line for line in (short_dir / "log").read_text().splitlines() if line.startswith("{")]
    assert len(lines) == 5 and all(json.loads(line)["status"] == 200 for line in lines)


def holds(pid: int, path: Path) -> bool:
    """Whether a process has a file open."""
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(os.readlink(fd))
    return str(path) in found


@pytest.mark.option("log-master")
def test_a_reader_that_does_not_read_holds_up_no_request(short_dir: Path) -> None:
    """The log is a pipe that nobody empties; requests are answered, and what was lost is told."""
    os.mkfifo(short_dir / "fifo")
    with contextlib.ExitStack() as stack:
        reader = os.open(short_dir / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        stack.callback(os.close, reader)
        prefix = ("sh", "-c", f'exec "$@" 1>{short_dir}/fifo 2>&1', "sh")
        instance = stack.enter_context(start("--log-master", prefix=prefix))
        text = bytearray()

        def read() -> None:
            with contextlib.suppress(BlockingIOError):
                while data := os.read(reader, 1 << 16):
                    text.extend(data)

        address = until("its address", lambda: read() or re.search(rb"TCP address ([\d.:]+)", text))[1].decode()
        for _ in range(700):
            get(address, "/print/?" + "z" * 3000)
        assert len(text) < 10_000, "nothing was read meanwhile"
        told = until("the loss is told", lambda: read() or re.search(rb"(\d+) log lines were lost", text))
        assert int(told[1]) > 0
        get(address, "/plain")
        until("it goes on", lambda: read() or b"GET /plain" in text)
        # The end is not held up by the reader either.
        thread = threading.Thread(target=instance.stop)
        thread.start()
        until("it has ended", lambda: read() or not thread.is_alive())
        thread.join()


@pytest.mark.option("logto2", "logto")
def test_a_log_that_is_opened_late(short_dir: Path) -> None:
    with start("--logto", short_dir / "one", "--logto2", short_dir / "two") as instance:
        get(address_in(short_dir / "one"), "/plain")
        instance.stop()
    assert "bound to TCP" in (short_dir / "one").read_text() and "goodbye" not in (short_dir / "one").read_text()
    assert "GET /plain" in (short_dir / "two").read_text() and "goodbye" in (short_dir / "two").read_text()


@pytest.mark.option("logto2", "logfile-chown", "logfile-chmod")
@needs_root
def test_owner_and_mode_of_log_files(short_dir: Path) -> None:
    short_dir.chmod(0o777)
    names = ("--logto", short_dir / "one", "--logto2", short_dir / "two")
    options = ("--logfile-chmod", "604", "--logfile-chown", "--gid", "nogroup", "--need-app=false")
    with Penstock("--http", "127.0.0.1:0", *names, *options, cwd=short_dir) as instance:
        until("the second is open", lambda: (short_dir / "two").exists())
        instance.stop()
    for name in ("one", "two"):
        found = (short_dir / name).stat()
        assert stat.S_IMODE(found.st_mode) == 0o604 and found.st_gid == grp.getgrnam("nogroup").gr_gid, name


@pytest.mark.option("log-truncate")
def test_a_log_is_emptied_at_the_start(short_dir: Path) -> None:
    log = short_dir / "log"
    for options, is_kept in ((("--log-truncate",), False), ((), True)):
        log.write_text("from before\n")
        with start("--logto", log, *options):
            address_in(log)
        assert ("from before" in log.read_text()) == is_kept


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--logger", "nowhere:x"), "there is no logger nowhere"),
        (("--logger", "redislog:x"), "redislog is not supported"),
        (("--log-encoder", "gzip"), "lines are not compressed"),
        (("--log-encoder", "rot13"), "there is no encoder rot13"),
        (("--log-drain", "("), "no regular expression"),
        (("--log-route", "x ."), "no logger is called x"),
        (("--logger", "rsyslog:nowhere.invalid:1,x"), "can not be found"),
        (("--logger", "file:/nowhere/at/all.log"), "create the directory /nowhere/at first"),
        (("--logto2", "/nowhere/at/all.log"), "create the directory /nowhere/at first"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_log_that_can_not_be_is_refused(options: tuple[str, ...], message: str) -> None:
    done = run_penstock("--http", "127.0.0.1:0", "--wsgi-file", APP, *options)
    assert done.returncode == 1
    assert message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.option("logto", "logger")
@pytest.mark.parametrize("option", ["--logto=/dev/full", "--logger=file:/dev/full"])
def test_a_log_that_can_not_be_written_is_told_at_the_terminal_once(option: str) -> None:
    with Penstock("--http", "127.0.0.1:0", "--wsgi-file", APPS / "hello.py", option) as instance:
        log = instance.stop()
    why = "No space left on device"
    assert log == f"*** the log can not be written: {why}; lines are lost, and counted there once it can be ***\n"


@needs_root
def test_root_follows_no_link_of_somebody_else_to_its_log(tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text("root's\n")
    log = tmp_path / "app.log"
    log.symlink_to("shadow")
    os.chown(log, 54321, 54321, follow_symlinks=False)
    done = run_penstock("--http", "127.0.0.1:0", "--wsgi-file", str(APP), "--logto", str(log))
    assert done.returncode != 0 and "name the file itself" in done.stderr + done.stdout
    assert (tmp_path / "shadow").read_text() == "root's\n"
    os.chown(log, 0, 0, follow_symlinks=False)
    with start("--logto", log):
        address_in(log)
