"""What is done at the points of an instance's life: each `hook-*` and `exec-*` read and checked, in its order."""

from __future__ import annotations

from penstock.config.settings import Setting
from penstock.plan.context import Context
from penstock.plan.process_types import HOOK_ACTIONS, HookPlan, HooksPlan

START_POINTS = ("asap", "pre-jail", "post-jail", "in-jail", "as-root", "as-user", "master-start")
"""Where the master does it, before there is a generation."""
COMMAND_POINTS = (*START_POINTS[:-1], "pre-app", "post-app", "as-user-atexit")
"""Those that have an exec-* too."""
WORKER_POINTS = ("post-fork", "accepting", "accepting1", "accepting-once", "accepting1-once")
POINTS = (*COMMAND_POINTS, "master-start", *WORKER_POINTS)

ONLY_UWSGI = (
    "alarm", "call", "callint", "callintret", "callret", "chown2", "hostname", "mount", "retryrpc", "rpc",
    "spinningfifo", "sticky", "umount", "wait_for_dir", "wait_for_file", "wait_for_fs", "wait_for_socket", "writefifo",
)  # fmt: skip
GRACEFUL = "gracefully_kill_them_all"


def hooks(context: Context) -> HooksPlan:
    """Everything that is done at some point: of each point first the hooks, then the commands, as in uWSGI."""
    said, found = context.said, []
    for point in POINTS:
        found += [_hook(context, one, point, str(one.value)) for one in said.every(f"hook-{point}")]
        if point in COMMAND_POINTS:
            for one in said.every(f"exec-{point}"):
                found.append(HookPlan(point, "exec", str(one.value), str(one.origin)))
    for one in said.in_order("hook-touch", "touch-exec"):
        path, _, rest = str(one.value).strip().partition(" ")
        if not rest.strip():
            message = f"{one.option.name} = {one.value}: a file, a blank and what to do have to stand here"
            context.error("bad-hook", message, one.origin, "write FILE and then what is done when it is touched")
        elif one.option.name == "touch-exec":
            found.append(HookPlan("touch", "exec", rest.strip(), str(one.origin), context.after_chdir(path)))
        else:
            found.append(_hook(context, one, "touch", rest.strip(), context.after_chdir(path)))
    return HooksPlan(tuple(one for one in found if one is not None))


def _hook(context: Context, setting: Setting, point: str, text: str, path: str = "") -> HookPlan | None:
    action, _, argument = text.strip().partition(":")
    name = setting.option.name
    if action == "unix_signal":
        _check_signal(context, setting, argument)
        return None
    if action not in HOOK_ACTIONS:
        known = f"{name}: the action {action} is not supported" if action in ONLY_UWSGI else ""
        message = known or f"{name} = {text}: there is no action {action!r}"
        context.error("bad-hook", message, setting.origin, f"use one of {', '.join(HOOK_ACTIONS)}, as in exec:COMMAND")
        return None
    if action == "exit" and point not in START_POINTS:
        context.error("bad-hook", f"{name}: exit is for the start of the master", setting.origin, "remove it")
        return None
    fewest = HOOK_ACTIONS[action]
    if len(argument.split()) < fewest or not _fits(action, argument):
        words = {"chmod": "FILE MODE", "chown": "FILE USER GROUP", "putenv": "NAME=VALUE", "exit": "STATUS"}
        wanted = words.get(action, "FILE TEXT" if fewest == 2 else "ARGUMENT")
        message = f"{name} = {text}: this is not what {action} takes"
        context.error("bad-hook", message, setting.origin, f"write {action}:{wanted}")
        return None
    return HookPlan(point, action, argument, str(setting.origin), path)


def _fits(action: str, argument: str) -> bool:
    words = argument.split()
    if action == "chmod":
        return len(words) == 2 and 0 < len(words[1]) < 6 and not words[1].strip("01234567")
    if action == "chown":
        return len(words) == 3
    if action == "putenv":
        return argument.partition("=")[0] != "" and "=" in argument
    return action != "exit" or argument == "" or (argument.isascii() and argument.isdigit() and int(argument) < 256)


def _check_signal(context: Context, setting: Setting, argument: str) -> None:
    if argument.split() == ["15", GRACEFUL]:
        message = f"{setting.option.name}: SIGTERM stops gracefully already, so nothing is done for {GRACEFUL}"
        context.note("hook-not-needed", message, setting.origin, "remove the line")
        return
    message = f"{setting.option.name} = unix_signal:{argument}: a signal can not be given another meaning"
    context.error("bad-hook", message, setting.origin, "use die-on-term for SIGTERM, or the control commands")
