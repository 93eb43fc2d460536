"""Any topic, with payloads that are right for some topics."""

from tests.fuzz.targets import _bus

PAYLOADS = (
    b"",
    b'{"value":1,"timestamp":%d,"quality":1}' % _bus.NOW,
    b'{"objectType":"Rack","pointType":"RackPower","engUnit":"kW","rackLocationId":"R1","rackLocationName":"R1"}',
    b'{"online":true}',
)


def fuzz(data: bytes) -> None:
    _bus.decode_among_good_ones(*((data[:65_535], payload, 0) for payload in PAYLOADS))
