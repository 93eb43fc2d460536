"""A real net-snmp agent."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from benchmarks._server_process import ServerProcess, free_port


def get_next_system(community: str = "public") -> bytes:
    """Return an SNMPv2c get-next of 1.3.6.1.2.1.1 (system)."""
    name = community.encode()
    told = bytes((4, len(name))) + name
    rest = bytes.fromhex("a118020101020100020100300d300b06072b0601020101010500")
    return bytes((0x30, 3 + len(told) + len(rest))) + bytes.fromhex("020101") + told + rest


class Snmpd(ServerProcess):
    """An SNMP agent on loopback UDP; answers v2c ``public`` and v3 users given in `users`.

    Parameters
    ----------
    folder
        Where its configuration, state and log live.
    settings
        Further lines of snmpd.conf, such as ``pass_persist``, ``override`` or ``sysLocation``.
    users
        SNMPv3 users: lines for ``createUser``, such as ``ops SHA authpass1 AES privpass1``; each may read all.
    """

    def __init__(self, folder: Path, settings: str = "", users: tuple[str, ...] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.host = "127.0.0.1"
        self.community = "public"
        self.port = free_port(socket.SOCK_DGRAM)
        config = folder / "snmpd.conf"
        config.write_text(
            "rocommunity public 127.0.0.1\n"
            + "".join(f"createUser {u}\nrouser {u.split()[0]} auth\n" for u in users)
            + f"{settings}\n"
        )
        super().__init__(
            [
                "snmpd",
                "-f",
                "-Lo",
                "-C",
                "-c",
                str(config),
                "-p",
                str(folder / "snmpd.pid"),
                f"udp:127.0.0.1:{self.port}",
            ],
            folder,
            self._answers,
            env={"SNMP_PERSISTENT_DIR": str(folder / "state"), "MIBS": "", "HOME": os.fspath(folder)},
        )

    def _answers(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)
            try:
                s.connect((self.host, self.port))
                s.send(get_next_system())
                return len(s.recv(2000)) > 0
            except OSError:
                return False
