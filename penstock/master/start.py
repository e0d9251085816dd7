"""The start of an instance, in the order that matters: what needs root, then who to be, then the loop.

Log and background; limits; pid file; sockets, all before anything is imported; control and statistics sockets; user
and group; and only then a process that runs foreign code.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import penstock
from penstock import hooks
from penstock.master import control, daemon, kept, launch, limits, log, privileges, processes, script
from penstock.master.asked import Asked
from penstock.master.control_path import make_directory
from penstock.master.errors import StartError
from penstock.master.logs import Logs
from penstock.master.loop import Belongings, Master
from penstock.master.luggage import HandoverError, Luggage, Unpacked
from penstock.master.notify import Supervisor, Told
from penstock.master.packing import Before, own_sockets
from penstock.master.pidfile import PidFile
from penstock.master.rereading import Reread
from penstock.master.signals import SignalReader, hold_back
from penstock.master.sockets import BoundListener, bind_all, bind_own, patiently
from penstock.observe.scoreboard import Layout
from penstock.plan import inherited
from penstock.plan.activation import SALVAGED
from penstock.plan.types import Plan
from penstock.server_log import LOG
from penstock.titles import NAMES, set_title
from penstock.values import dataclass

EXIT_FAILURE = 1


def start(
    plan: Plan,
    reread: Reread,
    catalogue: Callable[[], dict[str, Any]],
    boot: Path = processes.BOOT,
    begun: Mapping[str, Any] | None = None,
) -> int:
    """Run an instance from its start to its end and return the exit status of this process.

    With `daemonize` that is the status of the start: 0 as soon as the instance is ready. `reread` makes the plan of a
    reload; `catalogue` is the engine's; `boot` is what the interpreter of a generation runs; `begun` is what a command
    line needs that takes over from this one, `cwd` at least.
    """
    asked = _Asked(reread, catalogue, boot, begun or {"cwd": os.getcwd()})
    processes.tidy_descriptors()
    if plan.script.kind:
        return script.become(plan)
    # Before anything is started that must not speak for the master. The plan has what was inherited.
    told = Told.take()
    inherited.forget()
    if plan.daemonize is None:
        return _start(plan, asked, None, told)
    parent = daemon.detach(plan.daemonize)
    if isinstance(parent, int):
        return parent
    daemon.forever(lambda: _start(plan, asked, parent, told))


def take_over(
    before: Before,
    reread: Reread,
    catalogue: Callable[[], dict[str, Any]],
    boot: Path = processes.BOOT,
) -> int:
    """Go on with the instance of an earlier program of this process, to its end; return the exit status.

    Raises:
        HandoverError: that is not possible; what was handed over is as it was.
    """
    processes.tidy_descriptors()
    packed, unpacked = before.packed, Unpacked()
    logs: Logs | None = None
    try:
        plan = before.first_plan
        made = _Made([PidFile(*one) for one in packed["pid_files"]])
        layout = _layout(catalogue)
        logs = Logs(plan, before.owner, packed["logs"])
        LOG.prefix = before.plan.log.prefix
        faulthandler.enable(2, all_threads=False)
        set_title(plan.titles.of_master(tuple(sys.argv[1:])), NAMES["master"])
        master = Master(
            Belongings(
                plan,
                reread,
                layout,
                (),
                daemon.Terminal(),
                Supervisor(before.told),
                before.owner,
                boot=boot,
                logs=logs,
                become=before.become,
                pack_pid_files=made.pack,
                begun=before.begun,
                before=before,
                **own_sockets(before, unpacked),
            ),
            unpacked,
        )
    except Exception as error:
        unpacked.let_go()
        if logs is not None:
            logs.stand_still()
        raise HandoverError(f"{type(error).__name__}: {error}") from error
    try:
        with SignalReader() as signals:
            return _live(master, signals, made)
    finally:
        logs.close()


def _live(master: Master, signals: SignalReader, made: _Made) -> int:
    """Run a master to its end, and leave nothing of it behind."""
    try:
        status = master.run(signals)
        _run_last_hooks(master)
        return status
    finally:
        made.release_pid_files()
        master.close()
        # From here on nobody listens: who asks once more must not make a failure of an orderly end.
        hold_back()


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line hands over beside the plan."""

    reread: Reread
    catalogue: Callable[[], dict[str, Any]]
    boot: Path
    begun: Mapping[str, Any]


@dataclass(slots=True)
class _Made:
    """What has been made so far, to be taken back if the start fails."""

    more_pid_files: list[PidFile]
    pid_file: PidFile | None = None
    listeners: tuple[BoundListener, ...] = ()
    stats: BoundListener | None = None
    admin: BoundListener | None = None
    control: tuple[socket.socket, Path] | None = None

    def take_back(self) -> None:
        """Leave nothing behind."""
        for listener in (*self.listeners, self.stats, self.admin):
            if listener is not None:
                # One that is kept for the next start has to be found there.
                listener.close(remove=not listener.keeper)
        if self.control is not None:
            self.control[0].close()
            self.control[1].unlink(missing_ok=True)
        self.release_pid_files()

    def claim_another(self, path: str) -> None:
        """Write a pid file beside the first, unless an option before it has named the same one.

        Raises:
            StartError: as `PidFile.claim` does.
        """
        held = (*((self.pid_file,) if self.pid_file is not None else ()), *self.more_pid_files)
        if os.path.realpath(path) not in [os.path.realpath(one.path) for one in held]:
            self.more_pid_files.append(PidFile.claim(path))

    def write_safe(self, paths: tuple[str, ...]) -> None:
        """Write the pid files of an instance that is ready; one that can not be written does not end it."""
        for path in paths:
            try:
                self.claim_another(path)
            except StartError as error:
                log.write(f"*** {error} ***")

    def pack(self, luggage: Luggage) -> list[list[Any]]:
        """Pack the pid files for an upgrade."""
        held = (*((self.pid_file,) if self.pid_file is not None else ()), *self.more_pid_files)
        return [one.pack(luggage) for one in held]

    def release_pid_files(self) -> None:
        """Remove every pid file."""
        for one in (*((self.pid_file,) if self.pid_file is not None else ()), *self.more_pid_files):
            one.release()
        self.pid_file, self.more_pid_files = None, []


def _start(
    plan: Plan,
    asked: _Asked,
    parent: daemon.ParentPipe | None,
    told: Told,
) -> int:
    terminal = os.dup(2)
    supervisor = Supervisor(told)
    try:
        identity = privileges.resolve(plan.uid, plan.gid, plan.groups.more, plan.groups.takes_users)
        owner = (identity.uid, identity.gid) if identity is not None and os.geteuid() == 0 else None
        logs = Logs(plan, owner)
    except StartError as error:
        # There is no log yet, only the shell.
        (parent or daemon.Terminal(terminal)).failed(error.status, str(error))
        _tell_failure(supervisor, error)
        return error.status
    # The watchdog of a supervisor ends a master that is stuck with SIGABRT: the log has to say where it was.
    faulthandler.enable(2, all_threads=False)
    LOG.prefix = plan.log.prefix
    if logs.leaves_terminal and parent is None:
        LOG.terminal_fd = os.dup(terminal)
    starter = parent or daemon.Terminal(terminal if logs.leaves_terminal else -1)
    if parent is not None or not logs.leaves_terminal:
        os.close(terminal)
    try:
        return _run(plan, asked, starter, supervisor, logs, identity)
    finally:
        logs.close()


def _tell_failure(supervisor: Supervisor, error: StartError) -> None:
    """Let the supervisor show why there will be no instance."""
    cause = error.__cause__
    number = cause.errno if isinstance(cause, OSError) else None
    supervisor.tell("stopping", str(error), number=number, exit_status=error.status)
    supervisor.close()


def _run(
    plan: Plan,
    asked: _Asked,
    starter: daemon.Starter,
    supervisor: Supervisor,
    logs: Logs,
    identity: privileges.Identity | None,
) -> int:
    made = _Made([])
    with SignalReader() as signals:
        try:
            given = _prepare(plan, asked, starter, supervisor, made, logs, identity)
        except StartError as error:
            if error.is_taken and logs.leaves_terminal:
                LOG.drop()
                log.write(f"*** a second start was refused: {error} ***")
            else:
                LOG.release()
                log.write(str(error))
            made.take_back()
            starter.failed(error.status, str(error))
            _tell_failure(supervisor, error)
            return error.status
        return _live(Master(given), signals, made)


def _prepare(
    plan: Plan,
    asked: _Asked,
    starter: daemon.Starter,
    supervisor: Supervisor,
    made: _Made,
    logs: Logs,
    identity: privileges.Identity | None,
) -> Belongings:
    """Make everything that a master needs.

    Raises:
        StartError: something can not be made; what was made so far is in `made`.
    """
    if plan.umask is not None:
        os.umask(plan.umask)
    set_title(plan.titles.of_master(tuple(sys.argv[1:])), NAMES["master"])
    owner = (identity.uid, identity.gid) if identity is not None and os.geteuid() == 0 else None
    _run_hooks(plan, "asap")
    if logs.leaves_terminal:
        # Until it is certain that this is not the log of an instance that has the pid file or an address already.
        LOG.hold()
    _banner(plan)
    if plan.pidfile is not None:
        log.write(f"writing pidfile to {plan.pidfile}")
        made.pid_file = PidFile.claim(plan.pidfile)
    layout = _layout(asked.catalogue)
    for line in limits.apply(plan.limits):
        log.write(line)
    if plan.limits.open_files:
        log.write(f"max file descriptor number: {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}")
    else:
        log.write(f"detected max file descriptor number: {privileges.raise_file_limit()}")
    for line in kept.close_unused(supervisor, plan.unused_sockets):
        log.write(line)
    if any(one.inherited is not None and not one.inherited.name.startswith(SALVAGED) for one in plan.listeners):
        log.write("- SystemD socket activation detected -")
    made.listeners = kept.keep(supervisor, patiently(lambda: bind_all(plan.listeners, owner)))
    for index, listener in enumerate(made.listeners):
        log.write(listener.bound_line(index))
    if plan.stats is not None:
        stats = plan.stats
        made.stats = patiently(lambda: bind_own("stats", stats, owner))
        log.write(f"*** Stats server enabled on {made.stats.name} fd: {made.stats.fd} ***")
    if plan.admin is not None:
        admin = plan.admin
        made.admin = patiently(lambda: bind_own("admin", admin, owner))
        log.write(f"*** probes are answered on {made.admin.name} fd: {made.admin.fd} ***")
    LOG.release()
    made.control = _control_socket(owner)
    _run_hooks(plan, "pre-jail", "post-jail", "in-jail", "as-root")
    stays_root = plan.groups.master_stays_root and owner is not None
    if stays_root:
        why = "drop-after-apps" if plan.groups.imports_as_root else "master-as-root"
        until = " longer than the import" if plan.groups.imports_as_root else ""
        log.write(f"*** the master stays root ({why}); what it starts for the application does not{until} ***")
    for line in [] if stays_root else privileges.drop(identity):
        log.write(line)
    _run_hooks(plan, "as-user", become=identity if stays_root else None)
    logs.open_late()
    if plan.pidfile2 is not None:
        log.write(f"writing pidfile to {plan.pidfile2}")
        made.claim_another(plan.pidfile2)
    if not processes.become_subreaper():
        log.write("*** WARNING: this kernel can not make the master a subreaper: orphaned workers are found later ***")
    log.write(_mode_line(plan))
    log.write(f"spawned Penstock master process (pid: {os.getpid()})")
    _run_hooks(plan, "master-start")
    return Belongings(
        plan,
        asked.reread,
        layout,
        made.listeners,
        starter,
        supervisor,
        owner,
        made.stats,
        made.admin,
        made.control,
        asked.boot,
        logs=logs,
        become=identity if stays_root else None,
        when_ready=lambda: made.write_safe(plan.safe_pidfiles),
        pack_pid_files=made.pack,
        begun=asked.begun,
    )


def _run_hooks(plan: Plan, *points: str, become: privileges.Identity | None = None) -> None:
    """Do what is to be done at these points of the start. Raises StartError if it fails."""
    prefix = launch.prefix(uid=become.uid, gid=become.gid, groups=become.groups) if become is not None else ()
    wanted = plan.hooks.at(*points)
    if not wanted:
        return
    with Asked() as asked:
        try:
            hooks.run(wanted, plan.app.environment, prefix, lambda: bool(asked.name))
        except hooks.HookFailed as error:
            if not asked.name:
                raise StartError(str(error), error.status) from error
    if asked.name:
        raise StartError(f"{asked.name} received... the start ends before its commands have", 0)


def _run_last_hooks(master: Master) -> None:
    """Do what is to be done when nothing of the instance is left; nothing can be stopped any more if it fails."""
    plan, become = master.plan, master.become
    for hook in plan.hooks.at("as-user-atexit"):
        who: dict[str, Any] = {}
        if become is not None:
            who = {"uid": become.uid, "gid": become.gid, "groups": become.groups}
        try:
            hooks.run([hook], plan.app.environment, launch.prefix(chdir=plan.app.chdir, **who))
        except hooks.HookFailed as error:
            log.write(f"*** {error} ***")


def _layout(catalogue: Callable[[], dict[str, Any]]) -> Layout:
    try:
        return Layout.of(catalogue()["scoreboard"])
    except ImportError as error:
        raise StartError(
            f"the engine of Penstock can not be loaded by {sys.executable} "
            f"({sys.version.split()[0]}): {error}. Install Penstock for this interpreter"
        ) from error


def _control_socket(owner: tuple[int, int] | None) -> tuple[socket.socket, Path] | None:
    uid, gid = owner or (os.geteuid(), os.getegid())
    directory = make_directory(uid, gid)
    if directory is not None:
        with contextlib.suppress(OSError):
            return control.bind(directory, owner)
    log.write(
        "*** WARNING: no directory for the control socket: set XDG_RUNTIME_DIR. Commands that wait do not work, "
        "signals do ***"
    )
    return None


def _banner(plan: Plan) -> None:
    bits = "64bit" if sys.maxsize > 2**32 else "32bit"
    log.write(f"*** Starting Penstock {penstock.__version__} ({bits}) on [{time.ctime()}] ***")
    log.write(f"Python version of the master: {processes.python_version()}")
    log.write(f"detected number of CPU cores: {len(os.sched_getaffinity(0))}")
    log.write(f"current working directory: {os.getcwd()}")
    for note in plan.notes:
        log.write(note)


def _mode_line(plan: Plan) -> str:
    parts = ["preforking"] if plan.processes > 1 else []
    parts += ["threaded"] if plan.engine.threads > 1 else []
    return f"*** Operational MODE: {'+'.join(parts) or 'single process'} ***"
