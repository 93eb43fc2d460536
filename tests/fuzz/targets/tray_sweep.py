"""A tray's sweep, alone and twice."""

from domain.tray import sweep_topic
from tests.fuzz.targets import _bus


def fuzz(data: bytes) -> None:
    topic = sweep_topic("R1", "T1").encode()
    decoder = _bus.decode_among_good_ones((topic, data, 0), (topic, data, 0))
    assert decoder.trays.missing() == 0
