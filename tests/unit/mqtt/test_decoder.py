"""From messages to batches."""

import json

import numpy as np
import orjson
import pytest

from collectors.mqtt.decoder import Decoder
from collectors.mqtt.settings import MqttSettings
from domain.dsx import value_payload
from domain.points import Point, PointRegistry, Quality, Retired
from domain.tray import Sweep, encode, presence_topic, sweep_topic, value_count
from storage.quarantine import PER_MINUTE, read_quarantine

NOW = 1_800_000_000_000
KEY = "PowerMeter/ActivePower/site/m1"


def metadata(unit="kW", key=KEY, **changes):
    object_type, point_type, _ = key.split("/", 2)
    payload = {
        "objectType": object_type,
        "pointType": point_type,
        "engUnit": unit,
        "objectId": "M1",
        "objectName": "M1",
        "servesId": ["R1"],
    } | changes
    return f"BMS/v1/PUB/Metadata/{key}".encode(), orjson.dumps(payload), 0


def value(number, at=NOW, quality=1, key=KEY, publisher="PUB"):
    payload = {"value": number, "timestamp": at, "quality": quality}
    return f"BMS/v1/{publisher}/Value/{key}".encode(), json.dumps(payload).encode(), 0


def sweep(sequence, run=1, at=NOW, gpus=1, number=1.0, rack="R1"):
    told = Sweep(run, sequence, at, gpus, [number] * value_count(gpus))
    return sweep_topic(rack, "T1").encode(), orjson.dumps(encode(told)), 0


@pytest.fixture
def decoder():
    return Decoder(MqttSettings(), PointRegistry())


def test_values_are_converted_once_metadata_is_known(decoder):
    batch = decoder.decode([metadata(), value(28.7), value(19.1, at=NOW + 1)], NOW)
    assert batch.value.tolist() == pytest.approx([28_700, 19_100])
    assert batch.observed.tolist() == [NOW, NOW + 1]
    assert batch.received == NOW


def test_a_value_before_its_metadata_waits_and_then_comes(decoder):
    assert len(decoder.decode([value(1.0), value(2.0, at=NOW + 1)], NOW)) == 0
    assert decoder.parked.keys() == [KEY]
    batch = decoder.decode([metadata(), value(3.0, at=NOW + 2)], NOW)
    assert batch.value.tolist() == [1000, 2000, 3000]
    assert len(decoder.parked) == 0


def test_a_changed_unit_holds_from_then_on(decoder):
    batch = decoder.decode([metadata("kW"), value(1.0), metadata("W"), value(2.0)], NOW)
    assert batch.value.tolist() == [1000, 2]
    assert decoder.counts["units_changed"] == 1


def test_a_meter_that_serves_another_rack_is_another_point_from_then_on(decoder):
    registry = decoder._registry
    before = decoder.decode([metadata(), value(1.0)], NOW).point[0]
    after, later = decoder.decode([metadata(servesId=["R2"]), value(2.0), value(3.0, at=NOW + 1)], NOW).point
    assert before != after == later
    assert (registry[int(after)].serves, registry[int(after)].key) == (("R2",), f"{KEY}~2")
    assert registry[int(before)].retired == Retired.MOVED
    assert (decoder.counts["points_changed"], decoder.counts["points_moved"]) == (1, 1)
    decoder.decode([(f"BMS/v1/PUB/Metadata/{KEY}".encode(), b"", 0)], NOW)
    assert registry[int(after)].retired == Retired.GONE


def test_a_heartbeat_that_is_told_of_another_system_is_watched_there_and_no_longer_here(decoder):
    def beats(of):
        key = "System/HeartbeatTimestampBms/hall/beat"
        told = {
            "objectType": "System",
            "pointType": "HeartbeatTimestampBms",
            "objectId": of,
            "objectName": of,
        }
        return [
            (f"BMS/v1/PUB/Metadata/{key}".encode(), orjson.dumps(told), 0),
            (f"BMS/v1/PUB/Value/{key}".encode(), orjson.dumps(value_payload(NOW / 1000, NOW)), 0),
        ]

    decoder.decode(beats("BMS-A"), NOW)
    decoder.decode(beats("BMS-B"), NOW)
    assert len(decoder.heartbeats.states()) == 1
    alive = [
        p.object_id for p in decoder._registry if p.point_type != "HeartbeatTimestampBms" and not p.retired
    ]
    assert alive == ["BMS-B"]


def test_metadata_told_again_changes_nothing(decoder):
    decoder.decode([metadata(), metadata()], NOW)
    assert decoder._registry.version == 1


def test_bad_quality_is_carried_through(decoder):
    batch = decoder.decode([metadata(), value(1.0, quality=0)], NOW)
    assert batch.quality.tolist() == [Quality.BAD]


def test_a_null_value_is_counted_and_not_stored(decoder):
    assert len(decoder.decode([metadata(), value(None, quality=0), value(None)], NOW)) == 0
    assert decoder.counts["null_values"] == 2


def test_an_integrations_values_belong_to_the_point_that_the_bms_describes(decoder):
    key = "CDU/LiquidTemperatureSpRequest/site/c1"
    told = metadata("C", key=key, integration="MEPAI")
    batch = decoder.decode([told, value(33.0, key=key, publisher="MEPAI")], NOW)
    assert batch.value.tolist() == [33.0]
    assert decoder.points[key].integration == "MEPAI"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ((b"BMS/v1/PUB/Value/" + KEY.encode(), b"{nonsense", 0), "bad_json"),
        ((b"BMS/v1/PUB/Value/" + KEY.encode(), b'{"value":NaN,"timestamp":1,"quality":1}', 0), "bad_json"),
        ((b"BMS/v1/PUB/Value/" + KEY.encode(), b"\xff\xfe", 0), "bad_json"),
        ((b"BMS/v1/PUB/Value/" + KEY.encode(), b"", 0), "bad_json"),
        ((b"BMS/v1/PUB/Value/" + KEY.encode(), b"[]", 0), "not_an_object"),
        ((b"BMS/v1/PUB/Value/" + KEY.encode(), b" " * 300_000, 0), "too_large"),
        ((b"BMS/v1/PUB/Nothing/x", b"{}", 0), "bad_topic"),
        ((b"\xff\xfe", b"{}", 0), "bad_topic"),
        ((b"hallwatch/v1/trays/R1/sweep", b"{}", 0), "bad_topic"),
        ((b"hallwatch/v1/trays/R1/T1/sweep", b"{}", 0), "missing_field"),
        ((b"hallwatch/v1/trays/R1/T1/presence", b"{}", 0), "missing_field"),
        (value("1"), "bad_value"),
        (metadata(objectType="Rack"), "type_mismatch"),
    ],
)
def test_a_poison_message_is_counted_and_the_good_ones_beside_it_are_stored(decoder, message, reason):
    batch = decoder.decode([metadata(), value(1.0), message, value(2.0)], NOW)
    assert batch.value.tolist() == [1000, 2000]
    assert decoder.quarantine.counts[reason] == 1
    assert decoder.counts["refused"] == 1


def test_a_sweep_with_text_among_its_values_is_refused(decoder):
    topic, payload, _ = sweep(1)
    message = orjson.loads(payload)
    message["values"][3] = "12"
    assert len(decoder.decode([(topic, orjson.dumps(message), 0)], NOW)) == 0
    assert decoder.quarantine.counts["wrong_type"] == 1


def test_quarantined_messages_can_be_read_from_the_folder(tmp_path):
    decoder = Decoder(MqttSettings(data=tmp_path), PointRegistry())
    decoder.decode([(b"BMS/v1/PUB/Value/" + KEY.encode(), b"{nonsense", 0)], NOW)
    (record,) = read_quarantine(tmp_path)
    assert (record["reason"], record["payload"]) == ("bad_json", "{nonsense")


def test_a_flood_of_poison_is_counted_but_not_copied(tmp_path):
    decoder = Decoder(MqttSettings(data=tmp_path), PointRegistry())
    decoder.decode([(b"nonsense", b"", 0)] * 1000, NOW)
    assert decoder.quarantine.counts["bad_topic"] == 1000
    assert len(read_quarantine(tmp_path, limit=2000)) <= 2 * PER_MINUTE


def test_times_are_handed_on_as_they_are_told(decoder):
    """Ingest has the one set of bounds: it knows how far each source's clock is off."""
    times = [NOW + 3_600_000, NOW, NOW - 500 * 86_400_000, 0, 2**61]
    batch = decoder.decode([metadata(), *(value(1.0, at=at) for at in times)], NOW)
    assert batch.observed.tolist() == times


def test_parked_values_survive_the_process(tmp_path):
    settings = MqttSettings(data=tmp_path)
    first = Decoder(settings, PointRegistry())
    first.decode([value(1.0)], NOW)
    first.parked.save()
    second = Decoder(settings, PointRegistry())
    assert second.decode([metadata()], NOW).value.tolist() == [1000]


def test_parked_values_are_bounded_and_what_is_dropped_is_counted():
    decoder = Decoder(MqttSettings(parked_values=10), PointRegistry())
    decoder.decode([value(float(n)) for n in range(25)], NOW)
    assert decoder.parked.dropped == 15
    assert decoder.decode([metadata()], NOW).value.tolist() == [n * 1000 for n in range(15, 25)]


def test_what_hallwatch_itself_publishes_is_left_out(decoder):
    key = "PowerMeter/ActivePower/hallwatch/PowerMeter/ActivePower/snmp/x"
    assert len(decoder.decode([metadata(key=key), value(1.0, key=key)], NOW)) == 0
    assert decoder.counts["ignored"] == 2


def test_a_sweep_becomes_a_row_for_each_reading(decoder):
    batch = decoder.decode([sweep(0, gpus=4)], NOW)
    assert len(batch) == value_count(4)
    assert len(set(batch.point.tolist())) == value_count(4)


def test_a_null_in_a_sweep_has_no_row(decoder):
    topic, payload, _ = sweep(0)
    message = orjson.loads(payload)
    message["values"][0] = None
    batch = decoder.decode([(topic, orjson.dumps(message), 0)], NOW)
    assert len(batch) == value_count(1) - 1
    assert not np.isnan(batch.value).any()


def test_presence_becomes_a_reading(decoder):
    topic = presence_topic("R1", "T1").encode()
    batch = decoder.decode([(topic, b'{"online":true,"host":"node-1","gpus":[{},{}]}', 0)], NOW)
    assert batch.value.tolist() == [1]
    assert decoder._registry[int(batch.point[0])].object_name == "node-1"
    assert decoder.decode([(topic, b'{"online":false}', 0)], NOW).value.tolist() == [0]


def test_an_xid_error_becomes_a_reading_at_its_own_time(decoder):
    topic, payload, _ = sweep(0)
    message = orjson.loads(payload) | {"events": [[0, 79, NOW - 300]]}
    batch = decoder.decode([(topic, orjson.dumps(message), 0)], NOW)
    (row,) = [i for i, p in enumerate(batch.point) if decoder._registry[int(p)].point_type == "GpuXid"]
    assert (batch.value[row], batch.observed[row]) == (79, NOW - 300)


def counts_after(decoder, *messages):
    decoder.decode(messages, NOW)
    return dict(decoder.trays.counts), decoder.trays.missing()


def test_sweeps_in_order_leave_nothing_missing(decoder):
    counts, missing = counts_after(decoder, *[sweep(n) for n in range(5)])
    assert counts == {"sweeps": 5, "sequences_begun": 1}
    assert missing == 0


def test_a_gap_is_seen_and_closed_by_the_spool(decoder):
    assert counts_after(decoder, sweep(0), sweep(4))[1] == 3
    counts, missing = counts_after(decoder, sweep(1), sweep(2))
    assert (counts["sweeps_skipped"], counts["sweeps_late"], missing) == (3, 2, 1)


def test_a_gap_as_long_as_the_time_that_has_passed_costs_no_memory(decoder):
    day = 86_400_000
    counts, missing = counts_after(
        decoder, sweep(0, at=NOW - day), sweep(800_000), sweep(5), sweep(6), sweep(799_999)
    )
    assert (counts["sweeps_late"], missing) == (3, 799_999 - 3)


def test_a_repeated_sweep_is_counted_once_more_and_stored_again(decoder):
    counts, missing = counts_after(decoder, sweep(0), sweep(1), sweep(1), sweep(0))
    assert (counts["sweeps_repeated"], missing) == (2, 0)


def test_an_agent_that_continues_its_sequence_after_a_restart_has_no_gap(decoder):
    counts, missing = counts_after(decoder, sweep(7, run=1), sweep(8, run=2))
    assert (counts["sequences_begun"], missing) == (1, 0)


def test_an_agent_without_a_spool_begins_anew(decoder):
    counts, missing = counts_after(decoder, sweep(7, run=1), sweep(0, run=2), sweep(1, run=2))
    assert (counts["sequences_begun"], missing) == (2, 0)


def test_a_bms_is_alive_while_its_heart_beats_and_gone_within_thirty_seconds():
    clock = [0.0]
    decoder = Decoder(MqttSettings(), PointRegistry())
    decoder.heartbeats._clock = lambda: clock[0]
    key = "System/HeartbeatTimestampBms/site/heartbeat"
    beat = metadata("s", key=key, servesId=[], objectId="BMS", objectName="BMS")
    assert decoder.alive_rows(NOW) is None
    decoder.decode([beat, value(1.0, key=key)], NOW)
    clock[0] = 20.0
    assert decoder.alive_rows(NOW).value.tolist() == [1]
    clock[0] = 25.0
    assert decoder.alive_rows(NOW).value.tolist() == [0]
    decoder.decode([value(2.0, key=key)], NOW)
    assert decoder.alive_rows(NOW).value.tolist() == [1]
    assert decoder.heartbeats.beats["BMS"].gone == 1


def test_many_points_grow_the_tables(decoder):
    keys = [f"PowerMeter/ActivePower/site/m{n}" for n in range(3000)]
    decoder.decode([metadata(key=key) for key in keys], NOW)
    batch = decoder.decode([value(float(n), key=key) for n, key in enumerate(keys)], NOW)
    assert batch.value.tolist() == [n * 1000.0 for n in range(3000)]
    assert len(set(batch.point.tolist())) == 3000


# --- what becomes of a point ------------------------------------------------------------------------------------------


def test_an_empty_retained_payload_retires_the_point_and_its_metadata_brings_it_back(decoder):
    registry = decoder._registry
    decoder.decode([metadata(), value(1.0)], NOW)
    topic = metadata()[0]
    assert len(decoder.decode([(topic, b"", 0), value(2.0)], NOW)) == 0
    assert registry[0].retired == Retired.GONE
    assert (decoder.known, decoder.counts["points_retired"], decoder.counts["parked"]) == (0, 1, 1)
    assert decoder.decode([metadata()], NOW).value.tolist() == [2000]
    assert registry[0].retired == ""


def test_only_the_bms_retires_its_points(decoder):
    decoder.decode([metadata()], NOW)
    topic = metadata()[0].replace(b"PUB", b"ROGUE")
    assert decoder.decode([(topic, b"", 0), value(1.0)], NOW).value.tolist() == [1000]
    assert decoder.quarantine.counts["metadata_not_from_bms"] == 1


def test_a_point_of_another_source_is_not_retired():
    registry = PointRegistry([Point(KEY, "PowerMeter", "ActivePower", "M1", unit="W", source="snmp:x")])
    Decoder(MqttSettings(), registry).decode([(metadata()[0], b"", 0)], NOW)
    assert registry[0].retired == ""


def test_a_heartbeat_that_is_retired_beside_its_beat_is_expected_no_more(decoder):
    key = "System/HeartbeatTimestampBms/site/heartbeat"
    beat = metadata("s", key=key, servesId=[], objectId="BMS", objectName="BMS")
    decoder.decode([beat, value(1.0, key=key)], NOW)
    batch = decoder.decode([value(1.0, key=key), (beat[0], b"", 0)], NOW)
    assert len(batch) == 1
    assert decoder.alive_rows(NOW) is None


def test_a_state_that_has_no_name_is_bad(decoder):
    key = "CDU/Status/c"
    states = [{"value": 0, "text": "Off"}, {"value": 1, "text": "On"}]
    payload = {
        "objectType": "CDU",
        "pointType": "Status",
        "objectId": "C",
        "objectName": "C",
        "stateText": states,
    }
    told = [value(n, at=NOW + i, key=key) for i, n in enumerate((0, 1, 2, 0.5, -1, 1e300, 1))]
    batch = decoder.decode([(f"BMS/v1/PUB/Metadata/{key}".encode(), orjson.dumps(payload), 0), *told], NOW)
    assert batch.quality.tolist() == [1, 1, 0, 0, 0, 0, 1]
    (found,) = decoder.findings.rows()
    assert (found["reason"], found["topic"], found["count"]) == (
        "unknown_state",
        f"BMS/v1/PUB/Value/{key}",
        4,
    )


def test_what_changed_of_metadata_is_told(decoder):
    decoder.decode([metadata(), metadata("W", servesId=["R9"])], NOW)
    (found,) = decoder.findings.rows()
    assert (found["reason"], found["detail"]) == ("metadata_changed", "serves, unit")
