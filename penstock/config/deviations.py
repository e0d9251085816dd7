"""Where the same text gives another configuration than in uWSGI, and why: the whole list, as data.

What options themselves do differently stands with each option (`Option.note`).
"""

from __future__ import annotations

from penstock.values import dataclass


@dataclass(frozen=True, slots=True)
class Deviation:
    """One row. `case` names the file under tests/cases/config that shows it."""

    id: str
    uwsgi: str
    penstock: str
    why: str
    case: str


DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        "unknown-key-reported",
        "a key that is no option becomes a placeholder in silence",
        "a warning with the nearest name, unless %(key) uses it",
        "slips such as work = 20 went unnoticed",
        "unknown_keys",
    ),
    Deviation(
        "strict-placeholders",
        "strict refuses every key that is no option, also one that %(key) uses",
        "strict refuses only keys that nothing uses",
        "a placeholder that is used is no slip",
        "strict_placeholder",
    ),
    Deviation(
        "number-without-digits",
        "a number without digits is 0",
        "an error that names the line",
        "processes = abc started no worker",
        "number_without_digits",
    ),
    Deviation(
        "zero-threads",
        "threads = 0 is one thread",
        "an error that names the line",
        "nobody writes it who means one",
        "zero_threads",
    ),
    Deviation(
        "hostname-match",
        "if-hostname-match never holds, and if-not-hostname-match always, in builds with PCRE2, "
        "which take the number of groups for a failure",
        "they hold when the expression matches the host's name, as in builds with PCRE1",
        "nobody can mean a block that is never read",
        "logic_hostname_match",
    ),
    Deviation(
        "size-suffixes",
        "32k is 32",
        "sizes in bytes may end in k, m or g",
        "nobody means 32 bytes",
        "sizes",
    ),
    Deviation(
        "duration-units",
        "1m is 1 second",
        "durations may end in s, m or h",
        "nobody means one second",
        "durations",
    ),
    Deviation(
        "number-with-letters",
        "1k is 1 and 2.5 is 2",
        "an error that names the line, where it is neither a size nor a duration",
        "max-requests = 1k replaced a worker after each request",
        "number_with_letters",
    ),
    Deviation(
        "flag-with-comment",
        "false ; text is true",
        "the word before the comment counts, with a warning",
        "the word says what was meant",
        "flags",
    ),
    Deviation(
        "address-with-comment",
        "a comment after a port is ignored, after a path it is part of the path",
        "a comment after an address is ignored, with a warning",
        "nobody names a socket so",
        "address_comment",
    ),
    Deviation(
        "section-spelling",
        "[uwsgi ] and [uwsgi] # text are other sections, and a byte order mark hides the first one",
        "blanks, a comment after the bracket and the mark are tolerated",
        "the configuration was ignored with one warning at most",
        "section_spelling",
    ),
    Deviation(
        "missing-section",
        "a file without the section counts as empty",
        "an error",
        "an instance with nothing but defaults is never wanted",
        "missing_section",
    ),
    Deviation(
        "unknown-magic",
        "% with an unknown letter, or at the end of a line, vanishes",
        "it stays, with a warning",
        "dates such as %Y-%m and percent-encoded text were damaged",
        "magic_unknown",
    ),
    Deviation(
        "magic-of-first-file",
        "%O %D %S %P %C %E %N %X %I %J are empty when the configuration is a positional file",
        "they stand for the first file, however it was named",
        "the same file gave two results",
        "magic_positional",
    ),
    Deviation(
        "usable-cpus",
        "%k is the number of CPUs of the machine",
        "%k is the number this process may use (affinity and control group)",
        "containers started far too many workers",
        "tutorial_recommended",
    ),
    Deviation(
        "expansion-everywhere",
        "listen, umask, ini, strict and other options are applied before placeholders are filled in",
        "placeholders work in every option",
        "listen = $(BACKLOG) silently became 0",
        "expansion_everywhere",
    ),
    Deviation(
        "env-visible",
        "env = A=1 is not seen by $(A) in the same configuration",
        "it is, where the real environment has no A",
        "the line stood above its use",
        "env_visible",
    ),
    Deviation(
        "placeholder-loop",
        "a placeholder that contains itself hangs the start",
        "an error",
        "a hang has no message",
        "placeholder_loop",
    ),
    Deviation(
        "brackets-in-arithmetic",
        "brackets inside %(...) are part of the words and make them 0",
        "brackets group",
        "%((%k * 2) + 1) was 1",
        "arithmetic",
    ),
    Deviation(
        "log-format-names",
        "an option named as a variable of the log line takes its place in log-format",
        "the variable of the log line wins there",
        "method = X broke every log line",
        "log_format",
    ),
    Deviation(
        "include-loop",
        "a file that reads itself does so until memory ends",
        "an error",
        "a crash has no message",
        "include_loop",
    ),
    Deviation(
        "inherit-expansion",
        "placeholders are filled in before inherit is read, so they stay as they are in its file",
        "they are filled in there as well",
        "the same line meant two things",
        "inherit_expands",
    ),
    Deviation(
        "placeholder-at-start",
        "a placeholder that comes out of another one is not filled in where it begins the value",
        "it is, wherever it stands",
        "x%(a) and %(a) behaved differently",
        "placeholder_first",
    ),
    Deviation(
        "environment-defaults",
        "$(NAME-default) and $(NAME:-default) name variables of that very name (2.1 has them)",
        "the default counts where NAME is not set, or with :- is empty",
        "2.1 users have them",
        "placeholder_defaults",
    ),
    Deviation(
        "environment-options-only",
        "every variable that begins with UWSGI_ is a pair of the configuration",
        "only those that name an option, and PENSTOCK_ as well, which wins",
        "the prefix is also used for variables of the app",
        "environment_own",
    ),
    Deviation(
        "else",
        "there is no else: it is a placeholder, and the block goes on",
        "what follows counts where the block did not hold, with a warning",
        "nobody means both",
        "logic_else",
    ),
    Deviation(
        "section-anywhere",
        "include, inherit and positional files take no :section",
        "they do",
        "the same name worked with --ini",
        "include_section",
    ),
    Deviation(
        "config-by-suffix",
        "config only reads kinds of files that plugins add",
        "it reads every kind, told by the end of the name",
        "the name says what it is",
        "config_option",
    ),
    Deviation(
        "section-not-closed",
        "[uwsgi without its bracket is the section uwsg",
        "an error",
        "the options behind it vanished",
        "section_not_closed",
    ),
    Deviation(
        "nameless-lines",
        "lines without a name, and marks of a merge, are pairs that nothing uses",
        "they are left out, with a warning",
        "they are slips",
        "odd_lines",
    ),
    Deviation(
        "zero-bytes",
        "a zero byte, as UTF-16 has many, ends the file",
        "an error",
        "the rest was ignored in silence",
        "zero_bytes",
    ),
    Deviation(
        "commands-in-files",
        "stop, reload and the like are obeyed in a file too",
        "they are ignored there, with a warning",
        "a file that stops another instance is a slip",
        "commands_in_a_file",
    ),
    Deviation(
        "mode-with-comment",
        "a comment after the mode of chmod-socket stops the start",
        "it is ignored, with a warning",
        "as for numbers",
        "modes",
    ),
    Deviation(
        "version",
        "%V is the version of uWSGI",
        "%V is the version of Penstock",
        "it is what runs",
        "magic_all",
    ),
    Deviation(
        "file-scheme",
        "file:// is no scheme",
        "file://PATH is the file",
        "everybody expects it among schemes",
        "scheme_file",
    ),
    Deviation(
        "yaml-parser",
        "the default build keeps quotes, cuts at any #, and stops reading at a list or an empty value; builds with "
        "libyaml refuse %(name) outside quotes, ignore aliases and stop at what they do not expect",
        "YAML as it is written down; a line that is none is read as plain text; a file that is none is an error",
        "one file meant two things in two builds",
        "yaml_full",
    ),
    Deviation(
        "json-list-of-objects",
        "a list of objects is no section",
        "its objects are read one after the other",
        "an object can not repeat a key, which blocks need",
        "json_objects",
    ),
    Deviation(
        "flag-with-value",
        "a flag of the command line takes no value",
        "--vacuum=false switches it off, as in a file",
        "it says what is meant",
        "command_line_flag_value",
    ),
    Deviation(
        "optional-value-in-next-word",
        "--chmod-socket 660 is the mode 666 and a configuration file called 660",
        "a word that looks like the value is taken for it",
        "the mode was lost, and the message was about a file",
        "command_line_next_word",
    ),
    Deviation(
        "assignment-without-equals",
        "set, set-ph and env without an equals sign stop the start, or are passed on as they are",
        "they are left out, with a warning",
        "the message did not name the line",
        "set_without_equals",
    ),
    Deviation(
        "xml-app",
        "an app element also gives a pair app without a value",
        "it gives mount alone",
        "nothing reads it",
        "xml_apps",
    ),
    Deviation(
        "xml-nested",
        "elements inside an option end in a crash",
        "they are ignored, with a warning",
        "a crash has no message",
        "xml_nested",
    ),
    Deviation(
        "xml-entities",
        "entities of one's own are read and left empty",
        "an error",
        "they can name any file and grow without bound",
        "xml_entities",
    ),
)
