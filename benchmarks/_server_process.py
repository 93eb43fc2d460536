"""A server program: started, waited for, taken away and brought back."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

SYSTEM_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


PORTS = range(15_000, 32_000)
"""Below those that the system gives to whoever asks for any: what is free here stays so until it is taken."""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a loopback port that nothing listens on."""
    for port in random.SystemRandom().sample(PORTS, 1000):
        with socket.socket(socket.AF_INET, kind) as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


def program(name: str) -> str:
    """Return the full path of a server program.

    Raises
    ------
    FileNotFoundError
        If it is not installed.
    """
    found = shutil.which(name, path=SYSTEM_PATH)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed")
    return found


class ServerProcess:
    """One program of the operating system, its log in `folder`.

    Parameters
    ----------
    command
        Program and arguments.
    folder
        Working folder; the log is ``<program>.log`` in it.
    ready
        Answers whether the server takes requests yet.
    """

    def __init__(
        self, command: list[str], folder: Path, ready: Callable[[], bool], env: dict[str, str] | None = None
    ) -> None:
        self.command = [program(command[0]), *command[1:]]
        self.folder = folder
        self.env = {**os.environ, **(env or {})}
        self.log = folder / f"{Path(command[0]).name}.log"
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = 60.0) -> None:
        """Start it and return when it takes requests."""
        assert not self.running, f"{self.command[0]} runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, cwd=self.folder, env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + timeout
        while not self._ready():
            if not self.running or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.command[0]} did not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask it to end, and wait."""
        if self._process is not None and self.running:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None and self.running:
            self._process.kill()
        if self._process is not None:
            self._process.wait(60)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def listening(port: int) -> bool:
    """Return whether something accepts TCP connections on a loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True
