"""Rule by rule, the syntax of configurations and command lines in the real uWSGI and here.

Each row is the smallest text that shows one rule. Both show the pairs that they have found; where they differ, the row
names the deviation. `REFUSED` stands for what both refuse.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from penstock.config.deviations import DEVIATIONS
from tests.config import uwsgi
from tests.config.test_differential import differences, ours, shown

REFUSED = "refused"


class Row(NamedTuple):
    """One rule."""

    id: str
    text: str = ""
    argv: tuple[str, ...] = ("--ini", "a.ini")
    deviation: str = ""
    environ: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()


def ini(id_: str, *lines: str, deviation: str = "", **environ: str) -> Row:
    return Row(id_, "\n".join(["[uwsgi]", *lines, ""]), deviation=deviation, environ=tuple(environ.items()))


def words(id_: str, *argv: str, deviation: str = "", text: str = "[uwsgi]\nprocesses = 2\n", **environ: str) -> Row:
    return Row(id_, text, argv, deviation, tuple(environ.items()))


def files(id_: str, *lines: str, deviation: str = "", argv: tuple[str, ...] = ("--ini", "a.ini"), **others: str) -> Row:
    named = tuple((name.replace("__", "."), text) for name, text in others.items())
    return Row(id_, "\n".join(["[uwsgi]", *lines, ""]), argv, deviation, files=named)


SOURCES = [
    words("environment", UWSGI_PROCESSES="2", UWSGI_THREADS="3"),
    words("environment with dashes", UWSGI_HTTP_SOCKET=":0", UWSGI_CHMOD_SOCKET="660"),
    words("environment of uWSGI itself", UWSGI_RELOADS="3", UWSGI_ORIGINAL_PROC_NAME="x", UWSGI_VASSALS_DIR="x"),
    words("environment that is no option", UWSGI_WORK="3", deviation="environment-options-only"),
    words("file by its end", "a.ini"),
    words("two files", "a.ini", "a.ini"),
    words("brackets decorate", "[name]", "--ini", "a.ini"),
    words("no file of this end", "a.conf", deviation=REFUSED),
    words("standard input without a kind", "-", deviation=REFUSED),
    words("missing file", "b.ini", deviation=REFUSED),
    words("missing file by option", "--ini", "b.ini", deviation=REFUSED),
    words("config option", "--config", "a.ini", deviation="config-by-suffix"),
    words("short letter of a kind", "-x", "a.xml", text="", deviation=REFUSED),
    words("section", "--ini", "a.ini:b", text="[uwsgi]\nx=1\n[b]\nthreads=2\n"),
    words("missing section", "--ini", "a.ini:c", deviation="missing-section"),
    words("positional section", "a.ini:b", text="[uwsgi]\nx=1\n[b]\nthreads=2\n", deviation="section-anywhere"),
    files("include", "threads = 1", "include = b.ini", "threads = 3", b__ini="[uwsgi]\nthreads = 2\n"),
    files("inherit", "threads = 1", "inherit = b.ini", "threads = 3", b__ini="[uwsgi]\nthreads = 2\n"),
    files("ini", "threads = 1", "ini = b.ini", "threads = 3", b__ini="[uwsgi]\nthreads = 2\n"),
    files("ini of a section", "ini = b.ini:c", b__ini="[c]\nthreads = 2\n"),
    files("include of a section", "include = b.ini:c", deviation="section-anywhere", b__ini="[c]\nthreads = 2\n"),
    files(
        "section of the file read last", "ini = b.ini", "ini = :c", b__ini="[uwsgi]\nthreads = 2\n[c]\nthreads = 3\n"
    ),
    files("include of another kind", "include = b.xml", b__xml="<uwsgi><threads>2</threads></uwsgi>"),
    files("include of yaml", "include = b.yml", b__yml="uwsgi:\n  threads: 2\n"),
    files("include of json", "include = b.js", b__js='{"uwsgi": {"threads": 2}}'),
    files("include of no known end", "include = b.cfg", deviation=REFUSED, b__cfg="[uwsgi]\nthreads = 2\n"),
    files("inject", "inject-before = b.ini", "ini = c.ini", b__ini="[uwsgi]\nenv = B=1\n", c__ini="env = C=1\n"),
    files("inject behind", "inject-after = b.ini", "ini = c.ini", b__ini="\nenv = B=1\n", c__ini="[uwsgi]\nenv = C=1"),
    words("exec", "--ini", "exec://echo [uwsgi]; echo threads = 3"),
    ini("file of a scheme", "env = A=@(exec://echo 1)"),
    ini("scheme that is missing", "env = A=@(/no/such)", deviation=REFUSED),
    files(
        "json words",
        argv=("--json", "b.js"),
        b__js='{"uwsgi": {"a": true, "b": false, "c": null, "d": 7, "e": ["x", "y"]}}',
    ),
    files("json nested", argv=("--json", "b.js"), b__js='{"uwsgi": {"a": {"b": 1}, "threads": 2}}'),
    files("json section", argv=("--json", "b.js:c"), b__js='{"c": {"threads": 2}}'),
    files("json without the section", argv=("--json", "b.js"), deviation=REFUSED, b__js='{"c": {"threads": 2}}'),
    files("xml", argv=("--xml", "b.xml"), b__xml="<uwsgi><threads>2</threads><master/><env>A=1</env></uwsgi>"),
    files("xml inside", argv=("--xml", "b.xml"), b__xml="<x><uwsgi><threads>2</threads></uwsgi></x>"),
    files(
        "xml id",
        argv=("--xml", "b.xml:c"),
        b__xml="<x><uwsgi id='b'><a>1</a></uwsgi><uwsgi id='c'><a>2</a></uwsgi></x>",
    ),
    files("yaml", argv=("--yaml", "b.yaml"), b__yaml="uwsgi:\n  threads: 2\n  env: A=1\n  env: B=2\n"),
    files("yaml section", argv=("--yaml", "b.yaml:c"), b__yaml="c:\n  threads: 2\n"),
]
ORDER = [
    words("a file behind an option", "--processes", "9", "a.ini"),
    words("a file before an option", "a.ini", "--processes", "9"),
    words("a file option before", "--ini", "a.ini", "--processes", "9"),
    words("a file option behind", "--processes", "9", "--ini", "a.ini"),
    words("environment and file", "a.ini", UWSGI_PROCESSES="5"),
    words("environment and option", "--processes", "9", UWSGI_PROCESSES="5"),
    ini("the first of two is the placeholder", "dup = 1", "dup = 2", "env = A=%(dup)"),
    ini("a placeholder that comes later", "env = A=%(b)", "b = x"),
    ini(
        "environment, then files, then keys",
        "env = A=@($(F))",
        "b = $(G)",
        "env = C=%(b)",
        F="/proc/sys/kernel/ostype",
        G="g",
    ),
    ini("immediate options", "listen = $(N)", N="100", deviation="expansion-everywhere"),
    ini("immediate letters", "listen = %k"),
    ini("env of the same file", "env = Q=1", "chdir = $(Q)", deviation="env-visible"),
]
GRAMMAR = [
    Row("line ends", "[uwsgi]\r\nthreads = 2 \t\r\nenv = A=1\r\n"),
    Row("no line end at the end", "[uwsgi]\nthreads = 2"),
    ini("comments", "; a", "# b", "  ; c", "\t# d", "threads = 2"),
    ini("no comments behind values", "env = A=1 ; x", "env = B=1 # x"),
    ini("several equals signs", "env = A=1=2", "chdir = a#b"),
    ini("blanks around", "   threads   =   2  ", "env=A=1"),
    ini("quotes", 'chdir = "/x y"', "env = A='1'"),
    ini("bare key", "master", "vacuum =", "threads = 2"),
    ini("backslash", "env = A=1\\", "env = B=2"),
    ini("capitals and underscores", "http_socket = :0", "Master = true", "HTTP = x"),
    ini("name less", "= x", deviation="nameless-lines"),
    Row("before the section", "threads = 1\n[uwsgi]\nprocesses = 2\n"),
    Row("another section", "[a]\nthreads = 1\n[uwsgi]\nprocesses = 2\n[b]\nthreads = 3\n"),
    Row("a section that goes on", "[uwsgi]\nthreads = 1\n[a]\nx = 1\n[uwsgi]\nprocesses = 2\n"),
    Row("blanks in the brackets", "[uwsgi ]\nthreads = 1\n", deviation="section-spelling"),
    Row("comment behind the bracket", "[uwsgi] # x\nthreads = 1\n", deviation="section-spelling"),
    Row("byte order mark", "\ufeff[uwsgi]\nthreads = 1\n", deviation="section-spelling"),
    Row("no section", "threads = 1\n", deviation="missing-section"),
]
WORDS = [
    words("flag", "--master", "--vacuum"),
    words("value in the next word", "--processes", "3"),
    words("value behind an equals sign", "--processes=3"),
    words("short", "-p", "3", "-M"),
    words("short and value", "-p3"),
    words("letters together", "-Mp3"),
    words("beginning of a name", "--http-sock", ":0"),
    words("beginning of several names", "--http", ":0", "--proces", "3"),
    words("beginning that is ambiguous", "--htt", ":0", deviation=REFUSED),
    words("no such option", "--no-such-thing", deviation=REFUSED),
    words("no such letter", "-?", deviation=REFUSED),
    words("flag with a value", "--master=false", deviation="flag-with-value"),
    words("value that is missing", "--processes", deviation=REFUSED),
    words("optional value", "--chmod-socket=660"),
    words("optional value left out", "--chmod-socket"),
    words("optional value in the next word", "--chmod-socket", "660", deviation="optional-value-in-next-word"),
    words("end of options", "--master", "--", "a.ini"),
    words("options behind a file", "a.ini", "--master"),
    words("no letters in words", "--env", "A=%d", "--env", "B=%%"),
    words("placeholders in words", "--set", "x=1", "--env", "A=%(x)"),
    words("no letters in the environment", UWSGI_ENV="A=%d"),
]
VALUES = [
    ini("set-ph of an option", "set-ph = threads=2", deviation=REFUSED),
    ini("strict", "strict = true", "nosuch = 1", deviation=REFUSED),
    ini("strict, said late", "nosuch = 1", "strict = true", deviation=REFUSED),
    ini("strict and set-ph", "strict = true", "set-ph = a=1", "set-placeholder = b=2", "threads = 2"),
    ini("strict and a placeholder", "strict = true", "a = 1", "env = A=%(a)", deviation="strict-placeholders"),
    ini("negative", "processes = -1", deviation=REFUSED),
    ini("mode", "chmod-socket = 66", deviation=REFUSED),
    ini("mode of four", "chmod-socket = 6600", deviation=REFUSED),
]
MAGIC = [
    ini("letters of the file", "env = A=%o", "env = B=%p", "env = C=%s", "env = D=%n", "env = E=%e", "env = F=%d"),
    ini("letters of its place", "env = A=%c", "env = B=%0", "env = C=%1", "env = D=%9", "env = E=%x", "env = F=%v"),
    ini("letters of the first file", "env = A=%O", "env = B=%D", "env = C=%N", "env = D=%S", "env = E=%E"),
    ini("inode and hash", "env = A=%i", "env = B=%j"),
    ini("letters of the machine", "env = A=%h", "env = B=%k", "env = C=%u", "env = D=%U", "env = E=%g", "env = F=%G"),
    ini("percent", "env = A=100%%", "env = B=%%d", "env = C=%%%%"),
    ini("percent at the end", "env = A=100%", deviation="unknown-magic"),
    ini("unknown letter", "env = A=%Y-%m", deviation="unknown-magic"),
    ini("in keys and comments", "; %d", "k%n = 1", "env = A=%(ka)"),
    files("of each file", "ini = sub/b.ini", "env = A=%s", **{"sub/b__ini": "[uwsgi]\nenv = B=%d\nenv = C=%D\n"}),
]
PLACEHOLDERS = [
    ini("variable", "env = A=$(N)", "env = B=$(NO)x", N="1"),
    ini("variable with a default", "env = A=$(NO:-x)", "env = B=$(NO-y)", deviation="environment-defaults"),
    files("file", "env = A=@(b)x", "env = B=@(c)x", b="1\n", c="1\n2\n\n"),
    ini("key", "a = 1", "env = A=%(a)", "env = B=%(b)"),
    ini("join", "a = 1", "b = 2", "env = A=%(a b)", "env = B=%(a 7 b)", "env = C=%(a c)"),
    ini("count", "a = 7", "env = A=%(a + 1)", "env = B=%(a - 9)", "env = C=%(a * 2)", "env = D=%(a / 2)"),
    ini("count on", "a = 7", "env = A=%(a + 1 * 2)", "env = B=%(1 + a * 2)", "env = C=%(a / 0)"),
    ini("step", "a = 7", "env = A=%(a ++)", "env = B=%(a --)"),
    ini("brackets", "a = 7", "env = A=%(1 + (a * 2))", deviation="brackets-in-arithmetic"),
    ini("inside another", "a = b", "b = c", "env = A=x%(%(a))"),
    ini("out of another", "a = x%(b)", "b = c", "env = A=y%(a)"),
    ini("out of another at the start", "a = %(b)", "b = c", "set-ph = d=1", "chdir = %(a)"),
    ini("loop value outside", "env = A=%(_)"),
    ini("log format", "method = X", "log-format = %(method) %(uri)", deviation="log-format-names"),
]
LOGIC = [
    ini("for", "for = a b  c", "env = %(_)=1", "endfor ="),
    ini("for and two options", "for = a b", "env = A=%(_)", "env = B=%(_)", "end-for ="),
    ini("for-times", "for-times = 3", "env = A=%(_)", "endfor ="),
    files("for-readline", "for-readline = b", "env = A=%(_)", "endfor =", b="1\n2\n\n3"),
    files("for-glob", "for-glob = *.t", "env = A=%(_)", "endfor =", b__t="", c__t=""),
    ini("for-glob of nothing", "for-glob = *.nothing", "env = A=%(_)", "endfor ="),
    ini("if-env", "if-env = N", "env = A=%(_)", "endif =", "if-env = NO", "env = B=1", "endif =", N="1"),
    ini("if-env with a value", "if-env = N=1", "env = A=%(_)", "endif =", "ifenv = N=2", "env = B=1", "endif =", N="1"),
    ini("if-not-env", "if-not-env = N", "env = A=1", "endif =", "if-not-env = NO", "env = B=1", "endif =", N="1"),
    ini("if-opt", "a = 1", "if-opt = a", "env = A=%(_)", "endif =", "if-opt = b", "env = B=1", "endif =", "b = 1"),
    ini(
        "if-opt with a value",
        "a = 1",
        "a = 2",
        "if-opt = a=1",
        "env = A=1",
        "end =",
        "if-not-opt = a=2",
        "env = B=1",
        "end =",
    ),
    files("if-exists", "if-exists = b", "env = A=%(_)", "endif =", "ifexists = c", "env = B=1", "endif =", b="x"),
    files(
        "if-not-exists", "if-not-exists = b", "env = A=1", "endif =", "if-not-exists = c", "env = B=1", "endif =", b="x"
    ),
    files("if-file", "if-file = b", "env = A=%(_)", "endif =", "if-not-file = .", "env = B=%(_)", "endif =", b="x"),
    files("if-dir", "if-dir = .", "env = A=%(_)", "endif =", "ifdir = b", "env = B=1", "endif =", b="x"),
    files("if-not-dir", "if-directory = .", "env = A=%(_)", "endif =", "if-not-dir = b", "env = B=1", "endif =", b="x"),
    ini("if-plugin", "if-plugin = http", "env = A=%(_)", "endif =", "if-not-plugin = nothing", "env = B=1", "endif ="),
    ini("if-reload", "if-reload =", "env = A=1", "endif =", "if-not-reload =", "env = B=1", "endif ="),
    ini("if-hostname", "if-hostname = %h", "env = A=1", "endif =", "if-not-hostname = x", "env = B=1", "endif ="),
    ini("if-hostname-match", "if-hostname-match = .", "env = A=1", "endif =", deviation="hostname-match"),
    ini("nested", "for = a b", "if-env = N", "env = A=1", "endif =", "endfor =", deviation=REFUSED, N="1"),
    ini("any end", "for = a", "env = A=1", "endif =", "if-not-env = NO", "env = B=1", "endfor =", "env = C=1"),
    ini("never ended", "if-env = NO", "env = A=1"),
    ini("else", "if-env = NO", "env = A=1", "else =", "env = B=1", "endif =", deviation="else"),
    ini(
        "placeholders are none in openers",
        "a = N",
        "if-env = %(a)",
        "env = A=1",
        "endif =",
        N="1",
        deviation="expansion-everywhere",
    ),
]
HELPERS = [
    ini("set", "set = threads=2", "set = a=b=c", "env = A=%(a)"),
    ini("set-ph", "set-ph = a=1", "set-placeholder = b=2", "env = A=%(a)%(b)"),
    ini("set of no name", "set = =b"),
    ini("set without a value", "set = a", deviation="assignment-without-equals"),
    words("short set", "-S", "a=1", "--env", "A=%(a)"),
    ini("exit", "exit = 3", deviation=REFUSED),
    ini("exit in a block that does not hold", "if-env = NO", "exit =", "endif =", "threads = 2"),
    ini("declare-option", "declare-option = app=env=A=$1", "app = x"),
    ini("declare-option2", "declare-option2 = app=env=A=$1", "app = x"),
    ini("resolve", "resolve = a=localhost", "env = A=%(a)"),
    ini("blacklist", "blacklist = threads", "threads = 2", deviation=REFUSED),
    ini("blacklist that ends", "blacklist = threads", "end-blacklist =", "threads = 2"),
    ini("whitelist", "whitelist = processes", "processes = 2", "threads = 2", deviation=REFUSED),
    ini(
        "whitelist that ends", "whitelist = processes end-whitelist", "processes = 2", "end-whitelist =", "threads = 2"
    ),
    ini("plugins", "plugins = nosuchthing", "threads = 2"),
]

ROWS = [*SOURCES, *ORDER, *GRAMMAR, *WORDS, *VALUES, *MAGIC, *PLACEHOLDERS, *LOGIC, *HELPERS]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id.replace(" ", "_"))
def test_the_rule(row: Row, tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_bytes(row.text.encode())
    for name, text in row.files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    environ = dict(row.environ)
    theirs, log = uwsgi.show_config(row.argv, tmp_path, environ)
    mine = ours(row.argv, tmp_path, environ)
    errors = [finding for finding in mine.findings if finding.level == "error"]
    if row.deviation == REFUSED:
        assert theirs is None, "uWSGI takes it"
        assert errors
        return
    found = list(differences(theirs or [], shown(mine)))
    same = (theirs is None) == bool(errors) and (theirs is None or not found)
    assert same != bool(row.deviation), (found, log[-4:], mine.findings)
    assert not row.deviation or row.deviation in {one.id for one in DEVIATIONS}


def test_rules_have_names_of_their_own() -> None:
    assert len({row.id for row in ROWS}) == len(ROWS)
