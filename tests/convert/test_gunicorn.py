"""gunicorn's configurations: what is read of them without running anything, and what becomes of it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from gunicorn import config as theirs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.config.files import FileReader
from penstock.config.pairs import Kind, Malformed
from penstock.convert.conversion import Conversion, Refused
from penstock.convert.gunicorn import command_line, config_file
from penstock.convert.gunicorn.conversion import convert_file, convert_line
from penstock.convert.gunicorn.mapping import _HANDLED
from penstock.convert.gunicorn.settings import BY_FLAG, NEGATIVE, SETTINGS
from penstock.convert.gunicorn.settings import BY_NAME as MINE
from penstock.convert.gunicorn.values import Text
from penstock.convert.writing import Target
from penstock.options.known import known_names
from penstock.options.table import BY_NAME
from tests.convert.support import meaning


def convert(text: str, tmp_path: Path, environment: str = "", target: Target = "ini") -> Conversion:
    (tmp_path / "gunicorn.conf.py").write_text(text)
    return convert_file(FileReader(str(tmp_path)), "gunicorn.conf.py", environment, target)


def lines(done: Conversion) -> list[str]:
    return [line.strip() for line in done.text.splitlines() if line.strip() and not line.strip().startswith(("#", "["))]


def line(words: str, tmp_path: Path, environment: str = "") -> list[str]:
    return lines(convert_line(FileReader(str(tmp_path)), words, environment, "ini"))


# -- the table against the real one ------------------------------------------------------------------------------------

REAL = {setting.name: setting for setting in theirs.KNOWN_SETTINGS}


def test_each_setting_of_gunicorn_has_its_row() -> None:
    assert not REAL.keys() - MINE.keys(), "add a row to penstock/convert/gunicorn/settings.py"
    assert len(SETTINGS) == len(MINE)


@pytest.mark.parametrize("name", sorted(REAL))
def test_a_row_is_written_as_gunicorn_reads_it(name: str) -> None:
    mine, real = MINE[name], REAL[name]
    assert list(mine.flags) == (real.cli or [])
    assert mine.repeats == (real.action == "append")
    action = {"nothing": ("store_true", "store_const")}.get(mine.takes, (None, "append"))
    assert not real.cli or real.action in action
    assert mine.is_hook == (real.section.endswith("Hooks"))


def test_flags_that_mean_no_are_those_of_gunicorn() -> None:
    assert {flag for real in REAL.values() if real.const is False for flag in real.cli} == NEGATIVE


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_each_row_says_what_becomes_of_it(setting: object) -> None:
    row = MINE[setting.name]  # type: ignore[attr-defined]
    assert row.to or row.note
    assert row.verdict == "carried" or row.note
    assert all(option in BY_NAME or option in known_names() for option in row.to)
    assert not row.note.endswith(".")


def test_what_is_handled_by_hand_exists() -> None:
    assert MINE.keys() >= _HANDLED
    assert set(BY_FLAG) == {flag for real in REAL.values() for flag in (real.cli or [])}


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_usual_file(tmp_path: Path) -> None:
    text = """\
import multiprocessing
import os

bind = "unix:/run/app.sock"
backlog = 512
workers = multiprocessing.cpu_count() * 2 + 1
threads = 1
timeout = 60
graceful_timeout = 20
keepalive = 5
max_requests = 1000
preload_app = True
accesslog = "-"
errorlog = "/var/log/app.log"
chdir = "/srv/app"
wsgi_app = "shop.wsgi:application"
raw_env = ["A=1", "B=100%d"]
umask = 0o027
user = "www-data"
forwarded_allow_ips = "*"
loglevel = "info"
worker_tmp_dir = "/dev/shm"

def post_fork(server, worker):
    server.log.info("forked")
"""
    done = convert(text, tmp_path)
    assert lines(done) == [
        "http = /run/app.sock",
        "module = shop.wsgi:application",
        "chdir = /srv/app",
        "env = A=1",
        "env = B=100%%d",
        "processes = %(%k * 2 + 1)",
        "threads = 1",
        "harakiri = 60",
        "max-requests = 1000",
        "http-keepalive = 5",
        "logto = /var/log/app.log",
        "uid = www-data",
        "umask = 027",
        "trusted-proxies = all",
        "listen = 512",
        "worker-reload-mercy = 20",
    ]
    said = {note.text.split(":")[0].split(" ")[0]: note for note in done.differs}
    assert said["post_fork"].line == 24 and "postfork" in said["post_fork"].text
    assert said["loglevel"].text.startswith("loglevel is not needed: ")
    assert said["timeout"].line == 8
    assert meaning(done.text, "ini")["processes"] == [7]
    assert meaning(done.text, "ini")["env"] == ["A=1", "B=100%d"]


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("workers = 4", "4"),
        ("workers = 2 * 2 + 1", "5"),
        ("import os\nworkers = int(os.environ.get('W', 2))", "$(W-2)"),
        ("import os\nworkers = int(os.environ.get('W', default='2'))", "$(W-2)"),
        ("import os\nworkers = int(os.getenv('W') or 3)", "$(W:-3)"),
        ("import os\nworkers = os.environ['W']", "$(W)"),
        ("from os import environ as e\nworkers = int(e.get('W', 2)) * 2", "%($(W-2) * 2)"),
        ("import multiprocessing as m\nworkers = 1 + 2 * m.cpu_count()", "%(1 + (2 * %k))"),
        ("from multiprocessing import cpu_count\nworkers = (cpu_count() + 1) * 2", "%(%k + 1 * 2)"),
        ("import os\nworkers = len(os.sched_getaffinity(0))", "%k"),
        ("import os\ncpus = os.cpu_count()\nworkers = cpus // 2 + 1", "%(%k / 2 + 1)"),
        ("n = 3\nn += 1\nworkers = n", "4"),
        ("a, b = 1, 2\nworkers = max(a, b)", "2"),
        ("workers: int = 3", "3"),
        ("if True:\n    workers = 5\nelse:\n    workers = 6", "5"),
        ("DEBUG = False\nworkers = 1 if DEBUG else 8", "8"),
        ("t = {'a': 7}\nworkers = t['a']", "7"),
    ],
)
def test_numbers(code: str, value: str, tmp_path: Path) -> None:
    assert f"processes = {value}" in lines(convert(code, tmp_path))


def test_arithmetic_means_what_it_means_in_python(tmp_path: Path) -> None:
    for code in ("c * 2 + 1", "(c + 1) * 2", "1 + 2 * c", "2 * (c + 3) - c", "c * c // 2"):
        text = f"import os\nc = os.cpu_count()\nworkers = {code}\nbind = ':1'\n"
        assert meaning(convert(text, tmp_path).text, "ini")["processes"] == [eval(code, {"c": 3})], code


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("bind = '0.0.0.0:80'", "0.0.0.0:80"),
        ("bind = 'localhost'", "localhost:8000"),
        ("bind = 'unix:///run/a.sock'", "/run/a.sock"),
        ("bind = 'unix:a.sock'", "a.sock"),
        ("bind = '[::]:80'", "[::]:80"),
        ("import os\nbind = f\"0.0.0.0:{os.environ.get('PORT', '8000')}\"", "0.0.0.0:$(PORT-8000)"),
        ("import os\nbind = '0.0.0.0:' + os.getenv('PORT', '80')", "0.0.0.0:$(PORT-80)"),
        ("import os\nport = int(os.getenv('PORT', 80))\nbind = f':{port}'", ":$(PORT-80)"),
        ("import os\nbind = 'unix:' + os.path.join(os.path.dirname(os.path.abspath(__file__)), 'a.sock')", "%da.sock"),
        ("from pathlib import Path\nB = Path(__file__).resolve().parent\nbind = f\"unix:{B / 'a.sock'}\"", "%da.sock"),
        ("from pathlib import Path\nB = Path(__file__).parent.parent\nbind = 'unix:' + str(B / 'run')", "%d../run"),
    ],
)
def test_addresses(code: str, value: str, tmp_path: Path) -> None:
    assert f"http = {value}" in lines(convert(code, tmp_path))


def test_several_addresses(tmp_path: Path) -> None:
    assert lines(convert("bind = [':1', ':2']", tmp_path))[:2] == ["http = :1", "http = :2"]
    assert lines(convert("bind = ':1, :2'", tmp_path))[:2] == ["http = :1", "http = :2"]
    assert lines(convert("bind = ':1'\nprotocol = 'uwsgi'", tmp_path))[0] == "socket = :1"


def test_nothing_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    text = f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nworkers = open('/etc/hostname').read()\n"
    done = convert(text, tmp_path)
    assert not mark.exists()
    assert [note.line for note in done.notes if "workers" in note.text] == [3]


@pytest.mark.parametrize(
    ("code", "number"),
    [
        ("workers = compute()", 1),
        ("import os\nworkers = max(2, os.cpu_count())", 2),
        ("import os\nif os.environ.get('D'):\n    workers = 1", 2),
        ("workers = [n for n in (1, 2)][0]", 1),
        ("x = compute()\nworkers = x + 1", 2),
        ("from other import *", 1),
        ("from other import workers", 1),
        ("bind = [':1']\nbind.append(':2')", 2),
        ("for i in range(3):\n    workers = i", 1),
        ("workers = 1\nwith open('x') as f:\n    workers = 2", 2),
        ("workers = 1 // 0", 1),
        ("workers = f'{1:>3}'", 1),
    ],
)
def test_what_has_to_be_run_is_named_with_its_line_and_left_out(code: str, number: int, tmp_path: Path) -> None:
    done = convert(code, tmp_path)
    assert [note.line for note in done.notes if "left out" in note.text] == [number]
    assert "# not read: " in done.text
    assert not re.search(r"^processes = [0-9]", done.text, re.MULTILINE)
    assert "http = :1" not in done.text


def test_gunicorns_own_defaults_are_written_down(tmp_path: Path) -> None:
    said = lines(convert("", tmp_path))
    assert said == [
        "if-env = PORT",
        "http = 0.0.0.0:%(_)",
        "endif =",
        "if-not-env = PORT",
        "http = 127.0.0.1:8000",
        "endif =",
        "processes = $(WEB_CONCURRENCY:-1)",
        "harakiri = 30",
        "disable-logging = true",
    ]


def test_a_time_limit_is_none_of_a_request_with_threads(tmp_path: Path) -> None:
    for code in ("threads = 4", "worker_class = 'gthread'", "timeout = 0"):
        assert not any("harakiri" in one for one in lines(convert(code, tmp_path)))


@pytest.mark.parametrize("kind", ["gevent", "eventlet", "tornado", "uvicorn.workers.UvicornWorker", "asgi"])
def test_other_kinds_of_workers_are_not_the_same_and_that_is_said(kind: str, tmp_path: Path) -> None:
    done = convert(f"worker_class = {kind!r}", tmp_path)
    assert any(note.text.startswith("worker_class is left out") for note in done.differs)
    assert f"# worker_class: {kind}" in done.text


def test_a_file_that_is_no_python(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="this is not Python") as malformed:
        convert("bind = ':1'\nworkers = (\n", tmp_path)
    assert malformed.value.line == 2


@pytest.mark.parametrize("target", ["ini", "toml", "yaml", "json"])
def test_every_kind_of_file_says_the_same(target: Target, tmp_path: Path) -> None:
    text = "bind = [':1', 'unix:/a']\nworkers = 3\nraw_env = ['A=%d']\ntimeout = 9\naccesslog = '-'\n"
    kind: Kind = target
    assert meaning(convert(text, tmp_path, target=target).text, kind) == meaning(convert(text, tmp_path).text, "ini")


def test_the_format_of_the_access_log_has_the_names_of_penstock(tmp_path: Path) -> None:
    text = "accesslog = '-'\naccess_log_format = '%(h)s \"%(r)s\" %(s)s %({x-forwarded-for}i)s 100%% %(L)s'\n"
    done = convert(text, tmp_path)
    wanted = 'log-format = %(addr) "%(method) %(uri) %(proto)" %(status) %(var.HTTP_X_FORWARDED_FOR) 100%% -'
    assert wanted in done.text
    assert any("nothing for L" in note.text for note in done.notes)


def test_in_the_background(tmp_path: Path) -> None:
    assert "daemonize = /a.log" in lines(convert("daemon = True\nerrorlog = '/a.log'", tmp_path))
    assert "daemonize = penstock.log" in lines(convert("daemon = True", tmp_path))


# -- command lines -----------------------------------------------------------------------------------------------------


def test_a_usual_line(tmp_path: Path) -> None:
    said = line("gunicorn -w 4 -b 0.0.0.0:8000 proj.wsgi --timeout 60 --access-logfile=-", tmp_path)
    assert said == ["http = 0.0.0.0:8000", "module = proj.wsgi", "processes = 4", "harakiri = 60"]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("gunicorn -w4 a:b", "processes = 4"),
        ("/venv/bin/gunicorn --workers=4 a:b", "processes = 4"),
        ("python -m gunicorn --worker 4 a:b", "processes = $(WEB_CONCURRENCY:-1)"),
        ("exec gunicorn --max-requests 9 a:b", "max-requests = 9"),
        ("gunicorn 'a:create_app()'", "module = a:create_app()"),
        ("gunicorn --bind 0.0.0.0:$PORT a", "http = 0.0.0.0:$(PORT)"),
        ("gunicorn --bind :${PORT:-80} a", "http = :$(PORT:-80)"),
        ("gunicorn -e A=1 -e B=2 a", "env = B=2"),
        ("gunicorn -DR --log-file /a.log a", "daemonize = /a.log"),
        ("gunicorn -m 022 a", "umask = 022"),
        ("gunicorn -m 0o22 a", "umask = 022"),
        ("gunicorn --umask 18 a", "umask = 022"),
        ("gunicorn --limit-request-fields 400 a", "max-vars = 200"),
        ("gunicorn -b :1 -b :2 -- a", "http = :2"),
        ("gunicorn --keep-alive 1 a", "http-keepalive = 2"),
    ],
)
def test_ways_to_write_it(words: str, wanted: str, tmp_path: Path) -> None:
    assert wanted in line(words, tmp_path)


def test_the_line_beats_the_variable_and_that_the_file(tmp_path: Path) -> None:
    (tmp_path / "g.py").write_text("workers = 1\nthreads = 1\nbind = ':1'\nmax_requests = 1\n")
    said = line("gunicorn -c g.py -w 3 a", tmp_path, "--threads 2 -w 2")
    assert "processes = 3" in said and "threads = 2" in said and "max-requests = 1" in said
    (tmp_path / "gunicorn.conf.py").write_text("bind = ':9'\n")
    assert "http = :9" in line("gunicorn a", tmp_path)
    notes = convert_line(FileReader(str(tmp_path)), "gunicorn a", "", "ini").notes
    assert notes[0].text.startswith("what gunicorn.conf.py of this directory says is in it, too")
    assert "processes = 2" in lines(convert("", tmp_path, "-w 2"))


@pytest.mark.parametrize(
    ("words", "piece"),
    [("gunicorn 'a", "can not be read"), ("gunicorn -c python:mod a", "python:mod is a module")],
)
def test_a_line_that_can_not_be_read(words: str, piece: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=piece):
        line(words, tmp_path)


def test_what_gunicorn_does_not_know_is_said(tmp_path: Path) -> None:
    done = convert_line(FileReader(str(tmp_path)), "A=1 gunicorn --nothing -Z -w", "", "ini")
    said = [note.text for note in done.notes]
    assert [text.split(" ")[0] for text in said] == ["no", "--nothing", "-Z", "-w", "A=1"]


def test_variables_of_the_shell() -> None:
    assert command_line.value_of("a$B%d") == Text("a$(B)%%d")
    assert command_line.value_of("12") == 12 and command_line.value_of("012") == "012"


# -- whatever else -----------------------------------------------------------------------------------------------------

quickly = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
PIECES = ("bind", "workers", " = ", "'a'", "os.environ.get('A')", "[", "]", "(", ")", "\n", "import os\n", "if x:\n ")
PIECES += ("f'{workers}'", " + ", "1", "{", "}", ": ", "lambda: ", "def on_exit(x):\n pass\n", "-", "\\", "é", "\0")
WORDS = ("-w", "--bind", "=", "-b:1", "--no-sendfile", "--proxy-protocol", "--", "-DR")


@quickly
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=20).map("".join))
def test_no_text_makes_the_reader_fail(text: str) -> None:
    try:
        given_, unread = config_file.read(text)
    except Malformed as malformed:
        described = bool(str(malformed) and malformed.cure)
    else:
        described = all(one.name in MINE for one in given_) and all(one.why for one in unread)
        ast.parse(text)
    assert described


@quickly
@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text()), max_size=6))
def test_no_words_make_the_reader_fail(words: list[str]) -> None:
    found, unread = command_line.read(words, "here")
    assert all(one.name in MINE for one in found) and all(one.what for one in unread)
