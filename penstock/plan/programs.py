"""Programs beside the workers: `attach-daemon` and its relatives, turned into what the master watches."""

from __future__ import annotations

import os
import signal

from penstock.config.settings import Setting
from penstock.plan.context import Context
from penstock.plan.process_types import ProgramPlan, ProgramsPlan
from penstock.values import replace

OPTIONS = ("attach-daemon", "attach-control-daemon", "smart-attach-daemon", "smart-attach-daemon2", "attach-daemon2")

COMMAND_KEYS = ("cmd", "command", "exec")
KEYS = (
    *COMMAND_KEYS, "pidfile", "freq", "control", "daemonize", "daemon", "touch", "stopsignal", "reloadsignal", "uid",
    "gid", "chdir", "max_throttle", "stdin",
)  # fmt: skip
WITHOUT_EFFECT = {
    "ns_pid": "the program shares the name space of the other processes; unshare --fork --pid before its command "
    "gives it one of its own",
    "notifypid": "nobody is told its pid; pidfile names a file that it is written to",
}
"""Keys of uWSGI that are accepted -> what is the case without them, and what to use instead."""


def programs(context: Context, environment: tuple[tuple[str, str | None], ...]) -> ProgramsPlan:
    """Which programs the master starts and watches, in the order in which they were written."""
    keeps_input = context.said.flag("daemons-honour-stdin")
    base = ProgramPlan("", chdir=context.chdir, environment=environment, keeps_input=keeps_input)
    found = []
    for setting in context.said.in_order(*OPTIONS):
        one = _program(context, setting, base)
        if one is not None:
            found.append(one)
    return ProgramsPlan(tuple(found), float(context.said.number("reload-mercy")))


def _program(context: Context, setting: Setting, base: ProgramPlan) -> ProgramPlan | None:
    name, text = setting.option.name, str(setting.value).strip()
    if name == "attach-daemon2":
        return _by_keys(context, setting, text, base)
    if not name.startswith("smart"):
        return replace(base, command=text, ends_instance=name == "attach-control-daemon")
    place, _, command = text.partition(" ")
    pidfile, comma, freq = place.partition(",")
    if not pidfile or not command.strip() or (comma and not _is_number(freq)):
        message = f"{name} = {text}: a pid file, perhaps a comma and seconds, a blank and a command have to stand here"
        context.error("bad-program", message, setting.origin, f"for example {name} = /run/redis.pid redis-server FILE")
        return None
    one = replace(base, command=command.strip(), pidfile=context.after_chdir(pidfile))
    one = replace(one, writes_pidfile=name.endswith("2"))
    return replace(one, check_s=float(max(1, int(freq)))) if comma else one


def _by_keys(context: Context, setting: Setting, text: str, base: ProgramPlan) -> ProgramPlan | None:
    given: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if not equals or key not in (*KEYS, *WITHOUT_EFFECT):
            message = f"attach-daemon2: there is no key {key!r}"
            context.error("bad-program", message, setting.origin, f"use {', '.join(KEYS)}; no value may have a comma")
            return None
        if key in WITHOUT_EFFECT:
            what, _, instead = WITHOUT_EFFECT[key].partition("; ")
            context.warn("program-key", f"attach-daemon2: {key} is ignored: {what}", setting.origin, instead)
        else:
            given[key] = value
    command = next((given[key] for key in COMMAND_KEYS if given.get(key)), "")
    wrong = [key for key in ("freq", "uid", "gid", "max_throttle") if not _is_number(given.get(key, "1"))]
    wrong += [key for key in ("stopsignal", "reloadsignal") if _signal(given.get(key, "15")) is None]
    if wrong or not command:
        what = f"{wrong[0]} = {given[wrong[0]]} is not a number that it could be" if wrong else "there is no cmd"
        context.error("bad-program", f"attach-daemon2: {what}", setting.origin, "write cmd=COMMAND,KEY=VALUE,...")
        return None
    pidfile = given.get("pidfile")
    return replace(
        base,
        command=command,
        pidfile=context.after_chdir(pidfile) if pidfile else "",
        check_s=float(max(1, int(given.get("freq", "10")))),
        writes_pidfile=bool(pidfile) and _is_on(given.get("daemonize", given.get("daemon", ""))),
        ends_instance=_is_on(given.get("control", "")),
        keeps_input=base.keeps_input or _is_on(given.get("stdin", "")),
        stop_signal=_signal(given.get("stopsignal", "15")) or signal.SIGTERM,
        reload_signal=_signal(given.get("reloadsignal", "0")) or 0,
        uid=int(given["uid"]) if "uid" in given else None,
        gid=int(given["gid"]) if "gid" in given else None,
        chdir=os.path.join(context.chdir, given.get("chdir", "")),
        longest_backoff_s=float(given.get("max_throttle", base.longest_backoff_s)),
        touch=tuple(context.after_chdir(path) for path in given.get("touch", "").split(";") if path),
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _is_on(text: str) -> bool:
    return text.lower() not in ("", "0", "false", "no", "off")


def _signal(text: str) -> int | None:
    """The number of a signal given by number or name; 0 for none, None if there is no such signal."""
    if _is_number(text):
        return int(text) if int(text) == 0 or int(text) in set(signal.valid_signals()) else None
    name = text.upper()
    return next((int(one) for one in signal.Signals if one.name in (name, f"SIG{name}")), None)
