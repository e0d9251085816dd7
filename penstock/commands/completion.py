"""`penstock completion bash|zsh|fish`: a script that lets a shell complete options, values and commands.

Made from the option table and the list of commands when it is asked for, so that it fits the version that is installed.
Values are completed where the table knows them: words, files, directories; the arguments of a command come from its
`USAGE`. Options that are accepted without need are not offered: a file that has them works, nobody has to type them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from penstock.commands import COMMANDS, find
from penstock.options.option import Option
from penstock.options.table import OPTIONS
from penstock.values import dataclass

SUMMARY = "print a script that lets the shell complete options and commands"
USAGE = "bash|zsh|fish"

Kind = Literal["nothing", "words", "files", "directories"]

_HOW_TO = {
    "bash": 'eval "$(penstock completion bash)"   in ~/.bashrc',
    "zsh": 'eval "$(penstock completion zsh)"   in ~/.zshrc, after compinit',
    "fish": "penstock completion fish > ~/.config/fish/completions/penstock.fish",
}


def run(arguments: Sequence[str]) -> int:
    """Print the script; 1 for a shell that is not known."""
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        print("[penstock] usage: penstock completion bash|zsh|fish; to have it in every shell:", file=sys.stderr)
        for line in _HOW_TO.values():
            print(f"  {line}", file=sys.stderr)
        return 1
    print("\n".join(SHELLS[arguments[0]]()))
    return 0


def offered() -> tuple[Option, ...]:
    """The options that are worth typing."""
    return tuple(option for option in OPTIONS if option.verdict != "not-needed")


def value_of(option: Option) -> tuple[Kind, tuple[str, ...]]:
    """What may stand as the value of an option."""
    if option.choices:
        return "words", option.choices
    if option.type != "path":
        return "nothing", ()
    return ("directories" if option.placeholder == "DIR" else "files"), ()


@dataclass(frozen=True, slots=True)
class Arguments:
    """What may stand behind a command."""

    words: tuple[str, ...]
    """Words, flags of the command among them."""
    files: bool
    options: bool
    """Options as a start has them, with their dashes and values."""
    choices: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """A flag of the command, and the words that its value may be."""


def arguments_of(command: str) -> Arguments:
    """Read the usage of a command: `[--wait] PIDFILE`, `bash|zsh|fish`, `FILE --to ini|toml`, `[--json] OPTION ...`.

    OPTION in the first place is the bare name that the command is about; further on options stand as for a start.
    COMMAND is the name of one.
    """
    usage = find(command).USAGE
    words = usage.replace("[", " ").replace("]", " ").split()
    offers: list[str] = []
    choices: list[tuple[str, tuple[str, ...]]] = []
    for before, word in zip(["", *words], words, strict=False):
        if re.fullmatch(r"[a-z]+(\|[a-z]+)+", word):
            if before.startswith("--"):
                choices.append((before, tuple(word.split("|"))))
            else:
                offers += word.split("|")
    offers += [word for word in words if word.startswith("--")]
    offers += COMMANDS if "COMMAND" in words else ()
    is_about_one = words[:1] == ["OPTION"]
    if is_about_one:
        offers += [name for option in offered() for name in option.names]
    files = any(word.endswith("FILE") for word in words)
    return Arguments(tuple(offers), files, "OPTION" in words and not is_about_one, tuple(choices))


def _names(kind: Kind) -> Iterator[str]:
    """Names of the options whose value is of this kind, as they are typed."""
    for option in offered():
        if option.argument == "required" and value_of(option)[0] == kind:
            yield from (f"--{name}" for name in option.names)
            if option.short:
                yield f"-{option.short}"


def bash() -> Iterator[str]:
    """For bash; `=` is a word of its own there."""
    long_names = " ".join(f"--{name}" for option in offered() for name in option.names)
    yield "# penstock: completion for bash"
    yield "_penstock() {"
    yield "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}"
    yield f"    local options='{long_names}'"
    yield "    COMPREPLY=()"
    yield "    if [[ $current == = ]]; then"
    yield "        current="
    yield "    elif [[ $previous == = ]]; then"
    yield "        previous=${COMP_WORDS[COMP_CWORD-2]}"
    yield "    fi"
    yield "    case $previous in"
    for option in offered():
        kind, words = value_of(option)
        if kind == "words":
            names = "|".join([*(f"--{name}" for name in option.names), *([f"-{option.short}"] if option.short else [])])
            yield f"        {names}) COMPREPLY=($(compgen -W '{' '.join(words)}' -- \"$current\")); return ;;"
    yield f"        {'|'.join(_names('directories'))})"
    yield '            compopt -o filenames; COMPREPLY=($(compgen -d -- "$current")); return ;;'
    yield f"        {'|'.join(_names('files'))})"
    yield '            compopt -o filenames; COMPREPLY=($(compgen -f -- "$current")); return ;;'
    yield f"        {'|'.join(_names('nothing'))}) return ;;"
    yield "    esac"
    yield "    if ((COMP_CWORD > 1)); then"
    yield "        case ${COMP_WORDS[1]} in"
    for command in COMMANDS:
        behind = arguments_of(command)
        behind_words = " ".join(behind.words)
        if behind.options:
            yield f'            {command}) options="$options {behind_words}" ;;'
            continue
        yield f"            {command})"
        for flag, choices in behind.choices:
            yield f"                if [[ $previous == {flag} ]]; then"
            yield f"                    COMPREPLY=($(compgen -W '{' '.join(choices)}' -- \"$current\")); return"
            yield "                fi"
        if behind.files:
            yield '                compopt -o filenames; COMPREPLY=($(compgen -f -- "$current"))'
        yield f"                COMPREPLY+=($(compgen -W '{behind_words}' -- \"$current\")); return ;;"
    yield "        esac"
    yield "    fi"
    yield "    if [[ $current == -* ]]; then"
    yield '        COMPREPLY=($(compgen -W "$options" -- "$current"))'
    yield "        return"
    yield "    fi"
    yield "    compopt -o filenames"
    yield '    COMPREPLY=($(compgen -f -- "$current"))'
    yield "    if ((COMP_CWORD == 1)); then"
    yield f"        COMPREPLY+=($(compgen -W '{' '.join(COMMANDS)}' -- \"$current\"))"
    yield "    fi"
    yield "}"
    yield "complete -F _penstock penstock"


def zsh() -> Iterator[str]:
    """For zsh, with what each option does."""
    yield "#compdef penstock"
    yield "# penstock: completion for zsh"
    yield "_penstock_first() {"
    yield "    local -a commands=("
    for command in COMMANDS:
        yield f"        {_single(command + ':' + find(command).SUMMARY)}"
    yield "    )"
    yield "    _describe command commands"
    yield "    _files"
    yield "}"
    yield "_penstock_rest() {"
    yield "    case $line[1] in"
    for command in COMMANDS:
        behind = arguments_of(command)
        parts = [f"compadd -- {' '.join(behind.words)}"] if behind.words else []
        parts += ["_files"] if behind.files else []
        for flag, choices in behind.choices:
            chosen = f"compadd -- {' '.join(choices)}; return"
            parts.insert(0, f"if [[ $words[CURRENT-1] == {flag} ]]; then {chosen}; fi")
        yield f"        {command}) {'; '.join(parts) or ':'} ;;"
    yield "        *) _files ;;"
    yield "    esac"
    yield "}"
    yield "_penstock() {"
    yield "    local -a line"
    yield "    _arguments -s -S \\"
    for option in offered():
        for spec in _zsh_specs(option):
            yield f"        {_single(spec)} \\"
    yield "        '1:command or file:_penstock_first' '*:argument:_penstock_rest'"
    yield "}"
    yield "if [[ ${funcstack[1]} == _penstock ]]; then"
    yield '    _penstock "$@"'
    yield "else"
    yield "    compdef _penstock penstock"
    yield "fi"


def _zsh_specs(option: Option) -> Iterator[str]:
    text = re.sub(r"([\[\]:\\])", r"\\\1", option.help)
    kind, words = value_of(option)
    action = {
        "words": f"({' '.join(words)})",
        "files": "_files",
        "directories": "_files -/",
    }.get(kind, " ")
    label = re.sub(r"([\[\]:\\])", r"\\\1", option.placeholder)
    for name in option.names:
        head = ("*" if option.repeatable else "") + f"--{name}"
        if option.argument == "none":
            yield f"{head}[{text}]"
        elif option.argument == "optional":
            yield f"{head}=-[{text}]::{label}:{action}"
        else:
            yield f"{head}=[{text}]:{label}:{action}"
    if option.short:
        head = ("*" if option.repeatable else "") + f"-{option.short}"
        yield f"{head}[{text}]" if option.argument != "required" else f"{head}+[{text}]:{label}:{action}"


def fish() -> Iterator[str]:
    """For fish, with what each option does."""
    yield "# penstock: completion for fish"
    alone = [command for command in COMMANDS if not arguments_of(command).options]
    yield "function __fish_penstock_takes_options"
    yield f"    not __fish_seen_subcommand_from {' '.join(alone)}"
    yield "end"
    yield "complete -c penstock -e"
    for command in COMMANDS:
        behind = arguments_of(command)
        text = _single(find(command).SUMMARY, "fish")
        yield f"complete -c penstock -n __fish_use_subcommand -a {command} -d {text}"
        condition = f"complete -c penstock -n '__fish_seen_subcommand_from {command}'"
        if not behind.files:
            yield f"{condition} -f"
        flags = [word.removeprefix("--") for word in behind.words if word.startswith("--")]
        plain = [word for word in behind.words if not word.startswith("--")]
        if plain:
            yield f"{condition} -a '{' '.join(plain)}'"
        values = {flag.removeprefix("--"): f" -x -a '{' '.join(words)}'" for flag, words in behind.choices}
        for flag in flags:
            yield f"{condition} -l {flag}{values.get(flag, '')}"
    for option in offered():
        kind, words = value_of(option)
        value = {
            "words": f" -x -a '{' '.join(words)}'",
            "files": " -r -F",
            "directories": " -x -a '(__fish_complete_directories)'",
        }.get(kind, " -x")
        if option.argument == "none":
            value = ""
        elif option.argument == "optional":
            value = f" -f -a '{' '.join(words)}'" if words else ""
        for name in option.names:
            short = f" -s {option.short}" if option.short and name == option.name else ""
            text = _single(option.help, "fish")
            yield f"complete -c penstock -n __fish_penstock_takes_options -l {name}{short}{value} -d {text}"


def _single(text: str, shell: str = "zsh") -> str:
    """`text` in single quotes, which fish escapes inside and zsh leaves for a moment."""
    if shell == "fish":
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return "'" + text.replace("'", "'\\''") + "'"


SHELLS: dict[str, Callable[[], Iterator[str]]] = {"bash": bash, "zsh": zsh, "fish": fish}
