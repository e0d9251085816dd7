"""logrotate for the log files of a configuration: they are renamed, and Penstock goes on in new ones. Pure.

No line is lost or torn: `penstock reopen` has the master open the new files and hand them to its workers. What Penstock
rotates itself is left alone, and what the application's own handlers keep open is copied.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from penstock.deploy import service as about
from penstock.deploy import shell
from penstock.deploy.artifact import Artifact
from penstock.deploy.service import NotPossible, Remark, Service
from penstock.project.django_facts import LogFile
from penstock.values import dataclass

FOLDER = "/etc/logrotate.d"
DAYS = 14
_REOPENS = "WatchedFileHandler"
_ROTATES = ("RotatingFileHandler", "TimedRotatingFileHandler")


@dataclass(frozen=True, slots=True)
class Rotation:
    """The file, and what to know about it."""

    artifact: Artifact | None
    """None where there is nothing to rotate."""
    remarks: tuple[Remark, ...]


def rotation(
    service: Service,
    handlers: Iterable[LogFile] = (),
    *,
    unit: str = "",
    root_owned: Sequence[str] = ("/var/log",),
) -> Rotation:
    """Write the file. `unit` names the systemd service that runs it; without one there is a pid file.

    `handlers` are those of the application (Django's LOGGING), `root_owned` the directories that belong to root.

    Raises:
        NotPossible: a path can not stand in it, or nothing tells which process to ask.
    """
    remarks = []
    own = []
    for path, max_bytes in about.log_files(service.plan):
        if max_bytes:
            remarks.append(Remark(f"{path} is rotated by Penstock itself (log-maxsize)"))
        else:
            own.append(path)
    watched: list[str] = []
    copied: list[str] = []
    for one in handlers:
        kind = one.kind.rpartition(".")[2]
        if one.path in own or kind in _ROTATES:
            continue
        (watched if kind == _REOPENS else copied).append(one.path)
    if copied:
        text = f"{', '.join(copied)}: kept open by the application, so that it is copied, which may lose lines"
        remarks.append(Remark(text, "logging.handlers.WatchedFileHandler goes on in a new file by itself"))
    stanzas = []
    if own:
        stanzas.append(_stanza(service, own, root_owned, asks=_asks(service, unit)))
    if watched:
        stanzas.append(_stanza(service, watched, root_owned))
    if copied:
        stanzas.append(_stanza(service, copied, root_owned, is_copied=True))
    if not stanzas:
        return Rotation(None, tuple(remarks))
    head = f"# Made by Penstock for {service.name}.\n"
    text = head + "\n".join("\n".join(lines) + "\n" for lines in stanzas)
    artifact = Artifact(f"{FOLDER}/{service.name}", text, why="rotates the logs")
    return Rotation(artifact, tuple(remarks))


def _stanza(
    service: Service, paths: Sequence[str], root_owned: Sequence[str], asks: str = "", is_copied: bool = False
) -> list[str]:
    return list(_lines(service, list(dict.fromkeys(paths)), root_owned, asks, is_copied))


def _lines(service: Service, paths: list[str], root_owned: Sequence[str], asks: str, is_copied: bool) -> Iterator[str]:
    user, group = service.user or "root", shell.group_of(service) or service.user or "root"
    mode = service.plan.log.file_mode
    for path in paths[:-1]:
        yield _quoted(path)
    yield f"{_quoted(paths[-1])} {{"
    yield "    daily"
    yield f"    rotate {DAYS}"
    yield "    missingok"
    yield "    notifempty"
    yield "    compress"
    yield "    delaycompress"
    if any(os.path.dirname(path) not in root_owned for path in paths) and service.user:
        # logrotate refuses directories that others than root may write to, unless it becomes their owner.
        yield f"    su {user} {group}"
    if is_copied:
        yield "    copytruncate"
    else:
        yield f"    create {0o640 if mode is None else mode:04o} {user} {group}"
    if asks:
        yield "    sharedscripts"
        yield "    postrotate"
        yield f"        {asks}"
        yield "    endscript"
    yield "}"


def _asks(service: Service, unit: str) -> str:
    """The command that has the instance go on in new files; nothing where it does not run."""
    command = service.command
    program = shell.line(list(command[:3] if command[1:3] == ("-m", "penstock") else command[:1]))
    if unit:
        name = shell.line([unit])
        pid = f'"$(systemctl show --value -p MainPID {name})"'
        return f"! systemctl is-active --quiet {name} || {program} reopen --pid {pid}"
    pidfile = service.plan.pidfile
    if pidfile is None:
        raise NotPossible("nothing tells which process writes the logs", "add pidfile = PATH to the configuration")
    return f"! [ -s {shell.line([pidfile])} ] || {program} reopen {shell.line([pidfile])}"


def _quoted(path: str) -> str:
    if not path.isprintable() or set(path) & set('"{}'):
        raise NotPossible(f"{path!r} can not stand in a file of logrotate", "choose another name for the log")
    # It takes names for patterns.
    safe = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in path)
    return f'"{safe}"' if any(letter in safe for letter in " '#\\") else safe
