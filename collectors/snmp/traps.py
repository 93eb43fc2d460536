"""Traps and informs: what a device tells unasked makes it be polled at once.

Received with pysnmp. Nothing is read from a notification but who sent it: the poll that follows has the values.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog
from pysnmp.carrier.asyncio.dgram import udp
from pysnmp.entity import config
from pysnmp.entity.rfc3413 import ntfrcv

from collectors.snmp.pysnmp_client import AUTH, new_engine, privacy
from collectors.snmp.settings import TrapSettings
from domain.errors import ConfigurationError, Problem, brief

log = structlog.get_logger(__name__)

TRAP_OID = "1.3.6.1.6.3.1.1.4.1.0"
"""SNMPv2-MIB snmpTrapOID.0: which notification it is."""
MOST_OF_TARGETS, MOST_OF_ONE, MOST_OF_OTHERS = 50, 10, 5
"""Datagrams a second that are taken apart: of all polled devices, of one of them, of all other hosts."""
MOST_READ = 2_000
"""Datagrams a second that are looked at at all; beyond, the socket is left alone for the rest of the second."""
LOG_EVERY = 10.0
"""Seconds between two log lines on notifications."""


class TrapReceiver:
    """Listens for notifications until cancelled.

    Parameters
    ----------
    settings
        Where, and from whom.
    poll_soon
        Called with the sender's address; returns whether any device is there.
    is_target
        Whether any device is at an address.

    Notes
    -----
    Taking a notification apart costs a millisecond and more, so only some a second are: a flood from one host, or
    from hosts that are no target, costs a few percent of a core and hides no other device's. As a notification only
    says that its sender is to be polled, those beyond may be dropped; they are counted.
    """

    def __init__(
        self,
        settings: TrapSettings,
        poll_soon: Callable[[str], bool],
        is_target: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._settings = settings
        self._poll_soon = poll_soon
        self._is_target = is_target
        self._logged, self._unlogged = -LOG_EVERY, 0
        self.dropped = 0
        """Datagrams beyond what is taken apart in a second."""
        self.taken = 0
        """Datagrams that were taken apart."""
        self.received = 0
        self.unknown = 0
        """Notifications of hosts that are no target."""
        self.port = settings.port
        self.take: Callable[[bytes, tuple[str, int]], None] | None = None
        """What is done with a datagram, once it listens."""
        self.listening = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled.

        Raises
        ------
        ConfigurationError
            If the port cannot be had.
        """
        engine = await asyncio.to_thread(new_engine)  # it reads and runs MIB modules for a tenth of a second
        transport = _PacedUdp(self)
        try:
            transport.open_server_mode((self._settings.host, self._settings.port))
        except OSError as error:
            raise self._cannot_listen(error) from error
        config.add_transport(engine, udp.DOMAIN_NAME, transport)
        self._add_senders(engine)
        receiver = ntfrcv.NotificationReceiver(engine, self._on_notification)
        try:
            self.port, self.take = transport.port, transport.take
            self.listening.set()
            await asyncio.Event().wait()
        finally:
            receiver.close(engine)
            engine.close_dispatcher()

    def stats(self) -> dict[str, Any]:
        """Return counters for the health page."""
        return {
            "port": self.port,
            "received": self.received,
            "of unknown hosts": self.unknown,
            "dropped": self.dropped,
            "not believed or no notification": self.taken - self.received,
        }

    def _cannot_listen(self, error: OSError) -> ConfigurationError:
        where = f"{self._settings.host}:{self._settings.port}"
        return ConfigurationError(
            Problem(
                "snmp", "traps.port", f"cannot listen on {where}: {error}", "Choose a free port above 1023"
            )
        )

    def _add_senders(self, engine: Any) -> None:
        for n, sender in enumerate(self._settings.credentials):
            secrets = sender.secrets()
            if secrets.version != "3":
                config.add_v1_system(engine, f"community-{n}", secrets.community)
                continue
            # RFC 3414: who sends a trap is authoritative for it, so its engine id must be known; for informs we are.
            for engine_id in (None, *sender.engine_ids):
                config.add_v3_user(
                    engine,
                    secrets.user,
                    AUTH[secrets.auth] if secrets.auth else config.USM_AUTH_NONE,
                    secrets.auth_key or None,
                    privacy(secrets),
                    secrets.priv_key or None,
                    securityEngineId=None if engine_id is None else _octets(engine_id),
                )

    def _on_notification(
        self, engine: Any, reference: Any, context_engine: Any, context: Any, rows: Any, _: Any
    ) -> None:
        self.received += 1
        _, address = engine.message_dispatcher.get_transport_info(reference)
        which = next((str(value) for oid, value in rows if str(oid) == TRAP_OID), "")
        known = self._poll_soon(str(address[0]))
        if not known:
            self.unknown += 1
        now = time.monotonic()
        if now - self._logged < LOG_EVERY:
            self._unlogged += 1
            return
        log.info(
            "snmp notification",
            sender=str(address[0]), trap=which[:128], known=known, not_logged_before=self._unlogged,
        )  # fmt: skip
        self._logged, self._unlogged = now, 0

    def admits(self, host: str, taken: Counter[str]) -> bool:
        """Return whether a datagram of `host` is taken apart, given how many of whom were in this second."""
        if not self._is_target(host):
            taken[""] += 1
            return taken[""] <= MOST_OF_OTHERS
        taken[host] += 1
        return taken[host] <= MOST_OF_ONE and taken.total() - taken[""] <= MOST_OF_TARGETS


class _PacedUdp(udp.UdpAsyncioTransport):  # type: ignore[misc]
    """A UDP socket that hands pysnmp no more than it can take apart, and leaves a flood to the kernel."""

    def __init__(self, receiver: TrapReceiver) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self._receiver = receiver
        self._socket: socket.socket | None = None
        self._second, self._read_now = 0.0, 0
        self._taken: Counter[str] = Counter()
        self._resume: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    def open_server_mode(self, iface: Any = None, sock: Any = None) -> _PacedUdp:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind(iface)
        except OSError:
            self._socket.close()
            raise
        self.loop.add_reader(self._socket, self._readable)
        return self

    def send_message(self, outgoingMessage: bytes, transportAddress: Any) -> None:
        if self._socket is not None:
            try:
                self._socket.sendto(bytes(outgoingMessage), tuple(transportAddress))
            except OSError as error:
                log.debug("inform not answered", error=str(error))

    def close_transport(self) -> None:
        if self._resume is not None:
            self._resume.cancel()
        if self._socket is not None:
            self.loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _readable(self) -> None:
        now = self.loop.time()
        if now - self._second >= 1.0:
            self._second, self._read_now = now, 0
            self._taken.clear()
        for _ in range(16):
            if self._socket is None:
                return
            if self._read_now >= MOST_READ:
                self.loop.remove_reader(self._socket)
                self._resume = self.loop.call_later(self._second + 1.0 - now, self._listen_again)
                return
            try:
                data, address = self._socket.recvfrom(65_535)
            except OSError:
                return
            self._read_now += 1
            self.take(data, address)

    def take(self, data: bytes, address: tuple[str, int]) -> None:
        """Hand a datagram to pysnmp, unless there were too many of them."""
        if not self._receiver.admits(str(address[0]), self._taken):
            self._receiver.dropped += 1
            return
        self._receiver.taken += 1
        try:
            self._callback_function(self, self.normalize_address(address), data)
        except Exception as error:  # whatever a datagram makes of the library costs that datagram
            log.debug("no notification", sender=str(address[0]), error=brief(error, 200))

    def _listen_again(self) -> None:
        if self._socket is not None:
            self.loop.add_reader(self._socket, self._readable)


def _octets(engine_id: str) -> Any:
    from pysnmp.proto.rfc1902 import OctetString

    return OctetString(hexValue=engine_id.removeprefix("0x"))
