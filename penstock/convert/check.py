"""What was written is read again, and says the same as the source: the same options with the same values in order.

Both are read as the server would read them, with the magic variables of the source's own place, so that only what the
conversion changed can differ. Commands are not run and nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from penstock.config.argv import parse_argv
from penstock.config.files import ConfigFile, FileReader
from penstock.config.load import Sources, read
from penstock.config.pairs import Kind
from penstock.config.settings import Settings
from penstock.config.surroundings import Surroundings
from penstock.options.table import BY_NAME
from penstock.values import dataclass


@dataclass(frozen=True, slots=True)
class World:
    """What a configuration is read in."""

    environ: Mapping[str, str]
    surroundings: Surroundings


class TextReader(FileReader):
    """Reads one text under the name and path of a file that was read before; all others from the disk."""

    def __init__(self, cwd: str, file: ConfigFile, *, runs_commands: bool = False) -> None:
        super().__init__(cwd, runs_commands=runs_commands)
        self._file = file

    def exists(self, name: str) -> bool:
        """Tell whether there is a file of this name."""
        return name == self._file.name or super().exists(name)

    def read(self, name: str, *, allow_urls: bool = False) -> ConfigFile:
        """Give the text, or read another file."""
        return self._file if name == self._file.name else super().read(name, allow_urls=allow_urls)


def settings_of(file: ConfigFile, kind: Kind, section: str, world: World, *, runs_commands: bool = False) -> Settings:
    """Read a text as the configuration that it is; errors are among the findings."""
    words = [f"--{kind}", f"{file.name}:{section}" if section else file.name]
    reader = TextReader(world.surroundings.cwd, file, runs_commands=runs_commands)
    return read(Sources(parse_argv(words), world.environ, world.surroundings, reader))


def said_by(settings: Settings) -> dict[str, list[object]]:
    """Everything that a configuration says, name by name: values of options, texts of everything else."""
    said: dict[str, list[object]] = {
        name: [one.value for one in every]
        for name, every in settings.settings.items()
        if BY_NAME[name].role == "setting"
    }
    for entry in settings.entries:
        if entry.key not in BY_NAME and entry.origin.source == "file":
            said.setdefault(entry.key, []).append(entry.value)
    said["iprint"] = list(settings.output)
    return said


def differences(before: Settings, after: Settings, *, options_only: bool = False) -> Iterator[str]:
    """Name what does not say the same any more; `options_only` where placeholders need not be there any longer."""
    old, new = said_by(before), said_by(after)
    for name in sorted(old.keys() | new.keys()):
        if options_only and (name not in BY_NAME or name == "iprint"):
            continue
        if old.get(name) != new.get(name):
            yield f"{name} was {old.get(name, 'nothing')} and is {new.get(name, 'nothing')}"
