"""What the console knows of a plant whose readings went through the real ingest into the real store."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from analytics.live.gpus import finding_point
from dashboard import cells, frames, overview_frames, rack_frames
from dashboard.rack_frames import rack_charts
from dashboard.series import merged
from dashboard.views import SILENT, SILENT_MS
from domain.alert import Severity
from domain.batch import Batch
from domain.envelope import LimitChange, quarter_start
from domain.errors import InputError
from domain.points import Point, Quality, Retired
from domain.tray import tray_points
from service.configuration import load_gpu_health
from storage.telemetry import Grid
from tests.system.console_plant import condition, forecast_of

MINUTE = 60_000


def test_the_header_tells_the_sum_of_the_feeds_and_the_limit_in_force(hall):
    hall.tick()
    header = hall.data.header()
    values = hall.plant.values(hall.now)
    expected = sum(values[f"PowerMeter/ActivePower/FEED-{s}"] for s in "AB")
    assert header.power.value == pytest.approx(expected)
    assert header.power.observed == hall.now
    assert header.limit == hall.site.limit
    assert header.quarter_end.value == pytest.approx(expected * 1.005)


def test_before_anything_is_measured_every_figure_is_missing_and_none_is_zero(hall):
    header = hall.data.header()
    assert math.isnan(header.power.value)
    assert math.isnan(hall.data.work().rate.value)
    assert np.isnan(hall.data.floor().power.value).all()
    assert all(math.isnan(c.supply.value) and c.running is None for c in hall.data.cooling())
    assert all(math.isnan(s.power.value) for s in hall.data.supply())
    rack = hall.data.rack("R001")
    assert math.isnan(rack.power.value)
    assert np.isnan(rack.gpu_temperature.value).all()
    assert len(hall.data.power_series().time) == 0


def test_a_rack_without_a_reading_stays_missing_on_the_floor_and_its_neighbours_in_place(hall):
    hall.plant.change = lambda values: values.pop("Rack/RackPower/R002") and None
    hall.tick()
    power = hall.data.floor().power.value
    assert math.isnan(power[1])
    assert power[0] == pytest.approx(hall.plant.values(hall.now)["Rack/RackPower/R001"])
    assert power[2] == pytest.approx(hall.plant.values(hall.now)["Rack/RackPower/R003"])


def test_the_hottest_gpu_counts_and_a_bad_reading_does_not(hall):
    def hot(values):
        values["GPU/GpuTemperature/nvml/R001-T05-G2"] = 91.0
        values["GPU/GpuTemperature/nvml/R001-T06-G0"] = 250.0

    hall.plant.change = hot
    hall.plant.bad.add("GPU/GpuTemperature/nvml/R001-T06-G0")
    hall.tick()
    assert hall.data.floor().gpu_temperature.value[0] == 91.0


def test_the_cooling_unit_that_failed_comes_first_and_its_pod_has_lost_its_spare(hall):
    hall.plant.change = lambda values: values.update({"CDU/Status/P02-CDU1": 0})
    hall.tick()
    cdus = hall.data.cooling()
    assert (cdus[0].id, cdus[0].running, cdus[0].status, cdus[0].redundancy) == (
        "P02-CDU1",
        False,
        "Off",
        "N",
    )
    assert (cdus[1].id, cdus[1].redundancy) == ("P02-CDU2", "N")
    assert {c.redundancy for c in cdus if c.pod == "P01"} == {"N+1"}


def test_a_filter_or_a_setpoint_is_not_taken_for_the_loop_itself(hall):
    def extra(tag, area, setpoint=False):
        return Point(f"CDU/LiquidDifferentialPressure/{tag}", "CDU", "LiquidDifferentialPressure", "P01-CDU1",
                     unit="Pa", process_area=area, setpoint=setpoint)  # fmt: skip

    hall.registry.register(extra("a-filter", ("Secondary", "Filter1")))
    hall.registry.register(extra("a-setpoint", ("Secondary",), setpoint=True))
    hall.tick()
    cdu = next(c for c in hall.data.cooling() if c.id == "P01-CDU1")
    assert cdu.pressure.value == 82e3


def test_feeds_come_before_ups_and_the_fullest_ups_first(hall):
    hall.plant.change = lambda values: values.update({"UPS/ActivePower/UPS-B1": 2.3e6})
    hall.tick()
    assert [s.id for s in hall.data.supply()] == ["FEED-A", "FEED-B", "UPS-B1", "UPS-A1"]


def test_rows_that_are_alike_keep_their_places_from_second_to_second(hall):
    def small_changes(values):
        values["CDU/LiquidTemperature/P01-CDU2/Supply"] = 32.3 + hall.now % 2000 / 10_000
        values["UPS/ActivePower/UPS-B1"] = 1.0e6 + hall.now % 2000 * 10

    hall.plant.change = small_changes
    orders = set()
    for _ in range(4):
        hall.now += 1000
        hall.tick()
        orders.add(tuple(x.id for x in (*hall.data.cooling(), *hall.data.supply())))
    assert len(orders) == 1


def test_tokens_per_joule_is_the_rate_over_the_sites_power(hall):
    hall.tick()
    work = hall.data.work()
    assert work.efficiency.value == pytest.approx(work.rate.value / hall.data.header().power.value)
    assert (work.gpus_seen, work.gpus_installed) == (1152, 1152)
    hall.now += 10 * MINUTE
    assert hall.data.work().gpus_seen == 0


def test_a_rack_knows_both_paths_from_feed_to_tap(hall):
    hall.tick()
    rack = hall.data.rack("R009")
    assert [[s.id for s in path] for path in rack.paths] == [
        ["FEED-A", "UPS-A1", "P02-BUS-A", "R009-TAP-A", "R009"],
        ["FEED-B", "UPS-B1", "P02-BUS-B", "R009-TAP-B", "R009"],
    ]
    assert sum(t.power.value for t in rack.taps) == pytest.approx(rack.power.value)
    assert rack.cdus == ("P02-CDU1", "P02-CDU2")
    assert hall.data.rack("R999") is None


def test_a_racks_history_comes_from_the_store(hall):
    for minute in range(30):
        hall.tick(hall.now - minute * MINUTE)
    lines = hall.data.rack_history("R001", "1h")
    power = lines["RackPower"]
    assert np.isfinite(power.value).sum() == 29  # the present step has only begun
    before = hall.plant.values(hall.now - MINUTE)["Rack/RackPower/R001"]
    assert power.value[-1] == pytest.approx(before)
    assert hall.data.rack_history("R999", "1h") == {}


def test_the_measured_line_takes_coarse_steps_only_where_there_are_no_fine_ones():
    quarter = 15 * MINUTE
    coarse = Grid(
        np.array([0]),
        np.arange(0, 8 * quarter, quarter),
        quarter,
        np.array([[1.0] * 4 + [np.nan] * 2 + [2.0] * 2]),
    )
    start = np.arange(7 * quarter, 8 * quarter, MINUTE)
    fine = Grid(np.array([0]), start, MINUTE, np.full((1, 15), 3.0))
    line = merged(fine, coarse)
    assert line.time[0] == quarter // 2
    assert (line.value == 3.0).sum() == 15
    assert (line.value == 1.0).sum() == 4
    assert (line.value == 2.0).sum() == 1
    gaps = line.time[np.isnan(line.value)]
    assert len(gaps) == 1
    assert 3.5 * quarter < gaps[0] < 6.5 * quarter


def test_a_limit_that_changes_by_schedule_is_told_with_its_reason_and_drawn_as_a_step(tmp_path, hall):

    from domain.site import LimitSchedule
    from storage.plant import PlantView

    start = datetime.fromtimestamp(hall.now / 1000 - 600, UTC)
    end = datetime.fromtimestamp(hall.now / 1000 + 3600, UTC)
    change = LimitSchedule(start=start, end=end, limit="2 MW", reason="demand response")
    site = hall.site.model_copy(update={"schedule": (change,)})
    hall.data.plant = PlantView(site, hall.registry, hall.ingest.latest, hall.store)
    header = hall.data.header()
    assert (header.limit, header.limit_reason) == (2e6, "demand response")
    steps = hall.data.limit_steps(hall.now - 3_600_000, hall.now + 7_200_000)
    assert steps.value.tolist() == [site.limit, 2e6, site.limit, site.limit]


def test_the_header_tells_when_the_limit_will_likely_be_passed(hall):
    assert frames.header(hall.data.header(), hall.site.zone)["cells"]["breach-in"][0] == "\u2014"
    for peak, beyond in ((0.95, "> 6 h"), (1.3, "now")):
        hall.records.save_forecast(forecast_of(hall.site, hall.now, peak=peak))
        hall.now += 60_000  # what was asked lately is kept for some seconds
        cell = frames.header(hall.data.header(), hall.site.zone)["cells"]
        assert cell["breach-in"][:2] == [beyond, "" if peak < 1 else "warning"]
        assert cell["breach-risk"][0].startswith("risk <1 %" if peak < 1 else "risk 100 %")


def test_acknowledging_keeps_who_and_why_and_leaves_a_trace(hall):
    alert = hall.records.open_alerts([condition("leak", "R003", Severity.CRITICAL)], hall.now)[0]
    assert hall.data.header().alerts[Severity.CRITICAL] == 1
    hall.data.alarms.acknowledge(alert.id, "anna", "on my way")
    assert hall.data.header().alerts[Severity.CRITICAL] == 0
    assert hall.records.alert(alert.id).acknowledged_by == "anna"
    trace = hall.records.audit_trail()[0]
    assert (trace.who, trace.what) == ("anna", "acknowledged alert")
    with pytest.raises(InputError):
        hall.data.alarms.acknowledge(12345, "anna", "")


def test_alerts_of_a_gpu_belong_to_its_rack(hall):
    hall.records.open_alerts([condition("gpu", "R003-T01-G0"), condition("site", hall.site.id)], hall.now)
    assert list(hall.data.floor().severity) == ["R003"]
    assert [a.condition.object_id for a in hall.data.rack("R003").alerts] == ["R003-T01-G0"]


def test_the_health_page_lists_the_longest_silent_source_first(hall):
    hall.tick(hall.now - 60_000)
    lonely = hall.registry.register(Point("UPS/Load/x", "UPS", "Load", "X", unit="1", source="snmp:x"))
    ages = hall.data.health().ages
    assert [a.source for a in ages] == ["snmp:x", "dsx:bms"]
    assert ages[0].newest == 0
    assert ages[1].newest == hall.now - 60_000
    assert hall.registry[lonely].source == "snmp:x"


def test_the_newest_forecast_is_the_one_shown(hall):
    assert hall.data.forecast() is None
    hall.records.save_forecast(forecast_of(hall.site, hall.now))
    assert hall.data.forecast().issued == hall.now


def test_bad_quality_travels_with_the_value(hall):
    hall.plant.bad.add("Rack/RackLiquidReturnTemperature/R001")
    hall.tick()
    assert hall.data.rack("R001").back.quality == Quality.BAD
    assert hall.data.floor().return_temperature.quality[0] == Quality.BAD


def test_what_a_silent_bms_told_last_looks_old_as_soon_as_its_heartbeat_is_missed(hall):
    beat = hall.registry.register(
        Point(
            "System/HeartbeatTimestampBms/BMS/beat",
            "System",
            "HeartbeatTimestampBms",
            "BMS",
            source="dsx:bms",
        )
    )
    hall.tick()
    hall.accept(Batch.of([beat], hall.now, [1.0], received=hall.now))
    hall.now += SILENT_MS
    assert hall.data.header().power.quality == Quality.GOOD
    assert hall.data.rack("R001").leak == "Dry"
    hall.now += 1000
    header, rack, floor = hall.data.header(), hall.data.rack("R001"), hall.data.floor()
    assert header.power.quality == rack.power.quality == SILENT
    assert (floor.power.quality == SILENT).all()
    assert cells.trust(rack.back, hall.now) == cells.trust(header.power, hall.now) == "old"
    assert "silent" in cells.reading(rack.back, "Cel", hall.now)[2]
    assert (rack.leak, rack.leaking) == ("", None)
    assert {c.status for c in hall.data.cooling()} == {""}
    assert hall.data.work().rate.quality == SILENT
    assert len(cells.marked(floor.power, hall.now)) == len(hall.site.racks)
    hall.accept(Batch.of([beat], hall.now, [2.0], received=hall.now))
    hall.now += 1000
    assert hall.data.header().power.quality == Quality.GOOD


def test_a_source_that_never_had_a_heartbeat_is_judged_by_age_alone(hall):
    hall.tick()
    hall.now += 60_000
    assert hall.data.header().power.quality == Quality.GOOD


def test_a_lost_gpu_shows_no_temperature_at_once_and_comes_back_with_its_next(hall):
    name = "R001-T05-G2"
    available = hall.registry.register(
        Point(f"GPU/GpuAvailable/nvml/{name}", "GPU", "GpuAvailable", name, unit="1", associate="R001")
    )
    hall.plant.change = lambda values: values.update({f"GPU/GpuTemperature/nvml/{name}": 91.0})
    hall.tick()
    assert hall.data.floor().gpu_temperature.value[0] == 91.0
    before = hall.data.work().gpus_seen
    hall.now += 1000
    hall.accept(Batch.of([available], hall.now, [0.0]))
    rack = hall.data.rack("R001")
    assert math.isnan(rack.gpu_temperature.value[18])
    assert math.isnan(rack.gpu_power.value[18])
    assert cells.marked(rack.gpu_temperature, hall.now) == {"18": "lost"}
    assert hall.data.floor().gpu_temperature.value[0] < 91.0
    assert hall.data.work().gpus_seen == before - 1
    hall.now += 1000
    hall.tick()
    assert hall.data.rack("R001").gpu_temperature.value[18] == 91.0


def test_what_is_wrong_with_gpus_stands_on_the_page_of_their_rack_the_gravest_first(hall):
    catalogue = load_gpu_health()
    found = [
        finding_point("R001-T05-G2", "rows_pending", catalogue.condition("rows_pending"), catalogue, "R001"),
        finding_point("R001-T05-G1", "XID 79", catalogue.xid(79), catalogue, "R001"),
        finding_point("R001-T05-G0", "XID 48", catalogue.xid(48), catalogue, "R001"),
        finding_point("R002-T01-G0", "XID 79", catalogue.xid(79), catalogue, "R002"),
    ]
    points = [hall.registry.register(point) for point in found]
    hall.tick()
    hall.accept(Batch.of(points, hall.now, [1.0, 1.0, 0.0, 1.0]))
    told = rack_frames.rack(hall.data.rack("R001"), hall.data)["findings"]
    assert [row[:2] for row in told] == [["R001-T05-G1", "fault"], ["R001-T05-G2", "degraded"]]
    assert told[0][2].startswith("XID 79: the GPU has fallen off the bus. Drain and restart the node.")
    hall.now += 10 * 60_000  # nobody tells them any more
    assert rack_frames.rack(hall.data.rack("R001"), hall.data)["findings"] == []


def test_the_modules_of_a_rack_are_added_up_once_each(hall):
    points = [
        hall.registry.register(p)
        for tray in ("T01", "T02")
        for p in tray_points("R001", tray, 4)
        if p.point_type == "TrayModulePower"
    ]
    hall.tick()
    hall.accept(Batch.of(points, hall.now, [3800.0, 3900.0]))
    assert hall.data.rack("R001").module_power.value == 7700.0
    assert rack_frames.rack(hall.data.rack("R001"), hall.data)["cells"]["rack-modules"][0] == "7.70 kW"


def test_the_limit_of_the_running_quarter_hour_is_the_lowest_in_it(hall):
    start = quarter_start(hall.now)
    cut = LimitChange(start + 10 * MINUTE, start + 60 * MINUTE, 1e6, "demand response")
    envelope = hall.data.plant.envelope
    envelope.nodes[envelope.root] = replace(envelope.site, schedule=(cut,))
    header = hall.data.header()
    assert (header.limit, header.quarter_limit) == (hall.site.limit, 1e6)


def test_a_rack_shows_what_is_forecast_of_it(hall):
    assert rack_charts(hall.data, "R001", "6h")["fan"] is None
    hall.tick()
    hall.records.save_forecast(replace(forecast_of(hall.site, hall.now), object_id="R001"))
    charts = rack_charts(hall.data, "R001", "6h")
    assert len(charts["fan"]["quantiles"]) == 5
    assert charts["ahead"] > charts["end"]


def test_the_link_of_a_message_shows_a_rack_as_it_was_then(hall):
    hall.tick()
    hall.records.save_forecast(replace(forecast_of(hall.site, hall.now), object_id="R001"))
    then = hall.now - 24 * 60 * MINUTE
    hall.records.save_forecast(replace(forecast_of(hall.site, then - MINUTE), object_id="R001"))
    charts = rack_charts(hall.data, "R001", "1h", then)
    assert charts["start"] < charts["moment"] < charts["end"] < rack_charts(hall.data, "R001", "1h")["start"]
    assert charts["fan"]["issued"] != rack_charts(hall.data, "R001", "1h")["fan"]["issued"]
    now = rack_charts(hall.data, "R001", "1h", hall.now + MINUTE)
    assert (now["moment"], now["end"]) == ("", rack_charts(hall.data, "R001", "1h")["end"])


def say(hall, point, value, source="snmp:x", quality=Quality.GOOD):
    index = hall.registry.register(replace(point, source=source))
    hall.accept(Batch.of([index], hall.now, [value], quality))
    return index


def test_a_ups_on_battery_says_so_whatever_else_of_it_is_normal_and_for_how_long(hall):
    def status(symbol, *labels):
        return Point(
            f"UPS/Status/snmp/a1/{symbol}", "UPS", "Status", "UPS-A1", state_text=tuple(enumerate(labels))
        )

    hall.tick()
    say(hall, status("upsBatteryStatus", "unknown", "normal", "low"), 1)
    say(hall, status("upsOutputSource", "normal", "bypass", "battery"), 0)
    say(hall, Point("UPS/BatteryRuntime/snmp/a1", "UPS", "BatteryRuntime", "UPS-A1", unit="s"), 720.0)
    row = next(
        r for r in overview_frames.supply(hall.data.supply(), hall.now)["rows"] if r["id"] == "supply-UPS-A1"
    )
    assert row["cells"][-2][0] == "12"
    assert row["cells"][-1] == ["Online", ""]
    hall.now += 1000
    say(hall, status("upsOutputSource", "normal", "bypass", "battery"), 2)
    row = next(
        r for r in overview_frames.supply(hall.data.supply(), hall.now)["rows"] if r["id"] == "supply-UPS-A1"
    )
    assert row["cells"][-1] == ["on battery", "alarm"]
    assert row["cells"][-2][:2] == ["12", "alarm"]  # its minutes run


def test_what_is_foretold_of_a_ups_is_told_with_its_load(hall):
    hall.tick()
    foretold = replace(forecast_of(hall.site, hall.now), object_id="UPS-A1")
    hall.records.save_forecast(foretold)
    row = next(
        r for r in overview_frames.supply(hall.data.supply(), hall.now)["rows"] if r["id"] == "supply-UPS-A1"
    )
    told = row["cells"][2][2]
    assert f"foretold {cells.quantity(float(foretold.quantile(0.5).max()), 'W', 3)} at most within" in told
    assert f"95 % stay under {cells.quantity(float(foretold.quantile(0.95).max()), 'W', 3)}" in told


@pytest.mark.parametrize(
    ("state", "rank"),
    [
        ("normal", 0), ("Online", 0), ("battery normal", 0), ("ECO mode", 0), ("passed", 0), ("unknown", 1),
        ("no test made", 1), ("on battery test", 1), ("bypass", 2), ("low", 2), ("passed with warning", 2),
        ("not protected", 2), ("battery", 3), ("OnBattery", 3), ("none", 3), ("depleted", 3), ("no battery", 3),
    ],
)  # fmt: skip
def test_states_are_ranked_by_what_they_mean_for_the_supply(state, rank):
    assert cells.alarming(state) == rank


def pdu(rack, name, outlets=3):
    """A rack PDU as the SNMP collector registers it: it serves its rack, and its outlets are part of it."""
    yield Point(
        f"PowerMeter/ActivePower/snmp/{name}", "PowerMeter", "ActivePower", name, unit="W", serves=(rack,)
    )
    for n in range(outlets):
        yield Point(f"Outlet/ActivePower/snmp/{name}/{n}", "Outlet", "ActivePower", f"{name}-outlet{n}", unit="W",
                    associate=name)  # fmt: skip


def test_a_rack_pdu_with_outlets_stands_on_the_page_of_its_rack(hall):
    hall.tick()
    for point in pdu("R001", "PDU-R001-A"):
        say(hall, point, 30e3 if point.object_type == "PowerMeter" else 500.0)
    rack = hall.data.rack("R001")
    assert 30e3 in [p.value for p in rack.points if p.point.object_id == "PDU-R001-A"]
    assert ["PDU-R001-A", "R001"] in [[s.id for s in path] for path in rack.paths]
    assert [t.id for t in rack.taps] == ["R001-TAP-A", "R001-TAP-B"]


def test_where_a_rack_has_no_taps_its_pdus_are_shown_for_them_and_never_the_busways_of_the_pod(hall):
    for side in "AB":
        for point in [p for p in hall.registry if p.object_id == f"R001-TAP-{side}"]:
            hall.registry.retire(hall.registry.index(point.key), Retired.REFUSED)
        bus = hall.registry[hall.registry.index(f"PowerMeter/ActivePower/P01-BUS-{side}")]
        hall.registry.register(replace(bus, serves=hall.site.pods[0].racks))
    hall.registry.retire(hall.registry.index("Rack/RackPower/R001"), Retired.REFUSED)
    hall.tick()
    assert hall.data.rack("R001").taps == ()
    assert math.isnan(hall.data.rack("R001").power.value)
    for side in "AB":
        for point in pdu("R001", f"PDU-R001-{side}"):
            say(hall, point, 30e3 if point.object_type == "PowerMeter" else 500.0)
    rack = hall.data.rack("R001")
    assert [(t.id, t.power.value) for t in rack.taps] == [("PDU-R001-A", 30e3), ("PDU-R001-B", 30e3)]
    assert rack.power.value == 60e3
    hall.now += MINUTE
    known = hall.data.rack_history("R001", "1h")["RackPower"].value
    assert known[~np.isnan(known)][-1] == pytest.approx(60e3)


def test_tokens_per_joule_have_no_figure_while_a_part_of_the_power_is_not_measured(hall):
    hall.tick()
    whole = hall.data.work().efficiency.value
    hall.plant.change = lambda values: values.update({"PowerMeter/ActivePower/FEED-A": 0.0})
    hall.now += 2000
    hall.tick()  # the UPSes of feed A carry the racks from their batteries
    assert whole > 0
    assert math.isnan(hall.data.work().efficiency.value)


def test_of_two_tags_for_one_quantity_the_page_says_which_one_is_not_used(hall):
    hall.tick()
    key = "Rack/RackPower/R001/again"
    say(hall, Point(key, "Rack", "RackPower", "R001", unit="W"), 77e3, source="dsx:bms")
    state = hall.data.rack("R001")
    assert {p.point.key: p.instead for p in state.points if p.point.point_type == "RackPower"} == {
        "Rack/RackPower/R001": "",
        key: "Rack/RackPower/R001",
    }
    rows = [row for row in rack_frames.rack(state, hall.data)["points"] if row[6].startswith(key)]
    assert [(row[1], row[6]) for row in rows] == [
        ("RackPower (not used)", f"{key}; the quantity is told by Rack/RackPower/R001")
    ]
