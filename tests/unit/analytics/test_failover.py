"""What fails over to what, on the demo's tree of limits."""

import math

import numpy as np
import pytest

from analytics.outlook.failover import Failover, Gap, gap
from domain.site import Site
from service.configuration import SHIPPED, load
from tests.system.console_plant import demo_site

SITE = load(SHIPPED / "site.yaml", Site)


def balanced(site, kw=110.0):
    """Racks that all draw the same, and what the nodes above them then carry, without losses."""
    racks = np.full(len(site.racks), kw * 1e3)
    measured = {}
    for node in reversed(list(site.envelope())):
        if node.kind == "PowerMeter":
            measured[node.id] = len(node.children) * kw * 1e3 / 2
        elif node.kind in ("UPS", "Feed"):
            measured[node.id] = sum(measured[c] for c in node.children)
    return racks, measured


def test_the_other_side_takes_over_what_a_ups_carried():
    racks, measured = balanced(SITE)
    loss = Failover(SITE).losses(racks, measured)["UPS-A3"]
    assert loss.carried == pytest.approx(2 * 8 * 55e3)
    assert loss.holds
    assert {n.id for n in loss.takes} == {"UPS-B3", "P05-BUS-B", "P06-BUS-B", "FEED-B"}
    tight = loss.tightest
    assert (tight.id[4:], tight.after) == ("BUS-B", pytest.approx(8 * 110e3))
    assert loss.unpowered == loss.batteries == ()


def test_of_a_lost_feed_the_upses_run_on_battery_and_then_the_other_feed_carries_all():
    racks, measured = balanced(SITE)
    measured["FEED-A"] += 1.0e6  # the mechanical plant stands on both feeds
    loss = Failover(SITE).losses(racks, measured)["FEED-A"]
    assert loss.batteries == tuple(f"UPS-A{n}" for n in range(1, 7))
    (feed,) = [n for n in loss.takes if n.id == "FEED-B"]
    assert feed.after == pytest.approx(96 * 110e3 + 1.0e6)
    assert loss.holds


def test_what_holds_now_may_not_hold_at_the_peak():
    racks, measured = balanced(SITE)
    measured["P05-BUS-A"] += 100e3  # a heavy neighbour on this busway alone
    site = Failover(SITE)
    now, then = (site.losses(racks, measured, level)["P05-BUS-B"] for level in (math.nan, 96 * 145e3))
    assert now.holds
    assert not then.holds
    assert then.over[0].id == "P05-BUS-A"
    assert then.over[0].after <= 8 * 142e3 + 100e3 + 1  # no rack draws more than its limit


def test_without_a_second_way_racks_lose_power():
    site = demo_site(pods=1)
    site = site.model_copy(
        update={"nodes": tuple(n for n in site.nodes if n.id[-1] != "B" and "UPS-B" not in n.id)}
    )
    racks = np.full(8, 100e3)
    losses = Failover(site).losses(racks, {})
    assert losses["UPS-A1"].unpowered == site.racks
    assert not losses["UPS-A1"].holds


def test_a_unit_that_carries_nothing_while_its_racks_draw_power_is_not_counted_on():
    racks, measured = balanced(SITE)
    for dead in ("FEED-A", *(f"UPS-A{n}" for n in range(1, 7)), *(p.busways[0] for p in SITE.pods)):
        measured[dead] = 0.0
    for alive in (p.busways[1] for p in SITE.pods):
        measured[alive] = 8 * 110e3
    assert len(Failover(SITE).losses(racks, measured)["UPS-B1"].unpowered) == 16


def test_a_feed_that_is_gone_already_counts_as_lost_while_its_batteries_still_carry():
    racks, measured = balanced(SITE)
    measured["FEED-A"] = 0.0
    losses = Failover(SITE).losses(racks, measured)
    assert losses["FEED-A"].holds  # nothing more can happen to it
    assert losses["FEED-A"].batteries == ()
    assert len(losses["FEED-B"].unpowered) == 96
    assert len(losses["UPS-B3"].unpowered) == 16


def test_racks_draw_at_the_peak_what_is_forecast_of_them_also_while_batteries_carry_a_side():
    racks, measured = balanced(SITE)
    peak = 96 * 120e3
    rooms = {r.pod: r.built for r in Failover(SITE).rooms(racks, measured, SITE.limit, peak)}
    measured["FEED-A"] = 0.0  # its UPSes' batteries carry what it did
    on_battery = {r.pod: r.built for r in Failover(SITE).rooms(racks, measured, SITE.limit, peak)}
    assert on_battery == pytest.approx(rooms)
    assert rooms["P01"] == pytest.approx(8 * (142e3 - 120e3))


def test_once_batteries_are_empty_the_other_side_carries_what_they_supply_now():
    racks, measured = balanced(SITE)
    assert Failover(SITE).emptied(racks, measured) is None
    measured["FEED-A"] = 0.0  # its UPSes and busways carry on
    told = Failover(SITE).emptied(racks, measured)
    assert told.batteries == tuple(f"UPS-A{n}" for n in range(1, 7))
    assert told.carried == pytest.approx(96 * 55e3)
    (feed,) = [n for n in told.takes if n.id == "FEED-B"]
    assert (feed.before, feed.after) == (pytest.approx(96 * 55e3), pytest.approx(96 * 110e3))
    assert told.holds
    assert told.unpowered == ()


def test_a_unit_over_its_limit_already_is_no_consequence_of_the_loss_of_another():
    racks, measured = balanced(SITE)
    measured["UPS-B3"] = 2.5e6
    losses = Failover(SITE).losses(racks, measured)
    assert losses["UPS-A1"].holds
    assert [n.id for n in losses["UPS-A3"].over] == ["UPS-B3"]


def test_stranded_is_what_racks_could_draw_and_the_path_does_not_carry_and_names_what_binds():
    racks, measured = balanced(SITE, 130.0)
    busways = {n.id: n for n in SITE.nodes}
    tight = busways["P01-BUS-B"].model_copy(update={"limit": 1.06e6})
    site = SITE.model_copy(update={"nodes": tuple(tight if n.id == tight.id else n for n in SITE.nodes)})
    rooms = Failover(site).rooms(racks, measured, site_limit=20e6)
    worst = rooms[0]
    assert (worst.pod, worst.limit, worst.lost) == ("P01", "P01-BUS-B", "P01-BUS-A")
    assert worst.built == pytest.approx(8 * 12e3)
    assert worst.usable == pytest.approx(1.06e6 - 8 * 130e3)
    assert worst.stranded == pytest.approx(8 * 12e3 - 20e3)
    assert rooms[-1].stranded == pytest.approx(0.0)


def test_the_sites_limit_binds_where_it_is_the_lowest():
    racks, measured = balanced(SITE, 130.0)
    total = sum(measured[f"FEED-{s}"] for s in "AB")
    rooms = Failover(SITE).rooms(racks, measured, site_limit=total + 10e3)
    assert {(r.limit, r.lost) for r in rooms} == {(SITE.id, "")}
    assert rooms[0].usable == pytest.approx(10e3)


def test_a_site_without_units_above_its_racks_answers_nothing():
    site = demo_site(pods=1).model_copy(update={"nodes": ()})
    assert Failover(site).losses(np.full(8, 1e5), {}) == {}
    (room,) = Failover(site).rooms(np.full(8, 1e5), {}, site_limit=9e5)
    assert (room.limit, room.usable) == (site.id, pytest.approx(1e5))


@pytest.mark.parametrize(
    ("measured", "why"),
    [
        ({"UPS-A1": 100.0, "a": 50.0, "b": 48.0}, None),
        ({"UPS-A1": 100.0, "a": 50.0}, Gap("parts_missing", ("b",))),
        ({"a": 50.0, "b": 48.0}, Gap("own_missing")),
        ({"UPS-A1": 90.0, "a": 50.0, "b": 48.0}, Gap("parts_more")),
    ],
)
def test_attribution_is_incomplete_where_a_part_is_missing_or_the_parts_are_more_than_the_whole(
    measured, why
):
    assert gap("UPS-A1", measured, ["a", "b"]) == why
