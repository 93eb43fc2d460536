"""One DSX value message: as it is read, and in a batch whose other messages must arrive."""

import contextlib

import orjson

from domain import dsx
from domain.errors import ContractViolation
from tests.fuzz.targets import _bus


def fuzz(data: bytes) -> None:
    with contextlib.suppress(orjson.JSONDecodeError, ContractViolation):
        told = dsx.read_value(orjson.loads(data))
        assert told.value is None or isinstance(told.value, float | int)
    decoder = _bus.decode_among_good_ones((b"BMS/v1/PUB/Value/Rack/RackPower/never/told", data, 0))
    assert len(decoder.parked) + decoder.counts["refused"] == 1
