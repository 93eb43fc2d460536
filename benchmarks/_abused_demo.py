"""The demo with sources that misbehave in its configuration: ``python -m benchmarks._abused_demo DATA PORTS_JSON``.

Everything else is the demo as it is: the full factory, its broker, its devices, its alert rules.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from domain.site import Site
from service.commands.run import _until_stopped
from service.demo import Demo


class AbusedDemo(Demo):
    """The demo, watching an exporter that behaves and some that do not, and paging two receivers of which one stalls."""

    def __init__(self, data: Path, racks: int, ports: dict[str, int]) -> None:
        super().__init__(data, racks, 0, 1)
        self._hostile = ports

    def _write_configuration(self, folder: Path, site: Site, ports: dict[str, Any]) -> None:
        super()._write_configuration(folder, site, ports)
        (folder / "ports.json").write_text(json.dumps(ports), encoding="utf-8")
        here, hostile = folder / "hallwatch.yaml", self._hostile
        settings = yaml.safe_load(here.read_text(encoding="utf-8"))
        web = f"http://127.0.0.1:{hostile['http']}"
        rack = site.racks[-1]
        settings["prometheus"] = [
            {
                "name": "exporters",
                "interval": 5,
                "targets": [
                    {"url": f"{web}/good", "rack": rack, "tray": "X01"},
                    *(
                        {"url": f"{web}/{kind}", "rack": rack, "tray": f"X{n:02}"}
                        for n, kind in enumerate(PAGES, 2)
                    ),
                ],
            }
        ]
        settings["schedule"].append({"name": "hostile", "url": f"{web}/schedule", "interval": 5})
        polling = {"interval": 5, "timeout": 0.5}
        settings["snmp"]["targets"] += [
            {"host": "127.0.0.1", "port": hostile["agent"], "object_id": "HOSTILE-PDU", "polling": polling}
        ]
        settings["snmp"]["traps"] = {"port": hostile["traps"]}
        here.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        alerts = yaml.safe_load((folder / "alerts.yaml").read_text(encoding="utf-8"))
        alerts["channels"] = {
            "pages": {"kind": "webhook", "url": f"http://127.0.0.1:{hostile['pages']}/page"},
            "stalled": {"kind": "webhook", "url": f"{web}/trickle"},
        }
        del alerts["on_call"]  # the people on call are told over channels that are gone
        alerts["routes"] = [{"severities": ["critical", "warning"], "channels": ["stalled", "pages"]}]
        (folder / "alerts.yaml").write_text(yaml.safe_dump(alerts, sort_keys=False), encoding="utf-8")


PAGES = ("drip", "labels", "digits", "samples", "gzip", "cut")
"""What the hostile exporters answer; see `benchmarks._abuse`."""


def main() -> None:
    data, racks, ports = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    demonstration = AbusedDemo(data, racks, ports)
    _until_stopped(demonstration.run(), None, demonstration.ready)


if __name__ == "__main__":
    main()
