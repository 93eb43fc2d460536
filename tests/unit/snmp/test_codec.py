"""SNMP messages, octet by octet."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.ber import decoder, encoder
from pysnmp.proto import api

from collectors.snmp import codec
from collectors.snmp.codec import LONGEST_STRING, Absent, Malformed

V2C = api.PROTOCOL_MODULES[api.SNMP_VERSION_2C]
NAME = "1.3.6.1.2.1.1.3.0"


def answer(*rows, status=0, index=0, number=7):
    """Return an answer that pysnmp encoded."""
    pdu = V2C.GetResponsePDU()
    V2C.apiPDU.set_defaults(pdu)
    V2C.apiPDU.set_request_id(pdu, number)
    V2C.apiPDU.set_error_status(pdu, status)
    if status:
        V2C.apiPDU.set_error_index(pdu, index)
    V2C.apiPDU.set_varbinds(pdu, [(V2C.ObjectIdentifier(o), v) for o, v in rows])
    message = V2C.Message()
    V2C.apiMessage.set_defaults(message)
    V2C.apiMessage.set_community(message, "public")
    V2C.apiMessage.set_pdu(message, pdu)
    return encoder.encode(message)


def raw(*bindings):
    """Return an answer of raw bindings: name and value, as encoded."""

    def wrap(tag, content):
        return bytes([tag, 0x82]) + len(content).to_bytes(2, "big") + content

    rows = b"".join(wrap(0x30, name + value) for name, value in bindings)
    pdu = bytes.fromhex("020107 020100 020100") + wrap(0x30, rows)
    return wrap(0x30, bytes.fromhex("020101 0406") + b"public" + wrap(0xA2, pdu))


def name(oid=NAME):
    content = codec.encode_oid(oid)
    return bytes([6, len(content)]) + content


arcs = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40)


@given(st.integers(0, 1), st.integers(0, 39), arcs)
def test_names_survive_the_wire(first, second, rest):
    oid = ".".join(map(str, (first, second, *rest)))
    assert codec.decode_oid(codec.encode_oid(oid)) == oid
    assert codec.encode_oid(oid) == encoder.encode(V2C.ObjectIdentifier(oid))[2:]


@given(
    st.sampled_from([codec.GET, codec.GET_NEXT, codec.GET_BULK]),
    st.integers(0, 2**31 - 1),
    st.lists(arcs, min_size=1, max_size=60),
)
def test_a_request_is_what_another_implementation_reads(kind, number, names):
    oids = [".".join(map(str, (1, 3, *n))) for n in names]
    data = codec.encode_request(
        1, b"public", kind, number, codec.encode_names(tuple(oids)), 40 if kind == codec.GET_BULK else 0
    )
    message, rest = decoder.decode(data, asn1Spec=V2C.Message())
    pdu = V2C.apiMessage.get_pdu(message)
    assert not rest
    assert int(V2C.apiPDU.get_request_id(pdu)) == number
    assert [str(o) for o, _ in V2C.apiPDU.get_varbinds(pdu)] == oids
    if kind == codec.GET_BULK:
        assert int(V2C.apiBulkPDU.get_max_repetitions(pdu)) == 40


VALUES = {
    "negative": (V2C.Integer32(-40), -40),
    "gauge": (V2C.Gauge32(4294967295), 4294967295),
    "counter": (V2C.Counter32(4000000000), 4000000000),
    "long counter": (V2C.Counter64(2**64 - 1), 2**64 - 1),
    "ticks": (V2C.TimeTicks(123456), 123456),
    "text": (V2C.OctetString("on line"), b"on line"),
    "address": (V2C.IpAddress("10.0.8.11"), "10.0.8.11"),
    "name": (V2C.ObjectIdentifier("1.3.6.1.4.1.318"), "1.3.6.1.4.1.318"),
    "float": (V2C.Opaque(b"\x9f\x78\x04" + struct.pack(">f", 23.5)), 23.5),
    "double": (V2C.Opaque(b"\x9f\x79\x08" + struct.pack(">d", 23.45)), 23.45),
    "not a number": (V2C.Opaque(b"\x9f\x78\x04" + struct.pack(">f", math.nan)), Absent.MISSING),
    "null": (V2C.Null(""), Absent.MISSING),
}


@pytest.mark.parametrize("kind", VALUES)
def test_values_of_each_type_are_read(kind):
    encoded, value = VALUES[kind]
    number, got = codec.decode_answer(answer((NAME, encoded)))
    assert (number, got.rows, got.unreadable) == (7, [(NAME, value)], 0)


def test_an_unsigned_number_without_its_leading_zero_octet_is_the_number():
    _, got = codec.decode_answer(raw((name(), b"\x42\x04\xff\xff\xff\xfe")))
    assert got.rows == [(NAME, 4294967294)]


def test_error_status_and_index_are_told():
    _, got = codec.decode_answer(answer((NAME, V2C.Null("")), status=5, index=1))
    assert (got.status, got.index, codec.status_name(5)) == (5, 1, "genErr")


ODD = {
    "a name without octets": (b"\x06\x00", b"\x02\x01\x01"),
    "a name cut off": (b"\x06\x02\x2b\x81", b"\x02\x01\x01"),
    "a name beyond 32 bits": (b"\x06\x08\x2b\xff\xff\xff\xff\xff\xff\x01", b"\x02\x01\x01"),
    "an integer without octets": (name(), b"\x02\x00"),
    "an integer of 200 octets": (name(), b"\x02\x81\xc8" + b"\x7f" * 200),
    "an unknown type": (name(), b"\x9f\x01\x01"),
    "no value": (name(), b""),
    "a length beyond the binding": (name(), b"\x04\x7f\x01"),
    "an indefinite length": (name(), b"\x04\x80\x00\x00"),
}


@pytest.mark.parametrize("odd", ODD)
def test_a_binding_that_cannot_be_read_costs_itself(odd):
    good = (name("1.3.6.1.2.1.1.1.0"), b"\x04\x02up")
    data = raw(good, ODD[odd], good)
    _, got = codec.decode_answer(data)
    asked = codec.encode_names(("1.3.6.1.2.1.1.1.0", NAME, "1.3.6.1.2.1.1.1.0"))
    assert codec.decode_answer(data, asked)[1] == got
    assert got.rows == [("1.3.6.1.2.1.1.1.0", b"up")] * 2
    assert got.unreadable == 1
    assert 0 < len(got.reason) <= 120


@given(st.permutations(range(12)), st.integers(0, 12))
def test_an_answer_reads_the_same_whether_its_names_were_expected_or_not(order, cut):
    names = [f"1.3.6.1.4.1.318.{n}.0" for n in range(12)]
    kinds = [value for value, _ in VALUES.values()]
    data = answer(*((names[n], kinds[n]) for n in order[:cut]))
    assert codec.decode_answer(data, codec.encode_names(tuple(names))) == codec.decode_answer(data)


def test_bindings_before_one_that_breaks_the_list_are_kept():
    good = raw((name(), b"\x02\x01\x05"), (name(), b"\x02\x01\x06"))
    broken = bytearray(good)
    broken[good.rindex(name()) - 4] = 0x31
    _, got = codec.decode_answer(bytes(broken))
    assert got.rows == [(NAME, 5)]
    assert got.unreadable == 1


@pytest.mark.parametrize(
    "data", [b"", b"\x30", b"\x30\x80", b"\x30\x02\x02\x00", b"\xff" * 40, b"\x30\x82" * 500]
)
def test_what_is_no_answer_is_malformed(data):
    with pytest.raises(Malformed):
        codec.decode_answer(data)


def test_a_long_text_is_cut_off():
    _, got = codec.decode_answer(answer((NAME, V2C.OctetString("x" * 30_000))))
    assert len(got.rows[0][1]) == LONGEST_STRING
