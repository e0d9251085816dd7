"""The order of sources, and everything about reading that is not in a single file."""

from __future__ import annotations

import io
import random
import string
from pathlib import Path
from types import SimpleNamespace

import pytest

from penstock.config.argv import parse_argv
from penstock.config.files import FileReader, reason
from penstock.config.findings import CODES, ConfigError, ConfigExit, Finding
from penstock.config.load import Sources, load
from penstock.config.load import read as read_all
from penstock.config.settings import NOTHING_SAID
from penstock.options.known import ZERO_IS_OFF, known_names
from penstock.options.table import BY_NAME
from penstock.values import replace
from tests.config.support import read, sources, surroundings

CASES = Path(__file__).parent.parent / "cases" / "config"


def write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        (directory / f"{name}.ini").write_text(text)


@pytest.mark.parametrize(
    ("argv", "processes"),
    [
        (["--processes", "9", "a.ini"], 4),
        (["a.ini", "--processes", "9"], 4),
        (["--ini", "a.ini", "--processes", "9"], 9),
        (["--processes", "9", "--ini", "a.ini"], 4),
        (["a.ini", "b.ini"], 5),
        (["b.ini", "a.ini"], 4),
        ([], 7),
    ],
)
def test_precedence(tmp_path: Path, argv: list[str], processes: int) -> None:
    write(tmp_path, a="[uwsgi]\nprocesses = 4\n", b="[uwsgi]\nprocesses = 5\n")
    settings = read(*argv, cwd=tmp_path, environ={"UWSGI_PROCESSES": "7"})
    assert settings.number("processes") == processes


def test_every_value_keeps_its_origin(tmp_path: Path) -> None:
    write(tmp_path, a="[uwsgi]\n\nthreads = 4\n")
    settings = read("a.ini", "-p", "2", "--http=:1", cwd=tmp_path, environ={"PENSTOCK_CHDIR": "/"})
    assert str(settings.origin("threads")) == "a.ini:3"
    assert str(settings.origin("processes")) == "-p"
    assert str(settings.origin("http")) == "--http"
    assert str(settings.origin("chdir")) == "environment variable PENSTOCK_CHDIR"
    assert str(settings.origin("harakiri")) == "default of harakiri"


def test_files_in_files_stand_in_place(tmp_path: Path) -> None:
    write(
        tmp_path,
        a="[uwsgi]\nenv = A=1\nini = b.ini\nenv = A=3\nini = :more\n[more]\nenv = A=4\nthreads = 2\n",
        b="[uwsgi]\nenv = A=2\nini = :more\n[more]\nenv = A=2b\n",
    )
    settings = read("a.ini", cwd=tmp_path)
    # As in uWSGI, `:more` is a section of the file that was opened last, which is b.ini both times.
    assert settings.texts("env") == ("A=1", "A=2", "A=2b", "A=3", "A=2b")
    assert settings.files == ("a.ini", "b.ini", "b.ini:more", "b.ini:more")


def test_a_placeholder_works_in_the_name_of_a_file(tmp_path: Path) -> None:
    write(tmp_path, a="[uwsgi]\nname = b\nini = $(D)/%(name).ini\n", b="[uwsgi]\nthreads = 2\n")
    assert read("a.ini", cwd=tmp_path, environ={"D": str(tmp_path)}).number("threads") == 2


def test_a_section_is_named_after_a_colon_and_a_file_may_hold_one(tmp_path: Path) -> None:
    (tmp_path / "a:b.ini").write_text("[uwsgi]\nthreads = 2\n")
    write(tmp_path, a="[dev]\nthreads = 3\n")
    assert read("a:b.ini", cwd=tmp_path).number("threads") == 2
    assert read("--ini", "a.ini:dev", cwd=tmp_path).number("threads") == 3
    assert read("a.ini:dev", cwd=tmp_path).number("threads") == 3


def test_magic_of_an_included_file_is_its_own_and_capitals_are_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path, a="[uwsgi]\nini = sub/b.ini\nenv = %s%S\n")
    write(tmp_path / "sub", b="[uwsgi]\nenv = X=%s %S %c %n\n")
    assert read("a.ini", cwd=tmp_path).texts("env")[0] == "X=b.ini a.ini sub b"


def test_values_of_the_command_line_have_no_magic() -> None:
    assert read("--env", "A=%d%%").texts("env") == ("A=%d%%",)


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = FileReader("/")
    stdin = io.TextIOWrapper(io.BytesIO(b"[uwsgi]\nthreads = 2\n"))
    monkeypatch.setitem(vars(__import__("sys")), "stdin", SimpleNamespace(buffer=stdin.buffer))
    assert reader.read("-").text == reader.read("-").text == "[uwsgi]\nthreads = 2\n"


@pytest.mark.parametrize(
    ("argv", "code", "piece"),
    [
        (["app.yaml"], "no-file", "can not read app.yaml"),
        (["-"], "not-a-config-file", "--ini -"),
        (["app.unknown"], "not-a-config-file", ".yaml"),
        (["exec://echo"], "not-a-config-file", "write --ini exec://echo"),
        (["--ini", "exec://"], "no-section", "has no section [uwsgi]"),
        (["--ini", "fd://x"], "not-text", "the number of an open file"),
        (["--ini", "fd://99999"], "no-file", "Bad file descriptor"),
        (["--include", "app.unknown"], "not-a-config-file", "does not tell what kind of file"),
        (["app.py"], "not-a-config-file", "--wsgi-file app.py"),
        (["--master", "true"], "not-a-config-file", "--FLAG=true"),
        (["app.conf"], "not-a-config-file", "write --ini app.conf"),
        (["whatever"], "not-a-config-file", "end in .ini, .yaml"),
        (["nowhere.ini"], "no-file", "looked for in"),
        (["--ini", "/nowhere.ini"], "no-file", "can not read /nowhere.ini"),
        (["--ini", ":sec"], "no-file", "no file is named"),
        (["--ini", "http://x/y.ini"], "url-refused", "--allow-config-urls"),
        (["--bogus"], "unknown-flag", "no such option"),
        (["--chdir", "a\0b"], "not-text", "zero byte"),
    ],
)
def test_refused(argv: list[str], code: str, piece: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(*argv, cwd=tmp_path)
    assert [finding.code for finding in caught.value.findings] == [code]
    assert piece in str(caught.value)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read("--processes=x", "--threads=y", "--bogus", "nowhere.ini")
    assert len(caught.value.findings) == 4


def test_a_key_used_by_a_placeholder_is_no_slip(tmp_path: Path) -> None:
    write(tmp_path, a="[uwsgi]\nproces = 3\nenv = N=%(proces)\nextra = 1\nenv = S=%(extra + 1)\n")
    assert read("a.ini", cwd=tmp_path).findings == ()


def test_a_file_of_the_system_is_read_in_small_pieces() -> None:
    """The kernel answers a read of megabytes from /proc/sys with ENOMEM."""
    settings = read("--listen", "@(/proc/sys/net/core/somaxconn)")
    assert settings.number("listen") == int(Path("/proc/sys/net/core/somaxconn").read_text())


def test_after_a_failed_placeholder_nothing_else_is_said_about_the_value(tmp_path: Path) -> None:
    write(tmp_path, a="[uwsgi]\nlisten = @(/nowhere/backlog)\nini = @(/nowhere/name)\n")
    with pytest.raises(ConfigError) as caught:
        read("a.ini", cwd=tmp_path)
    assert [(finding.code, finding.origin and finding.origin.line) for finding in caught.value.findings] == [
        ("no-file", 2),
        ("no-file", 3),
    ]


def test_a_loop_without_end_is_stopped(tmp_path: Path) -> None:
    lines = "for-times = 10000\nini = b.ini\nendfor\n"
    write(tmp_path, a=f"[uwsgi]\n{lines}", b="[uwsgi]\nenv = A=1\n")
    with pytest.raises(ConfigError) as caught:
        read("a.ini", cwd=tmp_path)
    assert [finding.code for finding in caught.value.findings] == ["too-much"]
    declared = "".join(f"declare-option = a{n}=a{n + 1}=1;a{n + 1}=1\n" for n in range(15))
    write(tmp_path, c=f"[uwsgi]\n{declared}declare-option = a15={';'.join(['env=A=1'] * 50)}\na0 = 1\n")
    with pytest.raises(ConfigError, match="more than 100000 options"):
        read("c.ini", cwd=tmp_path)


def test_a_command_is_not_run_where_the_reader_shall_not(tmp_path: Path) -> None:
    reader = FileReader(str(tmp_path), runs_commands=False)
    words = parse_argv(["--ini", "exec://touch ran", "--env", "A=@(exec://touch ran)"])
    found = read_all(Sources(words, {}, surroundings(tmp_path), reader)).findings
    assert [finding.code for finding in found] == ["command-not-run", "command-not-run"]
    assert not (tmp_path / "ran").exists()


def test_if_reload_holds_when_it_is_read_again(tmp_path: Path) -> None:
    write(tmp_path, a="[uwsgi]\nif-reload =\nthreads = 2\nendif =\nif-not-reload =\nthreads = 3\nendif =\n")
    first = sources(["a.ini"], tmp_path, {})
    assert load(first).number("threads") == 3
    assert load(replace(first, is_reload=True)).number("threads") == 2


def test_exit_has_the_status_that_is_asked_for(tmp_path: Path) -> None:
    for text, status in (("exit = 3", 3), ("exit = 0", 0), ("exit", 0), ("exit = x", 0), ("exit = 256", 0)):
        write(tmp_path, a=f"[uwsgi]\niprint = bye\n{text}\nprocesses = x\n")
        with pytest.raises(ConfigExit) as caught:
            read("a.ini", cwd=tmp_path)
        assert (caught.value.status, caught.value.output) == (status, ("bye",))
    with pytest.raises(ConfigExit) as caught:
        read("--exit")
    assert caught.value.status == 1


def test_quotes_and_braces_where_they_can_not_be_meant_are_told_once(tmp_path: Path) -> None:
    config = tmp_path / "a.ini"
    config.write_text("[uwsgi]\nhttp = ':80'\nprocesses = \"4\"\nthreads = ${N}\n")
    with pytest.raises(ConfigError) as caught:
        read("--ini", str(config))
    told = [(finding.origin and finding.origin.line, finding.cure) for finding in caught.value.findings]
    assert told == [
        (2, "write http = :80"),
        (3, "write processes = 4"),
        (4, "the variable of the environment is written $(N)"),
    ]


def test_braces_of_the_shell_are_not_filled_in_and_that_is_said() -> None:
    settings = read("--chdir=/srv/${NAME}", "--env=A=$(NAME)", environ={"NAME": "x"})
    assert [finding.code for finding in settings.findings] == ["placeholder-braces"]
    assert str(settings.findings[0]).endswith(
        "${NAME} stays as it is; the variable of the environment is written $(NAME)"
    )


def test_who_may_not_read_a_file_is_named() -> None:
    assert reason(PermissionError(13, "Permission denied")).startswith("Permission denied for user ")
    assert reason(FileNotFoundError(2, "No such file")) == "No such file"


def test_options_of_one_family_share_a_line(tmp_path: Path) -> None:
    write(tmp_path, a="[uwsgi]\nlegion = a\ndlopen = x.so\nlegion-freq = 1\nlegion = b\nlegion-node = c\n")
    assert [str(finding) for finding in read("a.ini", cwd=tmp_path).findings] == [
        "a.ini:2: legion, legion-freq and legion-node are not supported and are ignored: in uWSGI legion makes the "
        "instance a member of a group that elects a leader, legion-freq sets how often members tell that they live, "
        "legion-node names another member; here instances do not elect a leader among each other; use the leader "
        "election of Kubernetes, Consul or keepalived",
        "a.ini:3: dlopen is not supported and is ignored: in uWSGI it loads a C library into the server; here no C "
        "symbols of the server can be called: it is not one C program; write it in Python, in the application",
    ]


def test_an_emperor_is_refused_with_nothing_else_to_say() -> None:
    with pytest.raises(ConfigError) as caught:
        read("--emperor", "/etc/vassals")
    assert [finding.code for finding in caught.value.findings] == ["unsupported-essential"]
    assert "one instance for each file" in str(caught.value)


def test_nothing_said_has_the_defaults() -> None:
    assert NOTHING_SAID.number("processes") == 1
    assert NOTHING_SAID.flag("need-app") and not NOTHING_SAID.flag("vacuum")
    assert NOTHING_SAID.text("chdir") is None
    assert not NOTHING_SAID.given("workers")
    with pytest.raises(KeyError):
        NOTHING_SAID.value("no-such-option")


def test_what_is_not_needed_is_accepted_in_silence(tmp_path: Path) -> None:
    lines = (
        "thunder-lock = true\nplugins = python3\nhttp-auto-chunked = 1\nsingle-interpreter\nwsgi-env-behavior = holy\n"
        "harakiri-verbose = true\nmemory-report = true\noffload-threads = 4\nlogger = stdio\n"
    )
    write(tmp_path, a=f"[uwsgi]\n{lines}")
    assert read("a.ini", cwd=tmp_path).findings == ()


def codes_of(*argv: str, cwd: Path, environ: dict[str, str] | None = None) -> set[str]:
    """Read a configuration that may be anything, and tell what was found; only ConfigError may be raised."""
    # A command that was changed at random must not be run.
    reader = FileReader(str(cwd), runs_commands=False)
    try:
        findings = load(Sources(parse_argv(argv), environ or {}, surroundings(cwd), reader)).findings
    except ConfigError as error:
        findings = error.findings
        assert any(finding.level == "error" for finding in findings)
    assert all(str(finding) for finding in findings)
    return {finding.code for finding in findings}


def mutations(chance: random.Random, seeds: list[bytes]) -> bytes:
    """One of the corpus with a few changes; more of them keep the grammar than not."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 6)):
        place = chance.randint(0, len(data))
        what = chance.randint(0, 4)
        if what == 0:
            data[place:place] = chance.choice(
                [b"%(", b")", b"$(", b"@(", b"%", b"=", b"[", b"]", b"\n", b"#", b"\xff", b"((", b"%(a + "]
            )
        elif what == 1 and data:
            del data[place : place + chance.randint(1, 8)]
        elif what == 2:
            data[place:place] = chance.choice(sorted(BY_NAME)).encode() + b" = "
        elif what == 3 and data:
            data[place % len(data)] = chance.randrange(256)
        else:
            data[place:place] = "".join(chance.choices(string.printable, k=4)).encode()
    return bytes(data)


def test_no_file_makes_it_fail_in_any_other_way(tmp_path: Path) -> None:
    chance = random.Random(7)
    seeds = [path.read_bytes() for path in sorted(CASES.glob("*.ini"))]
    for _ in range(400):
        (tmp_path / "a.ini").write_bytes(mutations(chance, seeds))
        assert codes_of("a.ini", cwd=tmp_path, environ={"A": "%(a) $(A) ("}) <= CODES.keys()


@pytest.mark.parametrize(
    "value", ["%(" * 5000, "%(" + "(" * 5000 + ")" * 5000 + ")", "$(" * 5000, "%(a " * 3000 + ")" * 3000]
)
def test_deep_placeholders_end(tmp_path: Path, value: str) -> None:
    write(tmp_path, a=f"[uwsgi]\nenv = X={value}\n")
    assert codes_of("a.ini", cwd=tmp_path) <= CODES.keys()


@pytest.mark.parametrize("name", sorted(ZERO_IS_OFF))
def test_a_number_that_switches_off_what_is_not_there_is_nothing_to_speak_of(name: str) -> None:
    assert name in known_names() and name not in BY_NAME, "take it out of the list"
    assert not read(f"--{name}=0").findings
    codes = [finding.code for finding in found(f"--{name}=1")]
    assert codes in (["unsupported-option"], ["unsupported-essential"])


def found(*argv: str) -> tuple[Finding, ...]:
    try:
        return read(*argv).findings
    except ConfigError as error:
        return error.findings
