"""Code that changes is loaded at once (`py-auto-reload`), by notifications of the kernel or by the clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.clients import get
from tests.e2e.harness import Penstock, run_penstock, until
from tests.e2e.load import Load

AT_ONCE = "changes are seen at once"
BY_THE_CLOCK = "its files are looked at every 1 s"
SECONDS = {AT_ONCE: "60", BY_THE_CLOCK: "1"}
"""With notifications a change has to be seen long before that."""

APP = """\
import importlib
import pkg.views

def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/late':
        return [importlib.import_module('pkg.late').TEXT]
    return [pkg.views.TEXT]
"""


class Site:
    """A package that says which version of it is there."""

    def __init__(self, folder: Path, how: str) -> None:
        self.folder = folder
        (folder / "pkg").mkdir()
        (folder / "site_app.py").write_text(APP)
        for name in ("views", "late"):
            self.write(f"pkg/{name}.py", "TEXT = b'1'\n")
        environ = {"PYTHONDONTWRITEBYTECODE": "1"}
        if how == BY_THE_CLOCK:
            (folder / "none").mkdir()
            (folder / "none/watchfiles.py").write_text("raise ImportError('not here', name='watchfiles')\n")
            environ["PYTHONPATH"] = str(folder / "none")
        self.instance = Penstock(
            *("--http", "127.0.0.1:0", "--chdir", folder, "--module", "site_app", "--processes", "2"),
            *("--disable-logging", "--py-autoreload", SECONDS[how], "--pidfile", folder / "pid"),
            env=environ,
        )

    def write(self, name: str, text: str) -> None:
        """As editors do that lose nothing: into a file beside it, which is then given the name."""
        new = self.folder / f"{name}~"
        new.write_text(text)
        new.rename(self.folder / name)

    def serves(self, body: bytes, target: str = "/") -> None:
        until(f"{body!r}\n{self.instance.tail}", lambda: get(self.instance.http, target).body == body, 20)


@pytest.fixture(params=[AT_ONCE, BY_THE_CLOCK], ids=["notified", "clock"])
def site(request: pytest.FixtureRequest, short_dir: Path) -> Iterator[Site]:
    how = request.param
    if how == AT_ONCE:
        pytest.importorskip("watchfiles")
    made = Site(short_dir, how)
    with ExitStack() as stack:
        stack.enter_context(made.instance)
        made.instance.wait_log(how)
        yield made


@pytest.mark.event("reload")
@pytest.mark.option("py-auto-reload")
def test_each_way_of_saving_a_file_is_seen_and_no_request_is_lost(site: Site) -> None:
    with Load(site.instance.http) as load:
        site.write("pkg/views.py", "TEXT = b'renamed over'\n")
        site.serves(b"renamed over")
        (site.folder / "pkg/views.py").write_text("TEXT = b'written into'\n")
        site.serves(b"written into")
        (site.folder / "pkg/views.py").unlink()
        (site.folder / "pkg/views.py").write_text("TEXT = b'removed and made'\n")
        site.serves(b"removed and made")
        load.more(20)
    assert load.failures == []


@pytest.mark.event("reload")
@pytest.mark.option("py-auto-reload")
def test_a_module_that_is_imported_by_a_request_is_watched_from_then_on(site: Site) -> None:
    site.serves(b"1", "/late")
    # The workers tell of it a moment later.
    tries = iter(range(2, 1000))

    def seen() -> bool:
        site.write("pkg/late.py", f"TEXT = b'{next(tries)}'\n")
        return "pkg/late.py has changed" in site.instance.log

    until(f"a change of it is seen\n{site.instance.tail}", seen, 20)
    site.instance.wait_log("generation 2 serves")


@pytest.mark.event("reload", "reload-broken")
@pytest.mark.option("py-auto-reload")
def test_code_that_does_not_load_leaves_the_old_one_until_it_is_mended(site: Site) -> None:
    site.write("pkg/views.py", "broken(\n")
    site.instance.wait_log("the reload failed", 20)
    assert get(site.instance.http).body == b"1"
    # The cause is now a file that nothing which serves has imported.
    site.write("pkg/other.py", "also broken(\n")
    since = len(site.instance.log)
    site.write("pkg/views.py", "from pkg.other import TEXT\n")
    site.instance.wait_log("the reload failed", 20, since)
    site.write("pkg/other.py", "TEXT = b'mended'\n")
    site.serves(b"mended")


@pytest.mark.event("reload", "reload-broken")
@pytest.mark.option("py-auto-reload")
def test_files_that_come_and_go_are_seen(site: Site) -> None:
    since = len(site.instance.log)
    site.write("pkg/views.py", "from pkg.more.new import TEXT\n")
    site.instance.wait_log("the reload failed", 20, since)
    (site.folder / "pkg/more").mkdir()
    site.write("pkg/more/new.py", "TEXT = b'new'\n")
    site.serves(b"new")


@pytest.mark.event("reload-broken")
@pytest.mark.option("py-auto-reload")
def test_a_file_that_is_deleted_is_missed_and_the_old_code_serves(short_dir: Path) -> None:
    site = Site(short_dir, BY_THE_CLOCK)
    with site.instance as instance:
        (site.folder / "pkg/views.py").unlink()
        instance.wait_log(r"pkg/views\.py is gone: reloading", 20)
        instance.wait_log("the reload failed", 20)
        assert get(instance.http).body == b"1"


@pytest.mark.option("py-auto-reload")
def test_many_changes_at_once_are_one_reload(site: Site) -> None:
    site.serves(b"1", "/late")
    for number in range(200):
        site.write(f"pkg/new{number}.py", "")
    site.write("pkg/views.py", "TEXT = b'2'\n")
    site.serves(b"2")
    assert site.instance.log.count("reloading (py-auto-reload)") <= 2


@pytest.mark.event("upgrade")
@pytest.mark.option("py-auto-reload")
def test_changes_are_seen_after_an_upgrade(site: Site) -> None:
    assert run_penstock("upgrade", site.folder / "pid").returncode == 0, site.instance.tail
    site.write("pkg/views.py", "TEXT = b'2'\n")
    site.serves(b"2")
