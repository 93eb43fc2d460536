"""A site of two racks with real records, and its desk."""

from types import SimpleNamespace

import pytest

from domain.points import Point, PointRegistry
from domain.site import Site
from partners.grid.desk import GridDesk
from partners.grid.settings import GridSettings
from storage.latest import LatestValues
from storage.plant import PlantView
from storage.records import Records

SITE = {
    "id": "site",
    "name": "Lab",
    "timezone": "Asia/Taipei",
    "limit": "300 kW",
    "installed": "400 kW",
    "rack_limit": "150 kW",
    "pods": [{"id": "P1", "racks": "R1..2", "row": 1}],
}


@pytest.fixture
def hall(tmp_path):
    """Plant, records and a clock that tests set; `desk(**settings)` makes a desk."""
    points = [
        Point(f"Rack/RackPower/{r}", "Rack", "RackPower", r, unit="W", source="dsx:bms") for r in ("R1", "R2")
    ]
    points += [
        Point(
            f"Tray/TokenRate/nvml/{r}/T1",
            "Tray",
            "TokenRate",
            f"{r}-T1",
            unit="token/s",
            source="tray:x",
            associate=r,
        )
        for r in ("R1", "R2")
    ]
    registry = PointRegistry(points)
    latest = LatestValues(registry)
    records = Records(f"sqlite:///{tmp_path / 'records.sqlite'}")
    plant = PlantView(Site.model_validate(SITE), registry, latest, store=None)
    made = SimpleNamespace(registry=registry, latest=latest, records=records, plant=plant)
    made.desk = lambda **settings: GridDesk(GridSettings(**settings), plant, records)
    yield made
    records.close()
