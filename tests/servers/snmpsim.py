"""Recorded SNMP devices, served by snmpsim over real UDP."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks._server_process import ServerProcess, free_port
from tests.servers.snmpd import get_next_system


class Snmpsim(ServerProcess):
    """Serves each walk under a community of its own.

    Parameters
    ----------
    folder
        Where its copies of the walks, indexes and log live.
    walks
        Recordings (.snmprec files) by community.
    """

    def __init__(self, folder: Path, walks: Mapping[str, Path]) -> None:
        for name in ("walks", "cache"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for community, walk in walks.items():
            shutil.copy(walk, folder / "walks" / f"{community}.snmprec")
        self._community = next(iter(walks))
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
                s.send(get_next_system(self._community))
                return bool(s.recv(2000))
            except OSError:
                return False
