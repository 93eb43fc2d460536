"""Silent sources: one alert a source, one for the broker that took them all, none for a service just started."""

from dataclasses import replace

RULE = {
    "name": "silent",
    "kind": "stale_source",
    "after": "60 s",
    "heartbeat_after": "45 s",
    "overrides": [{"sources": "dsx:*", "after": "240 s"}],
    "shared": [
        {"name": "MQTT broker", "sources": ["dsx:*", "tray:*"], "share": "90 %", "severity": "critical"}
    ],
    "ignore": ["replay:*"],
    "severity": "warning",
}
UP = ((0, "Down"), (1, "Up"))


def pdu(plant, name):
    """A polled device: three readings and its own health."""
    source = f"snmp:{name}"
    readings = [
        plant.point("PowerMeter", kind, name, source=source, unit=unit)
        for kind, unit in (("ActivePower", "W"), ("Voltage", "V"), ("Current", "A"))
    ]
    return [*readings, plant.point("Device", "DeviceUp", name, source=source, states=UP)]


def trays(plant, n=20):
    return [
        plant.point("Tray", "SweepsTaken", f"R001-T{i:02d}", source=f"tray:R001-T{i:02d}", unit="count")
        for i in range(1, n + 1)
    ]


def test_a_source_that_falls_silent_is_one_alert_and_not_one_a_point(lab):
    plant = lab(RULE)
    one, two = pdu(plant, "PDU-1"), pdu(plant, "PDU-2")
    plant.read([*one, *two], 1)
    assert plant.step() == []
    plant.at(50).read(two, 1)
    assert plant.at(60).step() == []
    assert plant.at(61).step() == [("opened", "silent/PDU-1")]
    assert plant.active["silent/PDU-1"].condition.summary == (
        "PDU-1 (snmp:PDU-1): nothing heard for 61 s, limit 60 s"
    )
    plant.at(70).read(one, 1)
    plant.read(two, 1)
    assert plant.step() == [("cleared", "silent/PDU-1")]


def test_a_device_that_does_not_answer_is_told_by_its_collector(lab):
    plant = lab(RULE)
    points = pdu(plant, "PDU-1")
    plant.read(points, 1)
    assert plant.step() == []
    plant.at(10).read(points[-1], 0)
    assert plant.step() == [("opened", "silent/PDU-1")]
    assert "the device does not answer" in plant.active["silent/PDU-1"].condition.summary
    for second in range(20, 200, 10):  # the collector goes on saying so
        plant.at(second).read(points[-1], 0)
        assert plant.step() == []
    plant.at(200).read(points, 1)
    assert plant.step() == [("cleared", "silent/PDU-1")]


def test_a_bms_whose_heartbeat_stops_is_silent_though_old_values_still_come(lab):
    plant = lab(RULE)
    beat = plant.point("System", "HeartbeatTimestampBms", "BMS", source="dsx:bms", unit="s")
    value = plant.point("Rack", "RackPower", "R001", source="dsx:bms")
    plant.read([beat, value], 1)
    assert plant.step() == []
    for second in (20, 40):
        plant.at(second).read(value, 1)
        assert plant.step() == []
    assert plant.at(46).step() == [("opened", "silent/dsx:bms")]
    assert plant.active["silent/dsx:bms"].condition.summary == ("dsx:bms: no heartbeat for 46 s, limit 45 s")


def test_a_bms_without_a_heartbeat_is_judged_by_its_readings(lab):
    plant = lab(RULE)
    value = plant.point("Rack", "RackPower", "R001", source="dsx:bms")
    plant.read(value, 1)
    assert plant.step() == []
    assert plant.at(240).step() == []
    assert plant.at(241).step() == [("opened", "silent/dsx:bms")]


def test_a_lost_broker_is_one_alert_and_not_one_a_tray(lab):
    plant = lab({**RULE, "for": "10 s"})
    points = trays(plant)
    meter = pdu(plant, "PDU-1")
    plant.read([*points, *meter], 1)
    told = plant.step()
    for second in range(0, 200, 5):
        plant.at(second).read(meter, 1)
        if second == 5:
            plant.read(points[:10], 1)  # half of them are heard a little longer
        told += plant.step()
    assert told == [("opened", "silent/MQTT broker")]
    broker = plant.active["silent/MQTT broker"].condition
    assert broker.severity.value == "critical"
    assert broker.summary == "MQTT broker: 20 of the 20 sources behind it are silent"

    plant.at(200).read(meter, 1)
    plant.read(points[:19], 1)
    assert plant.step() == [("cleared", "silent/MQTT broker")]
    plant.at(210).read([*points[:19], *meter], 1)
    assert plant.step() == [("opened", "silent/tray:R001-T20")]


def test_one_silent_tray_of_many_is_its_own_alert(lab):
    plant = lab(RULE)
    points = trays(plant)
    plant.read(points, 1)
    plant.step()
    plant.at(61).read(points[1:], 1)
    assert plant.step() == [("opened", "silent/tray:R001-T01")]


def test_a_service_that_has_just_started_calls_nobody_silent(lab):
    plant = lab(RULE)
    meter = pdu(plant, "PDU-1")
    assert plant.step() == []
    assert plant.at(60).step() == []
    assert plant.at(61).step() == [("opened", "silent/PDU-1")]  # never heard at all
    plant.restart()
    assert plant.at(100).step() == []
    plant.at(130).read(meter, 1)
    assert plant.step() == [("cleared", "silent/PDU-1")]


def test_an_alert_on_a_source_that_is_not_announced_after_a_restart_holds_on(lab):
    plant = lab(RULE)
    plant.read(pdu(plant, "PDU-1"), 1)
    plant.step()
    assert plant.at(61).step() == [("opened", "silent/PDU-1")]
    plant.registry = type(plant.registry)()
    plant.restart()
    assert plant.at(400).step() == []
    assert "silent/PDU-1" in plant.active


def test_ignored_sources_may_fall_silent(lab):
    plant = lab(RULE)
    plant.read(plant.point("Rack", "RackPower", "R001", source="replay:capture"), 1)
    assert plant.step() == []
    assert plant.at(9999).step() == []


def test_points_that_are_announced_later_are_watched_too(lab):
    plant = lab(RULE)
    plant.read(pdu(plant, "PDU-1"), 1)
    plant.step()
    plant.at(30)
    late = pdu(plant, "PDU-2")
    plant.read(late, 1)
    plant.step()
    registry = plant.registry
    registry.register(
        replace(registry[registry.index("PowerMeter/ActivePower/PDU-2")], object_name="renamed")
    )
    plant.at(89).read(pdu(plant, "PDU-1"), 1)
    assert plant.step() == []
    assert plant.at(91).step() == [("opened", "silent/PDU-2")]


QUICK = {
    **RULE,
    "for": "10 s",
    "shared": [
        {"name": "MQTT broker", "sources": ["dsx:*", "tray:*"], "share": "90 %", "after": "20 s"},
        {"name": "SW-1", "sources": ["tray:R001-T0*"], "share": "90 %", "after": "20 s"},
    ],
}
EXPLAINS = {"when": "silent", "mutes": ["silent"], "where": "same", "wait": "15 s"}


def test_many_that_fall_silent_at_once_are_told_long_before_each_would_be(lab):
    plant = lab(QUICK, inhibitions=[EXPLAINS])
    points = trays(plant)
    beat = plant.point("System", "HeartbeatTimestampBms", "BMS", source="dsx:bms", unit="s")
    told = []
    for second in range(0, 300, 5):
        if second <= 30:
            plant.at(second).read([*points, beat], 1)
        told += [(second, *event) for event in plant.at(second).step()]
    assert told == [(65, "opened", "silent/MQTT broker")]  # not heard for over 20 s, for 10 s


def test_after_our_own_start_nobody_is_blamed_before_the_full_time(lab):
    plant = lab(QUICK, inhibitions=[EXPLAINS])
    points = trays(plant)
    plant.read(points, 1)
    plant.step()
    plant.at(10).restart()
    told = []
    for second in range(10, 100, 5):
        told += [(second, *event) for event in plant.at(second).step()]
    assert told == [(85, "opened", "silent/MQTT broker")]


def test_a_switch_behind_which_all_is_silent_is_blamed_and_the_broker_is_not(lab):
    plant = lab(QUICK, inhibitions=[EXPLAINS])
    points = trays(plant)
    told = []
    for second in range(0, 300, 5):
        plant.at(second).read(points if second <= 30 else points[9:], 1)
        told += [(second, *event) for event in plant.step()]
    assert told == [(65, "opened", "silent/SW-1")]


def test_a_source_told_before_its_path_is_shown_under_it_and_not_told_when_the_path_is_back(lab):
    plant = lab({**QUICK, "for": 0}, inhibitions=[EXPLAINS])
    points = trays(plant, 10)
    for second in range(0, 70, 5):
        plant.at(second).read(points[1:], 1)
        assert plant.step() == []  # one tray was never heard; it waits for what may explain it
    assert "silent/tray:R001-T01" in plant.active
    plant.at(75)
    assert plant.step() == []
    told = [event for second in range(80, 120, 5) for event in plant.at(second).step()]
    assert told[0] == ("opened", "silent/tray:R001-T01")  # nothing else is silent for so long
    assert told[1:] == [("opened", "silent/MQTT broker")]
    (incident,) = [i for i in plant.records.incidents() if i.lead.condition.object_id == "MQTT broker"]
    assert dict(incident.members) == {"silent": 1}
