"""The cooling page: what a browser is sent of loops, CDUs, leaks, water and air."""

import json

import orjson
import pytest

from dashboard import cells
from dashboard.pages.cooling import PAGE
from domain.batch import Batch
from domain.points import Point, Quality

CDU = "P01-CDU1"


def hall_of(bare):
    return json.loads(orjson.dumps(PAGE.live["hall"].build(bare.data, "")))


def row(told, table, name):
    return next([cell[:2] for cell in r["cells"]] for r in told[table] if r["id"] == name)


def measure(bare, *points):
    """Register points and tell each a value."""
    index = [bare.registry.register(Point(key, kind, what, of, unit=unit, source="dsx:bms", **more))
             for key, kind, what, of, unit, more, _ in points]  # fmt: skip
    bare.accept(Batch.of(index, bare.now, [value for *_, value in points]))


@pytest.fixture
def water(bare):
    """The primary side of a CDU: 25 to 36 Cel, so much flow that the heat of both sides agrees."""
    bare.tick()
    measure(
        bare,
        ("in", "CDU", "LiquidTemperature", CDU, "Cel", {"process_area": ("Primary", "Inlet")}, 25.0),
        ("out", "CDU", "LiquidTemperature", CDU, "Cel", {"process_area": ("Primary", "Outlet")}, 36.0),
        ("flow", "CDU", "LiquidFlow", CDU, "L/min", {"process_area": ("Primary",)}, 600.0),
        ("set", "CDU", "LiquidTemperature", CDU, "Cel", {"process_area": ("Secondary", "Supply"), "setpoint": True}, 32.0),
        ("wet", "Chiller", "AirTemperature", "CHW", "Cel", {"process_area": ("Outdoor",)}, 19.5),
        ("sup", "Chiller", "LiquidTemperature", "CHW", "Cel", {"process_area": ("Supply",)}, 25.1),
    )  # fmt: skip
    return bare


def test_a_pods_loop_tells_what_its_racks_draw_and_what_the_liquid_carries_away(bare):
    bare.tick()
    told = hall_of(bare)
    cells_of = row(told, "pods", "loop-P01")
    assert cells_of[0][0] == "P01"
    assert cells_of[1][0].endswith("kW") or cells_of[1][0].endswith("MW")
    share = float(cells_of[3][0].split()[0])
    assert 70 < share < 110
    assert cells_of[4][0] == "1.20"
    assert cells_of[7] == ["N+1", ""]
    assert told["cells"]["cool-standing"][0] == "4 of 4"


def test_a_cdu_tells_its_approach_and_whether_the_heat_of_both_sides_agrees(water):
    told = row(hall_of(water), "cdus", f"cdu-loop-{CDU}")
    assert told[3][0].startswith("32.0")
    assert told[9][0].startswith("25.0")
    approach, heat, balance = told[13], float(told[15][0]), told[16]
    assert 7.0 < float(approach[0]) < 8.0
    assert approach[1] == ""
    given = 69.3 * 600 * 11 / 1e3
    assert float(balance[0]) == pytest.approx(100 * (given / heat - 1), abs=1)
    other = row(hall_of(water), "cdus", "cdu-loop-P01-CDU2")
    assert other[13] == other[16] == [cells.DASH, "missing"]


def test_heat_that_does_not_balance_and_a_large_approach_are_marked(water):
    water.plant.change = lambda values: values.update({f"CDU/LiquidTemperature/{CDU}/Supply": 36.5})
    water.now += 1000
    water.tick()
    told = row(hall_of(water), "cdus", f"cdu-loop-{CDU}")
    assert told[13][1] == "warning"
    assert told[16][1] == "warning"


def test_a_cdu_that_stands_still_takes_its_pods_redundancy(bare):
    bare.plant.change = lambda values: values.update({f"CDU/Status/{CDU}": 0})
    bare.tick()
    told = hall_of(bare)
    assert row(told, "pods", "loop-P01")[7] == ["N", "warning"]
    assert row(told, "cdus", f"cdu-loop-{CDU}")[1] == ["off", "alarm"]
    assert told["cells"]["cool-standing"][:2] == ["3 of 4", "alarm"]
    assert told["loops"]["P01"]["cdus"][0]["running"] is False


def test_a_leak_is_told_with_its_place_and_a_silent_detector_is_not_dry(bare):
    bare.tick()
    assert hall_of(bare)["cells"]["cool-leaks"][:2] == ["16 of 16 dry", ""]
    bare.now += 200_000
    bare.plant.change = lambda values: (
        values.update({"Rack/RackLeakDetect/R012": 1}), values.pop("Rack/RackLeakDetect/R003"))  # fmt: skip
    bare.tick()
    told = hall_of(bare)
    assert told["cells"]["cool-leaks"][:2] == ["1 tells a leak or a fault", "alarm"]
    assert [cell[0] for cell in told["leaks"][0]["cells"]][:3] == ["R012", "RackLeakDetect", "leak"]
    assert bare.data.loops.look().dry == 14  # one is wet, one told nothing for minutes


def test_water_and_weather_stand_above(water):
    told = hall_of(water)["cells"]
    assert told["cool-water"][0] == "25.1 \u00b0C"
    assert told["cool-wet-bulb"][0] == "19.5 \u00b0C"
    assert float(told["cool-ratio"][0]) == pytest.approx(1.25, abs=0.05)


def test_how_long_racks_last_when_a_cdu_trips_is_the_shortest_of_the_pod(bare):
    bare.tick()
    measure(
        bare,
        ("t1", "CDU", "TimeToLimitOnTrip", CDU, "s", {}, 3600.0),
        ("t2", "CDU", "TimeToLimitOnTrip", "P01-CDU2", "s", {}, 90.0),
        ("t3", "CDU", "TimeToLimitOnTrip", "P02-CDU1", "s", {}, 3600.0),
    )
    told = hall_of(bare)
    assert row(told, "pods", "loop-P01")[8] == ["90 s", "warning"]
    assert row(told, "pods", "loop-P02")[8] == ["over 1 h", ""]


def test_air_units_are_listed_and_a_rack_that_tells_badly_makes_no_warmest(bare):
    bare.tick()
    assert hall_of(bare)["air"][0]["cells"][0][1] == "muted"
    measure(
        bare,
        ("a", "CRAH", "AirTemperature", "CRAH-01", "Cel", {"process_area": ("Supply",)}, 23.1),
        ("b", "CRAH", "AirTemperature", "CRAH-01", "Cel", {"process_area": ("Return",)}, 33.0),
    )
    assert [c[0] for c in hall_of(bare)["air"][0]["cells"]][:3] == ["CRAH-01", "23.1", "33.0"]
    bare.plant.bad.add("Rack/RackLiquidReturnTemperature/R001")
    bare.plant.change = lambda values: values.update({"Rack/RackLiquidReturnTemperature/R001": 99.0})
    bare.now += 1000
    bare.tick()
    loop = bare.data.loops.look().pods[0]
    assert loop.back.value < 60
    assert loop.back.quality == Quality.GOOD
