"""Addresses as people write them."""

from __future__ import annotations

import pytest

from penstock.plan.addresses import Address, AddressError, is_bare_word, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":8000", Address("inet", "", 8000)),
        ("*:8000", Address("inet", "", 8000)),
        ("0.0.0.0:8000", Address("inet", "0.0.0.0", 8000)),
        ("127.0.0.1:0", Address("inet", "127.0.0.1", 0)),
        (" localhost:80 ", Address("inet", "localhost", 80)),
        ("[::]:8000", Address("inet6", "::", 8000)),
        ("[fe80::1%eth0]:1", Address("inet6", "fe80::1%eth0", 1)),
        ("/run/app.sock", Address("unix", "/run/app.sock", 0)),
        ("/run/a:b.sock", Address("unix", "/run/a:b.sock", 0)),
        ("app.sock", Address("unix", "/srv/app.sock", 0)),
        ("run/app.sock", Address("unix", "/srv/run/app.sock", 0)),
        ("@name", Address("abstract", "name", 0)),
        ("\\0name", Address("abstract", "name", 0)),
    ],
)
def test_good(text: str, address: Address) -> None:
    assert parse_address(text, "/srv") == address


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("8000", "write :8000, or 127.0.0.1:8000"),
        ("127.0.0.1", "write 127.0.0.1:8000"),
        ("", "for example :8000"),
        ("::1:8000", "write [::1]:8000"),
        ("[localhost]:80", "[::1]:8000"),
        (":port", "end it in a number"),
        (":$(PORT)", "end it in a number"),
        (":99999", "from 0 to 65535"),
        (":" + "9" * 5000, "from 0 to 65535"),
        ("http://127.0.0.1:8000/x", "write 127.0.0.1:8000"),
        ("http://localhost/x", "write localhost:80"),
        ("tcp://[::1]", "write [::1]:8000"),
        ("unix:/run/app.sock", "write /run/app.sock"),
        ("unix:///tmp/x.sock", "write /tmp/x.sock"),
        ("unix://x.sock", "write x.sock"),
        ("[::1:8001", "write [::1]:8001"),
        ("::1]:8001", "write [::1]:8001"),
        ("[::1]", "write [::1]:8000"),
        ("::1", "write [::1]:8000"),
        ("=0", "write the address here"),
        (":80:80", "write for example :80"),
        ("127.0.0.1:80:8000", "write for example :8000"),
        ("127.0.0.*:80", ":80 for all"),
        ("a b:80", "before the colon"),
        ("@", "another name"),
        ("/" + "x" * 107, "shorter path"),
        ("/" + "ü" * 60, "shorter path"),
    ],
)
def test_bad(text: str, cure: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text, "/srv")
    assert cure in caught.value.cure
    assert str(caught.value)


@pytest.mark.parametrize("text", ["localhost", " web1 ", "example.org", "app"])
def test_a_bare_word(text: str) -> None:
    assert is_bare_word(text)


@pytest.mark.parametrize("text", ["app.sock", "./app", "/app", ":80", "localhost:80", "8000", "127.0.0.1", "@app", ""])
def test_no_bare_word(text: str) -> None:
    assert not is_bare_word(text)


def test_the_longest_path() -> None:
    assert parse_address("/" + "x" * 106, "/").family == "unix"
