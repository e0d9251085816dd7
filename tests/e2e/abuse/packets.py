"""uwsgi packets that lie: the corpus, mutations of it, and variables that would choose code in uWSGI."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.abuse import cases
from tests.e2e.clients import uwsgi_packet, uwsgi_variables


def invalid() -> Iterator[tuple[str, int, bytes]]:
    """Name, status and bytes of each packet that must be refused; status 0 is an end without an answer."""
    for path in cases.corpus("uwsgi/invalid", ".bin"):
        yield path.stem, cases.STATUS[cases.code_of(path)], path.read_bytes()


def valid() -> Iterator[tuple[str, dict[str, object], bytes]]:
    """Name, meaning and bytes of each packet that must be understood; a body that is missing is filled up."""
    for path in cases.corpus("uwsgi/valid", ".bin"):
        said = json.loads(path.with_suffix(".json").read_text())
        data = path.read_bytes()
        missing = said["content_length"] - (len(data) - said["used"])
        yield path.stem, said, data + b"x" * max(missing, 0)


def lying() -> Iterator[tuple[str, bytes]]:
    """Packets whose sizes or modifiers are not what follows, each with a whole request behind it."""
    block = uwsgi_packet(uwsgi_variables("/hidden"))[4:]
    good = uwsgi_packet(uwsgi_variables("/canary"))
    for name, size in {"zero": 0, "one": 1, "short-by-one": len(block) - 1, "half": len(block) // 2}.items():
        yield f"size-{name}", struct.pack("<BHB", 0, size, 0) + block + good
    for name, size in {"long-by-one": len(block) + 1, "long": len(block) + 300, "largest": 65535}.items():
        yield f"size-{name}", struct.pack("<BHB", 0, size, 0) + block
    key = b"\x0e\x00REQUEST_METHOD"
    for name, value in {
        "key-largest": b"\xff\xffREQUEST_METHOD\x03\x00GET",
        "key-beyond": struct.pack("<H", 40) + b"REQUEST_METHOD\x03\x00GET",
        "value-largest": key + b"\xff\xffGET",
        "value-beyond": key + b"\x04\x00GET",
        "value-size-missing": key,
        "value-size-half": key + b"\x03",
        "value-missing": key + b"\x03\x00",
        "empty-key": b"\x00\x00\x03\x00GET",
        "only-sizes": b"\x00\x00\x00\x00" * 1000,
        "only-empty-values": b"\x01\x00A\x00\x00" * 5000,
    }.items():
        yield name, struct.pack("<BHB", 0, len(value), 0) + value + good
    for modifier in (*range(1, 30), *range(31, 100), *range(101, 256)):
        yield f"modifier-{modifier}", struct.pack("<BHB", modifier, len(block), 0) + block
    for text in (
        "-1",
        "+3",
        "0x3",
        "3 ",
        " 3",
        "3,3",
        "1e3",
        "18446744073709551616",
        "99999999999",
        "\xb3",
        "3\r\n",
        "_3",
    ):
        data = uwsgi_packet([*uwsgi_variables("/hidden", "POST"), ("CONTENT_LENGTH", text)], b"abc")
        yield f"length-{text.encode('latin-1').hex()}", data


def mutations(seed: int, count: int) -> Iterator[bytes]:
    """`count` packets, each a damaged one of the corpus: the same ones for the same seed."""
    choice = random.Random(seed)
    originals = [
        path.read_bytes()[:4000] for kind in ("valid", "invalid") for path in cases.corpus(f"uwsgi/{kind}", ".bin")
    ]
    originals.append(uwsgi_packet(uwsgi_variables("/canary", "POST", b"body"), b"body"))
    for _ in range(count):
        data = bytearray(choice.choice(originals))
        for _ in range(choice.choice((1, 1, 1, 2, 3, 8, 30))):
            mutate(data, choice, originals)
        yield bytes(data)


def mutate(data: bytearray, choice: random.Random, originals: list[bytes]) -> None:
    """One damage: a bit, a byte, a size, a piece taken out, doubled, or of another packet."""
    if not data:
        data += choice.choice(originals)
        return
    at = choice.randrange(len(data))
    kind = choice.randrange(9)
    if kind == 0:
        data[at] ^= 1 << choice.randrange(8)
    elif kind == 1:
        data[at] = choice.choice((0, 1, 10, 13, 0x7F, 0x80, 0xFF, choice.randrange(256)))
    elif kind == 2:
        data[at : at + 2] = struct.pack("<H", choice.choice((0, 1, 255, 256, 32767, 32768, 65534, 65535)))
    elif kind == 3:
        del data[at : at + choice.randrange(1, 40)]
    elif kind == 4:
        data[at:at] = data[at : at + choice.randrange(1, 200)]
    elif kind == 5:
        del data[at:]
    elif kind == 6:
        other = choice.choice(originals)
        cut = choice.randrange(len(other))
        data[at:at] = other[cut : cut + choice.randrange(1, 300)]
    elif kind == 7:
        data[at:at] = choice.randbytes(choice.randrange(1, 20))
    else:
        # The packet's own size, so that the damage behind it is read at all.
        data[1:3] = struct.pack("<H", min(max(len(data) - 4, 0), 65535))


def planted(folder: Path) -> tuple[Path, Path]:
    """A Python file that leaves a mark when it is run, and the mark's path."""
    mark = folder / "mark"
    module = folder / "planted.py"
    module.write_text(
        f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [b'planted']\n"
    )
    return module, mark


def magic(module: Path) -> dict[str, str]:
    """The variables by which a front end tells uWSGI what to load or to change, with values that would show."""
    folder = str(module.parent)
    return {
        "UWSGI_FILE": str(module),
        "UWSGI_SCRIPT": str(module),
        "UWSGI_MODULE": "planted",
        "UWSGI_CALLABLE": "application",
        "UWSGI_PYTHON": str(module),
        "UWSGI_PYHOME": folder,
        "UWSGI_HOME": folder,
        "UWSGI_VIRTUALENV": folder,
        "UWSGI_PYTHONPATH": folder,
        "UWSGI_PYTHON_PATH": folder,
        "UWSGI_CHDIR": folder,
        "UWSGI_APPID": "planted",
        "UWSGI_DYNAMIC": "1",
        "UWSGI_SETENV": f"PLANTED={folder}",
        "UWSGI_TOUCH_RELOAD": str(module),
        "UWSGI_POSTFILE": str(module.parent / "mark"),
        "UWSGI_CACHE_GET": "planted",
        "UWSGI_LIBRARY": str(module),
        "UWSGI_EXEC": f"touch {folder}/mark",
        "UWSGI_ROUTER": "planted",
        "SCRIPT_FILENAME": str(module),
        "PYTHONPATH": folder,
        "PYTHONHOME": folder,
        "LD_PRELOAD": str(module),
        "DOCUMENT_ROOT": folder,
        "wsgi.file_wrapper": "planted",
        "wsgi.input": "planted",
    }
