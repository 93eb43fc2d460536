"""A small SNMP agent for tests, which behaves as badly as it is told to.

Encodes with pysnmp's own messages, so that it shares no code with the client under test.
"""

import asyncio
import socket
from bisect import bisect_right
from contextlib import asynccontextmanager

from pyasn1.codec.ber import decoder, encoder
from pysnmp.proto import api
from pysnmp.proto.rfc1905 import EndOfMibView, NoSuchInstance

from benchmarks._snmp_agents import rack_pdu
from collectors.snmp.collector import SnmpCollector
from collectors.snmp.settings import SnmpSettings
from domain.points import PointRegistry
from simulator.snmp.responder import answer

UPTIME = "1.3.6.1.2.1.1.3.0"
POWER_OID = "1.3.6.1.4.1.318.1.1.26.4.3.1.5.1"
POWER = "PowerMeter/ActivePower/snmp/PDU-1/rPDU2DeviceStatusPower.1"
PHASES = "1.3.6.1.4.1.318.1.1.26.6.3.1"
V2C = api.PROTOCOL_MODULES[api.SNMP_VERSION_2C]


def values(**extra):
    """Return the objects of a small APC rack PDU: OID to pysnmp value."""
    text, integer, gauge, ticks = V2C.OctetString, V2C.Integer, V2C.Gauge32, V2C.TimeTicks
    objects = {
        "1.3.6.1.2.1.1.1.0": text("APC Web/SNMP Management Card (MN:AP8641)"),
        "1.3.6.1.2.1.1.2.0": V2C.ObjectIdentifier("1.3.6.1.4.1.318.1.3.4.6"),
        "1.3.6.1.2.1.1.3.0": ticks(123456),
        "1.3.6.1.4.1.318.1.1.26.4.3.1.1.1": integer(1),
        "1.3.6.1.4.1.318.1.1.26.4.3.1.2.1": integer(1),
        "1.3.6.1.4.1.318.1.1.26.4.3.1.4.1": integer(2),
        "1.3.6.1.4.1.318.1.1.26.4.3.1.5.1": gauge(513),
        "1.3.6.1.4.1.318.1.1.26.4.3.1.9.1": gauge(19677),
    }
    for phase in (1, 2, 3):
        row = "1.3.6.1.4.1.318.1.1.26.6.3.1"
        objects |= {
            f"{row}.1.{phase}": integer(phase),
            f"{row}.2.{phase}": integer(1),
            f"{row}.3.{phase}": integer(phase),
            f"{row}.5.{phase}": integer(70 + phase),
            f"{row}.6.{phase}": integer(230),
        }
    return objects | extra


def oids():
    """Return the names of those objects that are APC's."""
    return [oid for oid in values() if oid.startswith("1.3.6.1.4.1.318")]


class Agent(asyncio.DatagramProtocol):
    """Answers GET, GETNEXT and GETBULK from `objects`; `spoil(reply, request)` may change what goes out.

    `spoil` returns a list of (delay in seconds, datagram); by default the right answer at once.
    """

    def __init__(self, objects=None, spoil=None, community="public"):
        self.objects = dict(values() if objects is None else objects)
        self.spoil = spoil
        self.community = community
        self.requests = 0
        self.busy = []

    def connection_made(self, transport):
        self.transport = transport

    @property
    def port(self):
        return self.transport.get_extra_info("sockname")[1]

    def datagram_received(self, data, address):
        self.requests += 1
        self.sender = address
        if self.spoil is not None:
            sent = self.spoil(self, data)
            if sent is not None:
                for delay, datagram in sent:
                    asyncio.get_running_loop().call_later(delay, self.transport.sendto, datagram, address)
                return
        reply = self.answer(data)
        if reply is not None:
            self.transport.sendto(reply, address)

    def answer(self, data, change=lambda rows: rows, status=0, index=0):
        message, _ = decoder.decode(data, asn1Spec=V2C.Message())
        if bytes(V2C.apiMessage.get_community(message)).decode() != self.community:
            return None
        request = V2C.apiMessage.get_pdu(message)
        asked = [str(oid) for oid, _ in V2C.apiPDU.get_varbinds(request)]
        if request.isSameTypeWith(V2C.GetBulkRequestPDU()):
            count = int(V2C.apiBulkPDU.get_max_repetitions(request))
            rows = self._following(asked[0], count)
        elif request.isSameTypeWith(V2C.GetNextRequestPDU()):
            rows = self._following(asked[0], 1)
        else:
            rows = [(o, self.objects.get(o, NoSuchInstance(""))) for o in asked]
        if status:
            rows = [(o, V2C.Null("")) for o in asked]
        response = V2C.GetResponsePDU()
        V2C.apiPDU.set_defaults(response)
        V2C.apiPDU.set_request_id(response, V2C.apiPDU.get_request_id(request))
        V2C.apiPDU.set_error_status(response, status)
        if status:
            V2C.apiPDU.set_error_index(response, index)
        V2C.apiPDU.set_varbinds(response, [(V2C.ObjectIdentifier(o), v) for o, v in change(rows)])
        V2C.apiMessage.set_pdu(message, response)
        return encoder.encode(message)

    @staticmethod
    def asked(data):
        """Return (version, kind, OIDs) of a request; kind is get, next or bulk."""
        message, _ = decoder.decode(data, asn1Spec=V2C.Message())
        request = V2C.apiMessage.get_pdu(message)
        kinds = {"get": V2C.GetRequestPDU(), "next": V2C.GetNextRequestPDU(), "bulk": V2C.GetBulkRequestPDU()}
        kind = next(name for name, pdu in kinds.items() if request.isSameTypeWith(pdu))
        oids = [str(oid) for oid, _ in V2C.apiPDU.get_varbinds(request)]
        return int(V2C.apiMessage.get_version(message)), kind, oids

    def following(self, after, count=1):
        """Return the names of up to `count` objects behind one."""
        key = tuple(map(int, after.split(".")))
        ordered = sorted(tuple(map(int, o.split("."))) for o in self.objects)
        return [".".join(map(str, o)) for o in ordered[bisect_right(ordered, key) :][:count]]

    def _following(self, after, count):
        names = self.following(after, count)
        rows = [(n, self.objects[n]) for n in names]
        return rows if len(rows) == count else [*rows, (names[-1] if names else after, EndOfMibView(""))]


@asynccontextmanager
async def agent(objects=None, spoil=None, community="public"):
    """Run an agent on a free port of loopback."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: Agent(objects, spoil, community), local_addr=("127.0.0.1", 0)
    )
    try:
        yield protocol
    finally:
        transport.close()


class _Quick(asyncio.DatagramProtocol):
    """The simulator's agent, for tests with many devices: it answers in a fiftieth of the time."""

    def __init__(self, table):
        self._table = table

    def connection_made(self, transport):
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data, address):
        self.transport.sendto(answer(data, self._table, (), ()), address)


@asynccontextmanager
async def quick_agent(table=None):
    """Run a well-behaved agent on a free port of loopback: a rack PDU, where no table is given."""
    served = rack_pdu() if table is None else table
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Quick(served), local_addr=("127.0.0.1", 0)
    )
    try:
        yield protocol
    finally:
        transport.close()


class Kept:
    """A sink that keeps everything and can be waited on."""

    def __init__(self, registry):
        self.registry = registry
        self.latest = {}
        self.rows = 0
        self._changed = asyncio.Event()

    async def __call__(self, batch):
        for index, value, observed in zip(batch.point, batch.value, batch.observed, strict=True):
            self.latest[self.registry[int(index)].key] = (float(value), int(observed))
        self.rows += len(batch)
        self._changed.set()

    def value(self, key):
        return self.latest[key][0] if key in self.latest else None

    async def until(self, condition, patience=60.0):
        async with asyncio.timeout(patience):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Running:
    """A collector that polls while the block runs; `timeout` and `deadline` let a good device answer on a busy machine."""

    def __init__(self, targets, sink=None, traps=None, **polling):
        self.registry = PointRegistry()
        self.kept = Kept(self.registry)
        defaults = {"interval": 0.5, "timeout": 10.0, "deadline": 30.0, "retries": 0, "breaker_after": 2}
        settings = SnmpSettings.model_validate(
            {"polling": defaults | polling, "targets": targets, "traps": traps}
        )
        self.collector = SnmpCollector(settings, self.registry, sink or self.kept)

    async def __aenter__(self):
        self.task = asyncio.create_task(self.collector.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    @property
    def device(self):
        return next(iter(self.collector.devices.values()))

    async def quiet(self, turns=50):
        """Let everything run that is due now."""
        for _ in range(turns):
            await asyncio.sleep(0.002)

    async def polled(self, times=1, name=None):
        """Wait until a device was polled so often again."""
        device = self.collector.devices[name] if name else self.device
        polls = device.polls + times
        await self.kept.until(lambda: device.polls >= polls)


async def until(condition, patience=60.0):
    """Wait for something that nobody tells of."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def target(a, name="PDU-1", **more):
    return {"host": "127.0.0.1", "port": a.port, "object_id": name, **more}


def up(name="PDU-1"):
    return f"Device/DeviceUp/snmp/{name}"


def elsewhere(host="127.0.0.1"):
    """Return a socket that sends from another address or port."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((host, 0))
    return s
