"""The power page: what a browser is sent of the power path."""

import json

import orjson
import pytest

from dashboard import cells, power_frames
from dashboard.pages.power import PAGE
from domain.batch import Batch
from domain.points import Point
from tests.system.console_plant import forecast_of


def section(bare, name):
    return json.loads(orjson.dumps(PAGE.live[name].build(bare.data, "")))


def unit(bare, name):
    return section(bare, "oneline")["units"][name]


def rows(of):
    return dict(of["rows"])


def worked_out(bare):
    bare.data.power.reserve.work()
    section(bare, "oneline")
    return section(bare, "reserve")


def test_the_diagram_knows_what_hangs_on_what(bare):
    told = power_frames.structure(bare.site)
    units = {name: (kind, below, pods) for name, kind, below, pods in told["units"]}
    assert units["FEED-A"] == ("Feed", ["UPS-A1"], [])
    assert units["UPS-A1"] == ("UPS", ["P01-BUS-A", "P02-BUS-A"], [])
    assert units["P02-BUS-B"] == ("PowerMeter", [], [1])
    assert [pod for pod, _ in told["pods"]] == ["P01", "P02"]


def test_a_unit_tells_its_load_against_its_limit_and_is_marked_near_it(bare):
    for share, mark in ((0.5, ""), (0.95, "warning"), (1.02, "alarm")):
        bare.plant.change = lambda values, s=share: values.update({"UPS/ActivePower/UPS-A1": s * 2.4e6})
        bare.now += 1000
        bare.tick()
        told = unit(bare, "UPS-A1")
        assert (told["share"], told["mark"]) == (pytest.approx(share), mark)
    assert rows(told)["Load"][0] == "102 %"


def test_a_ups_on_battery_says_so_and_for_how_long(bare):
    bare.registry.register(Point("rt", "UPS", "BatteryRuntime", "UPS-A1", unit="s", source="dsx:bms"))
    bare.plant = type(bare.plant)(bare.site, bare.registry, False)
    bare.tick()
    assert unit(bare, "UPS-A1")["note"] == ""
    bare.plant.change = lambda values: values.update({"UPS/Status/UPS-A1": 0})
    bare.now += 1000
    bare.tick()
    told = unit(bare, "UPS-A1")
    assert (told["state"], told["note"]) == ("battery", "battery")
    assert rows(told)["State"][:2] == ["on battery", "alarm"]


def test_breaker_headroom_is_by_the_heaviest_phase_and_phases_that_differ_are_marked(bare):
    def measure(name, of, phase, value):
        point = Point(f"{name}{phase}", "PowerMeter", name, of, unit="A", phase=phase, source="dsx:bms")
        return bare.registry.register(point), value

    told = [measure("PhaseCurrent", "P01-BUS-A", p, v) for p, v in (("A", 800.0), ("B", 600.0), ("C", 640.0))]
    told.append(measure("CurrentLimit", "P01-BUS-A", "", 1000.0))
    bare.tick()
    bare.accept(Batch.of([i for i, _ in told], bare.now, [v for _, v in told]))
    figures = rows(unit(bare, "P01-BUS-A"))
    assert figures["Breaker headroom"][:2] == ["20 %", ""]
    assert figures["Phases A / B / C"][0] == "800 / 600 / 640 A"
    assert figures["Unbalance"][:2] == ["18 %", "warning"]
    assert "Unbalance" not in rows(unit(bare, "P01-BUS-B"))


def test_what_the_loss_of_a_unit_does_now_and_at_the_peak(bare):
    bare.records.save_forecast(forecast_of(bare.site, bare.now, peak=1.25))
    bare.tick()
    told = worked_out(bare)
    ups = told["units"]["UPS-A1"]
    assert ups["now"]["holds"] is True
    assert any("UPS-B1" in text for text, _ in ups["now"]["lines"])
    assert told["titles"]["then"].startswith("If it fails at the peak")
    bus = told["units"]["P01-BUS-B"]["then"]
    assert bus["holds"] is True  # racks draw no more than their own limits: 8 x 142 kW on 1.15 MW
    assert {row["id"] for row in told["rows"]} == {f"loss-{n.id}" for n in bare.site.nodes}
    # each feed may carry 2.75 MW, and at the peak both together carry more
    assert told["cells"]["reserve-answer"][0] == "N+1 holds now, not at the peak: FEED-A, FEED-B"
    assert told["units"]["FEED-A"]["then"]["lines"][0] == ["FEED-B would carry 2.78 MW of 2.75 MW", "alarm"]


def test_before_it_is_worked_out_the_page_says_so_and_without_a_forecast_too(bare):
    bare.tick()
    assert section(bare, "reserve")["cells"]["reserve-note"][0] == "is being worked out"
    told = worked_out(bare)
    assert told["cells"]["reserve-note"][0] == "no forecast, only as it is now"
    assert told["units"]["FEED-A"]["then"] is None
    assert told["rows"][0]["cells"][2][:2] == [cells.DASH, "missing"]


def test_figures_are_hidden_where_their_attribution_is_incomplete_and_the_page_says_why(bare):
    bare.plant.change = lambda values: values.pop("UPS/ActivePower/UPS-A1") and None
    bare.tick()
    told = worked_out(bare)["units"]["FEED-A"]["now"]
    assert told["holds"] is None
    assert told["lines"] == [["Not told: UPS-A1 below it tell nothing", "missing"]]
    assert rows(unit(bare, "FEED-A"))["Attribution"][:2] == ["incomplete", "warning"]
    assert worked_out(bare)["units"]["FEED-B"]["now"]["holds"] is not None


def test_stranded_capacity_names_the_limit_that_binds(bare):
    bare.tick()
    told = worked_out(bare)
    assert told["rooms"][0]["cells"][4][0] == "the site's limit"
    assert "stranded" in told["cells"]["stranded-total"][0]


def test_the_highest_quarter_hour_of_a_unit_is_looked_up(bare):
    quarter = bare.now - bare.now % 900_000
    for at in range(quarter - 1_800_000, quarter, 30_000):
        bare.tick(at)
    bare.tick()
    bare.store.maintain(bare.now)
    bare.data.power.observed.work()
    text, mark, hint = rows(unit(bare, "FEED-A"))["Highest quarter hour, 7 d"][:3]
    assert text.endswith("%")
    assert mark == ""
    assert hint.startswith("of what is provisioned; began")


def test_racks_that_tell_nothing_are_counted_as_untold(bare):
    bare.plant.change = lambda values: values.pop("Rack/RackPower/R016") and None
    bare.tick()
    told = worked_out(bare)
    assert told["cells"]["reserve-note"][1:3] == ["warning", "1 of 16 racks tell no power"]


def test_a_second_of_the_page_is_small(bare):
    bare.tick()
    assert len(orjson.dumps(PAGE.live["oneline"].build(bare.data, ""))) < 16_000
