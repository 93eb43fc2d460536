import pytest

from simulator.bms import Bms
from simulator.channels import Meters
from simulator.snmp import ber
from simulator.snmp.agents import SnmpAgents, devices
from simulator.snmp.devices import cooling_unit, rack_pdu, ups
from simulator.snmp.responder import Live, OidTable, Text, answer
from tests.unit.simulator.factories import NOW, SMALL, small_factory

TABLE = OidTable(
    {
        "1.3.6.1.2.1.1.5.0": Text(0),
        "1.3.6.1.4.1.318.1.10.0": Live(1),
        "1.3.6.1.4.1.318.1.9.0": Live(0),
        "1.3.6.1.4.1.318.1.200.1": Live(2, ber.GAUGE32),
        "1.3.6.1.4.1.318.1.16384.1": ber.integer(-5),
    }
)
VALUES, TEXTS = [7, -300, 4_000_000_000], [b"R001-PDU-A"]


def request(kind, oids, version=1, community=b"public", first=0, second=0):
    bindings = b"".join(
        ber.tlv(ber.SEQUENCE, ber.tlv(ber.OID, ber.oid(tuple(map(int, o.split("."))))) + b"\x05\x00")
        for o in oids
    )
    body = ber.integer(77) + ber.integer(first) + ber.integer(second) + ber.tlv(ber.SEQUENCE, bindings)
    head = ber.integer(version) + ber.tlv(ber.STRING, community)
    return ber.tlv(ber.SEQUENCE, head + ber.tlv(kind, body))


def ask(kind, oids, **more):
    """Return (error status, error index, [(oid, tag, content)]) of the answer."""
    data = answer(request(kind, oids, **more), TABLE, VALUES, TEXTS)
    assert data is not None
    at, _ = ber._enter(data, 0, ber.SEQUENCE)
    at = ber._enter(data, at, ber.INTEGER)[1]
    at = ber._enter(data, at, ber.STRING)[1]
    at, _ = ber._enter(data, at, ber.RESPONSE)
    at, identity = ber._skip_integer(data, at)
    assert identity == 77
    at, status = ber._skip_integer(data, at)
    at, index = ber._skip_integer(data, at)
    at, end = ber._enter(data, at, ber.SEQUENCE)
    found = []
    while at < end:
        inner, after = ber._enter(data, at, ber.SEQUENCE)
        begin, stop = ber._enter(data, inner, ber.OID)
        content = ber._enter(data, stop, data[stop])
        name = ".".join(map(str, ber.arcs(data[begin:stop])))
        found.append((name, data[stop], data[content[0] : content[1]]))
        at = after
    return status, index, found


def number(content):
    return int.from_bytes(content, "big", signed=True)


def test_get_answers_each_object_in_the_order_asked():
    status, _, found = ask(
        ber.GET, ["1.3.6.1.4.1.318.1.10.0", "1.3.6.1.2.1.1.5.0", "1.3.6.1.4.1.318.1.200.1"]
    )
    assert status == 0
    assert number(found[0][2]) == -300
    assert found[1][2] == b"R001-PDU-A"
    assert (found[2][1], number(found[2][2])) == (ber.GAUGE32, 4_000_000_000)


def test_a_walk_goes_by_numbers_not_by_texts():
    here, walked = "1.3.6.1", []
    while True:
        _, _, [(here, tag, _)] = ask(ber.GET_NEXT, [here])
        if tag == ber.END_OF_MIB:
            break
        walked.append(here.rsplit("318.1.")[-1])
    assert walked == ["1.3.6.1.2.1.1.5.0", "9.0", "10.0", "200.1", "16384.1"]


def test_getbulk_repeats_and_says_where_the_mib_ends():
    _, _, found = ask(
        ber.GET_BULK,
        ["1.3.6.1.2.1.1.4", "1.3.6.1.4.1.318.1.10.0", "1.3.6.1.4.1.318.1.200.1"],
        first=1,
        second=3,
    )
    assert [name.rsplit("318.1.")[-1] for name, _, _ in found[:3]] == [
        "1.3.6.1.2.1.1.5.0",
        "200.1",
        "16384.1",
    ]
    assert found[-1][1] == ber.END_OF_MIB


def test_what_a_device_lacks_is_said_in_the_way_of_each_version():
    assert ask(ber.GET, ["1.3.6.1.9.9"])[2][0][1] == ber.NO_SUCH_OBJECT
    status, index, _ = ask(ber.GET, ["1.3.6.1.2.1.1.5.0", "1.3.6.1.9.9"], version=0)
    assert (status, index) == (2, 2)


def test_set_is_refused_and_a_wrong_community_gets_no_answer():
    assert ask(ber.SET, ["1.3.6.1.2.1.1.5.0"])[0] == 17
    assert answer(request(ber.GET, ["1.3.6.1.2.1.1.5.0"], community=b"private"), TABLE, VALUES, TEXTS) is None


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_a_cut_datagram_is_malformed(cut):
    data = request(ber.GET, ["1.3.6.1.2.1.1.5.0"])
    with pytest.raises(ber.Malformed):
        answer(data[:cut], TABLE, VALUES, TEXTS)


@pytest.mark.parametrize("data", [b"", b"\x30", b"garbage", b"\x30\x82", bytes(64), b"\x30\x03\x02\x01\x03"])
def test_what_is_no_request_is_malformed(data):
    with pytest.raises(ber.Malformed):
        answer(data, TABLE, VALUES, TEXTS)


@pytest.mark.parametrize("value", [0, 1, 127, 128, -1, -128, -129, 65_535, 2**31 - 1, -(2**31)])
def test_integers_are_encoded_as_short_as_possible(value):
    encoded = ber.integer(value)
    assert int.from_bytes(encoded[2:], "big", signed=True) == value
    assert len(encoded) - 2 == max(1, (value if value >= 0 else ~value).bit_length() // 8 + 1)


@pytest.mark.parametrize(
    "arcs", [(1, 3, 6, 1), (1, 3, 6, 1, 4, 1, 318, 1, 1, 26, 16384, 2_097_152, 4_294_967_295)]
)
def test_object_identifiers_survive(arcs):
    assert ber.arcs(ber.oid(arcs)) == arcs


def test_the_devices_are_two_pdus_a_rack_the_upses_and_the_crahs():
    found = devices(SMALL)
    assert [d.object_id for d in found[:2]] == ["R001-PDU-A", "R001-PDU-B"]
    assert found[0].serves == ("R001",)
    assert {d.profile for d in found} == {"apc-rpdu2", "ups-mib", "apc-inrow"}
    assert len(found) == 16 + 2 + 2


def test_every_column_that_a_table_refers_to_is_there():
    meters = Meters(small_factory())
    for kind in (rack_pdu(), ups(), cooling_unit()):
        rows = kind.values(meters)
        used = [c.column for c in kind.table._contents if isinstance(c, Live)]
        assert max(used) == rows.shape[1] - 1
        assert len(set(used)) == len(used)


def test_agents_tell_what_the_factory_does_and_a_dead_one_says_nothing():
    factory = small_factory()
    agents = SnmpAgents(factory, Bms(factory).meters)
    power = request(ber.GET, ["1.3.6.1.4.1.318.1.1.26.4.3.1.5.1"])
    reply = agents.respond(agents.devices[0], power)
    expected = ber.integer(round(factory.state.taps[0, 0] / 10))
    assert reply is not None
    assert reply.endswith(expected)
    factory.raise_fault("pdu-dead", "R001-PDU-A")
    factory.advance_to(NOW + 2000)
    assert agents.respond(agents.devices[0], power) is None
    assert agents.respond(agents.devices[1], power) is not None
    assert agents.respond(agents.devices[1], b"junk") is None
    assert agents.stats() == {"requests": 4, "answers": 2, "silent": 1, "malformed": 1}


def test_a_pdu_whose_tap_is_open_goes_dark_with_it():
    factory = small_factory()
    agents = SnmpAgents(factory, Bms(factory).meters)
    name = request(ber.GET, ["1.3.6.1.2.1.1.5.0"])
    factory.raise_fault("tap-open", "R001-TAP-A")
    factory.step()
    assert agents.respond(agents.devices[0], name) is None
    assert agents.respond(agents.devices[1], name) is not None
