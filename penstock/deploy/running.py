"""Commands as values, and who runs them: this machine, or a list that keeps them for somebody who will."""

from __future__ import annotations

import os
import pwd
import select
import shlex
import subprocess
from collections.abc import Callable, Mapping
from typing import Protocol

from penstock.values import dataclass

_TAIL_LINES = 40
"""What is shown of the output of a command that failed."""
_LOOK_AGAIN_S = 0.05
"""How soon the end of a command is noticed whose output is silent."""
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "NO_PROXY", "no_proxy")
_PASSED_ON_PREFIXES = ("PIP_", "UV_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
"""What commands get of the environment: where packages come from, and nothing of a shell's session."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what, where, as whom, and what for."""

    argv: tuple[str, ...]
    why: str = ""
    cwd: str = ""
    user: str = ""
    env: tuple[tuple[str, str], ...] = ()
    may_fail: bool = False
    """Its failure is said, and nothing else depends on it."""
    good: tuple[int, ...] = (0,)
    """Exit statuses with which all is well."""
    cure: str = ""
    """What to do where it fails."""
    secrets: tuple[tuple[str, str], ...] = ()
    """More of the environment, whose values are shown to nobody: passwords of databases, keys."""

    def __str__(self) -> str:
        """Show it as a person would type it."""
        told = [*(f"{name}={shlex.quote(value)}" for name, value in self.env), *(f"{n}=..." for n, _ in self.secrets)]
        words = " ".join([*told, shlex.join(self.argv)])
        if self.user:
            words = f"runuser -u {self.user} -- {'env ' if told else ''}{words}"
        return f"cd {shlex.quote(self.cwd)} && {words}" if self.cwd else words


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    status: int
    """Its exit status; 127 where it could not be started."""
    output: str
    """What it wrote, both streams."""

    @property
    def is_good(self) -> bool:
        """Whether it ended with 0."""
        return self.status == 0

    @property
    def tail(self) -> str:
        """The end of what it wrote, for a message."""
        lines = self.output.rstrip().splitlines()
        return "\n".join(lines[-_TAIL_LINES:])


class Runner(Protocol):
    """Whoever commands are given to."""

    def run(self, command: Command) -> Outcome:
        """Run it to its end."""
        ...


class Machine:
    """Runs commands here and now."""

    def __init__(self, heard: Callable[[str], None] = lambda line: None) -> None:
        """Hand each line that a command writes to `heard`, while it works."""
        self._heard = heard

    def run(self, command: Command) -> Outcome:
        """Run it to its end."""
        ids = {}
        home = "/root"
        if command.user:
            try:
                entry = pwd.getpwnam(command.user)
            except KeyError:
                return Outcome(127, f"there is no user {command.user}")
            home = entry.pw_dir
            if os.geteuid() == 0:
                groups = os.getgrouplist(command.user, entry.pw_gid)
                ids = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}
        try:
            process = subprocess.Popen(
                command.argv,
                cwd=command.cwd or "/",
                env={**_environment(os.environ), "HOME": home, **dict(command.env), **dict(command.secrets)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                umask=0o022,
                **ids,  # type: ignore[call-overload]
            )
        except (OSError, ValueError) as error:
            return Outcome(127, f"{command.argv[0]} can not be started: {error}")
        with process:
            output = self._listen(process)
            # Closed before it is waited for: a daemon that keeps the other end would be waited for as well.
            return Outcome(process.wait(), output)

    def _listen(self, process: subprocess.Popen[bytes]) -> str:
        """Hear what it writes until it has ended; what it has started may keep its output open for good."""
        assert process.stdout is not None, "it was asked for"
        descriptor = process.stdout.fileno()
        os.set_blocking(descriptor, False)
        heard: list[str] = []
        rest = b""
        while True:
            has_ended = process.poll() is not None
            select.select([descriptor], [], [], 0 if has_ended else _LOOK_AGAIN_S)
            try:
                piece = os.read(descriptor, 65536)
            except BlockingIOError:
                piece = None
            if piece:
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    self._hear(line, heard)
            elif has_ended or piece == b"":
                break
        if rest:
            self._hear(rest, heard)
        return "".join(f"{line}\n" for line in heard)

    def _hear(self, line: bytes, heard: list[str]) -> None:
        heard.append(line.decode("utf-8", "backslashreplace"))
        self._heard(heard[-1])


class Recorder:
    """Runs nothing, and keeps what it was given: for `--root`, whose commands run where that folder is the root."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def run(self, command: Command) -> Outcome:
        """Keep it."""
        self.commands.append(command)
        return Outcome(0, "")


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name: value for name, value in environ.items() if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
    kept.setdefault("PATH", _PATH)
    return kept
