"""How bodies flow when the other side is slow, gone, or there is no room: buffers and their caps, files, disconnects.

A client that reads slowly must cost no app thread as long as there is room for what it has not read, in memory and
then on disk; past both, the app waits for it, and nothing else suffers. The same of clients that leave, and of a
process that runs out of descriptors.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import resource
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, get, post, request_bytes
from tests.e2e.harness import Gate, Penstock, read_stats, rss_bytes, until

MIB = 1 << 20
APP = '''
import hashlib
import io
import os
from urllib.parse import parse_qs

TEXT = [("Content-Type", "text/plain")]
SEEN = []


def application(environ, start_response):
    query = {key: values[-1] for key, values in parse_qs(environ["QUERY_STRING"]).items()}
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response, query)


def say(start_response, text):
    start_response("200 OK", TEXT)
    return [text.encode()]


def hello(environ, start_response, query):
    return say(start_response, "hello")


def pid(environ, start_response, query):
    return say(start_response, str(os.getpid()))


def wait(environ, start_response, query):
    """Tell the test that the request is here, and go on when it says so."""
    with open(query["started"], "wb", buffering=0) as started:
        started.write(f"{os.getpid()}\\n".encode())
    with open(query["go"], "rb", buffering=0) as go:
        go.read(1)
    return say(start_response, "waited")


def seen(environ, start_response, query):
    """What `record` wrote down."""
    return say(start_response, ",".join(SEEN))


def noise(size):
    """Bytes that are different everywhere, and the same each time."""
    block = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(2048))
    return (block * (size // len(block) + 1))[:size]


def one(environ, start_response, query):
    """`size` bytes as one object."""
    start_response("200 OK", [*TEXT, ("X-Thread", "done")])
    return [noise(int(query["size"]))]


def pieces(environ, start_response, query):
    """The same, piece by piece."""
    size, step = int(query["size"]), int(query["step"])
    body = noise(size)
    start_response("200 OK", TEXT)
    return (body[at : at + step] for at in range(0, size, step))


def written(environ, start_response, query):
    """The same by write()."""
    size, step = int(query["size"]), int(query["step"])
    body = noise(size)
    write = start_response("200 OK", TEXT)
    for at in range(0, size, step):
        write(body[at : at + step])
    return []


def file(environ, start_response, query):
    """A file by file_wrapper, from `offset`."""
    opened = open(query["path"], "rb", buffering=int(query.get("buffering", "-1")))
    if "offset" in query:
        opened.seek(int(query["offset"]))
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](opened, int(query.get("block", "8192")))


def pipe(environ, start_response, query):
    """What comes out of a pipe, by file_wrapper."""
    source, drain = os.pipe()
    os.write(drain, noise(50_000))
    os.close(drain)
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](os.fdopen(source, "rb"))


class Stream:
    """Endless; notes how it ends."""

    def __init__(self, name):
        self.name = name

    def __iter__(self):
        return self

    def __next__(self):
        return bytes(65536)

    def close(self):
        SEEN.append(f"{self.name} closed")


def endless(environ, start_response, query):
    start_response("200 OK", TEXT)
    return Stream(query["name"])


def endless_write(environ, start_response, query):
    write = start_response("200 OK", TEXT)
    try:
        while True:
            write(bytes(65536))
    except OSError as error:
        SEEN.append(f"{query['name']} {type(error).__name__}")
    return []


def raising_write(environ, start_response, query):
    """An app that does not expect that its client may leave."""
    write = start_response("200 OK", TEXT)
    while True:
        write(bytes(65536))


def digest(environ, start_response, query):
    """The request body: its length and digest, read as `how` says."""
    body, how = environ["wsgi.input"], query.get("how", "read")
    if how == "read":
        data = body.read()
    elif how == "pieces":
        data = b"".join(iter(lambda: body.read(10_007), b""))
    elif how == "lines":
        data = b"".join(body)
    else:
        data = body.readline() + body.read(3) + body.readline(5) + body.read()
        end = body.tell()
        body.seek(0)
        assert body.read() == data and body.tell() == end and body.read() == b""
    return say(start_response, f"{len(data)} {hashlib.sha256(data).hexdigest()}")
'''


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flow") / "app.py"
    path.write_text(APP)
    return path


@pytest.fixture(scope="module")
def start(app: Path) -> Callable[..., Penstock]:
    """Start the app over HTTP with one worker and one thread, and further arguments."""

    def make(*more: str | Path, prefix: tuple[str, ...] = ()) -> Penstock:
        # glibc would keep the memory of large objects that were freed, as many as it has seen.
        env = {"MALLOC_MMAP_THRESHOLD_": "131072"}
        return Penstock("--http", "127.0.0.1:0", "--wsgi-file", app, "--master", *more, prefix=prefix, env=env)

    return make


@pytest.fixture(scope="module")
def server(start: Callable[..., Penstock]) -> Iterator[Penstock]:
    with start() as instance:
        yield instance


def noise(size: int) -> bytes:
    """The body that the app sends for `size`."""
    block = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(2048))
    return (block * (size // len(block) + 1))[:size]


def slow_reader(server: Penstock, target: str) -> Connection:
    """A client that has asked for `target` and reads nothing; its kernel takes little for it."""
    connection = Connection(server.http, 30.0, receive_bytes=4096)
    return connection.send(request_bytes("GET", target))


def spooled(worker: int, folder: Path) -> list[int]:
    """Sizes of the files without a name in `folder` that process `worker` has open."""
    found = []
    for entry in Path(f"/proc/{worker}/fd").iterdir():
        with contextlib.suppress(OSError):
            if re.fullmatch(rf"{re.escape(str(folder))}/.*\(deleted\)", str(entry.readlink())):
                found.append(entry.stat().st_size)
    return found


def is_served(server: Penstock) -> None:
    """A client beside the slow ones gets its answer."""
    with Connection(server.http, timeout_s=5) as other:
        assert other.request("GET", "/hello").body == b"hello"


# -- slow readers ------------------------------------------------------------------------------------------------------


@pytest.mark.option("spool-dir")
@pytest.mark.parametrize(
    "target", ["/one?size=20971520", "/pieces?size=20971520&step=50001", "/written?size=20971520&step=70001"]
)
def test_a_slow_reader_of_twenty_megabytes_takes_no_thread(
    start: Callable[..., Penstock], tmp_path: Path, target: str
) -> None:
    with start("--spool-dir", tmp_path) as server:
        (worker,) = server.workers()
        is_served(server)
        before = rss_bytes(worker)
        with slow_reader(server, target) as slow:
            # There is one thread: it is free again before the client has read anything.
            is_served(server)
            # The rest lies in one file without a name, not in memory.
            (size,) = until("the response is spooled", lambda: spooled(worker, tmp_path))
            assert 10 * MIB < size <= 20 * MIB
            assert not list(tmp_path.iterdir())
            until("what the app made is given back", lambda: _settled(server, worker) - before < 8 * MIB)
            response = slow.read()
            assert response.status == 200 and response.body == noise(20 * MIB)
            # The connection can be used again, and the file is gone.
            assert slow.send(request_bytes("GET", "/hello")).read().body == b"hello"
        assert spooled(worker, tmp_path) == []
        lines = re.findall(rf"GET {re.escape(target)} .*", server.log)
        assert len(lines) == 1 and " 200)" in lines[0]


def _settled(server: Penstock, worker: int) -> int:
    """Memory of the worker after one more request, with which Python gives back what is not used any more."""
    is_served(server)
    return rss_bytes(worker)


@pytest.mark.option("response-buffer")
def test_a_response_within_the_buffer_stays_in_memory(start: Callable[..., Penstock], tmp_path: Path) -> None:
    with start("--spool-dir", tmp_path, "--response-buffer", str(16 * MIB)) as server, contextlib.ExitStack() as stack:
        (worker,) = server.workers()
        slow = [stack.enter_context(slow_reader(server, "/one?size=8388608")) for _ in range(3)]
        is_served(server)
        assert spooled(worker, tmp_path) == []
        for connection in slow:
            assert connection.read().body == noise(8 * MIB)


@pytest.mark.option("response-buffer-total")
def test_all_slow_readers_together_stay_within_the_workers_cap(start: Callable[..., Penstock], tmp_path: Path) -> None:
    caps = ("--response-buffer", str(4 * MIB), "--response-buffer-total", str(8 * MIB))
    with start("--spool-dir", tmp_path, *caps) as server, contextlib.ExitStack() as stack:
        (worker,) = server.workers()
        # What one response takes while the app makes it, and keeps for the next.
        get(server.http, "/one?size=6291456")
        before = rss_bytes(worker)
        slow = [stack.enter_context(slow_reader(server, "/one?size=6291456")) for _ in range(12)]
        is_served(server)
        # Each has about 3.5 MiB to wait for, which fits its own buffer: but two of them are the cap.
        assert len(spooled(worker, tmp_path)) >= 9
        assert _settled(server, worker) - before < (8 + 10) * MIB
        for connection in slow:
            assert connection.read().body == noise(6 * MIB)
        assert spooled(worker, tmp_path) == []


@pytest.mark.option("response-spool")
def test_past_buffer_and_spool_the_app_waits_and_the_ring_never_grows(
    start: Callable[..., Penstock], tmp_path: Path
) -> None:
    with start("--spool-dir", tmp_path, "--response-spool", str(2 * MIB), "--threads", "2") as server:
        (worker,) = server.workers()
        target = "/pieces?size=33554432&step=30011"
        with slow_reader(server, target) as slow:
            until("the ring is full", lambda: spooled(worker, tmp_path) == [2 * MIB])
            is_served(server)
            assert f"GET {target}" not in server.log, "the app has to wait"
            assert slow.read().body == noise(32 * MIB)
        assert spooled(worker, tmp_path) == []


def test_without_a_spool_the_app_waits(start: Callable[..., Penstock], tmp_path: Path) -> None:
    with start("--spool-dir", tmp_path, "--response-spool", "0", "--threads", "2") as server:
        (worker,) = server.workers()
        with slow_reader(server, "/one?size=12582912") as slow:
            is_served(server)
            assert spooled(worker, tmp_path) == []
            assert slow.read().body == noise(12 * MIB)


@pytest.mark.option("socket-timeout", "so-send-timeout")
@pytest.mark.parametrize(
    "options",
    [("--socket-timeout", "1"), ("--socket-timeout", "60", "--so-send-timeout", "1"), ("--so-write-timeout",)],
)
def test_a_spooled_response_of_a_client_that_takes_nothing_is_given_up(
    start: Callable[..., Penstock], tmp_path: Path, options: tuple[str, ...]
) -> None:
    with start("--spool-dir", tmp_path, *options) as server:
        (worker,) = server.workers()
        with slow_reader(server, "/one?size=20971520"):
            until("the response is spooled", lambda: spooled(worker, tmp_path))
            server.wait_log("took nothing of its response for too long")
            until("the file is gone", lambda: spooled(worker, tmp_path) == [])
            is_served(server)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", folder], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_makes_the_app_wait_and_is_told_once(start: Callable[..., Penstock], small_disk: Path) -> None:
    with start("--spool-dir", small_disk, "--threads", "3") as server:
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(slow_reader(server, "/one?size=12582912")) for _ in range(2)]
            server.wait_log("could not be spooled in .*No space left on device.*spool-dir")
            is_served(server)
            assert post(server.http, "/digest", bytes(MIB)).status == 507, "an upload has no room either"
            assert [connection.read().body == noise(12 * MIB) for connection in slow] == [True, True]
        # Once each time: where reading takes long, there is room for a while in between.
        told = re.findall("a response .* (could not be spooled)|responses (can be spooled)", server.log)
        assert all(failed != before for (failed, _), (before, _) in zip(told[1:], told, strict=False)), server.log

        # There is room again.
        def recovered() -> bool:
            with slow_reader(server, "/one?size=6291456") as again:
                is_served(server)
                assert again.read().body == noise(6 * MIB)
            return "can be spooled in" in server.log

        until("responses are spooled again", recovered, 15.0)


def test_many_pieces_reach_a_fast_reader_whole(server: Penstock) -> None:
    for target in (
        "/pieces?size=5000000&step=4096",
        "/pieces?size=5000000&step=700001",
        "/written?size=3000000&step=99",
    ):
        size = int(re.findall(r"size=(\d+)", target)[0])
        assert get(server.http, target).body == noise(size)


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", ["", "&offset=1234567", "&buffering=0", "&offset=9999999999"])
def test_a_large_file(server: Penstock, tmp_path: Path, more: str) -> None:
    path = tmp_path / "large"
    path.write_bytes(noise(10 * MIB))
    offset = int(more.partition("offset=")[2] or 0)
    response = get(server.http, f"/file?path={path}{more}")
    assert response.body == noise(10 * MIB)[offset:]
    assert response.header("content-length") == str(len(response.body))


def test_a_slow_reader_of_a_file_takes_no_thread(server: Penstock, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(noise(20 * MIB))
    with slow_reader(server, f"/file?path={path}") as slow:
        is_served(server)
        assert slow.read().body == noise(20 * MIB)


def test_a_file_that_shrinks_is_cut_and_never_filled_up(server: Penstock, tmp_path: Path) -> None:
    path = tmp_path / "shrinking"
    path.write_bytes(noise(10 * MIB))
    with slow_reader(server, f"/file?path={path}") as slow:
        is_served(server)
        os.truncate(path, 100_000)
        head = slow.read_head()
        assert ("Content-Length", str(10 * MIB)) in head[3]
        rest = slow.rest()
        assert len(rest) < 10 * MIB
        # What was on its way at that moment the kernel may have overwritten with zeros.
        assert rest[:100_000] == noise(100_000)
    assert "Traceback" not in server.log


def test_a_file_that_grows_is_sent_as_announced(server: Penstock, tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(noise(10 * MIB))
    with slow_reader(server, f"/file?path={path}") as slow:
        is_served(server)
        with path.open("ab") as file:
            file.write(b"more")
        assert slow.read().body == noise(10 * MIB)
        assert slow.send(request_bytes("GET", "/hello")).read().body == b"hello"


def test_files_that_are_made_while_they_are_read(server: Penstock) -> None:
    assert get(server.http, "/pipe").body == noise(50_000)
    assert get(server.http, "/file?path=/proc/self/status").body.startswith(b"Name:")
    # Says that it has a page, and has two bytes.
    sysfs = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if sysfs.exists():
        assert get(server.http, f"/file?path={sysfs}").body == sysfs.read_bytes()


# -- request bodies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["read", "pieces", "lines", "mixed"])
@pytest.mark.parametrize("size", [1, 16_000, 65_536, 262_144, 262_145, 3_000_000])
def test_a_body_arrives_as_it_was_sent(server: Penstock, how: str, size: int) -> None:
    body = noise(size)
    expected = f"{size} {hashlib.sha256(body).hexdigest()}".encode()
    assert post(server.http, f"/digest?how={how}", body).body == expected
    with Connection(server.http) as connection:
        head, rest = request_bytes("POST", f"/digest?how={how}", (), body).split(b"\r\n\r\n", 1)
        connection.send(head + b"\r\n\r\n" + rest[:1])
        is_served(server)
        connection.send(rest[1:] + request_bytes("GET", "/hello"))
        assert connection.read().body == expected
        assert connection.read().body == b"hello", "nothing of the next request was taken"


@pytest.mark.option("post-buffering-total")
def test_bodies_in_memory_stay_within_the_workers_cap(start: Callable[..., Penstock], tmp_path: Path) -> None:
    with (
        start("--spool-dir", tmp_path, "--post-buffering-total", "1000000") as server,
        contextlib.ExitStack() as stack,
    ):
        (worker,) = server.workers()
        body = noise(250_000)
        open_ones = [stack.enter_context(Connection(server.http)) for _ in range(10)]
        for connection in open_ones:
            connection.send(request_bytes("POST", "/digest", (), body)[:-1])
        # Four fit in memory; the others go to files although each of them is small enough.
        until("six bodies are spooled", lambda: len(spooled(worker, tmp_path)) == 6)
        for connection in open_ones:
            connection.send(body[-1:])
            assert connection.read().body == f"250000 {hashlib.sha256(body).hexdigest()}".encode()
        until("the files are gone", lambda: spooled(worker, tmp_path) == [])
        post(server.http, "/digest", body)
        assert spooled(worker, tmp_path) == []


# -- clients that leave ------------------------------------------------------------------------------------------------


def leave(connection: Connection, how: str) -> None:
    """Close `connection` in good order, or with a reset."""
    if how == "reset":
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("how", ["closed", "reset"])
@pytest.mark.parametrize(
    ("target", "noticed"),
    [("endless", "closed"), ("endless_write", "ConnectionError"), ("raising_write", None)],
)
def test_a_client_that_leaves_is_logged_as_499_and_no_error(
    server: Penstock, how: str, target: str, noticed: str | None
) -> None:
    since = len(server.log)
    name = f"{target}-{how}"
    connection = Connection(server.http).send(request_bytes("GET", f"/{target}?name={name}"))
    connection.read_head()
    leave(connection, how)
    server.wait_log(rf"GET /{target}\?name={name} .*\(HTTP/1\.1 499\)", since=since)
    if noticed:
        assert f"{name} {noticed}" in get(server.http, "/seen").text.split(",")
    assert "Traceback" not in server.log[since:] and "exception" not in server.log[since:]


def test_a_client_that_leaves_its_spooled_response_frees_it(start: Callable[..., Penstock], tmp_path: Path) -> None:
    with start("--spool-dir", tmp_path) as server:
        (worker,) = server.workers()
        slow = slow_reader(server, "/one?size=20971520")
        until("the response is spooled", lambda: spooled(worker, tmp_path))
        leave(slow, "reset")
        until("the file is gone", lambda: spooled(worker, tmp_path) == [])
        is_served(server)


def test_clients_that_leave_are_counted(start: Callable[..., Penstock], tmp_path: Path) -> None:
    stats = tmp_path / "stats"
    with start("--stats", stats) as server:

        def cores() -> dict[str, int]:
            (core,) = read_stats(str(stats))["workers"][0]["cores"]
            return {name: core[name] for name in ("write_errors", "read_errors")}

        leave(slow_reader(server, "/one?size=20971520"), "reset")
        until("the response is counted", lambda: cores() == {"write_errors": 1, "read_errors": 0})
        with Connection(server.http) as connection:
            connection.send(request_bytes("POST", "/digest", (), b"12345")[:-1])
        server.wait_log("499 - the client left in the middle of a request body")
        until("the request is counted", lambda: cores() == {"write_errors": 1, "read_errors": 1})


# -- nothing left ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def no_descriptors(pid: int) -> Iterator[None]:
    """Process `pid` can open nothing."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    lowest_free = next(number for number in range(len(taken) + 1) if number not in taken)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def test_without_descriptors_everything_waits_or_is_refused_and_comes_back(
    start: Callable[..., Penstock], tmp_path: Path
) -> None:
    (tmp_path / "file.txt").write_text("static")
    with (
        start("--static-map", f"/static={tmp_path}") as server,
        Connection(server.http) as first,
        Connection(server.http) as second,
        contextlib.ExitStack() as stack,
    ):
        (worker,) = server.workers()
        for connection in (first, second):
            assert connection.request("GET", "/hello").status == 200
        upload = request_bytes("POST", "/digest", (), bytes(300_000))
        with no_descriptors(worker):
            assert first.send(upload).read().status == 503
            assert "spool-dir" in server.wait_log("503 spool-failed .*Too many open files.*LimitNOFILE")[0]
            assert second.request("GET", "/static/file.txt").status == 503
            server.wait_log("503 out-of-resources .*file.txt.*Too many open files.*LimitNOFILE")
            waiting = [stack.enter_context(Connection(server.http)) for _ in range(20)]
            for connection in waiting:
                connection.send(request_bytes("GET", "/hello"))
            server.wait_log(r"accept\(\) on .* failed: Too many open files.*; new connections wait.*LimitNOFILE")
        assert [connection.read().body for connection in waiting] == [b"hello"] * 20
        server.wait_log("new connections are accepted again")
        assert len(re.findall(r"accept\(\) on .* failed", server.log)) == 1
        assert get(server.http, "/static/file.txt").body == b"static"
        assert post(server.http, "/digest", bytes(300_000)).status == 200


def test_a_connection_is_not_lost_on_its_way_to_a_worker_without_descriptors(
    start: Callable[..., Penstock], short_dir: Path
) -> None:
    with start("--processes", "2") as server, contextlib.ExitStack() as stack, Gate(short_dir) as gate:
        kept: dict[int, list[Connection]] = {}

        def has_three() -> bool:
            connection = stack.enter_context(Connection(server.http))
            kept.setdefault(int(connection.request("GET", "/pid").text), []).append(connection)
            return any(len(some) == 3 for some in kept.values())

        until("three connections to one worker", has_three)
        busy, connections = next((pid, some) for pid, some in kept.items() if len(some) == 3)
        (other,) = (pid for pid in server.workers() if pid != busy)
        with no_descriptors(other):
            connections[0].send(request_bytes("GET", gate.target))
            assert gate.entered() == busy
            for connection in connections[1:]:
                connection.send(request_bytes("GET", "/pid"))
            server.wait_log("a connection of another worker can not be taken over: Too many open files.*LimitNOFILE")
        assert [connection.read().text for connection in connections[1:]] == [str(other)] * 2
        gate.open()
        assert connections[0].read().body == b"waited"
