"""Options of files served without the application."""

from __future__ import annotations

from penstock.options.option import Option, is_mapping, not_empty

TITLE = "Static files"

OPTIONS = (
    Option(
        name="offload-threads",
        aliases=("offload-thread",),
        type="integer",
        help="threads that send files while workers go on",
        verdict="not-needed",
        note="files are sent by the event loop of each worker, which occupies no thread of the application",
    ),
    Option(
        name="static-map",
        type="mapping",
        repeatable=True,
        tier=1,
        check=is_mapping,
        help="serve URLs that begin with PREFIX from PATH; what is not found there goes to the application",
        verdict="differs",
        note="a prefix ends at a slash: /static does not match /statics",
    ),
    Option(
        name="static-safe",
        type="path",
        metavar="DIR",
        repeatable=True,
        check=not_empty,
        help="allow static files to be symbolic links into this directory",
    ),
)
