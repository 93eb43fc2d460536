"""The alert engine in a process of its own, to be killed: ``python -m tests.system.oncall_engine FOLDER``.

FOLDER holds ``site.yaml``, ``alerts.yaml`` and the records.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from alerts.engine import AlertEngine
from alerts.notify.build import build_notifiers
from alerts.settings import AlertSettings
from alerts.view import View
from domain.points import PointRegistry
from domain.site import Site
from service.configuration import load
from storage.latest import LatestValues
from storage.plant import PlantView
from storage.records import Records


async def main(folder: Path) -> None:
    """Run until killed."""
    settings = load(folder / "alerts.yaml", AlertSettings)
    registry = PointRegistry()
    plant = PlantView(load(folder / "site.yaml", Site), registry, LatestValues(registry), None)  # type: ignore[arg-type]
    records = Records(f"sqlite:///{folder}/records.sqlite")
    engine = AlertEngine(settings, View(plant, records), records, build_notifiers(settings.channels))
    print("evaluating", flush=True)
    await engine.run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
