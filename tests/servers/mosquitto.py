"""A real mosquitto broker."""

from __future__ import annotations

from pathlib import Path

from benchmarks._server_process import ServerProcess, free_port, listening


class Mosquitto(ServerProcess):
    """An MQTT broker on loopback; anonymous access unless `settings` says otherwise.

    Parameters
    ----------
    folder
        Where its configuration, persistence and log live.
    settings
        Further lines of mosquitto.conf, such as ``max_queued_messages 0``.
    port
        TCP port; a free one by default.
    """

    def __init__(self, folder: Path, settings: str = "", port: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.host = "127.0.0.1"
        self.port = port or free_port()
        config = folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\n"
            + ("" if "allow_anonymous" in settings else "allow_anonymous true\n")
            + "persistence true\n"
            + f"persistence_location {folder}/\n"
            + "user root\n"
            + f"{settings}\n"
        )
        super().__init__(["mosquitto", "-c", str(config)], folder, lambda: listening(self.port))

    @property
    def url(self) -> str:
        return f"mqtt://{self.host}:{self.port}"
