"""`python -m penstock.demo prepare` makes the demo's data; `serve` does that, starts the server and says what to try.

More arguments of `serve` go to the server: `python -m penstock.demo serve --processes 4`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

INI = Path(__file__).with_name("penstock.ini")
ADDRESS = "127.0.0.1:8000"
ADMIN = "admin"
"""Name and password of the demo's superuser. Anybody can read it here: the demo is for one's own machine."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status. `serve` does not return: it becomes the server."""
    parser = argparse.ArgumentParser(prog="python -m penstock.demo", description=__doc__)
    parser.add_argument("command", choices=["prepare", "serve"])
    parser.add_argument("--dir", help="where the data lives (PENSTOCK_DEMO_DIR, else ./var/demo)")
    parser.add_argument("--http", help=f"where to listen (PENSTOCK_DEMO_HTTP, else {ADDRESS})")
    chosen, rest = parser.parse_known_args(arguments)
    if rest and chosen.command != "serve":
        parser.error(f"unknown: {' '.join(rest)}")
    directory = Path(chosen.dir or os.environ.get("PENSTOCK_DEMO_DIR") or "var/demo").resolve()
    address = chosen.http or os.environ.get("PENSTOCK_DEMO_HTTP") or ADDRESS
    # Both are read in penstock.ini, and the first by the settings.
    os.environ.update(PENSTOCK_DEMO_DIR=str(directory), PENSTOCK_DEMO_HTTP=address)
    try:
        import django
    except ImportError:
        print(f"The demo needs Django: {sys.executable} -m pip install 'django>=5.2,<5.3'", file=sys.stderr)
        return 1
    print(f"Preparing the demo in {directory} with Django {django.get_version()}", flush=True)
    prepare(directory)
    if chosen.command == "serve":
        print(what_to_try(directory, address), flush=True)
        os.execv(sys.executable, [sys.executable, "-m", "penstock", "--ini", str(INI), *rest])
    return 0


def prepare(directory: Path) -> None:
    """Make whatever is missing of the database, the superuser, the first entries and the collected static files.

    May be repeated: what visitors have written stays.
    """
    os.environ["DJANGO_SETTINGS_MODULE"] = "penstock.demo.site.settings"
    directory.mkdir(parents=True, exist_ok=True)
    import django

    django.setup()
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    from penstock.demo.guestbook.models import Entry

    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    settings.MEDIA_ROOT.mkdir(exist_ok=True)
    (directory / "reload").touch()
    users = get_user_model()
    if not users.objects.filter(username=ADMIN).exists():
        users.objects.create_superuser(ADMIN, "admin@localhost", ADMIN)
    if not Entry.objects.exists():
        call_command("loaddata", "welcome", verbosity=0)


def what_to_try(directory: Path, address: str) -> str:
    """Say where everything is, and what is worth a try."""
    host, _, port = address.rpartition(":")
    url = f"http://{'127.0.0.1' if host in ('', '0.0.0.0', '[::]') else host}:{port}"
    penstock = f"{sys.executable} -m penstock"
    return f"""
  {url}/          all pages of the demo
  {url}/admin/    Django's admin: log in as {ADMIN} with {ADMIN} (for this demo only)

  curl {url}/whoami/                      which process and thread answers
  curl '{url}/slow/?seconds=5' & curl {url}/plain/    the fast one does not wait
  curl -N {url}/stream/                   one line at a time
  curl --data-binary @FILE {url}/count/   an upload: its length and its SHA-256

  kill -HUP $(cat {directory}/demo.pid)   new code beside the old: nobody waits, nothing fails
  touch {directory}/reload                the same
  kill -USR1 $(cat {directory}/demo.pid)  statistics to the log
  {penstock} --connect-and-read {directory}/demo.stats
  {penstock} --stop {directory}/demo.pid  or Ctrl-C
"""


if __name__ == "__main__":
    sys.exit(main())
