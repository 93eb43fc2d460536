"""Agents that misbehave, on real UDP: the good part of each is read, the bad part costs itself and is told."""

import asyncio

import pytest

from collectors.snmp import client as client_module
from collectors.snmp import collector as collector_module
from collectors.snmp.client import MOST_ROWS, Budget, BudgetSpent, PatientClient
from collectors.snmp.settings import Secrets
from domain.errors import SourceProtocolError, SourceRefused, SourceTimeout
from tests.system.snmp_agent import (
    PHASES,
    POWER,
    POWER_OID,
    UPTIME,
    V2C,
    Running,
    agent,
    elsewhere,
    oids,
    target,
    until,
    up,
    values,
)

PHASE_1 = "PowerMeter/PhaseCurrent/snmp/PDU-1/rPDU2PhaseStatusCurrent.1"


def session(a, **more):
    return PatientClient("127.0.0.1", a.port, Secrets(), **{"timeout": 20.0, "retries": 0, **more})


def zero_length_oid(a, data):
    """A binding whose name has no octets, in an answer that is right otherwise."""
    _, kind, asked = a.asked(data)
    if kind != "get" or POWER_OID not in asked:
        return None
    reply = bytearray(a.answer(data, lambda rows: [(o, v) for o, v in rows if o != POWER_OID]))
    return [(0, _with_binding(bytes(reply), bytes.fromhex("3005 0600 020101".replace(" ", ""))))]


def unknown_type(a, data):
    _, kind, asked = a.asked(data)
    if kind != "get" or POWER_OID not in asked:
        return None
    name = bytes.fromhex("060f2b060104018 23e01011a0403010501".replace(" ", ""))
    odd = name + bytes.fromhex("9f010101")
    reply = a.answer(data, lambda rows: [(o, v) for o, v in rows if o != POWER_OID])
    return [(0, _with_binding(reply, b"\x30" + bytes([len(odd)]) + odd))]


def cut_off(a, data):
    _, kind, asked = a.asked(data)
    return [(0, a.answer(data)[:-7])] if kind == "get" and POWER_OID in asked else None


def _with_binding(reply, binding):
    """Return an answer with a raw binding behind its others; lengths in the two-octet form."""

    def take(data, at):
        n, size = data[at + 1], 2
        if n & 0x80:
            size += n & 0x7F
            n = int.from_bytes(data[at + 2 : at + size], "big")
        return data[at + size : at + size + n], at + size + n

    def wrap(tag, content):
        return bytes([tag, 0x82]) + len(content).to_bytes(2, "big") + content

    message, _ = take(reply, 0)
    _, at = take(message, 0)
    _, at = take(message, at)
    head, (pdu, _) = message[:at], take(message, at)
    at = 0
    for _ in range(3):
        _, at = take(pdu, at)
    bindings, _ = take(pdu, at)
    return wrap(0x30, head + wrap(0xA2, pdu[:at] + wrap(0x30, bindings + binding)))


@pytest.mark.parametrize("odd", [zero_length_oid, unknown_type, cut_off])
async def test_an_object_that_cannot_be_read_costs_itself_and_nobody_else(odd):
    async with (
        agent() as good,
        agent(spoil=odd) as sick,
        Running([target(sick), target(good, "GOOD")], interval=0.2, timeout=0.3) as run,
    ):
        await run.kept.until(lambda: run.kept.value(up("GOOD")) == 1 and run.kept.value(PHASE_1))
        await run.polled(4)
        assert not run.task.done()
        await run.kept.until(lambda: run.kept.value(up()) == 1)
        assert run.kept.value(PHASE_1) == pytest.approx(7.1)
        assert POWER_OID in run.collector.stats()["partly"]["PDU-1"]
        assert "GOOD" not in run.collector.stats()["partly"]


async def test_a_device_whose_every_answer_is_odd_never_ends_the_collector():
    """A name without octets, at every asking and at every knock: found to end the collector after three polls."""
    empty_name = bytes.fromhex("0600020101")

    def odd(a, data):
        return [(0, _with_binding(a.answer(data, lambda _: []), b"\x30\x05" + empty_name))]

    async with agent() as good, agent(spoil=odd) as sick:
        targets = [target(good), target(sick, "SICK")]
        async with Running(targets, interval=0.1, timeout=0.3, breaker_longest=0.1) as run:
            await run.polled(8, "SICK")
            await run.polled(2, "PDU-1")
            assert not run.task.done()
            await run.kept.until(lambda: run.kept.value(up()) == 1)


async def test_one_object_with_an_error_costs_only_itself():
    def spoil(a, data):
        _, kind, asked = a.asked(data)
        if kind == "get" and POWER_OID in asked:
            return [(0, a.answer(data, status=5, index=asked.index(POWER_OID) + 1))]
        return None

    async with agent(spoil=spoil) as a, Running([target(a)]) as run:
        await run.polled(2)
        assert run.kept.value(PHASE_1) == pytest.approx(7.1)
        assert run.kept.value("PowerMeter/Energy/snmp/PDU-1/rPDU2DeviceStatusEnergy.1") is not None
        assert "genErr" in run.collector.stats()["partly"]["PDU-1"]
        requests = a.requests
        await run.polled(2)
        assert a.requests - requests <= 3, "once found it is left out: one request a poll"


@pytest.mark.parametrize("index", [0, 1])
async def test_the_object_with_an_error_is_found_where_the_agent_does_not_say_or_says_another(index):
    def spoil(a, data):
        *_, asked = a.asked(data)
        return [(0, a.answer(data, status=5, index=index))] if POWER_OID in asked else None

    async with agent(spoil=spoil) as a:
        s = session(a)
        got = await s.get(oids())
        assert set(got) == set(oids()) - {POWER_OID}
        assert list(s.troubles) == [POWER_OID]
        assert a.requests < 2 * len(oids())


async def test_an_object_is_asked_for_again_when_its_error_is_over(monkeypatch):
    monkeypatch.setattr(client_module, "TRY_AGAIN", 0.2)
    sick = [True]

    def spoil(a, data):
        _, _, asked = a.asked(data)
        return [(0, a.answer(data, status=5, index=0))] if sick[0] and POWER_OID in asked else None

    async with agent(spoil=spoil) as a:
        s = session(a)
        assert POWER_OID not in await s.get(oids())
        sick[0] = False
        await asyncio.sleep(0.25)
        assert (await s.get(oids()))[POWER_OID] == 513
        assert s.troubles == {}


async def test_objects_that_are_gone_shrink_no_request():
    """An unplugged unit read as "answer too big": four objects a request instead of forty, for good."""
    unit = {f"1.3.6.1.4.1.318.1.1.26.9.4.3.1.7.{i}": V2C.Integer(i) for i in range(1, 81)}
    async with agent(values() | unit) as a:
        s = session(a)
        await s.get(list(unit))
        assert a.requests == 2
        for oid in unit:
            del a.objects[oid]
        for _ in range(3):
            await s.get(list(unit))
        a.objects |= unit
        a.requests = 0
        assert len(await s.get(list(unit))) == 80
        assert a.requests == 2


async def test_requests_that_are_too_big_are_halved_and_grow_again(monkeypatch):
    most = [10]

    def spoil(a, data):
        _, _, asked = a.asked(data)
        return [(0, a.answer(data, status=1))] if len(asked) > most[0] else None

    unit = {f"1.3.6.1.4.1.318.1.1.26.9.4.3.1.7.{i}": V2C.Integer(i) for i in range(1, 81)}
    async with agent(values() | unit, spoil) as a:
        s = session(a)
        assert len(await s.get(list(unit))) == 80
        a.requests = 0
        assert len(await s.get(list(unit))) == 80
        assert a.requests == 8, "it remembers what the agent can do"
        most[0] = 100
        monkeypatch.setattr(client_module, "TRY_AGAIN", -1.0)
        for _ in range(3):
            await s.get(list(unit))
        a.requests = 0
        await s.get(list(unit))
        assert a.requests == 2


async def test_endless_too_big_is_bounded_and_told():
    def spoil(a, data):
        _, kind, asked = a.asked(data)
        return [(0, a.answer(data, status=1))] if kind == "get" and asked != [UPTIME] else None

    async with agent(spoil=spoil) as a:
        s = session(a)
        assert await s.get(oids()) == {}
        assert a.requests < 3 * len(oids())
        assert all("tooBig" in reason for reason in s.troubles.values())
        a.requests = 0
        assert await s.get(oids()) == {}
        assert a.requests == 0, "and not asked again for a while"


async def test_an_object_that_hangs_costs_itself_after_some_polls_and_the_others_from_the_first():
    def spoil(a, data):
        _, kind, asked = a.asked(data)
        return [] if kind == "get" and POWER_OID in asked else None

    async with agent(spoil=spoil) as a, Running([target(a)], timeout=0.5, interval=1.5) as run:
        await run.kept.until(lambda: run.kept.value(up()) is not None)
        assert run.kept.value(up()) == 1
        await run.kept.until(lambda: len(run.device.client.left_alone) == 1)
        assert run.device.client.left_alone == {POWER_OID}
        assert run.kept.value(PHASE_1) == pytest.approx(7.1)
        assert f"{POWER_OID}: no answer" in run.collector.stats()["partly"]["PDU-1"]


BULK = {
    "genErr": lambda a, data: [(0, a.answer(data, status=5))],
    "nothing": lambda a, data: [(0, a.answer(data, lambda _: []))],
    "silence": lambda a, data: [],
    "tooBig": lambda a, data: [(0, a.answer(data, status=1))],
}


@pytest.mark.parametrize("how", BULK)
async def test_an_agent_without_getbulk_is_read_object_by_object(how):
    def spoil(a, data):
        return BULK[how](a, data) if a.asked(data)[1] == "bulk" else None

    async with (
        agent() as well,
        agent(spoil=spoil) as a,
        Running([target(well)]) as good,
        Running([target(a)], timeout=0.3) as run,
    ):
        await good.kept.until(lambda: good.kept.value(POWER))
        await run.kept.until(lambda: set(run.kept.latest) >= set(good.kept.latest))
        await good.kept.until(lambda: set(run.kept.latest) == set(good.kept.latest))


async def test_getbulk_is_tried_again_when_the_trouble_is_over(monkeypatch):
    sick, kinds = [True], []

    def spoil(a, data):
        kind = a.asked(data)[1]
        kinds.append(kind)
        return [(0, a.answer(data, status=5))] if sick[0] and kind == "bulk" else None

    async with agent(spoil=spoil) as a:
        s = session(a)
        n = len(await s.walk("1.3.6.1.4.1.318"))
        assert kinds.count("bulk") == 1
        sick[0] = False
        kinds.clear()
        monkeypatch.setattr(client_module, "TRY_AGAIN", -1.0)
        assert len(await s.walk("1.3.6.1.4.1.318")) == n
        assert kinds == ["bulk"]


async def test_a_table_that_hangs_costs_itself_and_is_named():
    def spoil(a, data):
        _, kind, asked = a.asked(data)
        if kind == "get":
            return None
        reply = a.answer(data)
        name = bytes.fromhex("2b06010401823e01011a06030105")  # the current of the phases
        return [] if name in reply and asked[0].startswith(PHASES) else None

    async with agent(spoil=spoil) as a, Running([target(a)], timeout=0.3) as run:
        await run.kept.until(lambda: run.kept.value(POWER) == 5130.0)
        await run.kept.until(lambda: run.kept.value(up()) == 1)
        assert PHASES in run.collector.stats()["partly"]["PDU-1"]


async def test_a_table_that_loops_keeps_what_came_before_and_is_named():
    def loops(a, data):
        def change(rows):
            return [(f"{PHASES}.5.1" if o == f"{PHASES}.5.3" else o, v) for o, v in rows]

        return [(0, a.answer(data, change))] if a.asked(data)[1] != "get" else None

    async with agent(spoil=loops) as a:
        s = session(a)
        rows = await s.walk(f"{PHASES}.5")
        assert [oid for oid, _ in rows] == [f"{PHASES}.5.1", f"{PHASES}.5.2"]
        assert "do not increase" in s.troubles[f"{PHASES}.5"]
        async with Running([target(a)]) as run:
            await run.kept.until(lambda: run.kept.value(POWER) == 5130.0)
            assert run.kept.value(PHASE_1) == pytest.approx(7.1)


async def test_an_endless_table_is_left_out_and_named_after_a_bounded_number_of_requests():
    def endless(a, data):
        last = a.asked(data)[2][0]
        start = int(last.removeprefix("1.3.6.1.4.1.318").lstrip(".") or 0) + 1
        return [
            (
                0,
                a.answer(
                    data, lambda _: [(f"1.3.6.1.4.1.318.{start + i}", V2C.Integer(1)) for i in range(50)]
                ),
            )
        ]

    async with agent(spoil=endless) as a:
        s = session(a)
        assert await s.walk("1.3.6.1.4.1.318") == []
        assert "no end" in s.troubles["1.3.6.1.4.1.318"]
        assert a.requests <= MOST_ROWS / 50 + 1
        a.requests = 0
        assert await s.walk("1.3.6.1.4.1.318") == []
        assert a.requests == 0


async def test_the_same_answer_again_and_again_is_broken_off():
    def same(a, data):
        return [(0, a.answer(data, lambda rows: [("1.3.6.1.4.1.318.1", V2C.Integer(1))] * len(rows)))]

    async with agent(spoil=same) as a:
        s = session(a)
        assert await s.walk("1.3.6.1.4.1.318") == [("1.3.6.1.4.1.318.1", 1)]
        assert a.requests == 2
        assert "again and again" in s.troubles["1.3.6.1.4.1.318"]


async def test_objects_told_twice_in_one_answer_are_read_once():
    def twice(a, data):
        return [(0, a.answer(data, lambda rows: [r for row in rows for r in (row, row)]))]

    async with agent() as good, agent(spoil=twice) as a:
        s = session(a)
        assert await s.walk("1.3.6.1.4.1.318") == await session(good).walk("1.3.6.1.4.1.318")
        assert s.troubles == {}


async def test_an_end_told_as_an_error_is_an_end():
    def spoil(a, data):
        _, kind, asked = a.asked(data)
        past = kind != "get" and asked[0].startswith(f"{PHASES}.6")
        return [(0, a.answer(data, status=2, index=1))] if past else None

    async with agent(spoil=spoil) as a:
        s = session(a)
        assert len(await s.walk(PHASES, count=13)) == 13
        assert s.troubles == {}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
async def test_an_answer_from_another_address_or_port_is_told_and_taken_on_request(host):
    with elsewhere(host) as other:

        def spoil(a, data):
            other.sendto(a.answer(data), a.sender)
            return []

        async with agent(spoil=spoil) as a:
            with pytest.raises(SourceTimeout, match=f"an answer came from {host}:.*any_address"):
                await session(a, timeout=0.3).get([UPTIME])
            async with Running([target(a, any_address=True)]) as run:
                await run.kept.until(lambda: run.kept.value(POWER) == 5130.0)


def _wrong_number(a, data):
    """Return the right answer to another request: the number, of four octets or fewer, follows the PDU's head."""
    reply = bytearray(a.answer(data))
    at = reply.index(0xA2)
    at = reply.index(0x02, at + 2)
    reply[at + 1 + reply[at + 1]] ^= 1
    return bytes(reply)


async def test_an_answer_to_another_request_is_none_and_told():
    async with agent(spoil=lambda a, data: [(0, _wrong_number(a, data))]) as a:
        s = session(a, timeout=0.3)
        with pytest.raises(SourceTimeout, match="number of another request"):
            await s.get([UPTIME])
        assert s.traffic.strays == a.requests


async def test_a_flood_in_place_of_an_answer_is_bounded():
    async with agent(spoil=lambda a, data: [(0, _wrong_number(a, data))] * 200) as a:
        s = session(a, timeout=5.0)
        with pytest.raises(SourceProtocolError, match="64 datagrams that are no answer"):
            await s.get([UPTIME])


async def test_an_agent_of_version_1_only_is_told_to_be_one():
    def spoil(a, data):
        return None if a.asked(data)[0] == 0 else []

    async with agent(spoil=spoil) as a:
        with pytest.raises(SourceRefused, match="answers to version 1 only: use version 1"):
            await session(a, timeout=1.0).get([UPTIME])
        async with Running([target(a)], timeout=0.5, breaker_after=1, breaker_longest=0.3) as run:
            await run.polled(3)
            await run.kept.until(lambda: run.kept.value(up()) == 2)
            assert "use version 1" in run.collector.stats()["down"]["PDU-1"]


async def test_an_agent_that_comes_up_while_it_is_asked_is_of_no_other_version():
    deaf = [True]

    def spoil(a, data):
        if a.asked(data)[0] == 0:
            deaf.clear()
        return [] if deaf else None

    async with agent(spoil=spoil) as a:
        with pytest.raises(SourceTimeout):
            await session(a, timeout=0.3).get([UPTIME])


async def test_an_agent_of_version_1_is_read_though_it_lacks_objects():
    def v1(a, data):
        version, kind, asked = a.asked(data)
        if version:
            return []
        if kind == "get":
            missing = [o for o in asked if o not in a.objects]
            return [(0, a.answer(data, status=2, index=asked.index(missing[0]) + 1))] if missing else None
        return [(0, a.answer(data, status=2, index=1))] if not a.following(asked[0]) else None

    async with agent(spoil=v1) as a:
        s = PatientClient("127.0.0.1", a.port, Secrets(version="1"), timeout=20.0, retries=0)
        asked = [*oids(), "1.3.6.1.4.1.318.9.1.0", "1.3.6.1.4.1.318.9.2.0"]
        assert set(await s.get(asked)) == set(oids())
        assert {o for o, _ in await s.walk("1.3.6.1.4.1.318")} == set(oids())
        a.requests = 0
        await s.get(asked)
        assert a.requests == 1
        assert s.troubles == {}


async def test_what_was_read_before_the_time_was_over_is_kept():
    unit = {f"1.3.6.1.4.1.318.1.1.26.9.4.3.1.7.{i}": V2C.Integer(i) for i in range(1, 81)}

    def slow(a, data):
        return [(0.06, a.answer(data))]

    async with agent(values() | unit, slow) as a:
        s = session(a, max_varbinds=10)
        s.limit(Budget(seconds=0.25))
        got = {}

        async def collect():
            async for part in s.read(list(unit)):
                got.update(part)

        with pytest.raises(BudgetSpent):
            await collect()
        assert 10 <= len(got) < 80


async def test_a_poll_asks_no_more_often_than_its_budget():
    async with agent() as a:
        s = session(a, max_varbinds=1)
        s.limit(Budget(requests=5))
        with pytest.raises(BudgetSpent):
            await s.get(oids())
        assert a.requests == 5


async def test_answers_beyond_the_octets_of_a_poll_are_not_asked_for():
    objects = values(**{f"1.3.6.1.4.1.318.2.{i}": V2C.OctetString("x" * 1000) for i in range(100)})
    async with agent(objects) as a:
        s = session(a)
        s.limit(Budget(octets=20_000))
        rows = await s.walk("1.3.6.1.4.1.318.2", count=5)
        assert 0 < len(rows) < 40
        assert "more octets" in s.troubles["1.3.6.1.4.1.318.2"]


async def test_a_device_has_a_bounded_number_of_readings_and_the_rest_is_told():
    async with agent() as a, Running([target(a)], max_readings=5) as run:
        await run.polled(2)
        assert run.device.point_count == 5
        assert run.collector.stats()["left_out"] == run.device.left_out > 0
        assert "beyond the 5" in run.collector.stats()["partly"]["PDU-1"]


async def test_of_many_troubles_some_are_told_and_the_rest_is_a_number():
    many = values(
        **{
            f"1.3.6.1.4.1.318.1.1.26.6.3.1.{at}.{n}": V2C.Integer(n)
            for at in (1, 2, 3, 5, 6)
            for n in range(1, 81)
        }
    )

    def spoil(a, data):
        _, kind, asked = a.asked(data)
        bad = [o for o in asked if o.startswith(f"{PHASES}.5.")]
        return [(0, a.answer(data, status=5, index=0))] if kind == "get" and bad else None

    async with agent(many, spoil=spoil) as a, Running([target(a)], interval=5.0) as run:
        await run.polled(1)
        told = run.collector.stats()["partly"]["PDU-1"]
        assert told.endswith("; and 47 more")
        assert len(told) < 500
        assert len(run.device.client.troubles) == 50


async def test_polls_wait_for_a_sink_that_does_not_take_and_nothing_is_dropped(monkeypatch):
    monkeypatch.setattr(collector_module, "MOST_WAITING", 2)
    open_again, stored = asyncio.Event(), []

    async def sink(batch):
        await open_again.wait()
        stored.append(len(batch))

    async with agent() as a, Running([target(a)], sink=sink, interval=0.05) as run:
        await until(lambda: run.collector.stats()["waiting"] == 2 and run.device.polls > 3)
        await asyncio.sleep(0.3)
        polls = run.device.polls
        await asyncio.sleep(0.3)
        assert run.device.polls == polls
        assert run.collector.stats()["waiting"] == 2
        open_again.set()
        await until(lambda: run.device.polls >= polls + 3)
        assert run.collector.stats()["rejected"] == 0
