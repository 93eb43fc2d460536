"""Recordings tell what a device measures, not whose it is."""

import pytest

from collectors.snmp.profiles import shipped_profiles
from collectors.snmp.recording import record
from collectors.snmp.walk import ADDRESS, INTEGER, OCTETS

ROWS = [
    ("1.3.6.1.2.1.1.1.0", OCTETS, b"APC Card (MN:AP8641 SN: ZA1122334455 MD:2019)"),
    ("1.3.6.1.2.1.1.5.0", OCTETS, b"dc7-rack12-pdu"),
    ("1.3.6.1.2.1.1.6.0", OCTETS, b"Hall 7, Hsinchu"),
    ("1.3.6.1.2.1.4.20.1.1.10.1.2.3", ADDRESS, "10.1.2.3"),
    ("1.3.6.1.4.1.318.1.1.26.9.4.3.1.3.1", OCTETS, b"Payroll DB"),
    ("1.3.6.1.4.1.318.1.1.26.9.4.3.1.7.1", INTEGER, 52),
    ("1.3.6.1.4.1.318.1.1.26.9.4.1.1.3.1", OCTETS, b"Payroll DB"),
    ("1.3.6.1.4.1.318.2.3.1.0", OCTETS, b"mail ops@example.com via 192.168.7.9 or http://dc7/x"),
    ("1.3.6.1.4.1.318.2.3.2.0", OCTETS, b"\x00\xc0\xb7\x11\x22\x33"),
    ("1.3.6.1.4.1.318.2.3.3.0", OCTETS, b"dc7-rack12-pdu is here"),
    ("1.3.6.1.4.1.318.2.3.4.0", ADDRESS, "10.1.2.3"),
]


async def _rows():
    for row in ROWS:
        yield row


@pytest.mark.parametrize(
    "secret",
    ["ZA1122334455", "dc7-rack12-pdu", "Hsinchu", "10.1.2.3", "Payroll", "ops@example.com", "192.168.7.9", "dc7/x",
     "00c0b7112233"],
)  # fmt: skip
async def test_what_tells_whose_device_it_is_does_not_stay(secret):
    content, replaced = await record(_rows(), [shipped_profiles()["apc-rpdu2"]])
    assert secret not in content
    assert replaced > 5


async def test_what_a_profile_reads_stays():
    content, _ = await record(_rows(), [shipped_profiles()["apc-rpdu2"]])
    assert "1.3.6.1.4.1.318.1.1.26.9.4.3.1.7.1|2|52" in content
    assert "MN:AP8641" in content
    assert content.count("|4|name 1") >= 2, "one name became two"
