"""Data health: what is wrong with the data comes first."""

from __future__ import annotations

import math

from dashboard.registry import section
from domain.batch import Batch

MQTT = {
    "connected": True, "error": "", "messages": 12345, "violations": {"no metadata": 3}, "trays": 8, "trays_online": 8,
    "heartbeats": {"BMS": {"alive": True, "gone": False}}, "subscriptions_refused": {}, "violations_recent": [],
}  # fmt: skip
SNMP = {
    "devices": 3,
    "up": 3,
    "down": {},
    "partly": {},
    "doubts": {},
    "corrections": {},
    "lateness_p99_s": 0.2,
}


def told(hall, table):
    return [[cell[0] for cell in row["cells"]] for row in section(hall.data, "health")[table]]


def figure(hall, name):
    return section(hall.data, "health")["cells"][f"health-{name}"]


def test_where_nothing_is_wrong_each_table_says_so(hall):
    hall.tick()
    hall.sources = {"mqtt bms": MQTT, "snmp": SNMP}
    assert told(hall, "troubles") == [["Nothing is wrong"]]
    assert told(hall, "violations") == [["None since the start"]]
    assert told(hall, "quarantine") == [["Nothing was set aside since the start"]]
    assert figure(hall, "troubles-count") == ["0", ""]
    assert figure(hall, "trays") == ["8 of 8", ""]
    assert figure(hall, "lag") == ["0.2 s", ""]


def test_a_collectors_line_says_how_it_is_before_its_counters(hall):
    hall.sources = {"mqtt bms": MQTT, "snmp": SNMP | {"up": 2, "down": {"UPS-A1": "timed out"}}}
    mqtt, snmp = told(hall, "sources")
    assert mqtt[:2] == ["mqtt bms", "connected, 8 of 8 trays online"]
    assert "messages 12\u2009345" in mqtt[2]
    assert "violations no metadata 3" in mqtt[2]
    assert snmp[1] == "2 of 3 answer"


def test_what_is_wrong_is_told_the_gravest_first(hall):
    hall.tick()
    hall.sources = {
        "mqtt bms": MQTT
        | {"connected": False, "error": "refused", "trays_online": 7, "heartbeats": {"BMS": {"gone": True}}},
        "snmp": SNMP
        | {
            "up": 2,
            "down": {"UPS-A1": "timed out"},
            "partly": {"PDU-1": "3 readings beyond the 500"},
            "doubts": {"PDU-2": ["outletPower: scale doubtful: 1.2 MW"]},
        },
    }
    assert [row[:2] for row in told(hall, "troubles")] == [
        ["mqtt bms", "not connected: refused"],
        ["mqtt bms BMS", "its heart no longer beats"],
        ["mqtt bms", "1 tray is offline"],
        ["UPS-A1", "does not answer: timed out"],
        ["PDU-1", "answers in part: 3 readings beyond the 500"],
        ["PDU-2", "outletPower: scale doubtful: 1.2 MW"],
    ]
    assert figure(hall, "down") == ["1 of 3", "warning"]
    marks = [row["mark"] for row in section(hall.data, "health")["troubles"]]
    assert marks == ["critical", "critical", "warning", "warning", "warning", "warning"]
    assert [row["mark"] for row in section(hall.data, "health")["sources"]] == ["warning", "warning"]
    hall.now += 200_000  # all of the plant falls silent
    assert told(hall, "troubles")[-1][1:] == ["told nothing in the last three minutes", "3 min"]


def test_violations_are_told_by_topic_and_what_was_set_aside_is_shown(hall):
    finding = {
        "reason": "not_json",
        "meaning": "no JSON",
        "topic": "BMS/v1/x",
        "detail": "line 1",
        "count": 7,
    }
    sample = {
        "received": hall.now,
        "reason": "not_json",
        "detail": "line 1",
        "topic": "BMS/v1/x",
        "payload": "<b>" * 90,
    }
    hall.sources = {
        "mqtt bms": MQTT
        | {
            "violations": {"not_json": 7},
            "violations_by_topic": [
                finding | {"tolerated": True, "reason": "late"},
                finding | {"tolerated": False},
            ],
            "violations_recent": [sample],
        }
    }
    first, second = told(hall, "violations")
    assert first == ["not json", "BMS/v1/x", "line 1", "7", "set aside"]
    assert second[-1] == "used all the same"
    ((_, reason, topic, shown, _),) = told(hall, "quarantine")
    assert (reason, topic, len(shown)) == ("not json", "BMS/v1/x", 200)
    assert figure(hall, "refused") == ["7", "warning"]


def test_a_reading_that_cannot_be_is_a_sample_too(hall):
    hall.tick()
    points = hall.registry.select("Rack", "RackPower")[:1]
    hall.accept(Batch.of(points, [hall.now - 4000 * 86_400_000], [1.0]))
    hall.data._counters = lambda: {
        **hall.ingest.counters.as_dict(),
        "quarantine": dict(hall.ingest.quarantine.counts),
        "quarantine_recent": list(hall.ingest.quarantine.recent),
    }
    ((_, reason, point, value, _),) = told(hall, "quarantine")
    assert reason
    assert point == hall.registry[int(points[0])].key
    assert value == "1.0"
    assert figure(hall, "aside")[0] == "1"
    assert math.isfinite(hall.ingest.counters.quarantined)
