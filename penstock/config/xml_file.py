"""XML files, as uWSGI reads them: `<uwsgi><processes>2</processes><master/></uwsgi>`. Pure.

The root is `uwsgi`, or one of its children is: with `file.xml:name` the one whose `id` is that name or that has none.
The name of an element is the option, its text the value (blanks included), an empty one is 1; an element with another
`id` than the wanted one is passed over. `<app mountpoint="/m"><script>module</script></app>` is `mount = /m=module`,
and a CDATA section of its own is Python to run (`eval`).

Entities of one's own are refused: they can name other files, and grow without bound.
"""

from __future__ import annotations

from xml.parsers import expat

from penstock.config.pairs import DEFAULT_SECTION, Malformed, Pair, Remark, Section

_DEEPEST = 100


def read(text: str, section: str) -> Section:
    """Read the options of one `uwsgi` element; `section` is its id. Raises Malformed."""
    reader = _Reader(section)
    try:
        reader.parse(text)
    except expat.ExpatError as error:
        what = expat.ErrorString(error.code)
        raise Malformed(f"this is not XML: {what}", error.lineno, "correct the line") from None
    except (UnicodeEncodeError, LookupError, ValueError) as error:
        raise Malformed(f"this is not XML: {error}", 1, "save it as UTF-8") from None
    return Section(reader.items, None if reader.found else tuple(reader.ids))


class _Element:
    """A child of the `uwsgi` element while it is read."""

    def __init__(self, name: str, attributes: dict[str, str], line: int) -> None:
        self.name = name
        self.attributes = attributes
        self.line = line
        self.text = ""
        self.inner = ""
        self.is_complete = False
        """The text counts up to the first comment or element."""
        self.has_inner = False


class _Reader:
    def __init__(self, section: str) -> None:
        self.wanted = section
        self.items: list[Pair | Remark] = []
        self.ids: list[str] = []
        self.found = False
        self._depth = 0
        self._open_at = 0
        """Depth of the `uwsgi` element that is being read; 0 outside."""
        self._root = ""
        self._element: _Element | None = None
        self._in_data: list[str] | None = None
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.CommentHandler = self._comment
        self._parser.StartCdataSectionHandler = self._start_data
        self._parser.EndCdataSectionHandler = self._end_data
        self._parser.EntityDeclHandler = self._entity

    def parse(self, text: str) -> None:
        self._parser.Parse(text.encode("utf-8", "surrogateescape"), True)

    def _line(self) -> int:
        return self._parser.CurrentLineNumber

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Malformed("this is not a configuration: it is nested too deeply", self._line(), "remove the nesting")
        if self._depth == 1:
            self._root = name
        if not self._open_at:
            self._perhaps_open(name, attributes)
        elif self._depth == self._open_at + 1:
            is_other = bool(self.wanted) and attributes.get("id", self.wanted) != self.wanted
            self._element = None if is_other else _Element(name, attributes, self._line())
        elif self._element is not None:
            self._element.is_complete = self._element.has_inner = True

    def _perhaps_open(self, name: str, attributes: dict[str, str]) -> None:
        if name != DEFAULT_SECTION or self.found:
            return
        if self._depth == 2 and "id" in attributes:
            self.ids.append(attributes["id"])
            if self.wanted and attributes["id"] != self.wanted:
                return
        if self._depth == 1 or (self._depth == 2 and self._root != DEFAULT_SECTION):
            self.found = True
            self._open_at = self._depth

    def _end(self, name: str) -> None:
        if self._open_at and self._depth == self._open_at + 1 and self._element is not None:
            self._finish(self._element)
            self._element = None
        elif self._depth == self._open_at:
            self._open_at = 0
        self._depth -= 1

    def _characters(self, text: str) -> None:
        if self._in_data is not None:
            self._in_data.append(text)
        elif self._element is None:
            return
        elif self._depth == self._open_at + 1 and not self._element.is_complete:
            self._element.text += text
        elif self._depth == self._open_at + 2:
            self._element.inner += text

    def _comment(self, text: str) -> None:
        if self._element is not None and self._element.text:
            self._element.is_complete = True

    def _start_data(self) -> None:
        if self._open_at and self._depth == self._open_at:
            self._in_data = []
        else:
            self._comment("")

    def _end_data(self) -> None:
        if self._in_data is not None:
            self.items.append(Pair("eval", "".join(self._in_data), self._line()))
            self._in_data = None

    def _entity(self, name: str, *_: object) -> None:
        cure = f"write its text in place of &{name}; and remove the declaration"
        raise Malformed(f"the entity {name} is declared, which is refused", self._line(), cure)

    def _finish(self, element: _Element) -> None:
        if element.name == "app":
            self._mount(element)
        elif element.has_inner and not element.text.strip():
            message = f"{element.name}: the elements inside it are ignored"
            cure = "write each option as an element of its own"
            self.items.append(Remark("warning", "nested-value", message, element.line, cure))
        else:
            self.items.append(Pair(element.name, element.text or "1", element.line))

    def _mount(self, element: _Element) -> None:
        app = element.inner if element.has_inner else element.text
        if not app:
            return
        if "mountpoint" in element.attributes:
            app = f"{element.attributes['mountpoint']}={app}"
        elif "domain" in element.attributes:
            app = f"{element.attributes['domain']}|={app}"
        self.items.append(Pair("mount", app, element.line))
