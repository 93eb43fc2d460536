"""A real Prometheus Alertmanager."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from benchmarks._server_process import ServerProcess, free_port


class AlertmanagerServer(ServerProcess):
    """An Alertmanager on loopback, which tells a webhook where one is named.

    Parameters
    ----------
    folder
        Where its configuration, silences and log live.
    webhook
        Whom it tells, 0.1 s after it hears of an alert.
    port
        TCP port; a free one by default.
    """

    def __init__(self, folder: Path, webhook: str = "", port: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        receiver = f"\n    webhook_configs: [{{url: '{webhook}', send_resolved: true}}]" if webhook else ""
        (folder / "alertmanager.yml").write_text(
            "route:\n  receiver: all\n  group_by: [alertname, object]\n  group_wait: 100ms\n  group_interval: 200ms\n"
            f"receivers:\n  - name: all{receiver}\n"
        )
        command = [
            "prometheus-alertmanager",
            f"--config.file={folder}/alertmanager.yml",
            f"--storage.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]
        super().__init__(command, folder, self._ready_now)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that hold there now, by their label `object`."""
        answer = httpx.get(f"{self.url}/api/v2/alerts", timeout=60)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return sorted(found, key=lambda alert: alert["labels"].get("object", ""))

    def _ready_now(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=10).status_code == 200
        except httpx.HTTPError:
            return False
