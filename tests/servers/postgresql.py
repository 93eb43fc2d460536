"""A real PostgreSQL server, made anew for the tests of one session."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from benchmarks._server_process import ServerProcess, free_port, program

OWNER = "hallwatch"
UNPRIVILEGED = "postgres"
"""The user that its package makes: the server refuses to run as root."""


class Postgresql(ServerProcess):
    """A server on loopback that trusts whoever comes; what is written need not survive a power cut.

    Parameters
    ----------
    folder
        Where its data and log live: of its own, in a folder that everybody may enter, with a short path.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        own: list[str] = []
        if os.getuid() == 0:
            shutil.chown(folder, UNPRIVILEGED)
            own = [program("setpriv"), f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups"]
        made = [
            program("initdb"),
            "-D",
            f"{folder}/data",
            "-A",
            "trust",
            "-U",
            OWNER,
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run([*own, *made], cwd=folder, check=True, capture_output=True)
        settings = ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=60"]
        server = [program("postgres"), "-D", f"{folder}/data", "-p", str(self.port), "-k", str(folder)]
        server += [part for setting in settings for part in ("-c", setting)]
        super().__init__([*own, *server], folder, self._takes_requests)

    def _takes_requests(self) -> bool:
        """Whether it takes connections: it listens while it is still starting up, and refuses them."""
        asked = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, check=False, capture_output=True).returncode == 0

    def stop(self) -> None:
        """End it at once, without writing out what nobody will read again."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(60)

    @property
    def url(self) -> str:
        """Return its URL as ``records`` in hallwatch.yaml takes it."""
        return f"postgresql+psycopg://{OWNER}@127.0.0.1:{self.port}/postgres"
