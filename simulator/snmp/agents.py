"""The agents on the wire: one UDP port a device, consecutive ports on one address."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

import structlog

from domain.errors import SourceError
from domain.plant.layout import SIDES, PlantLayout
from simulator.channels import Meters
from simulator.factory import Factory
from simulator.snmp.ber import Malformed
from simulator.snmp.devices import UPTIME, DeviceKind, cooling_unit, rack_pdu, ups
from simulator.snmp.responder import answer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SnmpDevice:
    """A device with an agent: who it is, what serves or is served, and how far its port is from the first."""

    id: str
    profile: str
    object_type: str
    offset: int
    serves: tuple[str, ...] = ()
    associate: str = ""


def snmp_devices(layout: PlantLayout) -> list[SnmpDevice]:
    """Return the devices in the order of their ports: rack PDUs, UPSes, CRAHs."""
    found = [
        SnmpDevice(f"{rack}-PDU-{side}", "apc-rpdu2", "PowerMeter", 2 * i + j, serves=(rack,))
        for i, rack in enumerate(layout.racks)
        for j, side in enumerate(SIDES)
    ]
    for i, unit in enumerate(layout.ups):
        busways = tuple(b for b, owner in zip(layout.busways, layout.busway_ups, strict=True) if owner == i)
        found.append(SnmpDevice(unit, "ups-mib", "UPS", len(found), serves=busways))
    for unit, pod in zip(layout.crahs, layout.crah_pod, strict=True):
        found.append(SnmpDevice(unit, "apc-inrow", "CRAH", len(found), associate=layout.pods[pod]))
    return found


class SnmpAgents:
    """All agents of a factory.

    Parameters
    ----------
    factory
        Whose devices these are.
    meters
        Its derived electrical readings.
    """

    def __init__(self, factory: Factory, meters: Meters) -> None:
        self.factory = factory
        self.meters = meters
        self.devices = snmp_devices(factory.layout)
        self.counts: Counter[str] = Counter()
        self._kinds: dict[str, DeviceKind] = {k.profile: k for k in (rack_pdu(), ups(), cooling_unit())}
        self._rows: dict[str, list[list[int]]] = {}
        self._at = -1
        self._place: dict[str, int] = {}
        position: Counter[str] = Counter()
        for device in self.devices:
            self._place[device.id] = position[device.profile]
            position[device.profile] += 1
        self._transports: list[asyncio.DatagramTransport] = []

    async def open(self, host: str, base_port: int) -> None:
        """Listen on `base_port` and the ports behind it, one a device.

        Raises
        ------
        SourceError
            If a port is taken.
        """
        loop = asyncio.get_running_loop()
        for device in self.devices:
            port = base_port + device.offset
            try:
                transport, _ = await loop.create_datagram_endpoint(
                    lambda device=device: _Agent(self, device),  # type: ignore[misc]
                    local_addr=(host, port),
                )
            except OSError as error:
                self.close()
                raise SourceError(f"UDP port {port} for {device.id} cannot be opened: {error}") from error
            self._transports.append(transport)

    def close(self) -> None:
        """Stop listening."""
        for transport in self._transports:
            transport.close()
        self._transports.clear()

    def stats(self) -> dict[str, int]:
        """Return counts of requests, answers, silences, and datagrams that were no requests."""
        return dict(self.counts)

    def respond(self, device: SnmpDevice, data: bytes) -> bytes | None:
        """Return a device's answer to a datagram, or None where it stays silent."""
        self.counts["requests"] += 1
        if device.id in self.factory.faults.silent["snmp"]:
            self.counts["silent"] += 1
            return None
        kind = self._kinds[device.profile]
        values = self._values(kind)[self._place[device.id]]
        values[UPTIME] = (self.factory.time_ms - self.factory.start_ms) // 10 + 8_640_000
        try:
            reply = answer(data, kind.table, values, (device.id.encode(), device.associate.encode()))
        except Malformed:
            self.counts["malformed"] += 1
            return None
        self.counts["refused" if reply is None else "answers"] += 1
        return reply

    def _values(self, kind: DeviceKind) -> list[list[int]]:
        if self._at != self.factory.time_ms:
            self._at = self.factory.time_ms
            self.meters.refresh()
            self._rows = {}
        rows = self._rows.get(kind.profile)
        if rows is None:
            rows = self._rows[kind.profile] = kind.values(self.meters).tolist()
        return rows


class _Agent(asyncio.DatagramProtocol):
    def __init__(self, agents: SnmpAgents, device: SnmpDevice) -> None:
        self._agents = agents
        self._device = device
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        reply = self._agents.respond(self._device, data)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, address)
