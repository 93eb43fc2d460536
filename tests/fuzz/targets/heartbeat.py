"""A heartbeat: its metadata, a line feed, its value."""

from tests.fuzz.targets import _bus


def fuzz(data: bytes) -> None:
    metadata, _, value = data.partition(b"\n")
    tag = b"System/HeartbeatTimestampBms/odd/heartbeat"
    decoder = _bus.decode_among_good_ones(
        (b"BMS/v1/PUB/Metadata/" + tag, metadata, 0), (b"BMS/v1/PUB/Value/" + tag, value, 0)
    )
    rows = decoder.alive_rows(_bus.NOW)
    assert rows is None or set(rows.value.tolist()) <= {0.0, 1.0}
