"""A tray's presence, which the broker also sends as its Will."""

from domain.tray import presence_topic
from tests.fuzz.targets import _bus


def fuzz(data: bytes) -> None:
    _bus.decode_among_good_ones((presence_topic("R1", "T1").encode(), data, 0))
