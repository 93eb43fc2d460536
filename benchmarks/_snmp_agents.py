"""Agents for the SNMP benchmark, in a process of their own: many UDP ports, one rack PDU of 60 readings behind each."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from simulator.snmp import ber
from simulator.snmp.responder import Content, OidTable, answer

RPDU2 = "1.3.6.1.4.1.318.1.1.26"
READINGS = 60


def rack_pdu() -> OidTable:
    """Return a metered-by-outlet rack PDU: 6 readings, 3 phases of 6, 9 outlets of 4."""
    rows: dict[str, Content] = {
        "1.3.6.1.2.1.1.1.0": ber.tlv(ber.STRING, b"APC Web/SNMP Management Card (MN:AP8681)"),
        "1.3.6.1.2.1.1.2.0": ber.tlv(ber.OID, ber.oid((1, 3, 6, 1, 4, 1, 318, 1, 3, 4, 6))),
        "1.3.6.1.2.1.1.3.0": ber.integer(8_640_000, 0x43),
    }
    rows |= {f"{RPDU2}.4.3.1.{at}.1": ber.integer(v) for at, v in {1: 1, 2: 1}.items()}
    rows |= {f"{RPDU2}.4.3.1.{at}.1": ber.integer(100 + at) for at in (4, 5, 6, 9, 16, 17)}
    for phase in (1, 2, 3):
        rows |= {
            f"{RPDU2}.6.3.1.{at}.{phase}": ber.integer(v) for at, v in {1: phase, 2: 1, 3: phase}.items()
        }
        rows |= {f"{RPDU2}.6.3.1.{at}.{phase}": ber.integer(200 + at) for at in (5, 6, 7, 8, 9, 10)}
    for outlet in range(1, 10):
        row = f"{RPDU2}.9.4.3.1"
        rows |= {f"{row}.{at}.{outlet}": ber.integer(v) for at, v in {1: outlet, 2: 1, 4: outlet}.items()}
        rows[f"{row}.3.{outlet}"] = ber.tlv(ber.STRING, b"server %d" % outlet)
        rows |= {f"{row}.{at}.{outlet}": ber.integer(20 + at) for at in (6, 7, 8, 11)}
    return OidTable(rows)


class _Agent(asyncio.DatagramProtocol):
    def __init__(self, table: OidTable, delay: float | None) -> None:
        self._table, self._delay = table, delay
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        if self._delay is None:
            return
        reply = answer(data, self._table, (), ())
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._transport.sendto, reply, address)
        else:
            self._transport.sendto(reply, address)


async def serve(healthy: int, silent: int, slow: int) -> None:
    """Open the agents, print their ports, and answer until killed."""
    loop, table = asyncio.get_running_loop(), rack_pdu()
    ports: list[int] = []
    for delay in [*[0.0] * healthy, *[None] * silent, *[3.0] * slow]:
        transport, _ = await loop.create_datagram_endpoint(
            lambda delay=delay: _Agent(table, delay),  # type: ignore[misc]
            local_addr=("127.0.0.1", 0),
        )
        ports.append(transport.get_extra_info("sockname")[1])
    print(json.dumps(ports), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*map(int, sys.argv[1:4])))
