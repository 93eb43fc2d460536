"""The plant view is asked by the alert engine, the console and the models at once, while points are announced."""

import threading

from domain.points import Point, PointRegistry
from domain.site import Site
from storage.latest import LatestValues
from storage.plant import PlantView

RACKS = 60


def test_threads_that_ask_while_points_are_announced_agree_in_the_end():
    site = Site.model_validate(
        {
            "id": "lab",
            "name": "Lab",
            "limit": "16 MW",
            "installed": "17 MW",
            "rack_limit": "150 kW",
            "pods": [{"id": "P1", "racks": f"R001..{RACKS:03d}", "row": 1}],
        }
    )
    registry = PointRegistry()
    plant = PlantView(site, registry, LatestValues(registry), None)
    done = threading.Event()
    failures = []

    def ask():
        try:
            while not done.is_set():
                plant.power_points("lab")
                plant.power_points("R001")
                plant.rack_points("RackPower")
                plant.topology()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for rack in site.racks:
        registry.register(Point(f"Rack/RackPower/{rack}", "Rack", "RackPower", rack, unit="W"))
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(plant.power_points("lab")) == RACKS
    assert (plant.rack_points("RackPower") >= 0).all()
