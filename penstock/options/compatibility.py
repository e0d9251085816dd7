"""Options that only tune parts of uWSGI which do not exist here: nobody loses anything by their having no effect."""

from __future__ import annotations

from penstock.options.option import Option, OptionType

TITLE = "Accepted from uWSGI, not needed here"

NO_ROUTER = "there is no router process: the workers serve HTTP themselves"
NO_LOCKS = "the kernel holds the locks of uwsgi.lock, in memory without a name that ends with the instance"
NO_PLUGINS = "there are no plugins to load"
CLIENT_LEFT = "a client that leaves is never the application's error"


def _not_needed(name: str, of: OptionType, text: str, why: str, *aliases: str, optional: bool = False) -> Option:
    return Option(
        name=name,
        aliases=aliases,
        type=of,
        optional_argument=optional,
        tier=3,
        help=text,
        verdict="not-needed",
        note=why,
    )


OPTIONS = (
    _not_needed(
        "allowed-modifiers",
        "text",
        "accept only requests with these modifiers",
        "requests for Python are the only ones that are accepted, all others are refused",
    ),
    _not_needed("binary-path", "path", "program that a reload starts", "the master is not started again by a reload"),
    _not_needed(
        "body-read-warning",
        "integer",
        "warn of large request bodies in memory",
        "large bodies are kept in files, and post-buffering-total limits what is in memory",
    ),
    _not_needed("check-interval", "integer", "how often the master looks around", "the master acts at once"),
    _not_needed(
        "chunked-input-limit",
        "bytes",
        "limit a piece of a chunked request body",
        "pieces are put together before the application sees them; limit-post limits the whole",
    ),
    _not_needed("close-on-exec", "flag", "close connections in programs that are started", "always so"),
    _not_needed("close-on-exec2", "flag", "close sockets in programs that are started", "always so"),
    _not_needed("force-gateway", "flag", "start routers without a master", NO_ROUTER),
    _not_needed(
        "forkbomb-delay",
        "integer",
        "pause of the master when workers die too fast",
        "each worker that keeps dying has a pause of its own that grows, and the master never stands still",
    ),
    _not_needed("ftok", "text", "file that names the locks between workers", NO_LOCKS),
    _not_needed("http-buffer-size", "bytes", "buffer of the HTTP router for each connection", NO_ROUTER),
    _not_needed("http-cheap", "flag", "let the HTTP router wait for a worker before it binds", NO_ROUTER),
    _not_needed("http-connect-timeout", "seconds", "how long the HTTP router waits for a worker", NO_ROUTER),
    _not_needed("http-events", "integer", "how many events the HTTP router takes at once", NO_ROUTER),
    _not_needed("http-gid", "text", "group of the HTTP router", NO_ROUTER),
    _not_needed("http-gracetime", "seconds", "how long an HTTP router may finish its work", NO_ROUTER),
    _not_needed("http-harakiri", "seconds", "kill an HTTP router that hangs", NO_ROUTER),
    _not_needed("http-quiet", "text", "log less about failed connections of the HTTP router", NO_ROUTER),
    _not_needed("http-uid", "text", "user of the HTTP router", NO_ROUTER),
    _not_needed(
        "http-use-socket",
        "integer",
        "socket of the instance that the HTTP router passes requests to",
        NO_ROUTER,
        optional=True,
    ),
    _not_needed("lock-engine", "text", "kind of the locks between workers", NO_LOCKS),
    Option(
        name="need-plugin",
        aliases=("need-plugins",),
        type="text",
        metavar="NAMES",
        repeatable=True,
        tier=3,
        help="load uWSGI plugins, and do not start without them",
        verdict="not-needed",
        note="Python and HTTP are built in; a start that needs another one is refused",
    ),
    _not_needed(
        "no-fd-passing",
        "flag",
        "take no descriptors from clients of unix sockets",
        "they are never taken",
    ),
    _not_needed(
        "no-threads-wait",
        "flag",
        "do not wait for threads at a reload",
        "a reload waits for nothing: the new workers serve before the old ones finish",
    ),
    _not_needed("pcre-jit", "flag", "compile regular expressions to machine code", "patterns are prepared once"),
    _not_needed("persistent-ipcsem", "flag", "keep the locks between workers at the end", NO_LOCKS),
    _not_needed("plugins-dir", "path", "directory of plugins", NO_PLUGINS, "plugin-dir"),
    _not_needed(
        "post-buffering-bufsize",
        "bytes",
        "how much of a request body is read at once",
        "as much is read as is there",
    ),
    _not_needed(
        "shutdown-sockets",
        "flag",
        "refuse new connections while an instance ends",
        "an orderly stop always does, after it has taken those who had connected",
    ),
    _not_needed(
        "skip-zero",
        "flag",
        "do not take standard input for a socket",
        "it is never taken for one",
    ),
    _not_needed("tcp-nodelay", "flag", "send small packets at once", "always so"),
    _not_needed("write-errors-exception-only", "flag", "raise, and do not log, when a write fails", CLIENT_LEFT),
    _not_needed(
        "write-errors-tolerance",
        "integer",
        "raise in the application after this many failed writes",
        CLIENT_LEFT,
    ),
)
