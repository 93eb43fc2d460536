"""A small agent of version 3 for tests, of pysnmp's parts, that answers as badly as it is told to."""

import socket
from bisect import bisect_right
from contextlib import asynccontextmanager

from pysnmp.carrier.asyncio.dgram import udp
from pysnmp.entity import config
from pysnmp.entity.rfc3413 import cmdrsp
from pysnmp.entity.rfc3413.context import SnmpContext
from pysnmp.proto.rfc1905 import EndOfMibView, NoSuchInstance
from pysnmp.smi import error
from pysnmp.smi.instrum import AbstractMibInstrumController

from collectors.snmp.pysnmp_client import new_engine
from tests.servers import free_port

USER = {"version": "3", "user": "watch", "auth": "SHA256", "auth_key": "authsecret1"}


class _Objects(AbstractMibInstrumController):
    def __init__(self, agent):
        self._agent = agent

    def read_variables(self, *rows, **context):
        self._agent.requests += 1
        self._agent.spoil([str(oid) for oid, _ in rows])
        return [(oid, self._agent.objects.get(str(oid), NoSuchInstance(""))) for oid, _ in rows]

    def read_next_variables(self, *rows, **context):
        self._agent.requests += 1
        return [self._agent.after(str(oid)) for oid, _ in rows]


class _NoBulk(cmdrsp.BulkCommandResponder):
    def handle_management_operation(self, *arguments):
        raise error.GenError


class V3Agent:
    """Answers GET and GETNEXT from `objects`; GETBULK too, if it may."""

    def __init__(self, objects):
        self.objects = objects
        self.bad = set()
        """Names for which it answers with an error."""
        self.requests = 0
        self._order = sorted(objects, key=lambda o: tuple(map(int, o.split("."))))
        self._keys = [tuple(map(int, o.split("."))) for o in self._order]

    def spoil(self, oids):
        if self.bad.intersection(oids):
            raise error.GenError

    def after(self, oid):
        at = bisect_right(self._keys, tuple(map(int, oid.split("."))))
        name = self._order[at] if at < len(self._order) else oid
        return name, self.objects[name] if at < len(self._order) else EndOfMibView("")


@asynccontextmanager
async def v3_agent(objects, *, bulk=True):
    """Run an agent on a free port of loopback."""
    agent, engine, port = V3Agent(objects), new_engine(), free_port(socket.SOCK_DGRAM)
    transport = udp.UdpAsyncioTransport().open_server_mode(("127.0.0.1", port))
    config.add_transport(engine, udp.DOMAIN_NAME, transport)
    await transport._lport  # bound
    config.add_v3_user(engine, "watch", config.USM_AUTH_HMAC192_SHA256, "authsecret1")
    config.add_vacm_user(engine, 3, "watch", "authNoPriv", (1, 3, 6), (1, 3, 6))
    context = SnmpContext(engine)
    context.unregister_context_name(b"")
    context.register_context_name(b"", _Objects(agent))
    responders = [cmdrsp.GetCommandResponder, cmdrsp.NextCommandResponder]
    responders.append(cmdrsp.BulkCommandResponder if bulk else _NoBulk)
    for responder in responders:
        responder(engine, context)
    agent.port = port
    try:
        yield agent
    finally:
        engine.close_dispatcher()
