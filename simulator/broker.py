"""The demo's MQTT broker: mosquitto where it is installed, amqtt otherwise; in a process of its own."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from domain.errors import SourceError

_START_S = 15.0
_PR_SET_PDEATHSIG = 1


def mosquitto() -> str | None:
    """Return the path of the mosquitto program, or None."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


class EmbeddedBroker:
    """A broker on loopback for as long as the context is open.

    Parameters
    ----------
    port
        TCP port on 127.0.0.1.
    program
        ``"auto"``, ``"mosquitto"`` or ``"amqtt"``.
    """

    def __init__(self, port: int, program: str = "auto") -> None:
        if program == "auto":
            program = "mosquitto" if mosquitto() else "amqtt"
        self.port = port
        self.program = program
        self._process: asyncio.subprocess.Process | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return None if self._process is None else self._process.pid

    async def __aenter__(self) -> EmbeddedBroker:
        if self.program == "mosquitto":
            found = mosquitto()
            if found is None:
                raise SourceError("mosquitto is not installed; use the broker 'amqtt'")
            self._folder = tempfile.TemporaryDirectory()
            file = Path(self._folder.name) / "mosquitto.conf"
            file.write_text(
                f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 200000\n"
                "max_inflight_messages 0\npersistence false\nlog_type error\n"
                # as root it would change user, and with that forget to end with its parent
                + ("user root\n" if os.geteuid() == 0 else "")
            )
            command = [found, "-c", str(file)]
        else:
            command = [sys.executable, "-P", "-m", "simulator.broker", str(self.port)]
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL if self.program == "mosquitto" else None,  # it warns of root
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        await self._until_it_listens()
        return self

    async def __aexit__(self, *error: object) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 5.0)
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._folder is not None:
            self._folder.cleanup()

    async def _until_it_listens(self) -> None:
        assert self._process is not None
        deadline = asyncio.get_running_loop().time() + _START_S
        while asyncio.get_running_loop().time() < deadline:
            if self._process.returncode is not None:
                raise SourceError(
                    f"{self.program} ended with {self._process.returncode}; is port {self.port} taken?"
                )
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return
        raise SourceError(f"{self.program} did not listen on port {self.port} within {_START_S:.0f} s")


def _end_with_parent() -> None:
    """Have the kernel end this process when the one that started it is gone, however it went."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def amqtt_settings(port: int) -> dict[str, Any]:
    """Return amqtt's configuration: loopback, anybody, no $SYS statistics."""
    return {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}", "max_connections": 500}},
        "timeout_disconnect_delay": 2,
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }


async def serve_amqtt(port: int) -> None:
    """Run amqtt until the process is told to end."""
    from amqtt.broker import Broker

    logging.disable(logging.CRITICAL)  # it logs a stack for every client that leaves without a word
    broker = Broker(amqtt_settings(port))
    await broker.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(serve_amqtt(int(sys.argv[1])))
