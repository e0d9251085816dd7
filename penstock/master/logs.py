"""The logs of an instance, as the master holds them: opened at the start, opened anew and rotated later.

Who writes to a log that is a file, or a descriptor, writes to it directly, the workers included. Only what no process
can do by itself (several loggers, datagrams, encoders, routes, or `log-master`) goes through a pipe and the thread of
`log_forwarder`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penstock.master import log
from penstock.master.errors import StartError
from penstock.master.log_files import FileRules, LogFile
from penstock.master.luggage import HandoverError, Luggage
from penstock.plan.types import LoggerPlan, LogPlan, LogStreamPlan, Plan
from penstock.values import asdict, replace

if TYPE_CHECKING:
    # What passes lines on is imported when there is something to pass on: most logs are files, or the terminal.
    from penstock.master.log_forwarder import Forwarder, Stream
    from penstock.master.log_targets import Target

RETRY_S = 60.0
"""When a rotation that failed is tried again."""
STANDARD = (1, 2)


class Logs:
    """Every log of an instance."""

    def __init__(self, plan: Plan, owner: tuple[int, int] | None, packed: Mapping[str, Any] | None = None) -> None:
        """Send descriptors 1 and 2 where the plan wants them, or leave them where an earlier program has: `packed`.

        Raises:
            StartError: a log can not be opened; its text is for descriptor 2 as it was.
        """
        self.request_fd: int | None = None
        """Where requests are logged, if not among the lines of the server."""
        self.program_fd = 2
        """Where programs beside the workers write, whose descriptors nobody can change later."""
        self.leaves_terminal = False
        """Whether what is written does not come to the standard error of the start any more."""
        self._plan = plan.log
        self._rules = FileRules(
            plan.log.file_mode,
            owner if plan.log.owned else None,
            plan.log.truncate,
            plan.log.max_bytes,
            plan.log.backup,
        )
        self._files: list[LogFile] = []
        self._retry_at: dict[str, float] = {}
        self._forwarder: Forwarder | None = None
        self._streams: dict[str, Stream] = {}
        """What passes through the master: `server`, `requests`, `programs`."""
        if packed is not None:
            self._unpack(packed)
            return
        self._stdout, self._stderr = os.dup(1), os.dup(2)
        self._raw_fd = self._stderr
        try:
            self._server(plan.logto or plan.daemonize)
            self._requests()
            self._programs(plan)
        except StartError:
            os.dup2(self._stderr, 2)
            os.dup2(self._stdout, 1)
            raise
        self._forward()
        if plan.daemonize is not None:
            self._let_the_caller_go()

    def _forward(self) -> None:
        if self._streams:
            from penstock.master.log_forwarder import Forwarder

            self._forwarder = Forwarder(list(self._streams.values()))

    # --- an upgrade

    def pack(self, luggage: Luggage, pauses: bool) -> dict[str, Any]:
        """Pack everything for an upgrade. If it `pauses`, nothing is forwarded until `go_on`, or by the new program.

        Raises:
            HandoverError: the loggers do not take what they have been given.
        """
        if pauses and not self.stand_still():
            raise HandoverError("a logger takes too long")
        for stream in (self._plan.server, self._plan.requests):
            for logger in stream.loggers:
                if logger.kind == "fd":
                    luggage.take(logger.fd)
        numbers = {number for file in self._files for number in file.numbers}
        # The server's lines are written to 1 and 2.
        ends = {name: (one.read_end, one.write_end if name != "server" else -1) for name, one in self._streams.items()}
        for fd in (*numbers, self._stdout, self._stderr, self._raw_fd, *(fd for pair in ends.values() for fd in pair)):
            luggage.take(fd)
        return {
            "files": [(one.path, asdict(one.rules), one.numbers) for one in self._files],
            "standard": (self._stdout, self._stderr, self._raw_fd),
            "request_fd": luggage.take(self.request_fd) if self.request_fd is not None else None,
            "streams": ends,
        }

    def stand_still(self) -> bool:
        """Forward what there is, and nothing from then on; tell whether that came about."""
        return self._forwarder is None or self._forwarder.pause()

    def go_on(self) -> None:
        """Forward again: there was no upgrade."""
        if self._forwarder is not None:
            self._forwarder.go_on()

    def _unpack(self, packed: Mapping[str, Any]) -> None:
        self.leaves_terminal = True
        self._stdout, self._stderr, self._raw_fd = packed["standard"]
        self.request_fd = packed["request_fd"]
        for path, rules, numbers in packed["files"]:
            owner = tuple(rules["owner"]) if rules["owner"] is not None else None
            self._files.append(LogFile.adopt(path, FileRules(**{**rules, "owner": owner}), tuple(numbers)))
        for name, ends in packed["streams"].items():
            if name == "programs":
                self._program_stream(tuple(ends))
            else:
                plan = self._plan.server if name == "server" else self._plan.requests
                self._streams[name] = self._stream(plan, tuple(ends))
        self._forward()

    def _let_the_caller_go(self) -> None:
        """Give back the standard streams of the start: who reads them to their end would wait for the whole daemon."""
        loggers = (*self._plan.server.loggers, *self._plan.requests.loggers)
        if any(one.kind in ("stdio", "fd") for one in loggers):
            return
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        for fd in (self._stdout, self._stderr):
            os.dup2(null, fd, inheritable=False)
        os.close(null)

    def open_late(self) -> None:
        """Open `logto2`, now that user and group are set.

        Raises:
            StartError: it can not be opened.
        """
        path = self._plan.late_file
        if path is None:
            return
        if self._plan.server.loggers:
            log.write(f"*** logto2 = {path} is not used: logger says where the log goes ***")
            return
        is_forwarded = self._raw_fd not in STANDARD and self._forwarder is not None
        file = LogFile(path, self._rules, (self._raw_fd,) if is_forwarded and not self._is_split() else STANDARD)
        self._files = [file, *(one for one in self._files if one.fd != file.fd)]
        self.leaves_terminal = True

    def _is_split(self) -> bool:
        """Whether the server's lines are written directly, and only requests pass through the master."""
        return not _passes_through(self._plan.server, self._plan.through_master)

    # --- where streams lead

    def _server(self, log_file: str | None) -> None:
        plan = self._plan.server
        if _passes_through(plan, self._plan.through_master):
            if log_file is not None:
                file = self._open(log_file, self._rules)
                self._raw_fd = file.fd
            stream = self._streams["server"] = self._stream(plan)
            for number in STANDARD:
                os.dup2(stream.write_end, number)
            os.close(stream.write_end)
            self.leaves_terminal = log_file is not None or bool(plan.loggers)
            return
        if not plan.loggers:
            if log_file is not None:
                self._open(log_file, self._rules, STANDARD)
                self.leaves_terminal = True
            return
        logger = plan.loggers[0]
        if logger.kind == "file":
            self._open(logger.path, self._rules_of(logger), STANDARD)
            self.leaves_terminal = True
        else:
            fd = self._descriptor(logger)
            for number in STANDARD:
                os.dup2(fd, number)

    def _requests(self) -> None:
        plan = self._plan.requests
        if not plan.loggers:
            return
        if _passes_through(plan, self._plan.through_master):
            stream = self._streams["requests"] = self._stream(plan)
            self.request_fd = stream.write_end
            return
        logger = plan.loggers[0]
        if logger.kind == "file":
            self.request_fd = self._open(logger.path, self._rules_of(logger)).fd
        else:
            self.request_fd = os.dup(self._descriptor(logger))

    def _programs(self, plan: Plan) -> None:
        """Let programs beside the workers write to the log as it is then, not to the file of the day they began on."""
        is_file = any(1 in file.numbers for file in self._files)
        if is_file and any(not one.pidfile for one in plan.programs.each):
            self._program_stream()

    def _program_stream(self, ends: tuple[int, int] | None = None) -> None:
        stream = self._streams["programs"] = self._stream(LogStreamPlan(), ends, STANDARD[0])
        self.program_fd = stream.write_end

    def _stream(self, plan: LogStreamPlan, ends: tuple[int, int] | None = None, raw_fd: int | None = None) -> Stream:
        from penstock.master.log_forwarder import Stream
        from penstock.master.log_targets import StreamTarget

        targets = [(logger.id, self._target(logger)) for logger in plan.loggers]
        raw = StreamTarget(self._raw_fd if raw_fd is None else raw_fd)
        return Stream(plan, targets, raw, self._plan.line_bytes, ends)

    def _target(self, logger: LoggerPlan) -> Target:
        from penstock.master.log_targets import DatagramTarget, StreamTarget

        if logger.kind == "file":
            return StreamTarget(self._open(logger.path, self._rules_of(logger)).fd)
        if logger.kind in ("fd", "stdio"):
            return StreamTarget(os.dup(self._descriptor(logger)), is_own=True)
        return DatagramTarget.open(logger)

    def _descriptor(self, logger: LoggerPlan) -> int:
        if logger.kind == "stdio" or logger.fd == 1:
            return self._stdout
        if logger.fd == 2:
            return self._stderr
        try:
            os.fstat(logger.fd)
        except OSError as error:
            raise StartError(
                f"{logger.origin}: descriptor {logger.fd} is not open; whoever starts the instance has to open it, "
                f"for example {logger.fd}>>/var/log/app.log in a shell"
            ) from error
        return logger.fd

    def _rules_of(self, logger: LoggerPlan) -> FileRules:
        rules = self._rules
        return FileRules(rules.mode, rules.owner, rules.truncate, logger.max_bytes or rules.max_bytes, logger.backup)

    def _open(self, path: str, rules: FileRules, numbers: tuple[int, ...] = ()) -> LogFile:
        same = next((one for one in self._files if one.path == path), None)
        if same is not None and not numbers:
            return same
        file = LogFile(path, rules, numbers)
        self._files.append(file)
        return file

    # --- later

    def descriptors(self) -> tuple[int, ...]:
        """What processes write to: the server's log, and that of requests if it is another."""
        return (2,) if self.request_fd is None else (2, self.request_fd)

    def reopen(self, is_asked: bool) -> bool:
        """Go on in the files that have the names now; tell whether processes have to be given `descriptors` again.

        Only if somebody asked for it, it is said of a file that is still the same.
        """
        is_new = False
        for file in self._files:
            before = os.fstat(file.fd)
            if is_asked:
                log.write(f"[{int(time.time())}] logsize: {file.size_bytes()}, triggering log-reopen...")
            complaint = file.reopen()
            if complaint is not None:
                log.write(f"*** {complaint} ***")
                continue
            is_other = not os.path.samestat(before, os.fstat(file.fd))
            if is_asked or is_other:
                log.write(f"[{int(time.time())}] {file.path} reopened.")
            is_new = is_new or is_other
        self._retry_at.clear()
        return is_new

    def rotate_large(self, now: float) -> bool:
        """Rotate what has become too large; tell whether processes have to be given `descriptors` again."""
        due = [one for one in self._files if one.is_too_large() and self._retry_at.get(one.path, 0.0) <= now]
        return self._rotate(due, now)

    def rotate_all(self, now: float) -> bool:
        """Rotate every file, as `rotate_large` does."""
        return self._rotate(self._files, now)

    def _rotate(self, files: Sequence[LogFile], now: float) -> bool:
        is_new = False
        for file in files:
            backup = file.backup_name()
            log.write(f"[{int(time.time())}] logsize: {file.size_bytes()}, triggering rotation to {backup}...")
            complaint = file.rotate(backup)
            if complaint is not None:
                self._retry_at[file.path] = now + RETRY_S
                log.write(f"*** {complaint}; the next attempt is in {RETRY_S:.0f} s, or when logs are reopened ***")
            else:
                is_new = True
        return is_new

    @property
    def watches_sizes(self) -> bool:
        """Whether there is a file that has a largest size."""
        return any(one.rules.max_bytes for one in self._files)

    def close(self) -> None:
        """Bring everything to its place. What is written from here on goes where it would have gone without logs."""
        if self._forwarder is not None:
            for number, raw in ((1, self._raw_fd), (2, self._raw_fd)):
                os.dup2(raw, number)
            self._forwarder.end()


def fixed_log_parts(plan: LogPlan) -> dict[str, object]:
    """Take what a reload can not change out of the plan of the logs: option -> what it came to."""

    def places(stream: LogStreamPlan) -> tuple[LoggerPlan, ...]:
        # Where they were written may change.
        return tuple(replace(one, origin="") for one in stream.loggers)

    return {
        "log-backupname": plan.backup,
        "log-drain": plan.server.drains,
        "log-encoder": plan.server.encoders,
        "log-filter": plan.server.filters,
        "log-master": plan.through_master,
        "log-master-bufsize": plan.line_bytes,
        "log-maxsize": plan.max_bytes,
        "log-req-encoder": plan.requests.encoders,
        "log-req-route": plan.requests.routes,
        "log-route": plan.server.routes,
        "log-truncate": plan.truncate,
        "logfile-chmod": plan.file_mode,
        "logfile-chown": plan.owned,
        "logger": places(plan.server),
        "logto2": plan.late_file,
        "req-logger": places(plan.requests),
    }


def _passes_through(plan: LogStreamPlan, through_master: bool) -> bool:
    """Whether lines can not be written by the processes themselves."""
    direct = len(plan.loggers) <= 1 and all(one.kind in ("file", "fd", "stdio") and not one.id for one in plan.loggers)
    return through_master or not direct or bool(plan.encoders or plan.routes or plan.drains or plan.filters)
