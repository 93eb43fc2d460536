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
