"""uWSGI itself, which what Penstock does is compared with."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.clients import connect
from tests.e2e.harness import ROOT, free_port, until

UWSGI = ROOT / ".venv" / "bin" / "uwsgi"


class Original:
    """uWSGI itself, with an app on an HTTP socket."""

    def __init__(self, log: Path, app: Path, *options: str | Path) -> None:
        self.log = log
        self.address = f"127.0.0.1:{free_port()}"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [UWSGI, "--http-socket", self.address, "--wsgi-file", app, "--master", "--die-on-term", *options],
                stdout=output,
                stderr=output,
            )
        until("uWSGI listens", self._listens)

    def _listens(self) -> bool:
        try:
            connect(self.address).close()
        except ConnectionRefusedError:
            return False
        return True

    def stop(self) -> str:
        """End it; return its log."""
        self.process.terminate()
        self.process.wait(20)
        return self.log.read_text()
