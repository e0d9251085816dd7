"""What an import leaves behind is named before the fork, and nothing else is."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.worker.fake_master import FakeMaster, app_plan, value

Write = Callable[..., None]
APP = "application = lambda environ, start_response: (start_response('200 OK', []), [])[1]\n"
WARNING = "the import has left behind what the workers can not share"


def log_of(master: FakeMaster, project: Path, **changes: bool) -> str:
    master.start(app_plan(project), **changes)
    assert master.event()["event"] == "imported"
    return master.log()


def test_a_thread_is_named_with_the_place_of_what_it_runs(master: FakeMaster, project: Path, write: Write) -> None:
    write(
        "import threading\n"
        "def send_metrics():\n"
        "    threading.Event().wait()\n"
        "threading.Thread(target=send_metrics, name='metrics', daemon=True).start()\n"
        "class Poller(threading.Thread):\n"
        "    def run(self):\n"
        "        threading.Event().wait()\n"
        "Poller(name='poller', daemon=True).start()\n"
        "timer = threading.Timer(1000, send_metrics)\n"
        "timer.daemon = True\n"
        "timer.start()\n" + APP
    )
    log = log_of(master, project)
    path = project / "shop_site.py"
    assert log.count(WARNING) == 1 and "uwsgidecorators.postfork" in log and "lazy-apps = true" in log
    assert f"  - the thread metrics (send_metrics, {path}:2), which no worker has\n" in log
    assert f"  - the thread poller (Poller.run, {path}:6), which no worker has\n" in log
    assert f" (send_metrics, {path}:2), which no worker has\n" in log.partition("- the thread Thread-")[2]
    master.spawn(1)
    assert master.log().count(WARNING) == 1


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "one = socket.create_connection(('127.0.0.1', PORT))",
            "the connection to 127.0.0.1:{port} (descriptor {fd}), which all workers would use at once",
        ),
        (
            "one = socket.socket(socket.AF_UNIX); one.connect(UNIX)",
            "the connection to {unix} (descriptor {fd}), which all workers would use at once",
        ),
        ("one = socket.create_server(('127.0.0.1', 0))", "the socket that listens at 127.0.0.1:"),
        (
            "import redis; one = redis.Connection(socket.create_connection(('127.0.0.1', PORT)))",
            "the connection to 127.0.0.1:{port} (descriptor {fd}, held by redis.Connection), which all",
        ),
        (
            "import sqlite3\none = sqlite3.connect('shop.sqlite')\none.execute('create table a (b)')\none.commit()",
            "the SQLite database {project}/shop.sqlite (descriptor ",
        ),
    ],
    ids=["tcp", "unix", "listening", "driver", "sqlite"],
)
def test_connections_are_named_with_their_peer(
    master: FakeMaster, project: Path, write: Write, short_dir: Path, code: str, expected: str
) -> None:
    # A driver as the real one: an object of its package that holds a socket.
    write("class Connection:\n    def __init__(self, sock): self._sock = sock\n", "redis.py")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        path = str(short_dir / "db.sock")
        unix.bind(path)
        unix.listen()
        port = tcp.getsockname()[1]
        write(
            f"import socket\nPORT, UNIX = {port}, {path!r}\n{code}\n"
            "sock = getattr(one, '_sock', one)\nfd = sock.fileno() if hasattr(sock, 'fileno') else 0\n" + APP
        )
        log = log_of(master, project)
    control = master.spawn()
    fd = value(control, "sys.modules['shop_site'].fd")
    assert expected.format(port=port, unix=path, fd=fd, project=project) in log


HARMLESS = (
    "import asyncio, multiprocessing, select, socket, sqlite3, logging.handlers, os\n"
    "loop = asyncio.new_event_loop()\n"
    "poller = select.epoll()\n"
    "pair = socket.socketpair()\n"
    "pipe = multiprocessing.Pipe()\n"
    "statsd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    "statsd.connect(('127.0.0.1', 8125))\n"
    "unconnected = socket.socket()\n"
    "log = open('app.log', 'a')\n"
    "table = open('table', 'w+b')\n"
    "event = os.eventfd(0)\n"
    "memory = sqlite3.connect(':memory:')\n"
    "lock = multiprocessing.Lock()\n"
)


def test_what_processes_can_share_is_not_named(master: FakeMaster, project: Path, write: Write) -> None:
    write(HARMLESS + APP)
    assert WARNING not in log_of(master, project)


def test_the_threads_of_packages_that_start_them_again_are_not_named(
    master: FakeMaster, project: Path, write: Write
) -> None:
    write("", "sentry_sdk/__init__.py")
    write("def work():\n    __import__('threading').Event().wait()\n", "sentry_sdk/worker.py")
    write(
        "import threading\nfrom sentry_sdk.worker import work\nthreading.Thread(target=work, daemon=True).start()\n"
        + APP
    )
    assert WARNING not in log_of(master, project)


def test_an_app_that_each_worker_imports_may_do_as_it_likes(master: FakeMaster, project: Path, write: Write) -> None:
    write(
        "import socket, threading\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "server = socket.create_server(('127.0.0.1', 0))\n" + APP
    )
    master.start(app_plan(project), lazy_apps=True)
    assert master.event()["event"] == "imported"
    master.spawn()
    assert WARNING not in master.log()


DJANGO = (
    "from django.conf import settings\n"
    "settings.configure(DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'shop.sqlite'}})\n"
    "import django\n"
    "django.setup()\n"
    "from django.db import connection\n"
    "connection.cursor().execute('create table if not exists a (b)')\n"
)


def test_the_connections_of_django_are_closed(master: FakeMaster, project: Path, write: Write) -> None:
    write(DJANGO + APP)
    log = log_of(master, project)
    assert "Django's database connections of the import (default) were closed before the fork\n" in log
    assert WARNING not in log
    control = master.spawn()
    assert value(control, "sys.modules['shop_site'].connection.connection") is None


OLD_DJANGO = """
class Wrapper:
    alias, connection = "default", object()

    def close(self):
        self.connection = None

class Connections:
    made = [Wrapper()]

    def all(self):
        return self.made

    def close_all(self):
        for one in self.made:
            one.close()

connections = Connections()
"""


def test_the_connections_of_an_old_django_are_closed(master: FakeMaster, project: Path, write: Write) -> None:
    write("", "django/__init__.py")
    write("class settings:\n    configured = True\n", "django/conf.py")
    write(OLD_DJANGO, "django/db.py")
    write("import django.conf, django.db\n" + APP)
    assert "(default) were closed before the fork\n" in log_of(master, project)


def test_each_worker_has_random_numbers_of_its_own(master: FakeMaster, project: Path, write: Write) -> None:
    write("", "numpy/__init__.py")
    write("import os\nseeds = []\ndef seed(): seeds.append(os.getpid())\n", "numpy/random.py")
    write("import random, numpy.random\nrandom.seed(1)\n" + APP)
    master.start(app_plan(project))
    master.event()
    workers = [master.spawn(number, number - 1) for number in (1, 2, 3)]
    assert len({value(each, "sys.modules['random'].random()") for each in workers}) == 3
    assert [value(each, "sys.modules['numpy.random'].seeds") for each in workers] == [[pid] for pid in master.pids]


def test_hooks_of_python_run_in_each_worker(master: FakeMaster, project: Path, write: Write) -> None:
    write("import os\nran = []\nos.register_at_fork(after_in_child=lambda: ran.append(os.getpid()))\n" + APP)
    master.start(app_plan(project))
    master.event()
    workers = [master.spawn(number, number - 1) for number in (1, 2)]
    assert [value(each, "sys.modules['shop_site'].ran") for each in workers] == [[pid] for pid in master.pids]
    assert os.getpid() not in master.pids
