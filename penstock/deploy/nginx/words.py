"""Words of nginx's configuration that mean what they say: quoted, checked, and without a variable by accident. Pure."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=~*\[\]^-]+")
_NAME = re.compile(r"(\*?\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.\*)?")
_IPV6 = re.compile(r"\[[0-9a-f:.]+\]")
_CONTROL = re.compile(r"[\0-\x1f\x7f]")
LONGEST_NAME = 253
"""Of a host, in all (RFC 1035)."""


class NotAName(ValueError):
    """A host name can not be one: why."""


def quoted(text: str) -> str:
    """Write a text so that nginx reads it as one word, unchanged but for `$`, which it may take for a variable.

    Raises ValueError for a control character: nothing that people name has one, and who reads the file does not see it.
    """
    if has_control(text):
        raise ValueError(f"{text!r} holds a control character")
    if _PLAIN.fullmatch(text) and not text.startswith(("~", "#")):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def has_control(text: str) -> bool:
    """Whether there is a control character in a text, a line feed for example."""
    return _CONTROL.search(text) is not None


def path(text: str, dollar: str) -> str:
    """The same where nginx looks for variables; `$` can not be escaped, so that a variable `dollar` has to be one."""
    return quoted(text).replace("$", f"${{{dollar}}}")


def slug(text: str) -> str:
    """Make a word that files and variables can be named with: letters, digits and underscores.

    >>> slug("My Shop (2)"), slug("äöü"), slug("3d")
    ('my_shop_2', 'site', 'site_3d')
    """
    # nginx keeps names of variables in buckets of 64 bytes, and those of a site are this with something around it.
    made = re.sub(r"[^a-z0-9]+", "_", text.lower().encode("ascii", "ignore").decode()).strip("_")[:24].strip("_")
    return made if made[:1].isalpha() else f"site_{made}".rstrip("_")


def host_name(text: str) -> str:
    """Read a name for `server_name`, as Django's ALLOWED_HOSTS or a person writes it: `.example.org` for all below.

    Raises NotAName.
    """
    name = text.strip().lower().rstrip(".")
    if not name.isascii():
        try:
            labels = [label.encode("idna").decode() if label and label != "*" else label for label in name.split(".")]
        except UnicodeError:
            raise NotAName(f"{text!r} can not be written as a domain name") from None
        name = ".".join(labels)
    if ":" in name and not name.startswith("["):
        host, _, port = name.rpartition(":")
        if port.isdigit() and ":" not in host:
            raise NotAName(f"{text!r} has a port, which is not part of a name: --port says where nginx listens")
    if len(name) > LONGEST_NAME or not (_NAME.fullmatch(name) or _IPV6.fullmatch(name)):
        raise NotAName(f"{text!r} is no host name")
    if name.startswith(("*.", ".")) and name.endswith(".*"):
        raise NotAName(f"{text!r} has a star at both ends, and nginx takes one")
    return name


def size(size_bytes: int) -> str:
    """Write a size: in the largest unit that it is a multiple of.

    >>> size(75 << 20), size(1000), size(0)
    ('75m', '1000', '0')
    """
    for unit, letter in ((1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k")):
        if size_bytes and size_bytes % unit == 0:
            return f"{size_bytes // unit}{letter}"
    return str(size_bytes)
