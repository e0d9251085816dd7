"""Requests that take too long: their clients are answered, their threads interrupted, their workers replaced.

`apps/stuck.py` gets stuck in every way. Limits are a second or two, and everything else is waited for.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients import (
    Connection,
    Cut,
    Response,
    connect,
    get,
    post,
    request_bytes,
    uwsgi_packet,
    uwsgi_request,
    uwsgi_variables,
)
from tests.e2e.harness import APPS, Gate, Nginx, Penstock, is_alive, read_stats, until

Serve = Callable[..., Penstock]

WAITS = {"sleep": "sleeps", "recv": "receives", "select": "selects"}
"""Ways to get stuck that let other threads run Python, and the function that the stack shows."""


class Instance(Penstock):
    """One that serves `apps/stuck.py`."""

    notes_path: Path

    @property
    def notes(self) -> list[str]:
        """What requests have said about their end."""
        return self.notes_path.read_text().splitlines()

    @property
    def stuck_pid(self) -> int:
        """The worker in which the last request was stuck."""
        return int(self.wait_log(r"HARAKIRI ON WORKER \d+ \(pid: (\d+)")[1])


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Instance]]:
    running: list[Instance] = []

    def start(*arguments: str, limit: int = 1, env: dict[str, str] | None = None, http: bool = True) -> Instance:
        notes = tmp_path / f"notes{len(running)}"
        notes.touch()
        listener = ("--http-socket" if http else "--socket", "127.0.0.1:0")
        limits = ("--harakiri", str(limit)) if limit else ()
        command = (*listener, "--wsgi-file", str(APPS / "stuck.py"), *limits, "--need-app", *arguments)
        one = Instance(*command, env={"STUCK_NOTES": str(notes), **(env or {})})
        one.notes_path = notes
        running.append(one)
        return one

    yield start
    for one in running:
        if one.dir.exists():
            print(one.tail)
            one.clean()


class Neighbours:
    """Somebody who asks for `/free` again and again meanwhile, over a connection of its own each time."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.answers = 0
        self.failures: list[str] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._is_over.wait(0.02):
            try:
                status = get(self.address, "/free").status
            except (OSError, Cut) as error:
                self.failures.append(repr(error))
                continue
            if status == 200:
                self.answers += 1
            else:
                self.failures.append(str(status))

    def __enter__(self) -> Neighbours:
        self._thread.start()
        until("a neighbour is served", lambda: self.answers)
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()


def assert_late(response: Response) -> None:
    assert (response.status, response.header("Connection")) == (504, "close")
    assert "took longer" in response.text


def wait_gone(instance: Instance, pid: int, deadline_s: float = 15.0) -> None:
    until(f"worker {pid} is gone", lambda: not is_alive(pid), deadline_s)


@pytest.mark.option("harakiri")
@pytest.mark.parametrize("http", [True, False])
def test_a_connection_ends_with_its_request(serve: Callable[..., Instance], http: bool) -> None:
    """What the log would need of a request that gets stuck does not keep the connection of any other open."""
    instance = serve(limit=60, http=http)
    address = instance.http if http else instance.uwsgi
    closing = b"GET /free HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with connect(address) as client:
        client.settimeout(20)
        client.sendall(closing if http else uwsgi_packet(uwsgi_variables("/free")))
        received = b""
        while piece := client.recv(65536):
            received += piece
    assert received.endswith(b"free\n")
    assert instance.stop()


# --- each way to get stuck


@pytest.mark.event("harakiri")
@pytest.mark.option("harakiri")
@pytest.mark.parametrize("way", [*WAITS, "spin"])
def test_a_stuck_request_is_answered_and_its_neighbours_go_on(serve: Callable[..., Instance], way: str) -> None:
    instance = serve("--threads", "3", "--processes", "2")
    with Neighbours(instance.http) as others:
        begun = time.monotonic()
        assert_late(get(instance.http, f"/{way}?secret=1"))
        assert 0.9 < time.monotonic() - begun < 5
        pid = instance.stuck_pid
        before = others.answers
        wait_gone(instance, pid)
        until("neighbours are served by the others", lambda: others.answers > before + 20)
    assert others.failures == []
    log = instance.stop()
    function = {**WAITS, "spin": "spins"}[way]
    assert len(re.findall(rf'File ".*stuck\.py", line \d+, in {function}$', log, re.M)) >= 2, "at half and at the limit"
    assert re.search(rf"GET /{way}\?secret=1 of 127\.0\.0\.1 \(request \d+\) has taken 0\.[5-9] s, half", log)
    assert re.search(r"\(request \d+\) has taken 1\.\d s of harakiri = 1: its client got 504", log)
    assert re.search(rf"HARAKIRI \[core \d\] 127\.0\.0\.1 - GET /{way}\?secret=1 since \d+ \(1\.", log)
    assert "killed by signal" not in log, "nothing is killed"


@pytest.mark.parametrize("way", [*WAITS, "spin", "match"])
def test_the_only_thread_of_a_worker_is_interrupted_whatever_it_does(serve: Callable[..., Instance], way: str) -> None:
    """The main thread's calls are woken by a signal, and even C that computes looks for those."""
    instance = serve()
    assert_late(get(instance.http, f"/{way}"))
    until("it has cleaned up", lambda: instance.notes[-1:] == ["cleaned up"])
    assert instance.notes[0] == "interrupted: the request has taken longer than harakiri allows"
    assert get(instance.http, "/free").status == 200
    wait_gone(instance, instance.stuck_pid)
    log = instance.stop()
    assert "which had taken too long" in log and "Traceback" not in log
    assert re.search(rf"GET /{way} => generated 0 bytes in \d+ msecs \(HTTP/1.1 504\)", log), "it has its line"


def test_c_code_that_holds_the_interpreters_lock_is_answered_and_the_worker_replaced(
    serve: Callable[..., Instance],
) -> None:
    instance = serve("--threads", "2", "--processes", "2", "--disable-logging")
    with Neighbours(instance.http) as others:
        # On a thread other than the main one, where no signal helps: that one is interrupted, and has another try.
        for _ in range(20):
            assert_late(get(instance.http, "/match"))
            if re.search(r"HARAKIRI \[core 1\] \S+ - GET /match", instance.log):
                break
        found = instance.wait_log(r"worker \d \(pid: (\d+)\) ends: none of its requests can go on", 20)
        wait_gone(instance, int(found[1]))
        before = others.answers
        until("neighbours are served", lambda: others.answers > before + 10)
    assert set(others.failures) <= {"503", "504"}, "who is with that worker can not be helped"
    log = instance.stop()
    assert "C code holds the interpreter's lock" in log
    assert re.search(r'File ".*stuck\.py", line \d+ in matches', log), "written without the lock"


def test_threads_that_take_turns_are_not_taken_for_c_code(serve: Callable[..., Instance]) -> None:
    """Whoever waits for the interpreter's lock beside many that compute waits long; no frame may be read meanwhile."""
    instance = serve("--threads", "12")
    with ThreadPoolExecutor(12) as pool:
        for answer in [pool.submit(get, instance.http, "/spin") for _ in range(12)]:
            assert_late(answer.result())
    until("all are interrupted", lambda: instance.notes.count("cleaned up") == 12, 20)
    log = instance.stop()
    assert "holds the interpreter's lock" not in log and "keeps every thread from running Python" not in log


def test_requests_beside_c_code_that_holds_the_lock_get_an_answer(serve: Callable[..., Instance]) -> None:
    instance = serve("--threads", "3")
    with ThreadPoolExecutor(3) as pool:
        # One of the three at most is the main thread, which can be interrupted.
        answers = [pool.submit(get, instance.http, "/match") for _ in range(3)]
        found = [answer.result().status for answer in answers]
    assert set(found) <= {503, 504} and 504 in found
    until("the site is back", lambda: get(instance.http, "/free").status == 200, 15)
    instance.stop()


def test_a_request_for_a_head_beside_such_code_gets_no_body(serve: Callable[..., Instance]) -> None:
    options = ("--threads", "2", "--route", "^/sleep harakiri:60", "--worker-reload-mercy", "3")
    instance = serve(*options, env={"STUCK_SECONDS": "0.3"})
    for _ in range(20):
        since = len(instance.log)
        with Connection(instance.http) as other, ThreadPoolExecutor(1) as pool:
            short = pool.submit(get, instance.http, "/short")
            other.send(request_bytes("HEAD", "/sleep"))
            assert short.result().status == 200
            assert_late(get(instance.http, "/match"))
            found = instance.wait_log(r"HARAKIRI \[core (\d)\] \S+ - GET /match", 10, since)
            # The main thread could be interrupted: then there is another try.
            if found[1] == "1":
                assert other.read("HEAD").status == 503 and other.is_closed()
                instance.stop()
                return
    pytest.fail("the main thread was the one that got stuck, each time")


# --- what the client sees


def test_a_response_that_has_begun_is_cut_visibly(serve: Callable[..., Instance]) -> None:
    instance = serve("--threads", "2")
    with Connection(instance.http) as connection:
        connection.send(request_bytes("GET", "/begun"))
        connection.read_head()
        with pytest.raises((ConnectionResetError, Cut)):
            connection._chunks()
        assert b"0\r\n\r\n" not in connection.buffer
    with pytest.raises((ConnectionResetError, Cut)):
        get(instance.http, "/begun-with-length")
    with Connection(instance.http) as connection:
        connection.send(b"GET /begun HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            connection.rest()
    until("its iterable is closed", lambda: "closed" in instance.notes)
    assert re.search(r"GET /begun since .* cut off", instance.log)
    instance.stop()


@pytest.mark.event("harakiri")
@pytest.mark.parametrize("target", ["/closes-slowly?length", "/closes-slowly"])
def test_a_response_that_is_complete_is_not_cut_for_what_the_app_does_afterwards(
    serve: Callable[..., Instance], target: str
) -> None:
    instance = serve("--threads", "2")
    with Connection(instance.http) as connection:
        assert connection.request("GET", target).body == b"all of it"
        assert connection.sock.recv(1) == b"", "an orderly end, no reset"
    with Connection(instance.http) as connection:
        connection.send(f"GET {target} HTTP/1.0\r\n\r\n".encode())
        assert connection.read().body == b"all of it"
    until("both are interrupted", lambda: instance.log.count("its response was complete") == 2)
    log = instance.stop()
    lines = re.findall(r" GET /closes-slowly\S* => generated (\d+) bytes in (\d+) msecs \(HTTP/1.\d (\d+)\)", log)
    assert [(size, status) for size, _, status in lines] == [("9", "200")] * 2, log
    assert all(1000 <= int(taken) < 20000 for _, taken, _ in lines)


def test_each_request_has_its_line_in_the_log_when_its_client_is_answered(serve: Callable[..., Instance]) -> None:
    log_format = ("--log-format", "LINE %(method) %(uri) %(status) %(vars) %(var.HTTP_X_MARK) %(secs)")
    options = (*log_format, "--harakiri-graceful-timeout", "10")
    instance = serve("--threads", "3", *options, env={"STUCK_SECONDS": "1.8"})
    with ThreadPoolExecutor(3) as pool:
        sent = [pool.submit(get, instance.http, target, {"X-Mark": "m"}) for target in ("/stubborn?a=b", "/short")]
        for each in sent:
            assert_late(each.result())
        # The first one's thread never comes back.
        lines = until("two lines", lambda: (found := re.findall(r"^LINE .*", instance.log, re.M))[1:] and sorted(found))
        for line, target in zip(lines, ("/short", "/stubborn?a=b"), strict=True):
            assert re.fullmatch(rf"LINE GET {re.escape(target)} 504 [1-9]\d* m [1-9][\d.]*", line), line
        with pytest.raises((ConnectionResetError, Cut)):
            get(instance.http, "/begun-with-length", {"X-Mark": "m"})
        instance.wait_log(r"^LINE GET /begun-with-length 200 [1-9]\d* m [1-9][\d.]*$")
        until("it has come back", lambda: "cleaned up" in instance.notes)
    log = instance.stop()
    assert len(re.findall(r"^LINE ", log, re.M)) == 3, "none has two"


def test_requests_that_are_lost_with_their_worker_have_lines_too(serve: Callable[..., Instance]) -> None:
    instance = serve("--threads", "3")
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(get, instance.http, "/match") for _ in range(3)]
        found = sorted(answer.result().status for answer in answers)
    until(
        "three lines",
        lambda: sorted(map(int, re.findall(r" GET /match => generated .* \(HTTP/1.1 (\d+)\)", instance.log))) == found,
    )
    instance.stop()


def test_connections_go_on_to_the_504_and_no_further(serve: Callable[..., Instance]) -> None:
    instance = serve("--threads", "2")
    with Connection(instance.http) as connection:
        assert connection.request("GET", "/free").status == 200
        connection.send(request_bytes("GET", "/free") + request_bytes("GET", "/sleep") + request_bytes("GET", "/free"))
        assert connection.read().status == 200
        assert_late(connection.read())
        assert connection.is_closed()
    with Connection(instance.http) as connection:
        connection.send(request_bytes("HEAD", "/sleep"))
        response = connection.read("HEAD")
        assert response.status == 504 and connection.is_closed(), "HEAD has no body"
    instance.stop()


@pytest.mark.parametrize("way", ["closes", "resets"])
@pytest.mark.parametrize("http", [True, False], ids=["http", "uwsgi"])
def test_a_client_that_left_before_the_limit_is_logged_as_499(
    serve: Callable[..., Instance], way: str, http: bool
) -> None:
    instance = serve(http=http, limit=2)
    request = request_bytes("GET", "/sleep") if http else uwsgi_packet(uwsgi_variables("/sleep"))
    connection = Connection(instance.http if http else instance.uwsgi).send(request)
    until("it is in the app", lambda: "half of harakiri" in instance.log)
    if way == "resets":
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    instance.wait_log(r"GET /sleep => generated 0 bytes in \d+ msecs \(HTTP/1.1 499\)")
    instance.wait_log(r"of harakiri = 2: its client had left, and it is interrupted")
    instance.wait_log(r"GET /sleep since .* its client had left\)")
    instance.stop()


def test_a_client_that_closes_its_sending_side_only_gets_its_504(serve: Callable[..., Instance]) -> None:
    instance = serve()
    with Connection(instance.http) as connection:
        connection.send(request_bytes("GET", "/sleep")).sock.shutdown(socket.SHUT_WR)
        assert_late(connection.read())
    instance.wait_log(r"GET /sleep => generated 0 bytes in \d+ msecs \(HTTP/1.1 504\)")
    instance.stop()


def test_a_response_that_is_ready_at_the_limit_is_sent_or_not(serve: Callable[..., Instance]) -> None:
    """One or the other, as a whole: its connection goes on behind an answer of the app, and ends behind a 504."""
    instance = serve("--threads", "8")

    def ask(way: str) -> int:
        with Connection(instance.http) as connection:
            response = connection.request("GET", way)
            if response.status == 504:
                assert_late(response)
            else:
                assert (response.status, response.text) == (200, "done\n")
                assert connection.request("GET", "/free").status == 200
            return response.status

    found = set()
    with ThreadPoolExecutor(8) as pool:
        for delay in ("0.9990", "0.9994", "0.9997", "0.9999", "1.0000", "1.0002"):
            found |= set(pool.map(ask, [f"/sleep-for/{delay}"] * 8))
    assert found == {200, 504}
    instance.stop()


def test_the_error_page_of_504_is_not_the_apps(serve: Callable[..., Instance]) -> None:
    instance = serve("--threads", "2", "--add-header", "X-Own: 1")
    assert get(instance.http, "/sleep").header("X-Own") == "1"
    instance.stop()


def test_nginx_passes_the_504_of_a_uwsgi_socket_on(serve: Callable[..., Instance]) -> None:
    instance = serve("--threads", "2", http=False)
    site = f"location / {{ include /etc/nginx/uwsgi_params; uwsgi_pass {instance.uwsgi}; }}"
    with Nginx(site) as nginx, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(get, nginx.address, "/sleep")
        assert get(nginx.address, "/free").status == 200
        assert answer.result().status == 504
        assert "took longer" in answer.result().text
        assert get(nginx.address, "/free").status == 200
    assert "504" in f"{uwsgi_request(instance.uwsgi, '/sleep').status}"
    instance.wait_log(r"HARAKIRI \[core \d\] 192\.0\.2\.7 - GET /sleep since")
    instance.stop()


# --- what becomes of the app


def test_what_the_app_still_says_reaches_nobody(serve: Callable[..., Instance]) -> None:
    instance = serve("--threads", "4")
    with ThreadPoolExecutor(12) as pool:
        late = [pool.submit(get, instance.http, f"/{way}") for way in ("swallow", "iterable", "swallow")]
        until("its worker says so", lambda: "HARAKIRI ON" in instance.log)
        # Whoever has the descriptor's number next would get what was not meant for them.
        others = [pool.submit(get, instance.http, "/free") for _ in range(200)]
        for answer in late:
            assert_late(answer.result())
        assert [answer.result().text for answer in others] == ["free\n"] * 200
    until("all have come back", lambda: instance.notes.count("swallowed: HarakiriError") == 2)
    until("its iterable is closed", lambda: "closed" in instance.notes)
    assert "written" not in instance.notes
    assert any(note.startswith("ConnectionError: write error: the request took too long") for note in instance.notes)
    log = instance.stop()
    assert "Traceback" not in log, "nothing of it is shown as an error"


def test_one_that_ignores_every_interruption_is_left_behind(serve: Callable[..., Instance], gate: Gate) -> None:
    instance = serve("--threads", "3", "--mount", f"/cases={APPS / 'cases.py'}", "--manage-script-name")
    with Connection(instance.http) as slow, ThreadPoolExecutor(1) as pool:
        stubborn = pool.submit(get, instance.http, "/stubborn")
        until("it is in the app", lambda: "half of harakiri" in instance.log)
        slow.send(request_bytes("GET", f"/cases{gate.target}"))
        pid = gate.entered()
        assert_late(stubborn.result())
        instance.wait_log(r"is replaced \(harakiri\) and finishes its requests")
        assert get(instance.http, "/pid").body != str(pid).encode()
        assert is_alive(pid), "another request is with it"
        gate.open()
        assert slow.read().status == 200
    wait_gone(instance, pid)
    assert "stubborn" in instance.notes
    instance.stop()


def test_c_code_that_comes_back_late_is_interrupted_then(serve: Callable[..., Instance]) -> None:
    instance = serve("--threads", "2", env={"STUCK_SECONDS": "1.8"})
    for _ in range(2):
        # One of the two is not on the main thread.
        assert_late(get(instance.http, "/short"))
    until("both have ended", lambda: instance.notes.count("cleaned up") == 2)
    assert get(instance.http, "/free").status == 200
    instance.stop()


# --- workers


def test_who_waits_behind_stuck_threads_is_served_by_the_replacement(serve: Callable[..., Instance]) -> None:
    instance = serve("--threads", "2", "--lazy-apps")
    with ThreadPoolExecutor(12) as pool:
        stuck = [pool.submit(get, instance.http, "/stubborn") for _ in range(2)]
        until("both are in the app", lambda: instance.log.count("half of harakiri") == 2)
        waiting = [pool.submit(get, instance.http, "/free") for _ in range(4)]
        bodies = [pool.submit(post, instance.http, "/free", b"x" * 1000) for _ in range(2)]
        pipelined = Connection(instance.http)
        pipelined.send(request_bytes("GET", "/free") * 3)
        for answer in stuck:
            assert_late(answer.result())
        assert [answer.result().status for answer in (*waiting, *bodies)] == [200] * 6
        assert [pipelined.read().status for _ in range(3)] == [200] * 3
        pipelined.close()
    wait_gone(instance, instance.stuck_pid)
    instance.stop()


def test_all_workers_stuck_at_once_come_back(serve: Callable[..., Instance]) -> None:
    instance = serve("--threads", "2", "--processes", "3")
    old = instance.workers()
    with ThreadPoolExecutor(6) as pool:
        for answer in [pool.submit(get, instance.http, "/stubborn") for _ in range(6)]:
            assert_late(answer.result())
    assert get(instance.http, "/free").status == 200
    until("all are replaced", lambda: not any(is_alive(pid) for pid in old), 20)
    assert get(instance.http, "/free").status == 200
    assert len(instance.workers()) == 3
    instance.stop()


def test_stuck_requests_again_and_again_do_not_take_the_site_down(
    serve: Callable[..., Instance], tmp_path: Path
) -> None:
    instance = serve("--threads", "2", "--processes", "2", "--stats", str(tmp_path / "stats"))
    with Neighbours(instance.http) as others, ThreadPoolExecutor(2) as pool:
        for _ in range(4):
            for answer in [pool.submit(get, instance.http, "/sleep") for _ in range(2)]:
                assert_late(answer.result())
    assert others.failures == []

    def counted() -> int:
        return sum(worker["harakiri_count"] for worker in read_stats(str(tmp_path / "stats"))["workers"])

    # The client hears of it before the master does.
    until("each has been counted", lambda: counted() >= 8)
    assert counted() == 8
    log = instance.stop()
    assert "too fast" not in log and "DAMN" not in log


def test_the_statistics_keep_the_last_stacks(serve: Callable[..., Instance], tmp_path: Path) -> None:
    instance = serve("--threads", "2", "--stats", str(tmp_path / "stats"))
    assert "stuck" not in read_stats(str(tmp_path / "stats"))["workers"][0]
    assert_late(get(instance.http, "/sleep"))

    def worker_with_both() -> dict[str, Any] | None:
        worker: dict[str, Any] = read_stats(str(tmp_path / "stats"))["workers"][0]
        return worker if len(worker.get("stuck", [])) == 2 else None

    worker = until("both stacks are in the statistics", worker_with_both)
    assert worker["harakiri_count"] == 1
    half, whole = worker["stuck"]
    assert "GET /sleep of 127.0.0.1" in half["what"] and "half of harakiri = 1" in half["what"]
    assert "its client got 504" in whole["what"] and "in sleeps" in whole["stacks"]
    assert whole["at"] == pytest.approx(time.time(), abs=30)
    json.dumps(worker)
    instance.stop()


def test_a_stop_does_not_wait_for_stuck_requests_longer_than_their_limit(serve: Callable[..., Instance]) -> None:
    instance = serve("--threads", "2", limit=2)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(get, instance.http, "/stubborn")
        until("it is in the app", lambda: "half of harakiri" in instance.log)
        begun = time.monotonic()
        instance.stop()
        assert time.monotonic() - begun < 15, "worker-reload-mercy is a minute"
        assert_late(answer.result())


# --- the options


@pytest.mark.option("harakiri-graceful-signal")
def test_the_graceful_signal_reaches_the_apps_own_handler(serve: Callable[..., Instance]) -> None:
    instance = serve("--harakiri-graceful-signal", "12", env={"STUCK_SIGNAL": "12"})
    assert_late(get(instance.http, "/sleep"))
    until("its handler ran", lambda: "signal 12" in instance.notes)
    instance.stop()


def test_a_graceful_signal_without_a_handler_does_nothing(serve: Callable[..., Instance]) -> None:
    instance = serve("--harakiri-graceful-signal", "23", "--threads", "2")
    assert_late(get(instance.http, "/sleep"))
    assert get(instance.http, "/free").status == 200
    assert "killed by signal" not in instance.stop()


@pytest.mark.option("harakiri-graceful-timeout")
def test_an_interrupted_request_has_the_graceful_timeout_to_clean_up(serve: Callable[..., Instance]) -> None:
    for seconds, is_done in (("0", False), ("6", True)):
        instance = serve("--harakiri-graceful-timeout", seconds, env={"STUCK_SECONDS": "3.5"})
        assert_late(get(instance.http, "/slow-cleanup"))
        wait_gone(instance, instance.stuck_pid)
        assert ("cleaned up slowly" in instance.notes) == is_done, seconds
        instance.stop()


@pytest.mark.option("harakiri-queue-threshold")
def test_with_a_queue_threshold_the_limit_counts_only_while_connections_wait(serve: Callable[..., Instance]) -> None:
    instance = serve("--harakiri-queue-threshold", "2")
    begun = time.monotonic()
    with ThreadPoolExecutor(10) as pool:
        alone = pool.submit(get, instance.http, "/stubborn")
        until("it is over the limit", lambda: time.monotonic() - begun > 2.5)
        assert not alone.done() and "half of harakiri" in instance.log
        others = [pool.submit(get, instance.http, "/free") for _ in range(6)]
        assert_late(alone.result())
        assert [other.result().status for other in others] == [200] * 6
    instance.stop()


@pytest.mark.option("harakiri-verbose")
def test_verbose_tells_the_system_call(serve: Callable[..., Instance]) -> None:
    instance = serve("--harakiri-verbose")
    assert_late(get(instance.http, "/sleep"))
    instance.wait_log(r"HARAKIRI: -- syscall> \d+")
    instance.wait_log(r"HARAKIRI: -- wchan> ")
    instance.stop()


@pytest.mark.parametrize("limit", [0, 60])
def test_an_app_sets_a_limit_of_its_own(serve: Callable[..., Instance], limit: int) -> None:
    instance = serve("--threads", "2", limit=limit)
    assert_late(get(instance.http, "/own"))
    instance.wait_log(r"HARAKIRI \(user\) triggered by worker 1 core \d !!!")
    instance.wait_log(r"of the 1\.0 s that set_user_harakiri allows")
    assert get(instance.http, "/own-taken-back").text == "in time"
    instance.stop()


def test_a_rule_gives_requests_another_limit(serve: Callable[..., Instance]) -> None:
    instance = serve(
        *("--threads", "2", "--route", "^/short harakiri:0", "--route", "^/sleep harakiri:1"),
        limit=2,
        env={"STUCK_SECONDS": "3"},
    )
    with ThreadPoolExecutor(2) as pool:
        long, short = pool.submit(get, instance.http, "/short"), pool.submit(get, instance.http, "/sleep")
        assert_late(short.result())
        assert not long.done()
        assert long.result().status == 200
    instance.wait_log(r"of the 1 s that a rule allows")
    instance.stop()


def test_a_request_that_waits_in_a_queue_has_its_time_from_when_it_is_begun(serve: Callable[..., Instance]) -> None:
    instance = serve("--processes", "1", limit=2, env={"STUCK_SECONDS": "1.5"})
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(get, instance.http, "/short") for _ in range(2)]
        assert [answer.result().status for answer in both] == [200, 200]
    assert "HARAKIRI" not in instance.stop()


def test_a_broken_uwsgi_client_does_not_matter(serve: Callable[..., Instance]) -> None:
    """Its connection is gone before the limit."""
    instance = serve("--threads", "2", http=False)
    with Connection(instance.uwsgi) as connection:
        connection.send(uwsgi_packet(uwsgi_variables("/sleep")))
        until("it is in the app", lambda: "half of harakiri" in instance.log)
    instance.wait_log("HARAKIRI triggered")
    assert uwsgi_request(instance.uwsgi, "/free").status == 200
    instance.stop()
