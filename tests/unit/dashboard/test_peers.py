"""A figure among those of its peers."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard import cells
from dashboard.pages.thing import history
from dashboard.registry import section
from dashboard.series import held
from dashboard.views import QUARTER_MS
from domain.batch import Batch
from domain.points import Point
from tests.unit.dashboard.conftest import NOW

MINUTE = 60_000


def point(hall, object_id, point_type):
    return next(
        hall.registry[i]
        for i in hall.registry.of_object(object_id).tolist()
        if hall.registry[i].point_type == point_type
    )


def row(hall, object_id, point_type):
    rows = section(hall.data, f"object:{object_id}")["rows"]
    return next(r["cells"] for r in rows if r["cells"][0][0] == point_type)


def test_a_gpu_is_compared_with_those_of_its_rack_and_its_place_is_told(hall):
    hall.tick()
    gpu = hall.data.rack("R001").gpu_ids[5]
    mine = point(hall, gpu, "GpuTemperature")
    found = [hall.registry[i] for i in hall.data.peers.of(mine).tolist()]
    assert len(found) == hall.site.rack_gpus - 1
    assert {p.associate for p in found} == {mine.associate}
    values = hall.data.rack("R001").gpu_temperature.value
    _, _, usual, place, *_ = row(hall, gpu, "GpuTemperature")
    assert usual[0] == f"{np.median(np.delete(values, 5)):.1f} \u00b0C"
    assert place[0] == f"{(values > values[5]).sum() + 1}/{len(values)}"


def test_what_is_further_from_its_peers_than_these_are_from_each_other_is_marked(hall):
    hall.tick()
    gpu = hall.data.rack("R001").gpu_ids[5]
    index = hall.registry.current(point(hall, gpu, "GpuTemperature").key)
    assert row(hall, gpu, "GpuTemperature")[3][1] == "muted"
    hall.now += 1000
    hall.accept(Batch.of([index], [hall.now], [95.0]))
    hall.now += 2000
    assert row(hall, gpu, "GpuTemperature")[3] == [
        "1/72",
        "warning",
        "place among its peers, the highest first",
    ]


def test_racks_are_compared_with_racks_and_a_state_or_a_lone_object_with_none(hall):
    hall.tick()
    assert row(hall, "R003", "RackPower")[3][0].endswith("/16")
    assert row(hall, "R003", "RackLeakDetect")[2:4] == [["", ""], ["", ""]]
    assert hall.data.peers.among(point(hall, "R003", "RackPower"), float("nan"), 0) is None


def test_a_tap_is_compared_with_taps_and_not_with_the_meters_of_feeds_and_busways(hall):
    hall.tick()
    mine = point(hall, "R003-TAP-A", "ActivePower")
    found = {hall.registry[i].object_id for i in hall.data.peers.of(mine).tolist()}
    assert len(found) == 2 * 16 - 1
    assert all("-TAP-" in name for name in found)


def test_what_is_told_on_change_is_a_line_that_holds_and_ends_with_it():
    told = np.full(30, np.nan)
    told[[2, 9, 23]] = 5.0, 7.0, 8.0
    line = held(told, 10_000)
    assert np.isnan(line[:2]).all()
    assert (line[2:9] == 5).all()
    assert line[9] == 7
    assert np.isnan(line[10:23]).all()  # for longer than two minutes
    assert (line[23:] == 8).all()
    assert np.array_equal(held(told, 900_000), told, equal_nan=True)


def test_a_past_of_quarter_hours_is_one_line_up_to_the_readings_of_now_and_an_outage_breaks_it(hall):
    mine = point(hall, "R003", "RackPower")
    index = hall.registry.current(mine.key)
    quarter = NOW - NOW % QUARTER_MS
    laid = [quarter - 2 * QUARTER_MS, quarter - QUARTER_MS]
    live = [quarter - 600_000 + 10_000 * n for n in range(30) if not 10 <= n < 20]
    hall.accept(Batch.of([index] * len(laid + live), laid + live, [100e3] * len(laid + live)))
    line = hall.data.things.past(mine, "1h", live[-1] + 10_000)
    assert line.value.tolist() == [100e3] * (2 + 30)  # what is told on change holds over 100 s
    hall.accept(Batch.of([index], [quarter - 20_000], [100e3]))
    line = hall.data.things.past(mine, "1h", quarter)
    broken = line.time[np.isnan(line.value)]
    assert len(broken) == 1  # four minutes in which nothing was told
    assert quarter - 320_000 < broken[0] < quarter - 20_000


def test_scores_and_spans_of_time_are_told_alike_of_an_object_and_its_peers(hall):
    hall.tick()
    _, score, usual, *_ = row(hall, "R003", "AnomalyScore")
    assert "%" not in score[0] + usual[0]
    life = Point("up", "UPS", "DeviceUptime", "UPS-A1", unit="s")
    assert [cells.amount(life, s, 3) for s in (90.0, 660.0, 87_399.0)] == ["90.0 s", "11 min", "24 h 16 min"]


def test_the_past_of_the_peers_is_their_range_and_median(hall):
    for minute in range(-5, 1):
        hall.tick(NOW + minute * MINUTE)
    mine = point(hall, "R003", "RackPower")
    time, low, middle, high = hall.data.peers.past(mine, "1h", NOW)
    assert len(time) >= 5
    assert (low <= middle).all()
    assert (middle <= high).all()
    told = history(hall.data, "R003", mine.key, "1h", 0)
    assert len(told["peers"]["time"]) == len(time)
    assert told["peers"]["high"][0] == pytest.approx(high[0] / 1e3, rel=1e-3)


def test_a_tray_lists_its_gpus_and_a_gpu_leads_to_its_tray(hall):
    hall.tick()
    gpu = hall.data.rack("R001").gpu_ids[5]
    tray = gpu.rpartition("-")[0]
    around = dict(section(hall.data, f"object:{gpu}")["around"])
    assert around["Part of"] == [tray if hall.data.things.known(tray) else "R001"]
    usual = hall.data.things.usual_point(gpu)
    assert usual.point_type in ("GpuPower", "GpuTemperature")


def test_the_reasons_why_a_clock_is_held_back_are_told_in_words():
    assert cells.throttle_reasons(0) == "none"
    assert cells.throttle_reasons(0x44) == "power limit, too warm, slowed down by hardware"


def test_readings_that_are_called_alike_are_told_apart_by_their_sources_own_name(hall):
    for symbol in ("upsAlarmsPresent.0", "upsInputLineBads.0"):
        hall.registry.register(
            Point(
                f"UPS/Count/snmp/UPS-A1/{symbol}",
                "UPS",
                "Count",
                "UPS-A1",
                unit="count",
                source="snmp:UPS-A1",
            )
        )
    told = [r["cells"][0][0] for r in section(hall.data, "object:UPS-A1")["rows"]]
    assert {"Count (upsAlarmsPresent.0)", "Count (upsInputLineBads.0)"} <= set(told)


def test_what_is_told_no_more_is_compared_with_nobody(hall):
    hall.tick()
    gpu = hall.data.rack("R001").gpu_ids[5]
    hall.now += 200_000
    hall.plant.change = lambda values: [values.pop(key) for key in [*values] if gpu in key] and None
    hall.tick()
    assert row(hall, gpu, "GpuTemperature")[2:4] == [["", ""], ["", ""]]
    assert row(hall, hall.data.rack("R001").gpu_ids[6], "GpuTemperature")[3][0].endswith("/71")
