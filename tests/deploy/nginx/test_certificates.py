"""Whether a certificate serves a site's names, seen by a TLS connection to it; and what certbot has."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from penstock.deploy.nginx.certificates import Pair, certbot, is_hidden, problems
from tests.support.nginx import certificate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates: for example.org and all below, for another name, and one that has ended."""
    path = tmp_path_factory.mktemp("certificates")
    certificate(path, "example.org", "*.example.org", stem="site")
    certificate(path, "other.net", stem="other")
    return path


def pair(folder: Path, certificate: str = "site", key: str = "site") -> Pair:
    """A certificate and a key of the folder."""
    return Pair(f"{folder}/{certificate}.pem", f"{folder}/{key}.key")


@pytest.mark.parametrize(
    "names", [(), ("example.org",), (".example.org",), ("a.example.org", "*.example.org"), ("x.*",)]
)
def test_a_certificate_that_serves(folder: Path, names: tuple[str, ...]) -> None:
    assert problems(pair(folder), names) == ()


def test_names_that_it_lacks(folder: Path) -> None:
    (why,) = problems(pair(folder), ("example.org", "example.net"))
    assert why.startswith(f"{folder}/site.pem: ") and "example.net" in why
    assert problems(pair(folder), ("127.0.0.1",))


def test_what_can_not_be_used(folder: Path, tmp_path: Path) -> None:
    assert "do not belong together" in problems(pair(folder, "site", "other"), ())[0]
    assert "missing.pem can not be read: No such file" in problems(pair(folder, "missing"), ())[0]
    (tmp_path / "text.pem").write_text("no certificate")
    assert "not what it should be" in problems(Pair(f"{tmp_path}/text.pem", f"{folder}/site.key"), ())[0]
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "ec", "-aes128", "-passout", "pass:abcd", "-in", f"{folder}/site.key", "-out", locked],
        check=True,
        capture_output=True,
    )
    assert "wants a password" in problems(Pair(f"{folder}/site.pem", str(locked)), ())[0]


def test_one_that_has_ended(folder: Path, tmp_path: Path) -> None:
    # openssl makes none that has ended already; a request that is signed for the past does.
    done = subprocess.run(
        ["openssl", "x509", "-in", f"{folder}/site.pem", "-signkey", f"{folder}/site.key", "-days", "-1", "-out",
         f"{tmp_path}/old.pem"],
        capture_output=True,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip("this openssl signs nothing for the past")
    (why,) = problems(Pair(f"{tmp_path}/old.pem", f"{folder}/site.key"), ("example.org",))
    assert "expired" in why


def test_certbot_has_one_for_all_of_the_names(folder: Path, tmp_path: Path) -> None:
    live = tmp_path / "etc/letsencrypt/live"
    for name, source in (("example.org", "other"), ("example.org-0001", "site"), ("other.net", "other")):
        (live / name).mkdir(parents=True)
        archive = tmp_path / f"etc/letsencrypt/archive/{name}"
        archive.mkdir(parents=True)
        for file, suffix in (("fullchain", "pem"), ("privkey", "key")):
            (archive / f"{file}1.pem").write_bytes((folder / f"{source}.{suffix}").read_bytes())
            os.symlink(f"../../archive/{name}/{file}1.pem", live / name / f"{file}.pem")
    (live / "README").write_text("")
    root = str(tmp_path)
    place = "/etc/letsencrypt/live/example.org-0001"
    assert certbot(("example.org", "www.example.org"), root) == Pair(f"{place}/fullchain.pem", f"{place}/privkey.pem")
    assert certbot(("example.org", "unknown.net"), root) is None
    assert certbot(("example.org",), str(tmp_path / "elsewhere")) is None
    renewal = tmp_path / "etc/letsencrypt/renewal"
    renewal.mkdir()
    (renewal / "example.org-0001.conf").write_text(
        "[renewalparams]\nauthenticator = webroot\nwebroot_path = /var/www/x,\n"
    )
    found = certbot(("example.org",), root)
    assert found is not None and found.acme_folder == "/var/www/x"
    assert not is_hidden(root) and not is_hidden(str(tmp_path / "elsewhere"))
