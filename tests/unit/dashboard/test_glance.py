"""What the overview tells in a line each: PUE, what is usual, fresh sources, reserve and ramps."""

import numpy as np
import pytest

from dashboard import cells, frames
from dashboard.glance import USUAL_DAYS
from dashboard.registry import section
from dashboard.threads import background_done
from domain.alert import Severity
from domain.batch import Batch
from domain.envelope import QUARTER_MS
from domain.forecast import RAMP_QUANTILES, RAMP_WINDOWS_S, Ramps
from domain.points import Point
from tests.system.console_plant import condition, forecast_of


def told(hall):
    return section(hall.data, "work")["cells"]


def test_pue_is_what_the_feeds_draw_over_what_the_upses_carry(hall):
    hall.tick()
    feeds = sum(hall.data.plant.power_now(f"FEED-{side}").value for side in "AB")
    ups = sum(hall.data.plant.power_now(f"UPS-{side}1").value for side in "AB")
    assert float(told(hall)["pue"][0]) == pytest.approx(feeds / ups, abs=0.006)


def test_there_is_no_pue_while_batteries_carry_what_the_feeds_do_not(hall):
    hall.plant.change = lambda values: values.update({"PowerMeter/ActivePower/FEED-B": 0.0})
    hall.tick()
    assert told(hall)["pue"][:2] == ["\u2014", "missing"]


def test_pue_is_not_known_while_a_ups_is_on_battery_and_says_why(hall):
    hall.plant.change = lambda values: values.update({"UPS/Status/UPS-A1": 0})
    hall.tick()
    shown = told(hall)
    assert shown["pue"][:2] == ["\u2014", "missing"]
    assert shown["pue-why"][0] == "not known: batteries carry load"
    usual = frames.header(hall.data.header(), hall.site.zone)["cells"]["site-usual"]
    carried = hall.data.plant.power_now("UPS-A1").value
    assert usual[:2] == [f"and {cells.quantity(carried, 'W', 3)} from batteries", "alarm"]


def test_a_ups_that_gives_more_than_it_takes_is_on_battery_whatever_it_says(hall):
    side = "UPS/InputPower/UPS-A1"
    taken = hall.registry.register(Point(side, "UPS", "InputPower", "UPS-A1", unit="W", source="dsx:bms"))
    for share, shown in ((1.03, ""), (0.4, "not known: batteries carry load")):
        hall.tick()
        given = hall.data.plant.power_now("UPS-A1").value
        hall.accept(Batch.of([taken], hall.now, [share * given]))
        assert told(hall)["pue-why"][0] == shown
        hall.now += 2000


def test_usual_is_what_the_site_drew_at_this_time_of_the_last_days(hall):
    starts = hall.now - hall.now % QUARTER_MS - QUARTER_MS * np.arange(96 * USUAL_DAYS, 1, -1)
    apart = (hall.now - starts + 43_200_000) % 86_400_000 - 43_200_000
    day = (hall.now - starts) // 86_400_000
    for side in "AB":  # nights are lower, and each day a little more than the one before
        index = hall.registry.index(f"PowerMeter/ActivePower/FEED-{side}")
        power = np.where(np.abs(apart) < 3_600_000, 1.2e6 - 1e3 * day, 0.5e6)
        hall.accept(Batch.of(np.full(len(starts), index), starts, power))
    hall.store.maintain(hall.now)  # the days before yesterday are kept in quarter hours
    hall.data.header()
    background_done()
    usual = hall.data.glance.usual()
    assert 2.36e6 < usual.low < usual.high < 2.41e6
    cell = frames.header(hall.data.header(), hall.site.zone)["cells"]["site-usual"]
    assert cell[0].startswith("usual 2.3")
    assert cell[0].endswith(" MW")


def test_of_a_site_without_a_past_nothing_is_called_usual(hall):
    hall.tick()
    hall.data.header()
    background_done()
    assert frames.header(hall.data.header(), hall.site.zone)["cells"]["site-usual"][0] == ""


def test_sources_that_fell_silent_are_counted_and_named(hall):
    hall.tick()
    assert told(hall)["fresh-sources"][:2] == ["1 / 1", ""]
    hall.now += 200_000
    cell = told(hall)["fresh-sources"]
    assert cell[:2] == ["0 / 1", "warning"]
    assert "dsx:bms" in cell[2]
    assert cell[4] == "/health"


def test_instruments_that_lie_are_counted(hall):
    hall.tick()
    assert told(hall)["doubtful"][0] == ""
    hall.instruments.append({"object": "R003"})
    hall.now += 20_000
    assert told(hall)["doubtful"][:2] == ["1 doubtful instrument", "warning"]


def test_reserve_says_whether_the_loss_of_any_one_unit_holds_and_of_which_not(hall):
    hall.tick()
    told(hall)
    background_done()
    assert told(hall)["reserve"][:2] == ["holds", ""]
    hall.plant.change = lambda values: values.update({"PowerMeter/ActivePower/FEED-B": 0.0})
    hall.now += 20_000
    hall.tick()
    told(hall)
    background_done()
    shown = told(hall)
    assert shown["reserve"][:2] == ["does not hold", "alarm"]
    assert "FEED-A" in shown["reserve-units"][0]


def test_until_ramps_are_foretold_it_says_from_when(hall):
    hall.tick()
    hall.ramps_from = hall.now + QUARTER_MS
    hall.now += 20_000
    cell = told(hall)["ramps-most"]
    assert cell[0] == f"learning, from {cells.clock(hall.ramps_from, hall.site.zone, '%H:%M')}"
    assert "two quarter hours" in cell[2]


def test_ramps_to_expect_are_those_within_a_minute(hall):
    assert told(hall)["ramps"][1] == "missing"
    up = np.array([[1e3, 2e3, 3e3], [1e4, 2e4, 3e4], [1e5, 2e5, 3e5], [2e5, 3e5, 4e5]])
    ramps = Ramps(RAMP_WINDOWS_S, RAMP_QUANTILES, up, 2 * up)
    foretold = forecast_of(hall.site, hall.now)
    object.__setattr__(foretold, "ramps", ramps)
    hall.newest[hall.site.id] = foretold
    shown = told(hall)
    assert shown["ramps"][0] == "+200 kW  \u2212400 kW"
    assert shown["ramps-most"][0] == "95 % under +300 kW  \u2212600 kW"


def test_nothing_ramps_further_than_it_draws_or_can_draw():
    flat = np.full((4, 3), 5e6)
    told = Ramps(RAMP_WINDOWS_S, RAMP_QUANTILES, flat, flat).bounded(3.2e6, 3.7e6, 4.3e6)
    assert told.up.max() == pytest.approx(1.1e6)
    assert told.down.max() == pytest.approx(3.7e6)


def test_an_alert_that_explains_others_says_which_and_what_hangs_on_it(hall):
    hall.tick()
    lead, one, two = hall.records.open_alerts(
        [condition("supply-lost", "FEED-B", Severity.CRITICAL)]
        + [condition("ups-on-battery", f"UPS-B{n}", Severity.HIGH) for n in (1, 2)],
        hall.now,
    )
    hall.records.keep_incidents([lead.id], {one.id: lead.id, two.id: lead.id}, hall.now)
    hall.now += 1000
    row = next(r for r in section(hall.data, "alerts")["rows"] if r["id"] == lead.id)
    assert row["hangs"].startswith("2 \u00d7 ")
    assert row["hangs"].endswith("16 racks with 1\u2009152 GPUs hang on it")
