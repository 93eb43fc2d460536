"""The agents on the wire: one UDP port a device, consecutive ports on one address."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

from domain.errors import SourceError
from domain.plant.layout import SIDES, PlantLayout
from domain.site import Site
from simulator.channels import Meters
from simulator.factory import Factory
from simulator.snmp.ber import Malformed
from simulator.snmp.devices import UPTIME, DeviceKind, cooling_unit, rack_pdu, ups
from simulator.snmp.responder import answer

_NOTHING: frozenset[str] = frozenset()
_FIRST_PORT, _LAST_PORT = 16_100, 32_000  # under the range that the system hands out by itself


@dataclass(frozen=True, slots=True)
class SnmpDevice:
    """A device with an agent.

    Parameters
    ----------
    object_id
        Its id in the plant.
    profile
        The profile in `config/devices` that reads it.
    object_type
        Where the profile's own would be wrong; empty otherwise.
    serves, associate
        What it feeds, and what it is part of.
    """

    object_id: str
    profile: str
    object_type: str = ""
    serves: tuple[str, ...] = ()
    associate: str = ""


def devices(site: Site) -> list[SnmpDevice]:
    """Return the devices in the order of their ports: rack PDUs, UPSes, CRAHs."""
    layout = PlantLayout.of(site)
    found = [
        SnmpDevice(f"{rack}-PDU-{side}", "apc-rpdu2", serves=(rack,))
        for rack in layout.racks
        for side in SIDES
    ]
    for i, unit in enumerate(layout.ups):
        busways = tuple(b for b, owner in zip(layout.busways, layout.busway_ups, strict=True) if owner == i)
        found.append(SnmpDevice(unit, "ups-mib", serves=busways))
    for unit, pod in zip(layout.crahs, layout.crah_pod, strict=True):
        found.append(SnmpDevice(unit, "apc-inrow", associate=layout.pods[pod]))
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
        self.devices = devices(factory.site)
        self.counts: Counter[str] = Counter()
        self._kinds: dict[str, DeviceKind] = {k.profile: k for k in (rack_pdu(), ups(), cooling_unit())}
        self._rows: dict[str, list[list[int]]] = {}
        self._frozen: dict[str, list[int]] = {}
        """Rows of devices whose values stand still."""
        self._at = -1
        self._place: dict[str, int] = {}
        position: Counter[str] = Counter()
        for device in self.devices:
            self._place[device.object_id] = position[device.profile]
            position[device.profile] += 1
        self.base_port = 0
        self._transports: list[asyncio.DatagramTransport] = []

    async def open(self, host: str, base_port: int) -> None:
        """Listen on `base_port` and the ports behind it, one a device; 0 looks for a free range.

        Raises
        ------
        SourceError
            If a port is taken.
        """
        if base_port:
            await self._listen(host, base_port)
            return
        for base in range(_FIRST_PORT, _LAST_PORT, len(self.devices)):
            try:
                await self._listen(host, base)
            except SourceError:
                continue
            return
        raise SourceError(f"no {len(self.devices)} consecutive UDP ports are free on {host}")

    async def _listen(self, host: str, base_port: int) -> None:
        loop = asyncio.get_running_loop()
        for port, device in enumerate(self.devices, base_port):
            try:
                transport, _ = await loop.create_datagram_endpoint(
                    lambda device=device: _Agent(self, device),  # type: ignore[misc]
                    local_addr=(host, port),
                )
            except OSError as error:
                self.close()
                raise SourceError(
                    f"UDP port {port} for {device.object_id} cannot be opened: {error}"
                ) from error
            self._transports.append(transport)
        self.base_port = base_port

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
        if device.object_id in self.factory.faults.silent["snmp"] or self._dark(device):
            self.counts["silent"] += 1
            return None
        kind = self._kinds[device.profile]
        wrong = self.factory.faults.agents.get(device.object_id, _NOTHING)
        values = self._values(kind)[self._place[device.object_id]]
        if "frozen" in wrong:
            values = self._frozen.setdefault(device.object_id, list(values))
        elif self._frozen:
            self._frozen.pop(device.object_id, None)
        values[UPTIME] = (self.factory.time_ms - self.factory.start_ms) // 10 + 8_640_000
        try:
            texts = (device.object_id.encode(), device.associate.encode())
            reply = answer(data, kind.table, values, texts, wrong=wrong)
        except Malformed:
            self.counts["malformed"] += 1
            return None
        self.counts["refused" if reply is None else "answers"] += 1
        return reply

    def _dark(self, device: SnmpDevice) -> bool:
        """Whether a rack PDU has lost its supply, and its agent with it."""
        taps = self.factory.state.tap_live.reshape(-1)
        return device.profile == "apc-rpdu2" and not taps[self._place[device.object_id]]

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
