"""What asks the master for something, beside signals: files that are touched, code that changes, letters in a FIFO."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.clients import get
from tests.e2e.harness import Penstock, until
from tests.e2e.load import Load

HTTP = ("--http", "127.0.0.1:0", "--disable-logging")


class Site:
    """An app of two modules; `deploy` writes the one that says the version."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "site_app.py").write_text(
            "def application(environ, start_response):\n"
            "    import version\n"
            "    start_response('200 OK', [])\n"
            "    return [version.TEXT]\n"
        )
        self.deploy("TEXT = b'1'")

    def deploy(self, text: str) -> None:
        new = self.folder / "new"
        new.write_text(text + "\n")
        new.rename(self.folder / "version.py")

    @property
    def options(self) -> tuple[str, ...]:
        return (*HTTP, "--chdir", str(self.folder), "--module", "site_app", "--processes", "2")


@pytest.fixture
def site(short_dir: Path) -> Site:
    return Site(short_dir)


@pytest.mark.event("reload-workers")
@pytest.mark.option("touch-workers-reload")
def test_touched_file_replaces_the_workers_without_losing_a_request(site: Site) -> None:
    file = site.folder / "workers"
    with Penstock(*site.options, "--lazy-apps", "--touch-workers-reload", file) as instance:
        assert get(instance.http).body == b"1"
        first, generations = set(instance.workers()), instance.generations()
        site.deploy("TEXT = b'2'")
        with Load(instance.http) as load:
            file.write_text("")
            until(
                "every worker is another one",
                lambda: len(instance.workers()) == 2 and not first & set(instance.workers()),
            )
            load.more(50)
        assert load.failures == []
        assert get(instance.http).body == b"2" and instance.generations() == generations


@pytest.mark.event("reload-chain")
@pytest.mark.option("touch-chain-reload")
def test_chain_reload_goes_through_and_ends_at_the_first_failure(site: Site) -> None:
    file = site.folder / "chain"
    (site.folder / "site_app.py").write_text("import version\n" + (site.folder / "site_app.py").read_text())
    with Penstock(*site.options, "--lazy-apps", "--touch-chain-reload", file) as instance:
        site.deploy("TEXT = b'2'")
        file.write_text("")
        instance.wait_log("chain reloading complete")
        assert get(instance.http).body == b"2"
        workers = instance.workers()
        site.deploy("broken(")
        file.write_text("again")
        instance.wait_log("the chain reload ends: worker 1 could not be replaced")
        until("the replacement is gone", lambda: instance.workers() == workers)
        assert get(instance.http).body == b"2"


@pytest.mark.event("reload", "reload-broken")
@pytest.mark.option("py-auto-reload", "py-auto-reload-ignore")
def test_changed_code_is_loaded_and_broken_code_is_not(site: Site) -> None:
    (site.folder / "site_app.py").write_text("import version, ignored\n" + (site.folder / "site_app.py").read_text())
    (site.folder / "ignored.py").write_text("")
    options = ("--py-autoreload", "1", "--py-auto-reload-ignore", "ignored")
    with Penstock(*site.options, *options) as instance:
        assert get(instance.http).body == b"1"
        (site.folder / "ignored.py").write_text("# other\n")
        site.deploy("TEXT = b'2'")
        until("new code", lambda: get(instance.http).body == b"2")
        site.deploy("broken(")
        instance.wait_log("the reload failed")
        assert get(instance.http).body == b"2"
        site.deploy("TEXT = b'3'")
        until("mended code", lambda: get(instance.http).body == b"3")
        assert instance.log.count("reloading (py-auto-reload)") == 3
        assert "ignored.py has changed" not in instance.log


@pytest.mark.option("master-fifo")
def test_letters_in_the_fifo(site: Site) -> None:
    path, other = site.folder / "fifo", site.folder / "other"

    def write(letter: str, to: Path = path) -> None:
        with os.fdopen(os.open(to, os.O_WRONLY | os.O_NONBLOCK), "w") as file:
            file.write(letter)

    options = ("--master-fifo", path, "--master-fifo", other, "--cheaper", "1", "--cheaper-algo", "manual")
    with Penstock(*site.options, *options) as instance:
        write("+")
        until("two workers", lambda: len(instance.workers()) == 2)
        write("-")
        until("one worker", lambda: len(instance.workers()) == 1)
        write("r")
        instance.wait_log("generation 2 serves")
        first = instance.workers()
        write("w")
        until("another worker", lambda: instance.workers() and not set(first) & set(instance.workers()))
        write("s")
        instance.wait_log(r"\*\*\* statistics: ")
        write("p")
        instance.wait_log("PAUSE")
        write("p")
        instance.wait_log("RESUME")
        write("C")
        until("no workers", lambda: instance.workers() == [])
        assert get(instance.http).body == b"1"
        write("1")
        instance.wait_log("active master fifo is now .*other")
        write("x", other)
        instance.wait_log("'x' is no command")
        write("q", other)
        assert instance.wait_exit() == 0
    assert not path.exists() and not other.exists()
