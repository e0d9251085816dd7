"""Certificates: whether one and its key serve a site's names, and where certbot keeps them. Only reads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from penstock.values import dataclass

CERTBOT = "/etc/letsencrypt"
_LINEAGE = re.compile(r"(?P<name>.+?)(-(?P<number>[0-9]{4}))?")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key."""

    certificate: str
    key: str
    acme_folder: str = ""
    """Where certbot answers challenges (`--webroot`); empty if it does that otherwise."""


def problems(pair: Pair, names: Sequence[str], root: str = "") -> tuple[str, ...]:
    """Say why a certificate does not serve the names: it can not be read, is not the key's, is too old, has others.

    A TLS connection is made to it, within this process. Who made the certificate does not count.
    """
    # Imported here: few commands speak TLS.
    import ssl

    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    certificate, key = root + pair.certificate, root + pair.key
    try:
        for file in (certificate, key):
            with open(file, "rb") as opened:
                opened.read(1)
        server.load_cert_chain(certificate, key, password=_no_password)
        client.load_verify_locations(certificate)
    except _PasswordWanted:
        return (f"{pair.key} wants a password, which nginx can not be asked for at a reload; write it without one",)
    except ssl.SSLError as error:
        mismatch = "mismatch" in str(error).lower()
        why = "they do not belong together" if mismatch else "one of them is not what it should be"
        return (f"{pair.certificate} and {pair.key}: {why} ({error.reason or error})",)
    except OSError as error:
        return (f"{error.filename or pair.certificate} can not be read: {error.strerror}",)
    # The certificate itself is what is trusted: what is asked is its time and its names.
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    found = [_handshake(client, server, name) for name in _checkable(names)]
    return tuple(dict.fromkeys(f"{pair.certificate}: {why}" for why in found if why))


class _PasswordWanted(Exception):
    pass


def _no_password() -> str:
    raise _PasswordWanted


def _checkable(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if name.startswith("."):
            yield name[1:]
            yield f"www{name}"
        elif name.startswith("*."):
            yield f"www{name[1:]}"
        elif "*" not in name:
            yield name.strip("[]")


def _handshake(client_context: object, server_context: object, name: str) -> str:
    """Connect by name, in memory; why it fails, or nothing."""
    import ssl

    assert isinstance(client_context, ssl.SSLContext) and isinstance(server_context, ssl.SSLContext), "as made above"
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(up, down, server_side=True)
    client = client_context.wrap_bio(down, up, server_hostname=name)
    waiting = [client, server]
    for _ in range(20):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            except ssl.SSLError as error:
                return str(error.reason or error)
        if not waiting:
            return ""
    return "no connection comes about"


def certbot(names: Sequence[str], root: str = "") -> Pair | None:
    """Find what certbot has for all of the names, the newest first; None where it has nothing, or nobody may look."""
    live = f"{root}{CERTBOT}/live"
    try:
        lineages = [each for each in os.listdir(live) if os.path.isdir(f"{live}/{each}")]
    except OSError:
        return None
    for lineage in sorted(lineages, key=_age, reverse=True):
        folder = f"{CERTBOT}/live/{lineage}"
        pair = Pair(f"{folder}/fullchain.pem", f"{folder}/privkey.pem", _webroot(lineage, root))
        if not problems(pair, names, root):
            return pair
    return None


def is_hidden(root: str = "") -> bool:
    """Whether certbot has certificates that this user may not see."""
    live = f"{root}{CERTBOT}/live"
    return os.path.isdir(f"{root}{CERTBOT}") and not os.access(live, os.R_OK | os.X_OK) and os.path.lexists(live)


def _age(lineage: str) -> tuple[str, int]:
    """certbot numbers a second certificate of the same name: example.org, example.org-0001."""
    match = _LINEAGE.fullmatch(lineage)
    return (match["name"], int(match["number"] or 0)) if match is not None else (lineage, 0)


def _webroot(lineage: str, root: str) -> str:
    """Read from certbot's notes where it puts its answers; empty if it answers otherwise."""
    try:
        with open(f"{root}{CERTBOT}/renewal/{lineage}.conf", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return ""
    if not re.search(r"(?m)^authenticator\s*=\s*webroot\s*$", text):
        return ""
    folder = re.search(r"(?m)^webroot_path\s*=\s*(/[^,\n]*)", text)
    return folder[1].rstrip(" ,/") if folder is not None else ""
