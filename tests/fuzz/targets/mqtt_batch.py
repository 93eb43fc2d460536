"""A whole batch: topic, payload, topic, payload, ..., each ended by a line feed."""

from tests.fuzz.targets import _bus


def fuzz(data: bytes) -> None:
    lines = data.split(b"\n")[:200]
    _bus.decode_among_good_ones(
        *((t, p, n) for n, (t, p) in enumerate(zip(lines[::2], lines[1::2], strict=False)))
    )
