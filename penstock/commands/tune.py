"""`penstock tune CONFIG`: what the kernel and the limits need to be for a configuration, and have them so."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence

from penstock.commands import served
from penstock.commands.served import Asked, Wrong
from penstock.commands.terminal import PLAIN_STYLE, Style, plain, style, width, wrap, write
from penstock.deploy import kernel, present, tune
from penstock.deploy.artifact import ArtifactError, Tree
from penstock.deploy.service import NotPossible, Service
from penstock.deploy.tune import Host, Need

SUMMARY = "say what kernel and limits need for a configuration, and set it"
USAGE = "[--apply] [--revert] [--json] [--name NAME] [--root FILE] OPTION ... | FILE"

TEXT = """\
usage: penstock tune [--apply | --revert] [--json] OPTION ... | FILE

  penstock tune app.ini            what is, what is wanted and why, and the file that it would be written to
  penstock tune app.ini --apply    write these files, and set the values now (root)
  penstock tune app.ini --revert   set back and take away what --apply has done (or by --name NAME alone)

Looks at the kernel's queues and ports, at open files of the instance and of nginx, and at what files set at boot. What
is good already is not touched, and nothing is ever lowered. In a container it says how the runtime is told.
Exit status: 0 if there is nothing to do, 1 if there is, 2 if nothing can be said.

  --json      for programs: {"container": ..., "needs": [...]}
  --root DIR  write into a folder that stands for the root of a machine; nothing is set
  --name NAME of the service; else the configuration's
  --user NAME whom it runs as; else uid of the configuration, or the owner of the project
"""

TO_DO = 1
_UNBOUNDED = 1 << 30


def run(arguments: Sequence[str]) -> int:
    """Print, apply or revert."""
    try:
        flags = ("--apply", "--revert", "--json", "--help", "-h")
        asked = served.take(arguments, flags, served.IDENTITY)
        if asked.flags & {"--help", "-h"}:
            sys.stdout.write(TEXT)
            return 0
        if "--revert" in asked.flags and served.name_alone(asked):
            return _revert(
                kernel.Tuning(Tree(asked.value("--root") or "/"), asked.value("--name")), asked.value("--name")
            )
        if not asked.words:
            sys.stderr.write(TEXT)
            return served.WRONG
        return _run(asked)
    except (Wrong, NotPossible, ArtifactError) as error:
        return served.fail(error)


def _run(asked: Asked) -> int:
    root = asked.value("--root") or "/"
    if not os.path.isdir(root):
        raise Wrong(f"--root {root}: there is no such folder")
    asked = served.Asked(words=asked.words, flags=asked.flags | {"--no-project"}, values=asked.values)
    # The backlog that is wanted, whatever this kernel allows.
    service = served.of(asked, "penstock tune", somaxconn=_UNBOUNDED).service
    tuning = kernel.Tuning(Tree(root), service.name)
    if "--revert" in asked.flags:
        return _revert(tuning, service.name)
    found = present.look(service, root)
    needs = tune.needs(service, found)
    if "--apply" in asked.flags:
        return _apply(tuning, service, found, needs)
    if "--json" in asked.flags:
        document = {"container": found.container, "needs": [need.as_json_value() for need in needs]}
        write([json.dumps(document, indent=2)])
    else:
        write(as_text(needs, found, width(), style()))
    return TO_DO if any(need.state != "good" for need in needs) else 0


def _apply(tuning: kernel.Tuning, service: Service, found: Host, needs: Sequence[Need]) -> int:
    raised = [need for need in needs if need.state == "raise"]
    if raised and tuning.tree.is_machine and os.geteuid() != 0:
        raise Wrong("only root can set this: use sudo, or --root DIR to write into a folder")
    write(tuning.apply(needs, tune.artifacts(needs, service)))
    by_hand = [need for need in needs if need.state == "by-hand"]
    if raised and found.container:
        text = f"this looks like a container ({found.container}): what is set here ends with it"
        print(f"[penstock] note: {text}", file=sys.stderr)
    if any("nofile" in need.key for need in raised) and tuning.tree.is_machine and found.has_systemd:
        done = served.run_command(("systemctl", "daemon-reload"))
        said = "" if done.status == 0 else f" (systemctl daemon-reload: {plain(done.output.strip())})"
        print(f"limits of open files count from the next start of a service{said}")
    write(line for need in by_hand for line in _entry(need, width(), style()))
    if not raised and not by_hand:
        print("nothing to do: everything is as it should be")
    return TO_DO if by_hand else 0


def _revert(tuning: kernel.Tuning, name: str) -> int:
    if not tuning.manifest.entries and not tuning.record:
        print(f"nothing to take back: nothing was applied for {name}")
        return 0
    if tuning.tree.is_machine and os.geteuid() != 0:
        raise Wrong("only root can set this back: use sudo")
    done, stays = tuning.revert()
    write(done)
    for line in stays:
        print(f"[penstock] note: {plain(line)}", file=sys.stderr)
    return TO_DO if stays else 0


def as_text(needs: Sequence[Need], found: Host, columns: int, look: Style = PLAIN_STYLE) -> Iterator[str]:
    """What is to be done, each with its reason and file; then what is good, in a line each."""
    to_do = [need for need in needs if need.state != "good"]
    if found.container and not found.can_set:
        text = f"This is a container ({found.container}) whose kernel is the host's: what is missing is set outside."
        yield from wrap(text, columns, "")
        yield ""
    for need in to_do:
        yield from _entry(need, columns, look)
    if to_do:
        yield ""
    good = [need for need in needs if need.state == "good"]
    left = max((len(need.key) for need in good), default=0)
    for need in good:
        yield f"{look.mark('good', 'good')}  {need.key:<{left}}  {need.present}"
    yield ""
    count = len(to_do)
    if not count:
        yield look.mark("good", "nothing to do")
    else:
        able = any(need.state == "raise" for need in to_do)
        cure = ": --apply sets what this machine can be told" if able else ""
        yield look.mark("warning", f"{count} thing{'' if count == 1 else 's'} to do{cure}")


def _entry(need: Need, columns: int, look: Style) -> Iterator[str]:
    yield f"{look.name(need.key)}  {need.present} -> {need.wanted}"
    yield from wrap(plain(need.reason), columns, "    ")
    if need.file:
        yield from wrap(plain(f"{need.file}: {' and '.join(need.line.splitlines())}"), columns, "      ", "    ")
    if need.cure:
        yield from wrap(plain(need.cure), columns, "         ", "    fix: ")
    for kind, text in (need.outside or {}).items():
        yield from wrap(plain(text), columns, "      ", f"    {kind}: ")
