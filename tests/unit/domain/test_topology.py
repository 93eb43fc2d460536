from domain.points import Point
from domain.topology import PlantObject, Topology


def meter(name, serves):
    return Point(f"PowerMeter/ActivePower/{name}", "PowerMeter", "ActivePower", name, unit="W", serves=serves)


def test_the_power_path_of_a_rack_runs_from_its_taps_to_the_feeds():
    topology = Topology.from_points(
        [
            meter("FEED-A", ("UPS-A1",)),
            meter("BUS-A", ("TAP-A",)),
            meter("TAP-A", ("R001",)),
            meter("TAP-B", ("R001",)),
            Point("Rack/RackPower/R001", "Rack", "RackPower", "R001", unit="W"),
        ],
        objects=[PlantObject("UPS-A1", "UPS")],
        edges=[("UPS-A1", "BUS-A")],
    )
    assert list(topology.upstream("R001")) == ["TAP-A", "TAP-B", "BUS-A", "UPS-A1", "FEED-A"]
    assert list(topology.downstream("UPS-A1")) == ["BUS-A", "TAP-A", "R001"]
    assert topology.objects["R001"].type == "Rack"


def test_what_is_served_but_never_described_is_kept_as_a_generic_object():
    topology = Topology.from_points([meter("BUS", ("TAP-9",))])
    assert topology.objects["TAP-9"].type == "GenericObject"


def test_a_loop_in_the_data_ends_the_walk():
    topology = Topology.from_points([meter("A", ("B",)), meter("B", ("A",))])
    assert list(topology.downstream("A")) == ["B"]
