"""Options that steer how the configuration itself is read."""

from __future__ import annotations

from penstock.options.option import Option

TITLE = "Configuration"

OPTIONS = (
    Option(
        name="autoload",
        type="flag",
        tier=3,
        help="load the plugin of an unknown option",
        verdict="not-needed",
        note="there are no plugins to load",
    ),
    Option(
        name="ini",
        type="path",
        metavar="FILE[:SECTION]",
        repeatable=True,
        tier=1,
        role="directive",
        help="read options from this file; :SECTION alone means another section of the same file",
    ),
    Option(
        name="set",
        short="S",
        type="assignment",
        repeatable=True,
        role="directive",
        help="set an option or a placeholder",
    ),
    Option(
        name="set-ph",
        aliases=("set-placeholder",),
        type="assignment",
        repeatable=True,
        role="directive",
        help="set a placeholder for %(NAME)",
    ),
    Option(
        name="show-config",
        type="flag",
        role="directive",
        help="write the configuration that was read to the log",
    ),
    Option(
        name="strict",
        type="flag",
        tier=1,
        role="directive",
        help="refuse to start when an option is not known",
        verdict="differs",
        note="a key that a placeholder uses is not an error",
    ),
)
