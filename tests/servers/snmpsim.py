"""A recorded SNMP device, served by snmpsim over real UDP."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path

from benchmarks._server_process import ServerProcess, free_port
from tests.servers.snmpd import GET_NEXT_SYSTEM


class Snmpsim(ServerProcess):
    """Serves a walk under the community ``public``.

    Parameters
    ----------
    folder
        Where its copy of the walk, index and log live.
    walk
        Recording, a .snmprec file.
    """

    def __init__(self, folder: Path, walk: Path) -> None:
        for name in ("walks", "cache"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(walk, folder / "walks" / "public.snmprec")
        self.host = "127.0.0.1"
        self.port = free_port(socket.SOCK_DGRAM)
        command = [
            str(Path(sys.executable).parent / "snmpsim-command-responder"),
            f"--data-dir={folder / 'walks'}",
            f"--cache-dir={folder / 'cache'}",
            f"--agent-udpv4-endpoint={self.host}:{self.port}",
            "--logging-method=null",
        ]
        if os.getuid() == 0:
            command += ["--process-user=root", "--process-group=root"]
        super().__init__(command, folder, self._answers)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.5)
            try:
                s.connect((self.host, self.port))
                s.send(GET_NEXT_SYSTEM)
                return bool(s.recv(2000))
            except OSError:
                return False
