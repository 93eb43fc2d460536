"""A datagram at the port for notifications, as pysnmp takes it apart; the next good one is still heard."""

import asyncio
from collections import Counter

from collectors.snmp.settings import TrapSender, TrapSettings
from collectors.snmp.traps import TrapReceiver

COLD_START = bytes.fromhex(
    "304202010104067075626c6963a735020107020100020100302a300f06082b060102010103004303"
    "01e2403017060a2b06010603010104010006092b0601060301010501"
)
SENDER = ("127.0.0.1", 30162)


class _Unpaced(TrapReceiver):
    """Takes every datagram apart, however many there are."""

    def admits(self, host: str, taken: Counter[str]) -> bool:
        return True


_LOOP = asyncio.new_event_loop()
_HEARD: list[TrapReceiver] = []
_TASKS: list[asyncio.Task[None]] = []


def fuzz(data: bytes) -> None:
    asyncio.set_event_loop(_LOOP)
    if not _HEARD:
        receiver = _Unpaced(TrapSettings(port=0, credentials=[TrapSender()]), lambda _: True)
        _TASKS.append(_LOOP.create_task(receiver.run()))
        _LOOP.run_until_complete(receiver.listening.wait())
        _HEARD.append(receiver)
    receiver = _HEARD[0]
    assert receiver.take is not None
    receiver.take(data, SENDER)
    before = receiver.received
    receiver.take(COLD_START, SENDER)
    assert receiver.received == before + 1
