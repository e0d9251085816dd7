"""Options of files served without the application."""

from __future__ import annotations

from penstock.options.option import Option, Value, is_mapping, not_empty, one_of

TITLE = "Static files"

MOST_SECONDS = 10 * 365 * 24 * 3600
"""Ten years: longer than any client keeps anything."""
_FILES_ARE_OPENED_ANEW = "nothing is cached: a file is opened in about a microsecond, and is never yesterday's"
_ENCODINGS_ARE_WEIGHED = "weights of Accept-Encoding count, and the answer says Vary: Accept-Encoding"


def is_expiry(value: Value) -> str | None:
    """Accept PATTERN SECONDS."""
    pattern, _, seconds = str(value).strip().rpartition(" ")
    if not pattern.strip() or not _is_count(seconds):
        return r"must be written PATTERN SECONDS, for example \.css$ 86400"
    return _too_long(seconds)


def is_type_expiry(value: Value) -> str | None:
    """Accept TYPE=SECONDS, and TYPE SECONDS as the other options of the family have it."""
    text = str(value).strip()
    kind, _, seconds = text.rpartition("=" if "=" in text else " ")
    if not kind.strip() or not _is_count(seconds.strip()):
        return "must be written TYPE=SECONDS, for example text/css=86400"
    return _too_long(seconds)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _too_long(seconds: str) -> str | None:
    return f"must be at most {MOST_SECONDS} seconds, ten years" if int(seconds[:20]) > MOST_SECONDS else None


def is_file_name(value: Value) -> str | None:
    """Accept the name of a file, in subdirectories if need be."""
    parts = str(value).strip("/").split("/")
    if parts == [""] or ".." in parts or "\0" in str(value):
        return "must be the name of a file in the directory, for example index.html"
    return None


def _expiry(name: str, what: str, *, of_type: bool = False) -> Option:
    return Option(
        name=name,
        type="text",
        metavar="TYPE=SECONDS" if of_type else "PATTERN SECONDS",
        repeatable=True,
        check=is_type_expiry if of_type else is_expiry,
        help=what,
        verdict="differs",
        note="Cache-Control: max-age says the same beside Expires, and one rule alone makes them",
    )


OPTIONS = (
    Option(
        name="check-static",
        aliases=("static-check",),
        type="path",
        metavar="DIR",
        repeatable=True,
        check=not_empty,
        help="serve any URL whose path is that of a file under this directory",
    ),
    Option(
        name="check-static-docroot",
        type="flag",
        tier=3,
        help="serve any URL whose path is that of a file under the DOCUMENT_ROOT that a trusted front end names",
        verdict="differs",
        note="only for front ends of trusted-proxies: who names the directory may read every file",
    ),
    Option(
        name="file-serve-mode",
        aliases=("fileserve-mode",),
        type="text",
        metavar="MODE",
        check=one_of("nginx", "x-accel-redirect", "xaccelredirect", "x-sendfile", "xsendfile"),
        help="let the server in front send static files: x-accel-redirect (nginx) or x-sendfile names them to it",
        verdict="differs",
        note="the path stands in the header percent-encoded, as both servers read it",
    ),
    Option(
        name="honour-range",
        type="flag",
        help="answer requests for parts of static files",
        verdict="not-needed",
        note="always done for static files",
    ),
    Option(
        name="mimefile",
        aliases=("mime-file",),
        type="path",
        metavar="FILE",
        repeatable=True,
        check=not_empty,
        help="take content types from this file instead of /etc/mime.types",
        verdict="differs",
        note="usual types are known without a file too",
    ),
    Option(
        name="offload-threads",
        aliases=("offload-thread",),
        type="integer",
        help="threads that send files while workers go on",
        verdict="not-needed",
        note="files are sent by the event loop of each worker, which occupies no thread of the application",
    ),
    Option(
        name="static-cache-paths",
        type="seconds",
        help="remember where static files are for this time",
        verdict="not-needed",
        note=_FILES_ARE_OPENED_ANEW,
    ),
    Option(
        name="static-cache-paths-name",
        type="text",
        metavar="CACHE",
        help="remember where static files are in this cache",
        verdict="not-needed",
        note=_FILES_ARE_OPENED_ANEW,
    ),
    _expiry("static-expires", "let clients use files whose path matches for this time without asking again"),
    _expiry("static-expires-mtime", "as static-expires, counted from the last change of the file"),
    _expiry("static-expires-path-info", "as static-expires, for URLs whose decoded path matches"),
    _expiry("static-expires-path-info-mtime", "as static-expires-path-info, counted from the last change"),
    _expiry("static-expires-type", "as static-expires, for files of this content type", of_type=True),
    _expiry("static-expires-type-mtime", "as static-expires-type, counted from the last change", of_type=True),
    _expiry("static-expires-uri", "as static-expires, for URLs that match as they were sent, query included"),
    _expiry("static-expires-uri-mtime", "as static-expires-uri, counted from the last change"),
    Option(
        name="static-gzip",
        type="text",
        metavar="PATTERN",
        repeatable=True,
        help="send FILE.br or FILE.gz in place of files whose path matches, to clients that accept it",
        verdict="differs",
        note=_ENCODINGS_ARE_WEIGHED,
    ),
    Option(
        name="static-gzip-all",
        type="flag",
        help="as static-gzip, for every file",
        verdict="differs",
        note=_ENCODINGS_ARE_WEIGHED,
    ),
    Option(
        name="static-gzip-dir",
        aliases=("static-gzip-prefix",),
        type="path",
        metavar="PREFIX",
        repeatable=True,
        check=not_empty,
        help="as static-gzip, for files whose path begins so",
        verdict="differs",
        note=_ENCODINGS_ARE_WEIGHED,
    ),
    Option(
        name="static-gzip-ext",
        aliases=("static-gzip-suffix",),
        type="text",
        metavar="SUFFIX",
        repeatable=True,
        check=not_empty,
        help="as static-gzip, for files whose path ends so",
        verdict="differs",
        note=_ENCODINGS_ARE_WEIGHED,
    ),
    Option(
        name="static-index",
        type="text",
        metavar="NAME",
        repeatable=True,
        check=is_file_name,
        help="answer the URL of a directory of static files with this file in it",
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
        name="static-map2",
        type="mapping",
        repeatable=True,
        check=is_mapping,
        help="as static-map, but the prefix is a part of the path below PATH, as in PATH/PREFIX/FILE",
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
    Option(
        name="static-skip-ext",
        type="text",
        metavar="SUFFIX",
        repeatable=True,
        check=not_empty,
        help="never serve files whose name ends so, for example .py",
        verdict="differs",
        note="upper and lower case are the same, and index files are not excepted",
    ),
)
