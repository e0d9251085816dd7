"""The whole way from a text to a text of another kind, with what is to be said about it."""

from __future__ import annotations

from penstock.config.files import ConfigFile
from penstock.config.findings import Finding
from penstock.config.pairs import DEFAULT_SECTION, Kind
from penstock.config.settings import Settings
from penstock.convert import check, reading, writing
from penstock.convert.check import World
from penstock.convert.document import Document, Note, NotSaid, Part, Said, literal
from penstock.convert.translate import translate
from penstock.options.known import known_names
from penstock.options.table import BY_NAME
from penstock.values import dataclass, replace


@dataclass(frozen=True, slots=True)
class Conversion:
    """A text, and what is to know about it."""

    text: str
    notes: tuple[Note, ...]
    """What is not as it was."""
    differs: tuple[Note, ...]
    """What Penstock does in another way than the server that the configuration was written for."""


class Refused(Exception):
    """A conversion that would not mean the same: what stands in the way, each with its place and cure."""

    def __init__(self, *reasons: str) -> None:
        self.reasons = reasons
        super().__init__("\n".join(reasons))


def convert(
    file: ConfigFile, source: Kind, target: writing.Target, section: str, world: World, *, expand: bool = False
) -> Conversion:
    """Convert a text. Raises Malformed where it can not be read, Refused where it can not be written."""
    document, lost = reading.read(source, file.text, file.name)
    if not document.parts or (section and document.part(section) is None):
        there = ", ".join(f"[{part.name}]" for part in document.parts) or "no section at all"
        raise Refused(f"{file.name} has no section [{section or DEFAULT_SECTION}], but {there}")
    before = check.settings_of(file, source, section, world, runs_commands=expand)
    if expand:
        document, unsure = _expanded(document, before, section)
        lost += unsure
        section = ""
    translated = translate(document, target, section)
    notes = [*lost, *translated.notes]
    if target == "json" and (lines := writing.comments_lost(translated.document)):
        notes.append(Note(f"{lines} line{'' if lines == 1 else 's'} of comments left out: JSON has none"))
    try:
        text = writing.write(translated.document)
    except NotSaid as reason:
        place = f"{file.name}:{reason.line}" if reason.line else file.name
        raise Refused(f"{place}: {reason}; {reason.cure}") from None
    start = "" if translated.document.part(DEFAULT_SECTION) is not None else section
    after = check.settings_of(replace(file, text=text), target, start, world)
    changed = list(check.differences(before, after, options_only=expand))
    if changed:
        raise Refused(*(f"{file.name}: it would not mean the same: {one}" for one in changed))
    return Conversion(text, tuple(notes), translated.differs)


def _expanded(document: Document, settings: Settings, section: str) -> tuple[Document, list[Note]]:
    """Make a document of the values that count on this machine. Raises Refused."""
    errors = [finding for finding in settings.findings if finding.level == "error"]
    if errors:
        raise Refused(*map(str, errors))
    said = [
        Said(literal(entry.key), literal("true" if entry.value is None else entry.value), entry.origin.line)
        for entry in settings.entries
        if entry.origin.source == "file" and not entry.is_obeyed and _is_option(entry.key)
    ]
    notes = [Note(str(finding)) for finding in settings.findings if _is_left_open(finding)]
    name = section or DEFAULT_SECTION
    notes.append(Note(f"the values are those of this machine and this environment, [{name}] and what it reads"))
    return Document(document.kind, document.name, (Part(DEFAULT_SECTION, tuple(said)),)), notes


def _is_option(key: str) -> bool:
    """Whether there is something that a finished value is for: not a placeholder, nor what steers the reading."""
    option = BY_NAME.get(key)
    is_setting = option is not None and (option.role == "setting" or option.name in ("print", "strict"))
    return is_setting or (key in known_names() and option is None)


def _is_left_open(finding: Finding) -> bool:
    return finding.code in ("placeholder-env-unset", "placeholder-unknown", "placeholder-braces")
