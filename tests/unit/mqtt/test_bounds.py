"""Nobody who publishes takes more than a stated bound: the rows of docs/limits.md, section MQTT."""

import os
import threading

import orjson
import pytest

from collectors.mqtt.decoder import HEARTBEATS_MAX, Decoder
from collectors.mqtt.findings import Findings
from collectors.mqtt.parked import Parked
from collectors.mqtt.settings import MqttSettings
from domain import dsx
from domain.errors import ContractViolation
from domain.points import PointRegistry
from domain.tray import EVENTS_MAX, NAME_LENGTH, Sweep, encode, presence_topic, sweep_topic, value_count
from storage.quarantine import Quarantine

NOW = 1_800_000_000_000
KEY = "PowerMeter/ActivePower/site/m1"


def metadata(key=KEY, **changes):
    object_type, point_type, _ = key.split("/", 2)
    payload = {
        "objectType": object_type,
        "pointType": point_type,
        "engUnit": "kW",
        "objectId": "M1",
        "objectName": "M1",
        "servesId": ["R1"],
    } | changes
    payload = {name: told for name, told in payload.items() if told is not ...}
    return f"BMS/v1/PUB/Metadata/{key}".encode(), orjson.dumps(payload), 0


def value(number, key=KEY, publisher="PUB", **extra):
    payload = {"value": number, "timestamp": NOW, "quality": 1} | extra
    return f"BMS/v1/{publisher}/Value/{key}".encode(), orjson.dumps(payload), 0


def sweep(rack="R1", name="T1", gpus=1, sequence=0, run=1, at=NOW, **changes):
    told = encode(Sweep(run, sequence, at, gpus, [1.0] * value_count(gpus)))
    return sweep_topic(rack, name).encode(), orjson.dumps(told | changes), 0


def reasons(decoder):
    return dict(decoder.quarantine.counts)


@pytest.fixture
def decoder():
    return Decoder(MqttSettings(), PointRegistry(), {"R1", "R2"})


# --- trays ------------------------------------------------------------------------------------------------------------


def test_trays_of_racks_that_the_site_does_not_have_make_no_points(decoder):
    flood = [sweep(f"GHOST{n}", gpus=64) for n in range(500)]
    batch = decoder.decode([*flood, sweep()], NOW)
    assert len(batch) == value_count(1)
    assert len(decoder._registry) == value_count(1) + 2
    assert reasons(decoder) == {"unknown_rack": 500}


def test_they_are_taken_in_where_the_setting_says_so():
    decoder = Decoder(MqttSettings(unknown_racks="accept"), PointRegistry(), {"R1"})
    assert len(decoder.decode([sweep("NEW")], NOW)) == value_count(1)


def test_they_wait_on_disk_until_the_site_has_the_rack_where_the_setting_says_so(tmp_path):
    settings = MqttSettings(unknown_racks="park", data=tmp_path)
    before = Decoder(settings, PointRegistry(), {"R1"})
    presence = (presence_topic("NEW", "T1").encode(), b'{"online":true,"host":"n7"}', 0)
    assert len(before.decode([sweep("NEW"), presence], NOW)) == 0
    assert before.counts["parked"] == 2
    before.parked.save()
    after = Decoder(settings, PointRegistry(), {"R1", "NEW"})
    assert len(after.decode([], NOW)) == value_count(1) + 1
    assert len(after.parked) == 0


def test_a_rack_has_no_more_trays_than_it_can_hold():
    decoder = Decoder(MqttSettings(trays_per_rack=3), PointRegistry(), {"R1", "R2"})
    decoder.decode([sweep(name=f"T{n}") for n in range(10)] + [sweep("R2")], NOW)
    assert len(decoder.trays.known) == 4
    assert reasons(decoder) == {"too_many_trays": 7}


def test_a_tray_that_tells_fewer_gpus_keeps_its_slots(decoder):
    decoder.decode([sweep(gpus=4)], NOW)
    version = decoder._registry.version
    batch = decoder.decode([sweep(gpus=2, sequence=1, events=[[1, 79, NOW]])], NOW)
    keys = [decoder._registry[int(p)].key for p in batch.point]
    assert len(set(keys)) == value_count(2) + 1
    assert keys[0] == "GPU/GpuPower/nvml/R1/T1/G0"
    assert keys[value_count(2) - 1] == "Tray/TrayModulePower/nvml/R1/T1"
    assert keys[-1] == "GPU/GpuXid/nvml/R1/T1/G1"
    assert decoder._registry.version == version


def test_a_tray_has_64_gpus_at_most_and_a_sweep_a_thousand_events(decoder):
    many = sweep(sequence=1, events=[[0, 1, NOW]] * (EVENTS_MAX + 1))
    decoder.decode([sweep(gpus=65), many], NOW)
    assert reasons(decoder) == {"wrong_length": 1, "wrong_type": 1}


def test_names_of_trays_are_short(decoder):
    decoder.decode([sweep(name="T" * (NAME_LENGTH + 1)), sweep(name="T\x1b[1m")], NOW)
    assert reasons(decoder) == {"bad_topic": 2}


def test_a_tray_whose_points_were_refused_is_left_alone_for_a_minute(decoder, monkeypatch):
    asked = []

    def refuse(point):
        asked.append(point)
        raise ContractViolation("too_many_points", "1,000 are known")

    monkeypatch.setattr(decoder._registry, "register", refuse)
    decoder.decode([sweep()] * 50, NOW)
    assert len(asked) == 1
    assert reasons(decoder) == {"too_many_points": 50}
    decoder.decode([sweep()], NOW + 60_000)
    assert len(asked) == 2


# --- sequence numbers -------------------------------------------------------------------------------------------------


def missing_after(decoder, *messages):
    decoder.decode(messages, NOW)
    return decoder.trays.missing(), dict(decoder.trays.counts)


@pytest.mark.parametrize("odd", [2**61, 10**6, 10**15])
@pytest.mark.parametrize("at", [NOW, NOW + 290_000, 2**61])
@pytest.mark.parametrize("run", [1, NOW + 10**9, 2**61])
def test_one_impossible_sequence_number_does_not_spoil_the_count(decoder, odd, at, run):
    start = [sweep(sequence=n, at=NOW - 100 + n) for n in range(10)]
    after = [sweep(sequence=n, at=NOW - 100 + n) for n in range(10, 20)]
    missing, counts = missing_after(decoder, *start, sweep(sequence=odd, run=run, at=at), *after)
    assert missing == 0
    assert counts["sequences_doubted"] == 1
    assert "sweeps_skipped" not in counts


def test_a_run_from_the_future_does_not_hide_later_restarts(decoder):
    forged = sweep(sequence=5, run=2**61, at=NOW - 50)
    start = [sweep(sequence=n, run=1, at=NOW - 100 + n) for n in range(10)]
    restarted = [sweep(sequence=n, run=2, at=NOW - 40 + n) for n in range(4)]
    missing, counts = missing_after(decoder, *start, forged, *restarted, sweep(sequence=6, run=2, at=NOW))
    assert missing == 2  # 4 and 5 of the restarted agent
    assert counts["sequences_begun"] == 2


def test_a_forged_sequence_that_goes_on_is_left_again_for_the_true_one(decoder):
    start = [sweep(sequence=n, at=NOW - 100 + n) for n in range(10)]
    forged = [sweep(sequence=2**61 + n, run=NOW, at=NOW - 80 + n) for n in range(3)]
    after = [sweep(sequence=n, at=NOW - 60 + n) for n in range(10, 20)]
    missing, counts = missing_after(decoder, *start, *forged, *after)
    assert missing == 0
    assert counts["sequences_begun"] == 3
    assert counts.get("sweeps_skipped", 0) == 0


# --- metadata ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"objectId": "x" * 251}, "too_long"),
        ({"objectName": "x" * 251}, "too_long"),
        ({"servesId": ["x"] * 1001}, "too_long"),
        ({"servesId": ["x" * 251]}, "too_long"),
        ({"processArea": ["x" * 251]}, "too_long"),
        ({"integration": "x" * 251}, "too_long"),
        ({"filler": "x" * 70_000}, "too_large"),
        ({"engUnit": ..., "stateText": [{"value": n, "text": "x"} for n in range(1001)]}, "too_long"),
        ({"engUnit": ..., "stateText": [{"value": 0, "text": "x" * 251}]}, "too_long"),
        ({"engUnit": ..., "stateText": [{"value": 2**40, "text": "x"}]}, "bad_state_text"),
    ],
)
def test_labels_have_a_length(decoder, changes, reason):
    decoder.decode([metadata("CDU/GenericPoint/c", **changes)], NOW)
    assert reasons(decoder) == {reason: 1}
    assert len(decoder._registry) == 0


def test_control_characters_are_left_out_of_labels(decoder):
    decoder.decode([metadata(objectName="\x1b[31mM\x07\r\n1")], NOW)
    assert decoder._registry[0].object_name == "[31mM1"


def test_a_topic_has_a_length(decoder):
    long = "PowerMeter/ActivePower/" + "x" * dsx.TOPIC_LENGTH
    decoder.decode([metadata(long), value(1, long)], NOW)
    assert reasons(decoder) == {"bad_topic": 2}


def test_metadata_that_changes_without_end_takes_no_memory(decoder):
    for n in range(2000):
        decoder.decode([metadata(engUnit=("kW", "W")[n % 2]), value(1.0)], NOW)
    assert decoder._used <= 3
    assert len(decoder._slots) == 1
    assert decoder.decode([value(1.0)], NOW).value.tolist() == [1]


def test_heartbeats_are_of_so_many_systems_at_most(decoder):
    keys = [f"System/HeartbeatTimestampBms/s{n}/hb" for n in range(HEARTBEATS_MAX + 5)]
    told = [metadata(key, engUnit=..., objectId=f"S{n}") for n, key in enumerate(keys)]
    decoder.decode([*told, *(value(1.0, key) for key in keys)], NOW)
    assert len(decoder.heartbeats.beats) == HEARTBEATS_MAX
    assert reasons(decoder) == {"too_many_heartbeats": 5}


def test_faults_are_kept_apart_for_so_many_topics_and_counted_for_all():
    quarantine = Quarantine(None)
    findings = Findings(quarantine, most=10)
    for n in range(25):
        findings.refused(f"t{n}", b"", ContractViolation("bad_json", ""))
    assert len(findings.rows()) == 10
    assert findings.overflow == 15
    assert quarantine.counts["bad_json"] == 25


# --- parked values ----------------------------------------------------------------------------------------------------


def entries(folder):
    return [orjson.loads(line) for line in (folder / "parked.jsonl").read_bytes().splitlines()]


def test_parked_values_are_bounded_in_bytes(tmp_path):
    parked = Parked(10**6, tmp_path, max_bytes=100_000)
    for n in range(1000):
        parked.add(f"k{n}", b"x" * 936)
    assert parked.size <= 100_000
    assert len(parked) == parked.size // (64 + 936 + 4)
    assert parked.dropped == 1000 - len(parked)
    assert parked.keys()[-1] == "k999"


def test_the_file_of_parked_values_is_bounded_and_holds_what_waits(tmp_path):
    parked = Parked(100, tmp_path)
    for n in range(12_000):
        parked.add(f"k{n}", b"x" * 100)
        if n % 400 == 399:
            parked.save()
    assert (tmp_path / "parked.jsonl").stat().st_size < 2 * parked.size + (1 << 20) + 400 * 150
    again = Parked(100, tmp_path)
    assert again.keys() == parked.keys() == [f"k{n}" for n in range(11_900, 12_000)]


def test_what_was_released_stays_in_the_file_until_it_is_stored(tmp_path):
    parked = Parked(20_000, tmp_path)
    parked.add("early", b"1")
    assert parked.release("early") == [("PUB", b"1")]
    for n in range(30_000):
        parked.add(f"k{n % 10}", b"x" * 100)
    for key in parked.keys():  # noqa: SIM118
        parked.release(key)
    parked.add("late", b"2")
    parked.save()  # long enough to be written anew
    assert len(entries(tmp_path)) == 20_001
    parked.tidy()
    parked.release("late")
    parked.tidy()
    assert entries(tmp_path) == []


def test_one_publisher_that_parks_much_does_not_push_out_the_others(tmp_path):
    parked = Parked(100)
    parked.add("mine", b"1", "PUB")
    for n in range(10_000):
        parked.add(f"k{n}", b"x", "ROGUE")
    assert parked.release("mine") == [("PUB", b"1")]


def test_a_long_value_is_parked_as_what_it_tells(decoder):
    decoder.decode([value(1.0, note="x" * 100_000)], NOW)
    assert decoder.parked.size < 300


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"5",
        b'["k"]',
        b'["k", 5]',
        b'[["k"], "v"]',
        b'[5, "v", "PUB"]',
        b'["k","v","p",1]',
        b"\xff",
        b"[" * 5000,
    ],
)
def test_a_damaged_line_costs_itself_alone(tmp_path, line):
    (tmp_path / "parked.jsonl").write_bytes(b'["a","1"]\n' + line + b'\n["b","2","X"]\n')
    parked = Parked(100, tmp_path)
    assert parked.keys() == ["a", "b"]
    assert parked.counts == {"parked_damaged": 1}
    assert parked.release("b") == [("X", b"2")]


def test_what_was_parked_under_the_name_of_no_tray_costs_itself_alone(tmp_path):
    lines = [
        ["hallwatch/v1/trays", "{}", "trays"],
        ["hallwatch/v1/traysX", "{}"],
        ["hallwatch/v1/trays/R1", "{}"],
    ]
    (tmp_path / "parked.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    decoder = Decoder(MqttSettings(data=tmp_path, unknown_racks="park"), PointRegistry(), {"R1"})
    assert len(decoder.decode([], NOW)) == 0
    assert len(decoder.parked) == 2
    assert decoder.quarantine.counts == {"bad_topic": 1}


def test_where_the_disk_takes_nothing_values_are_parked_in_memory_and_that_is_counted(tmp_path):
    parked = Parked(100, tmp_path)
    parked._path = tmp_path / "no" / "such" / "folder"
    parked.add("a", b"1")
    parked.save()
    assert parked.counts["parked_not_saved"] == 1
    assert parked.release("a") == [("PUB", b"1")]


def test_a_folder_in_the_place_of_the_file_does_not_prevent_the_start(tmp_path):
    (tmp_path / "parked.jsonl").mkdir()
    parked = Parked(100, tmp_path)
    parked.add("a", b"1")
    assert parked.keys() == ["a"]
    assert parked.counts["parked_not_saved"] == 2


async def test_nothing_is_synced_on_the_event_loop(tmp_path, monkeypatch):
    import asyncio

    from collectors.mqtt.collector import MqttCollector

    stored, threads = [], set()
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (threads.add(threading.current_thread()), sync(fd))[1])

    async def sink(batch):
        stored.append(batch)

    collector = MqttCollector(MqttSettings(data=tmp_path), PointRegistry(), sink)
    running = asyncio.create_task(collector.run())
    await asyncio.sleep(0)
    collector._take(*value(1.0))
    async with asyncio.timeout(60):
        while not threads:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    assert threading.main_thread() not in threads
    assert entries(tmp_path)[0][0] == KEY
