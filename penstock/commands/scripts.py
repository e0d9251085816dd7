"""What `sysv`, `supervisor` and `runit` share: one configuration in, a few files out, printed or installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from penstock.commands import served
from penstock.commands.served import Asked, Wrong
from penstock.deploy import shell
from penstock.deploy.artifact import Artifact
from penstock.deploy.service import NotPossible, Service
from penstock.values import dataclass

USAGE = "[--install] [--uninstall] [--user NAME] [--group NAME] [--name NAME] [--root FILE] OPTION ... | FILE"
_REST = """\
  --uninstall  take away what --install has written; with --name NAME alone the configuration need not be there
  --root DIR   for both: a folder that stands for the root of a machine; no command of the machine is run
  --name NAME  of the service; else the configuration's
  --user, --group NAME
               whom it runs as; else uid and gid of the configuration, or the owner of the project
  --program FILE
               the penstock that is started; else this one
  --no-project do not ask Django for its settings
"""


def text(name: str, what: str, more: str) -> str:
    """The help of one of them."""
    return (
        f"usage: penstock {name} [--install | --uninstall] OPTION ... | FILE\n\n"
        f"  penstock {name} app.ini            print {what} that runs app.ini\n"
        f"  penstock {name} app.ini --install  put it where it belongs\n\n"
        "Takes what a start takes. Notes go to standard error. Exit status: 0, 1 if the machine's own commands\n"
        f"failed, 2 if there is nothing that would work.\n\n{more}\n{_REST}"
    )


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of service manager."""

    name: str
    text: str
    make: Callable[[Service], Sequence[Artifact]]
    after: tuple[tuple[str, ...], ...] = ()
    """Commands of the machine that make the files known; `{}` is the service's name."""
    before_removal: tuple[tuple[str, ...], ...] = ()
    after_removal: tuple[tuple[str, ...], ...] = ()


def run(kind: Kind, arguments: Sequence[str]) -> int:
    """Print or install."""
    try:
        flags = ("--install", "--uninstall", "--no-project", "--help", "-h")
        asked = served.take(arguments, flags, served.IDENTITY)
        if asked.flags & {"--help", "-h"}:
            sys.stdout.write(kind.text)
            return 0
        if "--uninstall" in asked.flags and served.name_alone(asked):
            return _uninstall(kind, asked, asked.value("--name"))
        if not asked.words:
            sys.stderr.write(kind.text)
            return served.WRONG
        found = served.of(asked, served.typed(kind.name, arguments))
        name, root = found.service.name, asked.value("--root")
        if "--uninstall" in asked.flags:
            return _uninstall(kind, asked, name)
        artifacts = kind.make(found.service)
        served.tell((*found.remarks, *shell.remarks(found.service)))
        if "--install" in asked.flags:
            after = _named(kind.after, name)
            return served.install(artifacts, root, f"{name}.{kind.name}", after, served.run_command)
        served.show(artifacts)
        return 0
    except (Wrong, NotPossible) as error:
        return served.fail(error)


def _uninstall(kind: Kind, asked: Asked, name: str) -> int:
    before, after = _named(kind.before_removal, name), _named(kind.after_removal, name)
    return served.uninstall(
        asked.value("--root"), f"{name}.{kind.name}", lambda paths: before, after, served.run_command
    )


def _named(commands: Sequence[Sequence[str]], name: str) -> list[list[str]]:
    return [[word.replace("{}", name) for word in words] for words in commands]
