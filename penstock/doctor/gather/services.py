"""Who starts this configuration at boot, read from the files of service managers; and who rotates its logs.

A file is about the configuration if a command in it names one of its files, or its pid file, or its directory where
it has no file. Everything is looked up below `root`, so that an image or another machine's tree can be looked at.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from penstock.doctor.facts import Manager, Rotation, Service
from penstock.values import dataclass

UNIT_PLACES = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system",
               "lib/systemd/system")  # fmt: skip
DEFAULT_STOP_S = 90.0
"""DefaultTimeoutStopSec of systemd-system.conf(5), where nobody has changed it."""
_UNITS = {"": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "m": 60.0, "min": 60.0,
          "minute": 60.0, "minutes": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "hours": 3600.0,
          "d": 86400.0}  # fmt: skip
_LARGEST = 1 << 18


@dataclass(frozen=True, slots=True)
class Sought:
    """What a command has to name to be about this configuration."""

    files: tuple[str, ...]
    """Absolute paths: configuration files, else the project's directory."""

    def is_in(self, words: Sequence[str]) -> bool:
        """Whether one of the words of a command is one of them."""
        plain = {os.path.realpath(word.rpartition("=")[2]) for word in words if "/" in word}
        return any(os.path.realpath(file) in plain for file in self.files)


def services(root: Path, sought: Sought) -> tuple[Service, ...]:
    """Everything that starts the configuration."""
    found = [
        *_systemd(root, sought),
        *_sysv(root, sought),
        *_simple(root, sought, "supervisor", ("etc/supervisor/conf.d/*.conf", "etc/supervisord.d/*.ini"), "command"),
        *_scripts(root, sought, "runit", ("etc/sv/*/run", "etc/service/*/run", "etc/runit/*/run")),
        *_emperor(root, sought),
        *_cron(root, sought),
        *_scripts(root, sought, "rc.local", ("etc/rc.local", "etc/rc.d/rc.local")),
    ]
    return tuple(found)


# -- systemd -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit file with its drop-ins."""

    name: str
    path: str
    entries: tuple[tuple[str, str, str, str], ...]
    """(section, key, value, FILE:LINE), in order."""

    def last(self, key: str) -> tuple[str, str]:
        """The value that counts, and its place; both empty where there is none."""
        return next(((value, place) for _, name, value, place in reversed(self.entries) if name == key), ("", ""))

    def every(self, key: str) -> list[tuple[str, str]]:
        """All values; an empty one takes away what was before."""
        found: list[tuple[str, str]] = []
        for _, name, value, place in self.entries:
            if name == key:
                found = [*found, (value, place)] if value else []
        return found

    def flag(self, key: str) -> bool:
        """Whether a switch is on."""
        return self.last(key)[0].lower() in ("yes", "true", "on", "1", "connected", "disconnected")


def read_unit(root: Path, path: str) -> Unit:
    """Read a unit and the drop-ins that change it."""
    name = os.path.basename(path)
    files = [path]
    for place in reversed(UNIT_PLACES):
        files += sorted(glob.glob(str(root / place / f"{glob.escape(name)}.d" / "*.conf")))
    entries: list[tuple[str, str, str, str]] = []
    for file in files:
        section, carried, began = "", "", 0
        for number, line in enumerate(_lines(file), 1):
            text = line.strip()
            if text.startswith(("#", ";")) or (not text and not carried):
                continue
            if not carried:
                began = number
            if text.endswith("\\"):
                carried += text[:-1] + " "
                continue
            text, carried = carried + text, ""
            if text.startswith("["):
                section = text.strip("[]")
            elif "=" in text:
                key, _, value = text.partition("=")
                entries.append((section, key.strip(), value.strip(), f"{file}:{began}"))
    return Unit(name, path, tuple(entries))


def units(root: Path) -> Iterator[Unit]:
    """Every service unit; of one name that which counts."""
    seen: set[str] = set()
    for place in UNIT_PLACES:
        for path in sorted(glob.glob(str(root / place / "*.service"))):
            name = os.path.basename(path)
            if name not in seen and not os.path.islink(path):
                seen.add(name)
                yield read_unit(root, path)


def _systemd(root: Path, sought: Sought) -> Iterator[Service]:
    for unit in units(root):
        for value, place in unit.every("ExecStart"):
            for name, command in _instances(root, unit.name, value):
                if not sought.is_in(_words(command.lstrip("-@:+!"))):
                    continue
                timeout, where = unit.last("TimeoutStopSec")
                if not timeout:
                    timeout, where = unit.last("TimeoutSec")
                yield Service(
                    manager="systemd",
                    name=name,
                    place=place,
                    command=command,
                    is_enabled=_is_enabled(root, name),
                    stop_timeout_s=seconds(timeout) if timeout else DEFAULT_STOP_S,
                    stop_place=where,
                    has_private_tmp=unit.flag("PrivateTmp"),
                    type=unit.last("Type")[0] or "simple",
                    user=unit.last("User")[0],
                )


def _instances(root: Path, name: str, command: str) -> Iterator[tuple[str, str]]:
    """A template stands for each of its instances that is enabled; an ordinary unit for itself."""
    base, at, suffix = name.partition("@.")
    if not at:
        yield name, command
        return
    made = {
        os.path.basename(path)
        for place in UNIT_PLACES
        for path in glob.glob(str(root / place / "*.wants" / f"{glob.escape(base)}@*.{suffix}"))
    }
    for each in sorted(made):
        instance = each.removeprefix(f"{base}@").removesuffix(f".{suffix}")
        yield each, command.replace("%i", instance).replace("%I", instance.replace("-", "/"))


def _is_enabled(root: Path, name: str) -> bool:
    """Whether some target wants the unit, or the socket unit that activates it."""
    names = (name, name.removesuffix(".service") + ".socket")
    return any(
        glob.glob(str(root / place / f"*.{kind}" / glob.escape(each)))
        for place in UNIT_PLACES
        for kind in ("wants", "requires")
        for each in names
    )


def seconds(text: str) -> float | None:
    """Read a time as systemd writes it (`90`, `1min 30s`); None for without limit, and for what can not be read."""
    if text.strip() in ("infinity", "0", ""):
        return None
    parts = re.findall(r"([0-9.]+)\s*([a-z]*)", text.lower())
    if not parts or any(unit not in _UNITS for _, unit in parts):
        return None
    try:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    except ValueError:
        return None


# -- the others --------------------------------------------------------------------------------------------------------


def _sysv(root: Path, sought: Sought) -> Iterator[Service]:
    for service in _scripts(root, sought, "sysv", ("etc/init.d/*",)):
        enabled = bool(glob.glob(str(root / "etc/rc[2345].d" / f"S[0-9][0-9]{glob.escape(service.name)}")))
        yield Service(
            manager="sysv",
            name=service.name,
            place=service.place,
            command=service.command,
            is_enabled=enabled,
        )


def _scripts(root: Path, sought: Sought, manager: Manager, patterns: Sequence[str]) -> Iterator[Service]:
    """Shell scripts: whatever line names the configuration."""
    for path in _files(root, patterns):
        for number, line in enumerate(_lines(path), 1):
            if not line.lstrip().startswith("#") and sought.is_in(_words(line)):
                name = os.path.basename(os.path.dirname(path)) if manager == "runit" else os.path.basename(path)
                yield Service(manager=manager, name=name, place=f"{path}:{number}", command=line.strip())
                break


def _simple(root: Path, sought: Sought, manager: Manager, patterns: Sequence[str], wanted: str) -> Iterator[Service]:
    """Files of sections with `key = value`."""
    for path in _files(root, patterns):
        section = ""
        for number, line in enumerate(_lines(path), 1):
            text = line.strip()
            if text.startswith("["):
                section = text.strip("[]").rpartition(":")[2]
            key, equals, value = text.partition("=")
            if equals and key.strip() == wanted and sought.is_in(_words(value)):
                yield Service(manager=manager, name=section, place=f"{path}:{number}", command=value.strip())


def _emperor(root: Path, sought: Sought) -> Iterator[Service]:
    """Vassals of uWSGI's emperor: the configuration itself lies, or is linked, in its directory."""
    wanted = {os.path.realpath(file) for file in sought.files}
    for path in _files(root, ("etc/uwsgi/vassals/*", "etc/uwsgi/apps-enabled/*", "etc/uwsgi.d/*")):
        if os.path.realpath(path) in wanted:
            yield Service(manager="emperor", name=os.path.basename(path), place=path, command=path, is_enabled=True)


def _cron(root: Path, sought: Sought) -> Iterator[Service]:
    for path in _files(root, ("etc/crontab", "etc/cron.d/*", "var/spool/cron/crontabs/*", "var/spool/cron/*")):
        for number, line in enumerate(_lines(path), 1):
            text = line.strip()
            if text.startswith("@reboot") and sought.is_in(_words(text)):
                yield Service(manager="cron", name="@reboot", place=f"{path}:{number}", command=text, is_enabled=True)


# -- logrotate ---------------------------------------------------------------------------------------------------------


def rotations(root: Path, logs: Sequence[str]) -> tuple[Rotation, ...]:
    """Find the blocks of logrotate's files that are about one of these files."""
    found = []
    for path in _files(root, ("etc/logrotate.conf", "etc/logrotate.d/*")):
        for number, patterns, body in _blocks(_lines(path)):
            for log in logs:
                if any(fnmatch.fnmatch(log, pattern) for pattern in patterns):
                    script = "\n".join(_script(body))
                    copies = any(line.split()[:1] == ["copytruncate"] for line in body)
                    found.append(Rotation(f"{path}:{number}", log, copies, script))
    return tuple(found)


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, list[str], list[str]]]:
    """Each block: the line that it begins at, the patterns before its brace, and what is in it."""
    names: list[str] = []
    body: list[str] | None = None
    began = 0
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if body is not None:
            if text == "}":
                yield began, names, body
                names, body = [], None
            else:
                body.append(text)
            continue
        before, brace, _ = text.partition("{")
        words = _words(before)
        if any(word.startswith("/") for word in words) or (brace and names):
            began = began if names else number
            names += [word for word in words if word.startswith("/")]
        else:
            names = []
        if brace:
            body = []


def _script(body: Sequence[str]) -> Iterator[str]:
    inside = False
    for line in body:
        word = line.split()[0]
        if word in ("postrotate", "prerotate", "lastaction", "firstaction"):
            inside = word in ("postrotate", "lastaction")
        elif word == "endscript":
            inside = False
        elif inside:
            yield line


# -- files -------------------------------------------------------------------------------------------------------------


def _files(root: Path, patterns: Sequence[str]) -> Iterator[str]:
    for pattern in patterns:
        for path in sorted(glob.glob(str(root / pattern))):
            if os.path.isfile(path):
                yield path


def _lines(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            return file.read(_LARGEST).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return line.split()
