"""Where an alert's object stands in the plant, and what hangs on it: the demo's site."""

from pathlib import Path

import pytest

from alerts.surroundings import Surroundings
from alerts.view import View
from domain.points import Point, PointRegistry
from domain.site import Site
from service.configuration import load
from storage.latest import LatestValues
from storage.plant import PlantView

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def around():
    registry = PointRegistry()
    for rack in ("R001", "R002"):
        key = f"GPU/GpuTemperature/{rack}-T01-G1"
        tray = {"associate": rack, "source": f"tray:{rack}-T01", "unit": "Cel"}
        registry.register(Point(key, "GPU", "GpuTemperature", f"{rack}-T01-G1", **tray))
        key = f"Rack/RackLiquidFlow/{rack}"
        registry.register(Point(key, "Rack", "RackLiquidFlow", rack, unit="L/min", source="dsx:bms"))
    site = load(ROOT / "config/site.yaml", Site)
    return Surroundings(View(PlantView(site, registry, LatestValues(registry), None), None))


def test_a_rack_stands_in_a_pod_on_a_row_and_hangs_on_a_loop_and_two_feeds(around):
    place = around.place("R018")
    assert place.object_type == "Rack"
    assert place.parts == (
        ("pod", "P03"),
        ("row", "2"),
        ("position", "2"),
        ("loop", "P03-CDU1, P03-CDU2"),
        ("busway", "P03-BUS-A, P03-BUS-B"),
        ("ups", "UPS-A2, UPS-B2"),
        ("feed", "FEED-A, FEED-B"),
    )


@pytest.mark.parametrize(
    ("object_id", "racks", "gpus"),
    [
        ("R018", 1, 72),
        ("R001-T01-G1", 0, 1),
        ("P03-CDU1", 8, 576),
        ("P03", 8, 576),
        ("P03-BUS-A", 8, 576),
        ("UPS-A1", 16, 1152),
        ("FEED-A", 96, 6912),
        ("taipei-1", 96, 6912),
        ("tray:R001-T01", 1, 72),
        ("dsx:bms", 2, 144),
        ("nobody-knows", 0, 0),
    ],
)
def test_so_many_racks_and_gpus_hang_on_an_object_or_are_told_of_by_a_source(around, object_id, racks, gpus):
    place = around.place(object_id)
    assert (place.racks, place.gpus) == (racks, gpus)


def test_a_gpu_is_found_by_its_rack(around):
    place = around.place("R001-T01-G1")
    assert (place.named("rack"), place.named("pod"), place.named("position")) == ("R001", "P01", "1")
