"""House rules as checks, each with its cure in the message.

A rule lives here if a machine can see it and neither ruff, mypy nor clippy does. A rule is a function from one file
to findings, so that it can be tested on a few lines of text. `python tools/tidy.py` checks the tree; so does
`tests/test_tidy.py`, which tests the rules as well. Import directions stand here too, as a table.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = (".py", ".pyi", ".rs", ".md", ".toml", ".ini", ".conf")

# Lines that a source file may have, the unit tests at its bottom not counted. A longer one is named in RATCHET with its
# length, which may only go down.
LONGEST_FILE = 1000
RATCHET: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class File:
    """A file of the tree: its path from the root, with forward slashes, and its text."""

    path: str
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def under(self, *folders: str) -> bool:
        """Whether the file lies in one of `folders`, or is one of them."""
        return any(self.path == folder or self.path.startswith(folder.rstrip("/") + "/") for folder in folders)


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule: where, what, and how to mend it."""

    path: str
    line: int
    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}\n    {self.cure}"


# -- words -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Word:
    """A pattern that must not stand in the files of `suffixes` under `folders`, and what to write instead."""

    pattern: str
    cure: str
    suffixes: tuple[str, ...] = (".py", ".pyi", ".rs")
    folders: tuple[str, ...] = ("penstock", "crates", "tests", "tools", "benchmarks", "fuzz")


# The halves keep this table from finding itself.
UNFINISHED = "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX"))
MISSING = "|".join(("NotImplemented" + "Error", "to" + r"do!\(", "un" + r"implemented!\("))
WORDS = (
    Word(rf"\b({UNFINISHED})\b", "finish it, or say in the change log what is not there yet"),
    Word(rf"\b({MISSING})", "write it, or leave the name out until it can be written"),
    Word(r"\bdb" + r"g!\(", "remove it, or log through the engine's log", suffixes=(".rs",)),
    Word(r"\b(break" + r"point\(\)|pd" + r"b\.set_trace)", "remove it", suffixes=(".py",)),
    Word(r"#\s*type:\s*ignore(?!\[)", "name the error: `# type: ignore[code]`", suffixes=(".py", ".pyi")),
    Word(r"#\s*noqa(?!:)", "name the rule: `# noqa: CODE`", suffixes=(".py", ".pyi")),
    Word(r"\btime\.sle" + r"ep\(", "poll with a deadline: tests.e2e.harness.until", (".py",), ("tests",)),
    Word(r"\bunittest\.mo" + r"ck\b|\bmonkey" + r"patch\.setattr\b", "write a small fake", (".py",), ("tests",)),
    Word(
        r"^\s*(import|from) subprocess\b",
        "the master reaps in one place: os.posix_spawn",
        (".py",),
        ("penstock/master",),
    ),
    Word(r"\b[Aa]rbit" + r"er\b", "the word here is `master`"),
    Word(r"\b[Rr]eac" + r"tor\b", "the words here are `event loop`"),
)


def words(file: File) -> Iterator[Finding]:
    """No word that has a better one."""
    for word in WORDS:
        if not file.path.endswith(word.suffixes) or not file.under(*word.folders):
            continue
        pattern = re.compile(word.pattern)
        for number, line in enumerate(file.lines, 1):
            if match := pattern.search(line):
                yield Finding(file.path, number, f"`{match[0].strip()}` stands here", word.cure)


# -- files -------------------------------------------------------------------------------------------------------------


def length(file: File) -> Iterator[Finding]:
    """A file can be read in one sitting."""
    if not file.path.endswith((".py", ".rs")) or file.under("tests"):
        return
    count = sum(1 for _ in rust_code(file)) if file.path.endswith(".rs") else len(file.lines)
    allowed = RATCHET.get(file.path, LONGEST_FILE)
    if count > allowed:
        yield Finding(file.path, count, f"{count} lines, {allowed} are allowed", "split it by concept, not by size")
    elif file.path in RATCHET and count + 20 < allowed:
        cure = f"write {count} into RATCHET of tools/tidy.py, or drop the entry below {LONGEST_FILE}"
        yield Finding(file.path, count, f"{count} lines, but the ratchet still allows {allowed}", cure)


def opening(file: File) -> Iterator[Finding]:
    """A Rust file opens with what lives in it (ruff sees to the Python ones)."""
    if file.path.endswith(".rs") and not file.text.lstrip().startswith("//!"):
        yield Finding(file.path, 1, "no `//!` text at the top", "say what lives here, what must not, and why")


def links(file: File) -> Iterator[Finding]:
    """A relative link in a text leads to a file."""
    if not file.path.endswith(".md"):
        return
    for number, line in enumerate(file.lines, 1):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", line):
            if "://" in target or target.startswith("mailto:"):
                continue
            if not (ROOT / file.path).parent.joinpath(target).exists():
                yield Finding(file.path, number, f"the link to {target} leads nowhere", "mend or remove it")


# -- Rust --------------------------------------------------------------------------------------------------------------

GIL = re.compile(r"\bPython::(attach|try_attach|with_gil)\b|\bPyGILState_Ensure\b|\bPyEval_RestoreThread\b")
SANS_IO = re.compile(r"\bstd::(net|fs|io|time|thread|process|env)\b|\b(libc|pyo3)::|\b(e?print(ln)?)!\(")


def rust_code(file: File) -> Iterator[tuple[int, str]]:
    """The lines of a Rust file up to its unit tests, which stand at its bottom."""
    if not file.path.endswith(".rs"):
        return
    for number, line in enumerate(file.lines, 1):
        if line.strip() == "#[cfg(test)]":
            return
        yield number, line


def boundary(file: File) -> Iterator[Finding]:
    """What Python sees is in boundary.rs; the GIL is taken there and in bridge/ only."""
    if not file.under("crates/engine/src"):
        return
    is_boundary = file.path == "crates/engine/src/boundary.rs"
    for number, line in rust_code(file):
        code = line.split("//")[0]
        if not is_boundary and re.search(r"#\[(pyo3::)?py(class|function|module)\b", code):
            yield Finding(
                file.path, number, "a Python class or function outside boundary.rs", "declare it in boundary.rs"
            )
        if not is_boundary and not file.under("crates/engine/src/bridge") and GIL.search(code):
            yield Finding(file.path, number, "the GIL is taken outside bridge/", "ask bridge/ to do what needs Python")


def sans_io(file: File) -> Iterator[Finding]:
    """`wire` turns bytes into values: no clock, no socket, no log, no Python, and nothing of the engine."""
    if not file.under("crates/wire/src"):
        return
    for number, line in rust_code(file):
        if match := SANS_IO.search(line.split("//")[0]):
            yield Finding(
                file.path, number, f"`{match[0]}` in the sans-IO crate", "give the value in, or move it to engine"
            )


def invariants(file: File) -> Iterator[Finding]:
    """`expect` says why it can not fail; `unsafe` says why it is sound; a lint that is let off says why."""
    lines = file.lines
    for number, line in rust_code(file):
        code = line.split("//")[0]
        if re.search(r"\.unwrap\(\)", code):
            yield Finding(file.path, number, "`unwrap`", "return an error, or `expect` with the invariant in words")
        if (match := re.search(r'\.expect\("([^"]*)"\)', code)) and len(match[1].split()) < 3:
            yield Finding(file.path, number, f'`expect("{match[1]}")`', "say in words why it can not fail")
        if re.search(r"\bunsafe\s*(\{|impl\b)|\bunsafe\s*$", code) and not has_safety(lines, number):
            yield Finding(
                file.path, number, "`unsafe` without a reason", "write `// SAFETY:` and why it is sound above it"
            )
        if re.search(r"#!?\[(allow|expect)\((clippy|dead_code|unused)", code):
            attribute = " ".join(lines[number - 1 : number + 5]).split("]")[0]
            if "reason" not in attribute and "//" not in line:
                yield Finding(file.path, number, "a lint is let off without a reason", 'add `reason = "..."`')


def has_safety(lines: list[str], number: int) -> bool:
    """Whether line `number` or the comments (and the start of the statement) above it say `SAFETY:`."""
    if "SAFETY:" in lines[number - 1]:
        return True
    for line in reversed(lines[max(0, number - 12) : number - 1]):
        text = line.strip()
        if "SAFETY:" in text:
            return True
        # Upwards through comments and attributes, and through the statement that the block is a part of.
        if not text.startswith(("//", "#[")) and (not text or text.endswith((";", "}"))):
            return False
    return False


# -- imports -----------------------------------------------------------------------------------------------------------

# Package of penstock -> what it may import from penstock. Two flows, each one way.
EDGES: dict[str, frozenset[str]] = {
    "values": frozenset(),
    "titles": frozenset(),
    "server_log": frozenset(),
    "hooks": frozenset({"plan.types", "server_log"}),
    "options": frozenset(),
    "config": frozenset({"options"}),
    "convert": frozenset({"options", "config"}),
    "plan.types": frozenset(),
    # Of the engine only what it makes of a regular expression.
    "plan": frozenset({"plan.types", "config", "options", "_engine"}),
    "observe": frozenset({"plan.types", "_engine"}),
    "master": frozenset(
        {"plan", "plan.types", "config", "options", "observe", "titles", "_engine", "server_log", "hooks"}
    ),
    # Of the instance, what the application may ask for (`uwsgi.workers`).
    "worker": frozenset({"plan.types", "observe", "titles", "_engine", "server_log", "hooks"}),
    # What a project is; the configuration knows nothing of it.
    "project": frozenset({"options", "config", "plan", "plan.types"}),
    # It looks at everything, and starts nothing.
    "doctor": frozenset({"options", "config", "plan", "plan.types", "project", "deploy", "observe", "titles"}),
    "deploy": frozenset({"options", "config", "plan", "plan.types", "project"}),
    "commands": frozenset(
        {
            "options",
            "config",
            "convert",
            "plan",
            "plan.types",
            "observe",
            "master",
            "doctor",
            "deploy",
            "project",
            "cli",
            "_engine",
        }
    ),
    "cli": frozenset({"commands", "options", "config", "plan", "plan.types"}),
    "__main__": frozenset({"cli"}),
    "_engine": frozenset({"plan.types"}),
    # An app in other people's projects: what the doctor says of Django, and the command, which it becomes.
    "django": frozenset({"options", "config", "plan", "plan.types", "project", "doctor"}),
    # A project of its own that is served like anybody's: it may start the command, and knows nothing else.
    "demo": frozenset({"cli"}),
}


def package_of(module: str) -> str:
    """`penstock.plan.types` -> `plan.types`; `penstock.config.ini` -> `config`; `penstock` -> ``."""
    parts = module.split(".")[1:]
    if parts[:2] in (["plan", "types"], ["plan", "process_types"]):
        return "plan.types"
    return parts[0] if parts else ""


def imported(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and full name of every import in `tree`, wherever it stands, relative ones resolved against `module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                around = module.split(".")[: len(module.split(".")) - node.level + is_package]
                base = ".".join([*around, base]).rstrip(".")
            # `from penstock.plan import types` names a module, `from penstock.plan.types import Plan` a value.
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def imports(file: File) -> Iterator[Finding]:
    """Imports go one way: `options <- config <- plan <- master <- commands`, `worker -> plan types, _engine`."""
    if not file.path.startswith("penstock/") or not file.path.endswith((".py", ".pyi")):
        return
    is_package = file.path.endswith("/__init__.py")
    module = re.sub(r"(/__init__)?\.pyi?$", "", file.path).replace("/", ".")
    own = package_of(module)
    if own and own not in EDGES:
        yield Finding(file.path, 1, f"penstock.{own} has no row in the table of imports", "add one to tools/tidy.py")
        return
    # How classes of values are made is everybody's, as the standard library is.
    allowed = EDGES.get(own, frozenset()) | {own, "values"}
    seen: set[tuple[int, str]] = set()
    for line, name in imported(ast.parse(file.text), module, is_package=is_package):
        if name.split(".")[0] != "penstock":
            continue
        other = package_of(name)
        # Names of penstock/__init__.py itself (`__version__`) are everybody's.
        if other.startswith("__") or not other or other in allowed or (line, other) in seen:
            continue
        seen.add((line, other))
        names = ", ".join(sorted(allowed - {own, "values"})) or "nothing"
        cure = f"{own or 'penstock'} may import: {names}; move the code or turn the call"
        yield Finding(file.path, line, f"penstock.{own} imports penstock.{other}", cure)


# -- the tree ----------------------------------------------------------------------------------------------------------

RULES: tuple[Callable[[File], Iterator[Finding]], ...] = (
    words,
    length,
    opening,
    links,
    boundary,
    sans_io,
    invariants,
    imports,
)


def tree(root: Path = ROOT) -> Iterator[File]:
    """Every text file of the project that the rules know, ignored ones left out."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in sorted(set(listing.stdout.split("\0"))):
        path = root / name
        if name.endswith(SOURCES) and path.is_file():
            yield File(name, path.read_text(encoding="utf-8"))


def check(files: Iterator[File]) -> list[Finding]:
    """All findings in `files`, in the order of the files."""
    return [finding for file in files for rule in RULES for finding in rule(file)]


if __name__ == "__main__":
    findings = check(tree())
    for found in findings:
        print(found)
    sys.exit(1 if findings else 0)
