"""The command line: find out what is wanted, read the configuration, make the plan, hand it over.

The only place where findings are printed. Nothing is decided here that another part could decide: words are read by
`penstock.config.argv`, commands are in `penstock.commands`, and serving is `penstock.commands.serve`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterable, Mapping, Sequence

from penstock.commands import AS_OPTIONS, COMMANDS
from penstock.commands import find as find_command
from penstock.config.argv import Given, Positional, Word, parse_argv
from penstock.config.environment import TAKE_OVER, parse_environment
from penstock.config.findings import ConfigError, ConfigExit, Finding
from penstock.config.load import load
from penstock.config.pairs import kind_of
from penstock.config.settings import Settings
from penstock.config.surroundings import NowhereError
from penstock.plan.begun import Begun
from penstock.plan.resolve import PlanError, resolve
from penstock.plan.types import InheritedSocket, Plan
from penstock.values import replace

CONFIG_ERROR = 1
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a write to standard output is answered with where a disk has no room."""
INTERRUPTED = 130
"""As a shell tells of a process that SIGINT ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit status. `argv` is what follows the program's name."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except KeyboardInterrupt:
        # Whoever waits for standard input has nothing to read in a traceback; while serving, the master has the signal.
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left (`penstock --help | head`); a second error at exit would be noise.
        _leave_output()
        return 0
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _leave_output()
        _say(f"the output can not be written: {os.strerror(error.errno)}")
        return CONFIG_ERROR


def _leave_output() -> None:
    """Let what is still in the buffer of standard output go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _command(name: str, arguments: list[str]) -> int:
    # Python has none of these where they were closed before it began.
    sys.stdout = sys.stdout or io.TextIOWrapper(io.BytesIO(), "utf-8")
    sys.stderr = sys.stderr or io.TextIOWrapper(io.BytesIO(), "utf-8")
    if arguments in (["--help"], ["-h"]) and name != "help":
        from penstock.commands.help import of_command

        status = of_command(name)
    else:
        status = find_command(name).run(arguments)
    # Here, where an error can still be told.
    sys.stdout.flush()
    return status


def _run(words: list[str]) -> int:
    if asked := os.environ.pop(TAKE_OVER, ""):
        return _take_over(words, asked)
    if words and words[0] in COMMANDS:
        return _command(words[0], words[1:])
    if words and (meant := _command_meant(words[0])) is not None:
        _say(f"error: there is no command {words[0]}; did you mean {meant}?")
        return CONFIG_ERROR
    parsed = parse_argv(words)
    command = _command_option(parsed)
    if command is not None and command.option is not None:
        name = command.option.name
        return _command(name, [*AS_OPTIONS.get(name, ()), *_arguments(command, parsed)])
    environ = dict(os.environ)
    if not words and not parse_environment(environ):
        from penstock.commands.help import SHORT_USAGE

        sys.stderr.write(SHORT_USAGE)
        return CONFIG_ERROR
    return _serve(parsed, environ)


def _command_meant(word: str) -> str | None:
    """Find the command that a first word is nearly the name of, if it is neither an option nor a file."""
    if word.startswith("-") or not word.isprintable() or kind_of(word.partition(":")[0]) is not None:
        return None
    if os.path.exists(word):
        return None
    # Imported late: an ordinary start compares no words.
    from penstock.options.suggest import nearest

    return nearest(word, COMMANDS)


def _command_option(parsed: Iterable[Word]) -> Given | None:
    """Find the first option that is a command; as in uWSGI an error before it comes first."""
    for word in parsed:
        if isinstance(word, Finding):
            return None
        if isinstance(word, Given) and word.option is not None and word.option.role == "command":
            return word
    return None


def _arguments(command: Given, parsed: Sequence[Word]) -> list[str]:
    """Find what a command is about; `--help workers` has it in the next word, although help needs none."""
    if command.value is not None:
        return [*_settings_of(command, parsed), command.value]
    following = parsed[parsed.index(command) + 1 :][:1]
    return [
        word.word
        for word in following
        if isinstance(word, Positional) and command.key in ("help", "usage") and kind_of(word.word) is None
    ]


def _settings_of(command: Given, parsed: Iterable[Word]) -> list[str]:
    """Find what an option beside a command says of it, as the command's own flags."""
    if command.key != "ping":
        return []
    given = [word for word in parsed if isinstance(word, Given) and word.key == "ping-timeout"]
    return [word for one in given[-1:] for word in ("--timeout", one.value or "")]


def _serve(parsed: Sequence[Word], environ: Mapping[str, str], inherited: Sequence[InheritedSocket] = ()) -> int:
    """Serve; `inherited` are sockets that are there beside those of the environment."""
    try:
        begun = Begun.here(parsed, environ)
    except NowhereError as error:
        _say(f"error: {error}")
        return CONFIG_ERROR
    if inherited:
        begun = replace(begun, machine=replace(begun.machine, inherited=tuple(inherited)))
    try:
        settings = load(begun.sources)
        _announce(settings)
        if settings.given("get"):
            return _get(settings)
        plan = resolve(settings, begun.machine)
        if inherited:
            # This process is in the background already, if it was to go there; its log is where descriptor 2 leads.
            plan = replace(plan, daemonize=None, logto=plan.logto or plan.daemonize)
    except ConfigExit as end:
        _print_lines(end.output)
        _print_findings(end.findings)
        return end.status
    except ConfigError as error:
        return _refuse(error.findings, CONFIG_ERROR)
    except PlanError as error:
        return _refuse(error.findings, error.exit_status)
    return _hand_over(plan, begun)


def _hand_over(plan: Plan, begun: Begun) -> int:
    # Imported late: a wrong configuration is reported even where the engine can not be loaded.
    from penstock.commands.serve import serve

    return serve(plan, begun.reread, begun.to_json())


def _take_over(words: Sequence[str], asked: str) -> int:
    """Go on with the instance of another program of this process, which is being upgraded; or say whether that goes."""
    from penstock.commands import take_over

    parsed, environ = parse_argv(words), dict(os.environ)
    return take_over.run(
        asked,
        lambda document: Begun.from_json(document, parsed, environ),
        lambda sockets: _serve(parsed, environ, sockets),
    )


def _announce(settings: Settings) -> None:
    for name, kind in zip(settings.files, settings.kinds, strict=True):
        _say(f"getting {kind.upper()} configuration from {name}")
    _print_findings(settings.findings)
    _print_lines(settings.output)
    if settings.flag("show-config"):
        sys.stderr.write(_as_ini(settings))


def _get(settings: Settings) -> int:
    """Print the first values of what `get` names; a name without one prints nothing, as in uWSGI."""
    for name in settings.texts("get"):
        value = next((entry.value for entry in settings.entries if entry.key == name), None)
        _print_lines([] if value is None else [value])
    return 0


def _print_lines(lines: Iterable[str]) -> None:
    with contextlib.suppress(OSError):
        for line in lines:
            os.write(1, line.encode("utf-8", "surrogateescape") + b"\n")


def _as_ini(settings: Settings) -> str:
    """Write the pairs as one file, in the order in which they were applied."""
    lines = [f"{entry.key} = {'true' if entry.value is None else entry.value}\n" for entry in settings.entries]
    return ";Penstock instance configuration\n[uwsgi]\n" + "".join(lines) + ";end of configuration\n"


def _refuse(findings: Sequence[Finding], status: int) -> int:
    _print_findings(findings)
    errors = sum(finding.level == "error" for finding in findings)
    _say(f"not started: {errors} error{'' if errors == 1 else 's'} in the configuration")
    return status


def _print_findings(findings: Iterable[Finding]) -> None:
    for finding in findings:
        _say(f"{finding.level}: {finding}")


def _say(text: str) -> None:
    # A full disk or a reader that has left is no reason not to start, nor to give up a reload.
    with contextlib.suppress(OSError):
        # Not through sys.stderr: what it could not write would come back at exit, and change the exit status.
        os.write(2, f"[penstock] {text}\n".encode("utf-8", "backslashreplace"))
