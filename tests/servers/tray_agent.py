"""A tray agent as it runs on a node, and a network cable that can be cut."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self


class TrayAgentProcess:
    """A real `hallwatch agent`, its GPUs in the stand-in library.

    Parameters
    ----------
    folder
        Its configuration, spool and log.
    library
        Folder of the stand-in for libnvidia-ml.
    url
        The broker.
    prefix
        What the command line begins with, such as ``ip netns exec``.
    settings
        Of the agent; by default tray R001-T01, ten sweeps a second.
    """

    def __init__(
        self, folder: Path, library: Path, url: str, prefix: Sequence[str] = (), **settings: object
    ) -> None:
        self.folder, self.library, self.prefix = folder, library, prefix
        self.tray = str(settings.get("tray", "T01"))
        folder.mkdir(parents=True, exist_ok=True)
        told: dict[str, object] = {
            "rack": "R001",
            "tray": "T01",
            "interval": 0.1,
            "spool": str(folder / "spool"),
        } | settings
        lines = [f"{name}: {value}" for name, value in told.items()]
        lines += ["broker:", f"  url: {url}", "  retry_max: 0.5", "  keepalive: 5"]
        (folder / "agent.yaml").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        """Start it; returns at once."""
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "service", "agent", "-c", str(self.folder)],
                env={**os.environ, "LD_LIBRARY_PATH": str(self.library)},
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)

    def stop(self) -> None:
        """Ask it to end, and wait."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Cable:
    """A network namespace of its own, joined to ours by one cable, in the addresses kept for such tests (RFC 2544).

    Raises
    ------
    OSError
        If this machine gives no namespaces: they need root and iproute2.
    """

    near = "198.18.213.1"

    def __init__(self) -> None:
        if os.geteuid() or shutil.which("ip") is None:
            raise OSError("network namespaces need root and iproute2")
        self.name = f"hallwatch{os.getpid()}"
        self._end = f"hw{os.getpid() % 10_000}"
        self.prefix = ("ip", "netns", "exec", self.name)

    def __enter__(self) -> Self:
        name, end = self.name, self._end
        commands = (
            f"netns add {name}",
            f"link add {end}a type veth peer name {end}b netns {name}",
            f"addr add {self.near}/30 dev {end}a",
            f"link set {end}a up",
            f"-n {name} addr add 198.18.213.2/30 dev {end}b",
            f"-n {name} link set {end}b up",
            f"-n {name} link set lo up",
        )
        try:
            for command in commands:
                subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            self.__exit__()
            raise OSError(f"no network namespaces here: {error.stderr.strip()}") from error
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)

    def cut(self) -> None:
        """Take the cable out."""
        subprocess.run(["ip", "link", "set", f"{self._end}a", "down"], check=True)

    def mend(self) -> None:
        """Put the cable in again."""
        subprocess.run(["ip", "link", "set", f"{self._end}a", "up"], check=True)
