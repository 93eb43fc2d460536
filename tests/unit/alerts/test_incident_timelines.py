"""One cause, one page: grouping and inhibition told as timelines, over restarts too."""

import pytest

from alerts.incidents import reach
from alerts.incidents.reach import Reach
from domain.topology import Topology

CDU_WARM = {
    "name": "cdu-warm",
    "kind": "limit",
    "points": ["LiquidTemperature"],
    "above": 40,
    "severity": "critical",
}
RACK_WARM = {
    "name": "rack-warm",
    "kind": "limit",
    "points": ["RackLiquidSupplyTemperature"],
    "above": "coolant_supply",
    "severity": "warning",
}
MUTES = {"when": "cdu-warm", "mutes": ["rack-warm"], "where": "downstream", "recovery": "60 s"}


class Cooling:
    """One CDU, two of the racks that it serves, and a rack that it does not."""

    def __init__(self, lab, **more):
        self.plant = lab(CDU_WARM, {**RACK_WARM, **more}, inhibitions=[MUTES])
        self.supply = self.plant.point("CDU", "LiquidTemperature", "CDU1", unit="Cel")
        self.racks = [
            self.plant.point("Rack", "RackLiquidSupplyTemperature", r, unit="Cel")
            for r in ("R001", "R002", "X900")
        ]

    def at(self, seconds, cdu, *racks):
        """Set the clock, hand in a reading each, look, and return what was told."""
        self.plant.at(seconds)
        self.plant.read(self.supply, cdu)
        self.plant.read(self.racks[: len(racks)], racks)
        return self.plant.step()

    def incident(self):
        (found,) = self.plant.records.incidents(since=0)
        return found

    def members(self):
        return [a.condition.key for a in self.plant.records.incident_members(self.incident().id)]


def test_what_hangs_on_a_cause_is_recorded_and_shown_and_only_the_cause_is_told(lab):
    cooling = Cooling(lab)
    assert cooling.at(0, 44, 43, 43, 43) == [("opened", "cdu-warm/CDU1")]
    assert cooling.at(4, 44, 43, 43, 43) == [("opened", "rack-warm/X900")]  # it hangs on nothing known
    assert set(cooling.plant.active) == {
        "cdu-warm/CDU1",
        "rack-warm/R001",
        "rack-warm/R002",
        "rack-warm/X900",
    }
    incident = cooling.incident()
    assert incident.lead.condition.key == "cdu-warm/CDU1"
    assert (dict(incident.members), incident.active) == ({"rack-warm": 2}, 2)
    assert cooling.members() == ["rack-warm/R001", "rack-warm/R002"]


def test_an_effect_that_is_seen_before_its_cause_waits_a_moment_for_it(lab):
    cooling = Cooling(lab)
    assert cooling.at(0, 30, 43) == []
    assert cooling.at(2, 44, 43) == [("opened", "cdu-warm/CDU1")]
    assert cooling.at(60, 44, 43) == []


def test_an_effect_without_its_cause_is_told_when_it_has_waited(lab):
    cooling = Cooling(lab)
    assert cooling.at(0, 30, 43) == []
    assert cooling.at(2, 30, 43) == []
    assert cooling.at(3, 30, 43) == [("opened", "rack-warm/R001")]
    assert cooling.at(4, 44, 43, 43) == [("opened", "cdu-warm/CDU1")]  # what was told stays told
    assert cooling.at(9, 30, 30, 30) == [("cleared", "cdu-warm/CDU1"), ("cleared", "rack-warm/R001")]


def test_what_recovers_after_its_cause_is_never_told(lab):
    cooling = Cooling(lab)
    cooling.at(0, 44, 43, 43)
    assert cooling.at(10, 30, 43, 43) == [("cleared", "cdu-warm/CDU1")]
    assert cooling.at(69, 30, 43, 30) == []
    assert cooling.at(69.5, 30, 30, 30) == []
    assert cooling.plant.active == {}
    assert cooling.incident().closed == cooling.plant.now - 59_500


def test_what_its_cause_does_not_explain_any_more_is_told_on_its_own(lab):
    cooling = Cooling(lab)
    cooling.at(0, 44, 43, 43)
    assert cooling.at(10, 30, 43, 43) == [("cleared", "cdu-warm/CDU1")]
    assert cooling.at(70, 30, 43, 30) == [("opened", "rack-warm/R001")]
    assert cooling.at(80, 30, 30, 30) == [("cleared", "rack-warm/R001")]


def test_what_comes_while_its_cause_recovers_is_explained_by_it_still(lab):
    cooling = Cooling(lab)
    cooling.at(0, 44, 30)
    assert cooling.at(10, 30, 30) == [("cleared", "cdu-warm/CDU1")]
    assert cooling.at(20, 30, 43) == []
    assert cooling.members() == ["rack-warm/R001"]
    assert cooling.at(69, 30, 43) == []
    assert cooling.at(70, 30, 43) == [("opened", "rack-warm/R001")]


def test_what_is_worse_than_its_cause_is_told(lab):
    plant = lab(
        {**CDU_WARM, "severity": "warning"}, {**RACK_WARM, "severity": "critical"}, inhibitions=[MUTES]
    )
    plant.read(plant.point("CDU", "LiquidTemperature", "CDU1", unit="Cel"), 44)
    plant.read(plant.point("Rack", "RackLiquidSupplyTemperature", "R001", unit="Cel"), 43)
    assert plant.step() == [("opened", "cdu-warm/CDU1")]
    assert plant.at(3).step() == [("opened", "rack-warm/R001")]


@pytest.mark.parametrize("moment", ["while it lasts", "while it recovers"])
def test_a_restart_forgets_no_cause_and_tells_nothing_twice(lab, moment):
    cooling = Cooling(lab)
    assert cooling.at(0, 44, 43, 43) == [("opened", "cdu-warm/CDU1")]
    if moment == "while it recovers":
        assert cooling.at(10, 30, 43, 43) == [("cleared", "cdu-warm/CDU1")]
        cooling.plant.restart()
        assert cooling.at(30, 30, 43, 43) == []
    else:
        cooling.plant.restart()
        assert cooling.plant.at(10).step() == []  # nothing is heard yet
        assert cooling.at(20, 44, 43, 43) == []
        assert cooling.at(30, 30, 43, 43) == [("cleared", "cdu-warm/CDU1")]
    end = 70 if moment == "while it recovers" else 90
    assert cooling.at(end - 1, 30, 43, 43) == []
    assert cooling.at(end, 30, 43, 43) == [("opened", "rack-warm/R001"), ("opened", "rack-warm/R002")]
    assert len(cooling.plant.records.incidents(since=0)) == 1


def test_two_alerts_that_explain_each_other_are_one_page_and_not_none(lab):
    plant = lab(
        {**CDU_WARM, "severity": "critical"},
        {**RACK_WARM, "severity": "critical"},
        inhibitions=[
            MUTES,
            {"when": "rack-warm", "mutes": ["cdu-warm"], "where": "around", "wait": 0},
        ],
    )
    plant.read(plant.point("CDU", "LiquidTemperature", "CDU1", unit="Cel"), 44)
    plant.read(plant.point("Rack", "RackLiquidSupplyTemperature", "R001", unit="Cel"), 43)
    assert plant.step() == [("opened", "cdu-warm/CDU1")]
    assert plant.at(10).step() == []


def test_the_members_of_a_cause_that_is_explained_itself_belong_to_the_root(lab):
    hot = {
        **RACK_WARM,
        "name": "rack-hot",
        "points": ["RackLiquidReturnTemperature"],
        "above": "coolant_return",
    }
    plant = lab(CDU_WARM, RACK_WARM, hot, inhibitions=[MUTES, {"when": "rack-warm", "mutes": ["rack-hot"]}])
    plant.read(plant.point("CDU", "LiquidTemperature", "CDU1", unit="Cel"), 44)
    plant.read(plant.point("Rack", "RackLiquidSupplyTemperature", "R001", unit="Cel"), 43)
    plant.read(plant.point("Rack", "RackLiquidReturnTemperature", "R001", unit="Cel"), 60)
    assert plant.step() == [("opened", "cdu-warm/CDU1")]
    assert plant.at(10).step() == []
    by_lead = {i.lead.condition.key: dict(i.members) for i in plant.records.incidents()}
    assert by_lead["cdu-warm/CDU1"] == {"rack-warm": 1, "rack-hot": 1}


def test_a_cause_reaches_what_it_serves_what_serves_it_and_what_shares_its_work(lab):
    site = lab().site.model_copy(update={"redundancy": {"P1-cooling": ("CDU1", "CDU2")}})
    edges = [("CHILLER", "CDU1"), ("CDU1", "R001"), ("CDU2", "R001"), ("R001", "R001-T01"), ("CDU3", "R009")]
    topology = Topology({}, edges)
    found = Reach(site, lambda: topology)
    assert found.of("CDU1", "same") == {"CDU1"}
    assert found.of("CDU1", "downstream") == {"CDU1", "R001", "R001-T01"}
    assert found.of("CDU1", "around") == {"CHILLER", "CDU1", "CDU2", "R001", "R001-T01", "P1-cooling"}
    assert found.of("P1-cooling", "downstream") == {"P1-cooling", "CDU1", "CDU2", "R001", "R001-T01"}
    found.sources({"broker": frozenset({"PDU-1"})})
    assert found.of("broker", "downstream") == {"broker", "PDU-1"}


def test_the_reach_of_so_many_causes_is_remembered(lab, monkeypatch):
    monkeypatch.setattr(reach, "MOST_REMEMBERED", 2)
    topology = Topology({}, [("A", "B")])
    found = Reach(lab().site, lambda: topology)
    for root in ("A", "B", "C", "A"):
        assert "B" in found.of(root, "downstream") or root == "C"
        assert len(found._known) <= 2


PREDICTED = {
    "name": "foretold",
    "kind": "limit",
    "points": ["TemperatureBreachProbability"],
    "above": "50 %",
    "severity": "warning",
}


def foretold_lab(lab, **more):
    plant = lab(PREDICTED, {**RACK_WARM, "severity": "critical", "takes_over": ["foretold"], **more})
    chance = plant.point("Rack", "TemperatureBreachProbability", "R001", unit="1")
    supply = plant.point("Rack", "RackLiquidSupplyTemperature", "R001", unit="Cel")
    plant.read([chance, supply], [0.8, 35])
    assert plant.step() == [("opened", "foretold/R001")]
    return plant, chance, supply


def test_what_was_foretold_becomes_the_alert_on_what_is_there_and_is_told_as_worse(lab):
    plant, chance, supply = foretold_lab(lab)
    number = plant.active["foretold/R001"].id
    plant.acknowledge("foretold/R001", "watching")
    plant.at(60).read(supply, 43)
    assert plant.step() == [("worsened", "rack-warm/R001")]
    assert {key: a.id for key, a in plant.active.items()} == {"rack-warm/R001": number}
    assert plant.active["rack-warm/R001"].note == "watching"
    assert plant.records.transitions(number)[-1].note == "foretold by foretold"
    assert plant.at(70).step() == []  # it is foretold still, and there is no second alert on it
    plant.at(80).read([chance, supply], [0.0, 30])
    assert plant.step() == [("cleared", "rack-warm/R001")]
    assert plant.active == {}


def test_what_was_foretold_and_is_no_worse_pages_nobody_again(lab):
    plant, _, supply = foretold_lab(lab, severity="warning")
    plant.restart()
    plant.at(60).read(supply, 43)
    assert plant.step() == []
    assert set(plant.active) == {"rack-warm/R001"}


def test_what_is_there_at_once_is_one_alert_though_it_is_foretold_too(lab):
    plant = lab(PREDICTED, {**RACK_WARM, "takes_over": ["foretold"]})
    plant.read(plant.point("Rack", "TemperatureBreachProbability", "R001", unit="1"), 0.8)
    plant.read(plant.point("Rack", "RackLiquidSupplyTemperature", "R001", unit="Cel"), 43)
    assert plant.step() == [("opened", "rack-warm/R001")]
    assert plant.at(60).step() == []
