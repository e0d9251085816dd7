"""Magic variables: `%` and one letter, replaced in the raw text of a file. Pure.

    %v directory of the start        %V version             %h host name           %b the penstock command
    %o file name as given            %p absolute path       %s base name           %n without its extension
    %e extension                     %d directory with /    %c its last part       %0 .. %9 its parts
    %x section                       %i inode               %j hash of the path    %k usable CPUs
    %t start in seconds              %T in microseconds     %u %U uid, user        %g %G gid, group
    %O %D %S %P %C %E %N %X %I %J    the same of the first file
    %[ escape character              %% percent sign        %( stays for placeholders

Values that come from the command line or the environment are not touched.
"""

from __future__ import annotations

import os
import re

import penstock
from penstock.config.files import ConfigFile
from penstock.config.surroundings import Surroundings

OF_FIRST_FILE = "odspcenxij"
"""Letters whose capital stands for the first file that was read."""

NO_FILE = dict.fromkeys(OF_FIRST_FILE, "")
"""What they stand for while no file on disk has been read."""

_ESCAPE = re.compile("%[2-7][0-9A-Fa-f]")


def path_hash(path: str) -> str:
    """Hash a path as uWSGI's %j does: Bernstein's function with exclusive or, 32 bits, hexadecimal, low byte first."""
    value = 5381
    for byte in os.fsencode(path):
        value = ((value << 5) + value ^ byte) & 0xFFFFFFFF
    return value.to_bytes(4, "little").hex().upper()


def file_letters(file: ConfigFile, section: str) -> dict[str, str]:
    """Find what the letters about a file stand for; `section` is what was asked for after a colon."""
    directory = os.path.dirname(file.path).rstrip("/") + "/"
    base = os.path.basename(file.path)
    stem, dot, extension = base.rpartition(".")
    return {
        "o": file.name,
        "p": file.path,
        "s": base,
        "n": stem if dot else base,
        "e": extension if dot else "",
        "d": directory,
        "c": os.path.basename(directory.rstrip("/")),
        "x": section,
        "i": str(file.inode),
        "j": path_hash(file.path),
    }


def letters(file: dict[str, str], first: dict[str, str], surroundings: Surroundings) -> dict[str, str]:
    """Make the whole table for one file from `file_letters` of itself and of the first file."""
    parts = file["d"].split("/")[1:]
    return {
        **file,
        **{letter.upper(): first[letter] for letter in OF_FIRST_FILE},
        **{str(digit): parts[digit] if digit < len(parts) else "" for digit in range(10)},
        "v": surroundings.cwd,
        "V": penstock.__version__,
        "h": surroundings.hostname,
        "b": surroundings.binary,
        "t": str(surroundings.started_us // 1_000_000),
        "T": str(surroundings.started_us),
        "k": str(surroundings.cpus),
        "u": str(surroundings.uid),
        "U": surroundings.user,
        "g": str(surroundings.gid),
        "G": surroundings.group,
        "[": "\x1b",
        "%": "%",
    }


def substitute_text(text: str, table: dict[str, str]) -> tuple[str, dict[int, list[str]]]:
    """Replace the magic variables of a whole text; also tell which lines (from 1) have which that mean nothing."""
    unknown: dict[int, list[str]] = {}
    if "%" not in text:
        return text, unknown
    lines = text.split("\n")
    for index, line in enumerate(lines):
        if "%" in line:
            lines[index], letters_without = substitute(line, table)
            if letters_without:
                unknown[index + 1] = letters_without
    return "\n".join(lines), unknown


def percent_escapes(text: str) -> dict[int, list[str]]:
    """Tell which lines (from 1) have what looks percent-encoded (RFC 3986, 2.1) but is a magic variable: `%40`."""
    if "%" not in text:
        return {}
    # Beside `%%`, and none of those that begin with a letter: `%dapp` is a directory.
    found = {number: _ESCAPE.findall(line.replace("%%", "")) for number, line in enumerate(text.split("\n"), 1)}
    return {number: escapes for number, escapes in found.items() if escapes}


def substitute(text: str, table: dict[str, str]) -> tuple[str, list[str]]:
    """Replace the magic variables of one line; also tell which `%x` have no meaning and were left as they are."""
    pieces: list[str] = []
    unknown: list[str] = []
    position = 0
    while (percent := text.find("%", position)) >= 0:
        pieces.append(text[position:percent])
        letter = text[percent + 1 : percent + 2]
        if letter in table:
            pieces.append(table[letter])
        else:
            pieces.append("%" + letter)
            if letter != "(":
                unknown.append("%" + letter)
        position = percent + 1 + len(letter)
    pieces.append(text[position:])
    return "".join(pieces), unknown
