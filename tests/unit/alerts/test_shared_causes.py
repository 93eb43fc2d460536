"""What many objects have in common is told in their place: a feed, the cooling of a pod. The shipped rules, on a small plant."""

import math

import pytest

from domain.points import Quality

ROUTES = [{"severities": ["critical", "high", "warning"], "channels": ["mail"]}]
NORMAL, ON_BATTERY = 0, 1
OFF, ON = 0, 1
SITE = {
    "id": "lab",
    "name": "Lab",
    "limit": "900 kW",
    "installed": "1 MW",
    "rack_limit": "150 kW",
    "rack_gpus": 72,
    "pods": [
        {"id": "P1", "racks": "R001..004", "cdus": ["P1-CDU1", "P1-CDU2"], "row": 1},
        {"id": "P2", "racks": "R005..006", "cdus": ["P2-CDU1"], "row": 2},
    ],
    "nodes": [
        {"id": "FEED-A", "type": "Feed", "limit": "900 kW", "serves": "UPS-A1..4"},
        {"id": "FEED-B", "type": "Feed", "limit": "900 kW", "serves": "UPS-B1..4"},
        *(
            {"id": f"UPS-{side}{n}", "type": "UPS", "limit": "300 kW", "serves": [f"R00{n}", f"R00{n + 1}"]}
            for side in "AB"
            for n in (1, 2, 3, 4)
        ),
    ],
    "redundancy": {"P1-cooling": ["P1-CDU1", "P1-CDU2"]},
}


class Plant:
    """The shipped rules of power and cooling; everything is well until it is set otherwise."""

    def __init__(self, lab, shipped):
        named = {
            "ups-on-battery",
            "cdu-stopped",
            "coolant-supply-too-warm",
            "gpu-too-hot",
            "gpu-degraded",
            "leak",
        }
        named |= {"supply-lost", "cooling-lost", "racks-too-warm", "incident"}
        rules = [
            r | {"takes_over": ()} for r in shipped.model_dump(by_alias=True)["rules"] if r["name"] in named
        ]
        inhibitions = [
            i | {"mutes": sorted(set(i["mutes"]) & named)}
            for i in shipped.model_dump()["inhibitions"]
            if i["when"] in named and named & set(i["mutes"])
        ]
        self.lab = lab(*rules, site=SITE, inhibitions=inhibitions, routes=ROUTES)
        battery = ((NORMAL, "Normal"), (ON_BATTERY, "OnBattery"))
        running = ((OFF, "Off"), (ON, "On"))
        point = self.lab.point
        self.points = {
            n["id"]: point("UPS", "Status", n["id"], states=battery)
            for n in SITE["nodes"]
            if n["type"] == "UPS"
        }
        for cdu in ("P1-CDU1", "P1-CDU2", "P2-CDU1"):
            self.points[cdu] = point("CDU", "Status", cdu, states=running)
        for rack in (f"R00{n}" for n in range(1, 7)):
            self.points[rack] = point("Rack", "RackLiquidSupplyTemperature", rack, unit="Cel")
            self.points[f"leak {rack}"] = point(
                "Rack", "RackLeakDetect", rack, states=((0, "NoLeak"), (1, "Leak"))
            )
        heat = ((0, "None"), (1, "slowdown_by_heat"))
        self.points["R001-T01-G0"] = point("GPU", "GpuDegraded", "R001-T01-G0", states=heat, associate="R001")
        self.now = {
            name: ON if "CDU" in name else 32.0 if name[0] == "R" and "-" not in name else NORMAL
            for name in self.points
        }

    def at(self, seconds, **changes):
        """Set the clock, change some readings (names with _ for -), look, and return what was told."""
        self.now |= {name.replace("_", "-"): value for name, value in changes.items()}
        self.lab.at(seconds)
        self.lab.read(list(self.points.values()), list(self.now.values()))
        return self.lab.step()

    def during(self, first, last, step=5):
        return [told for second in range(first, last, step) for told in self.at(second)]

    def summary(self, key):
        return self.lab.active[key].condition.summary


@pytest.fixture
def plant(lab, shipped):
    made = Plant(lab, shipped)
    assert made.at(0) == []
    return made


def side(letter, state):
    return {f"UPS_{letter}{n}": state for n in (1, 2, 3, 4)}


def test_a_lost_feed_is_one_page_that_names_the_feed_and_counts_what_hangs_on_it(plant):
    assert plant.at(10, **side("A", ON_BATTERY)) == [("opened", "supply-lost/FEED-A")]
    assert plant.summary("supply-lost/FEED-A") == (
        "FEED-A: supply lost: 4 of 4 UPSes on battery for 0 s; 5 racks on one side"
    )
    assert plant.during(12, 120) == []
    assert len(plant.lab.active) == 5  # the UPSes' alerts are recorded and shown
    assert plant.summary("supply-lost/FEED-A").startswith(
        "FEED-A: supply lost: 4 of 4 UPSes on battery for 1 min 32 s"
    )
    assert plant.at(120, **side("A", NORMAL)) == []
    assert plant.during(122, 400) == [("cleared", "supply-lost/FEED-A")]
    assert plant.lab.active == {}


def test_the_page_comes_when_half_of_the_upses_tell_it(plant):
    assert plant.at(10, UPS_A1=ON_BATTERY) == []
    assert plant.at(12, UPS_A2=ON_BATTERY) == [("opened", "supply-lost/FEED-A")]
    assert plant.during(14, 60) == []


def test_one_ups_on_battery_is_no_lost_feed(plant):
    assert plant.at(10, UPS_A1=ON_BATTERY) == []
    assert plant.during(12, 60) == [("opened", "ups-on-battery/UPS-A1")]


def test_a_ups_that_stays_on_battery_when_the_feed_is_back_is_told_on_its_own(plant):
    plant.at(10, **side("A", ON_BATTERY))
    assert plant.at(60, **(side("A", NORMAL) | {"UPS_A3": ON_BATTERY})) == []
    assert plant.during(62, 90) == []
    assert plant.at(90) == [("cleared", "supply-lost/FEED-A")]
    assert plant.during(92, 150) == []
    assert plant.at(150) == [("opened", "ups-on-battery/UPS-A3")]


def test_what_is_not_known_for_a_moment_is_no_evidence_of_a_feed_that_is_lost_again(plant):
    plant.at(10, **side("A", ON_BATTERY))
    assert plant.during(12, 60) == []
    assert plant.at(60, **side("A", NORMAL)) == []
    assert plant.during(62, 95) == [("cleared", "supply-lost/FEED-A")]
    assert plant.at(96, **side("A", math.nan)) == []
    assert len(plant.lab.active) == 4  # the UPSes' own alerts hold on until it is known
    assert plant.at(98, **side("A", NORMAL)) == []
    assert plant.during(100, 200) == []
    assert plant.lab.active == {}


def test_two_lost_feeds_are_two_pages_and_say_that_no_side_is_left(plant):
    assert plant.at(10, **side("A", ON_BATTERY), **side("B", ON_BATTERY)) == [
        ("opened", "supply-lost/FEED-A"),
        ("opened", "supply-lost/FEED-B"),
    ]
    assert plant.summary("supply-lost/FEED-B").endswith("5 racks on both sides")
    assert plant.during(12, 60) == []


def test_a_leak_is_told_whatever_else_goes_on(plant):
    plant.at(10, **side("A", ON_BATTERY), P1_CDU1=OFF, P1_CDU2=OFF)
    plant.now["leak R002"] = 1
    assert plant.at(12) == [("opened", "leak/R002")]


def test_a_stopped_cdu_is_one_page_and_when_its_partner_follows_the_pod_is(plant):
    assert plant.at(10, P1_CDU1=OFF) == []
    assert plant.during(12, 60) == [("opened", "cdu-stopped/P1-CDU1")]
    assert plant.at(60, P1_CDU2=OFF) == [("opened", "cooling-lost/P1-cooling")]
    assert plant.summary("cooling-lost/P1-cooling") == (
        "P1-cooling: no CDU runs, for 0 s; 4 racks with 288 GPUs heat up"
    )
    assert plant.during(62, 200) == []


def test_racks_that_heat_up_without_cooling_are_not_told_nor_when_they_cool_down_again(plant):
    assert plant.at(10, P1_CDU1=OFF, P1_CDU2=OFF) == [("opened", "cooling-lost/P1-cooling")]
    racks = {f"R00{n}": 45.0 for n in (1, 2, 3, 4)}
    assert plant.at(40, **racks) == []
    assert plant.during(42, 120) == []
    assert "coolant-supply-too-warm/R001" in plant.lab.active
    assert plant.at(120, P1_CDU1=ON, P1_CDU2=ON) == []
    assert plant.during(122, 223) == [("cleared", "cooling-lost/P1-cooling")]
    assert plant.at(224, **dict.fromkeys(racks, 33.0)) == []  # 104 s after the cooling came back
    assert plant.during(226, 500) == []
    assert plant.lab.active == {}


def test_a_gpu_that_is_slowed_down_by_the_heat_is_not_told_without_cooling(plant):
    assert plant.at(10, P1_CDU1=OFF, P1_CDU2=OFF) == [("opened", "cooling-lost/P1-cooling")]
    assert plant.at(40, R001_T01_G0=1) == []
    assert plant.during(42, 140) == []
    assert "gpu-degraded/R001-T01-G0" in plant.lab.active
    assert plant.at(140, P1_CDU1=ON, P1_CDU2=ON, R001_T01_G0=0) == []
    assert plant.during(142, 600) == [("cleared", "cooling-lost/P1-cooling")]
    assert plant.lab.active == {}


def test_a_pod_of_one_cdu_has_no_spare(plant):
    assert plant.at(10, P2_CDU1=OFF) == [("opened", "cooling-lost/P2")]
    assert plant.during(12, 100) == []


def test_racks_too_warm_at_once_are_one_page_though_no_cdu_says_why(plant):
    assert plant.at(10, R001=45.0, R002=45.0, R003=45.0) == []
    assert plant.during(12, 100) == [("opened", "racks-too-warm/P1-cooling")]
    assert plant.summary("racks-too-warm/P1-cooling") == (
        "P1-cooling: 3 of 4 racks that it cools are too warm"
    )


def test_a_feed_and_a_cdu_at_once_are_two_pages(plant):
    assert plant.at(10, **side("A", ON_BATTERY), P1_CDU2=OFF) == [("opened", "supply-lost/FEED-A")]
    assert plant.during(12, 100) == [("opened", "cdu-stopped/P1-CDU2")]


def test_a_restart_in_a_lost_feed_tells_nothing_again_and_still_hides_the_upses(plant):
    plant.at(10, **side("A", ON_BATTERY))
    plant.lab.restart()
    assert plant.lab.at(20).step() == []  # nothing is heard yet
    assert plant.during(22, 120) == []
    plant.lab.restart()
    assert plant.at(130, **side("A", NORMAL)) == []
    assert plant.during(132, 400) == [("cleared", "supply-lost/FEED-A")]


def test_bad_readings_accuse_nobody(plant):
    plant.lab.at(10)
    upses = [plant.points[f"UPS-A{n}"] for n in (1, 2, 3, 4)]
    plant.lab.read(upses, ON_BATTERY, Quality.BAD)
    assert plant.lab.step() == []
    assert plant.lab.at(30).step() == []
