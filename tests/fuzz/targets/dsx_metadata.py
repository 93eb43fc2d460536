"""One DSX metadata message, its point's value before and after it; the first line is the objectType/pointType of its topic."""

from tests.fuzz.targets import _bus


def fuzz(data: bytes) -> None:
    kind, _, payload = data.partition(b"\n")
    value = b'{"value":1,"timestamp":%d,"quality":1}' % _bus.NOW
    topics = [b"BMS/v1/PUB/%s/%s/odd/tag" % (what, kind) for what in (b"Value", b"Metadata")]
    decoder = _bus.decode_among_good_ones(
        (topics[0], value, 0), (topics[1], payload, 0), (topics[0], value, 0), (topics[1], payload, 0)
    )
    for point in decoder.points.values():
        told = point.point
        texts = (
            told.object_id,
            told.object_name,
            *told.serves,
            *told.process_area,
            *(t for _, t in told.state_text),
        )
        assert all(len(text) <= 1000 and text.isprintable() for text in texts)
