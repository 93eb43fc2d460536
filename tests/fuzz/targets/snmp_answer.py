"""A datagram of an SNMP agent as the polling takes it apart, beside a good binding that must still be read."""

from collectors.snmp import codec
from collectors.snmp.codec import LONGEST_STRING, Absent, Malformed

GOOD = bytes.fromhex("300c 0608 2b06010201010300 0500".replace(" ", ""))

ASKED = codec.encode_names(("1.3.6.1.2.1.1.3.0", "1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.3.0"))


def fuzz(data: bytes) -> None:
    _read(data)
    # as one binding among others
    binding = b"\x30\x82" + min(len(data), 60_000).to_bytes(2, "big") + data[:60_000]
    answer = _read(_answer(GOOD + binding + GOOD))
    assert answer is not None
    assert answer.rows[0] == ("1.3.6.1.2.1.1.3.0", Absent.MISSING)
    assert len(answer.rows) + answer.unreadable == 3


def _read(data: bytes) -> codec.Answer | None:
    try:
        number, answer = codec.decode_answer(data)
    except Malformed:
        return None
    assert codec.decode_answer(data, ASKED) == (number, answer)
    assert len(answer.rows) <= len(data)
    for name, value in answer.rows:
        assert codec.decode_oid(codec.encode_oid(name)) == name or name.count(".") == 1
        assert not isinstance(value, bytes) or len(value) <= LONGEST_STRING
        assert not isinstance(value, int) or abs(value) < 1 << 72
    return answer


def _answer(bindings: bytes) -> bytes:
    def wrap(tag: int, content: bytes) -> bytes:
        return bytes([tag, 0x82]) + len(content).to_bytes(2, "big") + content

    pdu = bytes.fromhex("020107020100020100") + wrap(0x30, bindings)
    return wrap(0x30, bytes.fromhex("0201010406") + b"public" + wrap(0xA2, pdu))
