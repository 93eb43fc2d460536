"""Incidents: what a browser is sent of what leads, and of what hangs on it."""

import json
from dataclasses import replace

import orjson
import pytest

from alerts import suppressor
from analytics.anomaly.incidents import Cause, Incident
from analytics.anomaly.signatures import FAULTS
from analytics.live.found import as_text
from dashboard import alarm_frames, incident_frames
from dashboard.words import speaking, term
from domain.alert import Severity
from domain.said import Said, Term
from domain.suppression import Suppression, SuppressionKind
from storage.incident_records import FORETOLD
from tests.system.console_plant import condition

CDU = "P01-CDU1"


@pytest.fixture
def storm(bare):
    """A CDU of the first pod that trips, two racks beneath it, and a leak elsewhere."""
    bare.tick()
    hot = [condition("temperature", rack, Severity.WARNING) for rack in ("R002", "R003")]
    leak = condition("leak", "R012", Severity.WARNING, summary="R012 leaks")
    tripped = condition("cdu-down", CDU, Severity.WARNING, summary=f"{CDU} is down")
    bare.lead, *bare.below, bare.leak = bare.records.open_alerts([tripped, *hot, leak], bare.now)
    bare.records.keep_incidents(
        [bare.lead.id, bare.leak.id], {a.id: bare.lead.id for a in bare.below}, bare.now
    )
    bare.now += 2000
    return bare


def plain(payload):
    return json.loads(orjson.dumps(payload))


def test_an_incident_is_a_card_with_what_hangs_on_it_and_a_lone_alarm_stands_aside(storm):
    told = plain(incident_frames.incidents(storm.data))
    (card,) = told["open"]
    assert (card["object"], card["members"], card["active"]) == (CDU, 2, 2)
    assert card["below"] == "2 \u00d7 temperature"
    assert [c["object"] for c in told["alone"]] == ["R012"]
    assert told["past"] == []
    assert told["cells"]["incidents-open"] == ["1 incident", "warning"]


def test_the_cause_is_what_the_anomaly_watch_says_with_evidence_and_alternatives(storm):
    cause = incident_frames.incident(storm.data, str(storm.lead.id))["cause"]
    assert (cause["root"], cause["alternatives"]) == (CDU, None)
    assert cause["evidence"] == [f"{CDU} is down"]
    storm.watched.append(
        {
            "root": CDU, "class": "pump_wear", "evidence": ["flow: 3.1 times its limit"], "alternatives": ["P01-CDU2"],
            "members": ["R002"], "since": storm.now,
        }
    )  # fmt: skip
    storm.now += 2000
    cause = plain(incident_frames.incident(storm.data, str(storm.lead.id)))["cause"]
    assert cause == {
        "root": CDU, "fault": "pump wear", "evidence": [f"{CDU} is down", "flow: 3.1 times its limit"],
        "alternatives": ["P01-CDU2"],
    }  # fmt: skip
    assert "likely cause: P01-CDU1, pump wear" in incident_frames.incidents(storm.data)["open"][0]["cause"]


def test_what_speaks_for_a_cause_is_told_in_the_language_of_whoever_asks(storm):
    cause = Cause(
        CDU,
        "pump",
        frozenset({"R002"}),
        (
            Said.of("times_its_limit", what=Term("signal", "pump head"), times="3.1"),
            Said.of("served_anomalous", n=1, all=8, root=CDU),
        ),
        4.0,
    )
    storm.watched.append(
        orjson.loads(orjson.dumps(as_text(Incident(1, cause, storm.now, storm.now, 60_000, {"R002"}))))
    )
    storm.now += 2000
    with speaking("zh-Hant"):
        told = incident_frames.incident(storm.data, str(storm.lead.id))["cause"]
    assert (told["root"], told["fault"]) == (CDU, "泵浦")
    assert told["evidence"][1:] == ["泵浦揚程：為其限值的 3.1 倍", "P01-CDU1 所供應的 8 項設備中有 1 項異常"]
    english = incident_frames.incident(storm.data, str(storm.lead.id))["cause"]["evidence"]
    assert english[1:] == ["pump head: 3.1 times its limit", "1 of 8 that P01-CDU1 serves are anomalous"]


def test_what_hallwatch_itself_notes_on_an_alarm_is_told_in_the_language_of_whoever_asks():
    kept = Suppression(1, SuppressionKind.SHELVED, "leak", "R001", False, True, 0, 0, "anna", "dry run: ours")
    with speaking("zh-Hant"):
        assert alarm_frames.noted(suppressor.told(kept)) == "擱置至解除為止：dry run: ours"
        assert alarm_frames.noted(suppressor.told(replace(kept, once=False))) == "擱置：dry run: ours"
        assert (
            alarm_frames.noted(f"{FORETOLD}quarter-hour-will-exceed")
            == "由 quarter-hour-will-exceed 預先告警"
        )
        assert alarm_frames.noted("nobody took it within 24 h") == "24 小時內無人受理"
        assert alarm_frames.noted("on my way") == "on my way"
    assert alarm_frames.noted("nobody took it within 24 h") == "nobody took it within 24 h"


def test_the_state_that_keeps_an_alarm_quiet_is_told_in_the_language_of_whoever_asks(storm):
    storm.records.add_suppression(
        SuppressionKind.MODE, "*", CDU, storm.now, 0, "hallwatch", f"{CDU} is in Standby"
    )
    storm.now += 2000
    (row,) = alarm_frames.quiet(storm.data)["rows"]
    assert row["why"] == f"hallwatch: {CDU} is in Standby"
    with speaking("zh-Hant"):
        (row,) = alarm_frames.quiet(storm.data)["rows"]
    assert row["why"] == f"hallwatch: {CDU} 處於「待機」"


def test_its_page_shows_the_alarms_beneath_what_was_affected_and_what_happened_when(storm):
    storm.data.alarms.acknowledge(storm.lead.id, "anna", "on my way")
    storm.data.alarms.act({"act": "comment", "id": storm.lead.id, "reason": "valve 3 sticks"}, "ben")
    storm.records.clear_alerts([storm.below[0].id], storm.now)
    storm.now += 2000
    told = plain(incident_frames.incident(storm.data, str(storm.lead.id)))
    assert {row["id"] for row in told["members"]} == {a.id for a in storm.below}
    assert told["racks"] == [f"R{n:03d}" for n in range(1, 9)]  # all that the CDU serves
    assert told["cells"]["incident-gpus"][0] == "576"
    assert told["cells"]["incident-active"][0] == "1"
    steps = [[cell[0] for cell in row["cells"]] for row in told["steps"]]
    assert [CDU, "cdu-down", "taken", "anna: on my way"] in [step[1:] for step in steps]
    assert [step[3] for step in steps if step[1] == "R002"] == ["active", "over"]
    assert steps == sorted(steps, key=lambda step: step[0])
    assert any(cells[2][0] == "valve 3 sticks" for cells in (row["cells"] for row in told["notes"]))


def test_the_header_counts_what_asks_for_somebody_not_what_another_alarm_explains(storm):
    assert sum(storm.data.header().alerts.values()) == 2  # the CDU and the leak, not the two warm racks


def test_what_another_alarm_explains_is_not_listed_as_one_that_may_lead(storm):
    everything = [storm.lead.id, storm.leak.id, storm.below[0].id]  # a warm rack may lead, too
    storm.records.keep_incidents(everything, {a.id: storm.lead.id for a in storm.below}, storm.now)
    storm.now += 2000
    assert [c["object"] for c in incident_frames.incidents(storm.data)["alone"]] == ["R012"]


def test_what_hangs_on_a_pods_cooling_are_its_racks_though_none_has_an_alarm_yet(bare):
    bare.tick()
    lost = condition("cooling-lost", "P01-cooling", Severity.CRITICAL)
    lead, *below = bare.records.open_alerts(
        [
            lost,
            condition("cdu-stopped", CDU, Severity.HIGH),
            condition("cdu-stopped", "P01-CDU2", Severity.HIGH),
        ],
        bare.now,
    )
    bare.records.keep_incidents([lead.id], {a.id: lead.id for a in below}, bare.now)
    told = plain(incident_frames.incident(bare.data, str(lead.id)))
    assert told["racks"] == [f"R{n:03d}" for n in range(1, 9)]


def test_a_cause_that_came_back_says_since_when_and_how_often(storm):
    day = 86_400_000
    storm.watched.append(
        {
            "root": CDU, "class": "filter", "evidence": [], "alternatives": [], "members": [],
            "since": storm.now - 2 * day, "returned": [storm.now - day, storm.now],
        }
    )  # fmt: skip
    told = plain(incident_frames.incident(storm.data, str(storm.lead.id)))["cause"]["evidence"]
    assert told[-1].startswith("the same incident again: first found ")
    assert ", came back 2 times, last " in told[-1]


def test_racks_where_the_anomaly_watch_saw_it_are_affected_too(storm):
    storm.watched.append(
        {
            "root": "R012",
            "class": "leak",
            "evidence": [],
            "alternatives": [],
            "members": ["R013"],
            "since": storm.now,
        }
    )
    told = plain(incident_frames.incident(storm.data, str(storm.leak.id)))
    assert told["racks"] == ["R012", "R013"]


def test_an_incident_that_is_over_is_listed_among_the_past_ones_and_tells_how_long_it_lasted(storm):
    everything = [storm.lead.id, *(a.id for a in storm.below)]
    storm.now += 600_000
    storm.records.clear_alerts(everything, storm.now)
    storm.records.keep_incidents([storm.leak.id], {}, storm.now)
    storm.now += 60_000
    told = plain(incident_frames.incidents(storm.data))
    assert told["open"] == []
    assert [c["object"] for c in told["past"]] == [CDU]
    page = incident_frames.incident(storm.data, str(storm.lead.id))
    assert page["cells"]["incident-lasted"][0].endswith("for 10 min")
    assert len(page["members"]) == 2


@pytest.mark.parametrize("which", ["999", "<script>", ""])
def test_what_leads_no_incident_says_so(storm, which):
    told = plain(incident_frames.incident(storm.data, which))
    assert not told["known"]
    assert told["cells"]["incident-title"][0] == f"Alert {which} leads no incident"


def test_in_a_storm_the_cause_stands_on_top_of_what_is_as_urgent(storm):
    rows = plain(alarm_frames.alerts(storm.data))["rows"]
    assert [row["object"] for row in rows[:3]] == [CDU, "R002", "R003"] or [row["object"] for row in rows[:3]] == [
        CDU, "R003", "R002",
    ]  # fmt: skip
    assert rows[0]["explains"] == 2
    assert rows[3]["object"] == "R012"


def test_every_class_of_fault_has_a_name_in_every_language():
    for fault in FAULTS:
        with speaking("zh-Hant"):
            assert fault == "NVLink" or term("fault", fault) != fault
