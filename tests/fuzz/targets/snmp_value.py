"""What a device answers, as a profile reads it: values, labels, units, scales and states that may be anything."""

import math
from typing import Any

from collectors.snmp.profiles import Profile
from collectors.snmp.readings import Device, read
from collectors.snmp.walk import Scalar, Walk

TABLE = "1.3.6.1.4.1.99999.1.1"
PROFILE = Profile.model_validate(
    {
        "name": "odd",
        "title": "A device of which every field may be anything",
        "match": [{"sysObjectID": "1.3.6.1.4.1.99999"}],
        "object": {"type": "PowerMeter"},
        "tables": [
            {
                "oid": TABLE,
                "symbol": "oddTable",
                "index": ["n"],
                "fields": {k: {"at": at, "symbol": f"odd{k}"} for k, at in (("label", 2), ("unit", 3), ("digits", 4), ("words", 5))},
                "object": {"type": "PowerMeter", "id": "{label}", "name": "{label}"},
                "values": [
                    {"at": 6, "symbol": "oddPower", "point": "ActivePower", "unit": "W",
                     "scale": [{"field": "digits", "how": "decimals"}], "name": "{label}"},
                    {"at": 7, "symbol": "oddExponent", "point": "GenericPoint", "unit": "{unit}",
                     "scale": [{"field": "digits", "how": "exponent"}]},
                    {"at": 8, "symbol": "oddState", "states": "{words}"},
                    {"at": 9, "symbol": "oddSi", "point": "GenericPoint", "unit": "W",
                     "scale": [{"field": "digits", "how": "si"}, {"field": "digits", "how": "signed"},
                               {"field": "digits", "how": "divisor"}, {"field": "digits", "how": "factor"}]},
                ],
            }
        ],
    }
)  # fmt: skip


def fuzz(data: bytes) -> None:
    columns: list[Scalar] = [_scalar(part) for part in data.split(b"\n", 7)]
    rows: dict[str, Any] = {f"{TABLE}.{at}.1": value for at, value in enumerate(columns, 2)}
    good = {f"{TABLE}.{at}.2": v for at, v in ((2, b"good"), (3, b"W"), (4, 1), (5, b"on(1)"), (6, 425))}
    found = read(PROFILE, Walk(rows | good), Device("PDU-1"))
    for reading in found:
        assert reading.value is None or math.isfinite(reading.value)
        assert len(reading.point.object_id) < 500
        assert len(reading.point.object_name) < 2000
    assert any(r.point.object_id.endswith("good") and r.value == 42.5 for r in found)


def _scalar(part: bytes) -> Scalar:
    if part[:1] == b"#":
        try:
            return int(part[1:20])
        except ValueError:
            return part
    if part[:1] == b"~":
        try:
            return float(part[1:40])
        except ValueError:
            return part
    return part
