from domain.batch import Batch
from domain.points import Point, PointRegistry
from storage.quarantine import PAYLOAD_BYTES, PER_MINUTE, Quarantine, read_quarantine

REGISTRY = PointRegistry([Point("Rack/RackPower/R1", "Rack", "RackPower", "R1")])


def test_the_newest_come_first_and_may_be_picked_by_reason(tmp_path):
    quarantine = Quarantine(tmp_path)
    quarantine.readings(Batch.of([0, 7], [1, 2], [1.5, 2.5]), "future", REGISTRY)
    quarantine.message("mqtt://bms topic/x", b"{bad", "json", "line 1")
    first, *_ = read_quarantine(tmp_path)
    assert (first["reason"], first["topic"], first["payload"]) == ("json", "mqtt://bms topic/x", "{bad")
    assert [e["point"] for e in read_quarantine(tmp_path, "future")] == ["#7", "Rack/RackPower/R1"]
    assert quarantine.counts == {"future": 2, "json": 1}


def test_a_huge_or_binary_payload_is_kept_in_part(tmp_path):
    quarantine = Quarantine(tmp_path)
    quarantine.message("x", b"\xff" * 10_000_000, "too_large")
    entry = read_quarantine(tmp_path)[0]
    assert entry["bytes"] == 10_000_000
    assert len(entry["payload"]) <= 4 * PAYLOAD_BYTES


def test_a_flood_is_counted_exactly_and_kept_in_part(tmp_path):
    quarantine = Quarantine(tmp_path)
    for _ in range(5):
        quarantine.readings(Batch.of([0] * 1000, range(1000), [1.0] * 1000), "past", REGISTRY)
    assert quarantine.counts["past"] == 5000
    assert len(read_quarantine(tmp_path, limit=10_000)) <= 3 * PER_MINUTE


def test_the_room_on_disk_is_bounded_and_the_newest_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("storage.quarantine.PER_MINUTE", 10_000)
    quarantine = Quarantine(tmp_path, max_bytes=20_000)
    for i in range(500):
        quarantine.message("x", b"%d" % i, "bad")
    assert sum(f.stat().st_size for f in tmp_path.iterdir()) <= 20_000
    assert read_quarantine(tmp_path)[0]["payload"] == "499"


def test_a_line_that_a_crash_cut_short_is_passed_over(tmp_path):
    Quarantine(tmp_path).message("x", b"whole", "bad")
    with (tmp_path / "quarantine.jsonl").open("ab") as file:
        file.write(b'{"reason": "ba')
    assert [e["payload"] for e in read_quarantine(tmp_path)] == ["whole"]


def test_a_damaged_line_is_passed_over(tmp_path):
    Quarantine(tmp_path).message("x", b"whole", "bad")
    with (tmp_path / "quarantine.jsonl").open("ab") as file:
        for line in (b"1", b"[]", b"null", b"{}", b'{"reason":[]}', b'"x"', b"\xff\x00"):
            file.write(line + b"\n")
        file.write(b'{"reason":"odd","received":"never"}\n')
    assert [e["reason"] for e in read_quarantine(tmp_path)] == ["bad", "odd"]


def test_a_disk_without_room_does_not_stop_ingest(tmp_path):
    quarantine = Quarantine(tmp_path)
    (tmp_path / "quarantine.jsonl").mkdir()
    quarantine.message("x", b"y", "bad")
    assert quarantine.counts["bad"] == 1
