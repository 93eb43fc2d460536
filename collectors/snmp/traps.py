"""Traps and informs: what a device tells unasked makes it be polled at once.

Received with pysnmp. Nothing is read from a notification but who sent it: the poll that follows has the values.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from pysnmp.carrier.asyncio.dgram import udp
from pysnmp.entity import config
from pysnmp.entity.rfc3413 import ntfrcv

from collectors.snmp.pysnmp_client import AUTH, new_engine, privacy
from collectors.snmp.settings import TrapSettings
from domain.errors import ConfigurationError, Problem

log = structlog.get_logger(__name__)

TRAP_OID = "1.3.6.1.6.3.1.1.4.1.0"
"""SNMPv2-MIB snmpTrapOID.0: which notification it is."""


class TrapReceiver:
    """Listens for notifications until cancelled.

    Parameters
    ----------
    settings
        Where, and from whom.
    poll_soon
        Called with the sender's address; returns whether any device is there.
    """

    def __init__(self, settings: TrapSettings, poll_soon: Callable[[str], bool]) -> None:
        self._settings = settings
        self._poll_soon = poll_soon
        self.received = 0
        self.unknown = 0
        """Notifications of hosts that are no target."""
        self.port = settings.port
        self.listening = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled.

        Raises
        ------
        ConfigurationError
            If the port cannot be had.
        """
        engine = new_engine()
        transport = udp.UdpAsyncioTransport()
        config.add_transport(
            engine, udp.DOMAIN_NAME, transport.open_server_mode((self._settings.host, self._settings.port))
        )
        self._add_senders(engine)
        receiver = ntfrcv.NotificationReceiver(engine, self._on_notification)
        try:
            await self._bound(transport)
            self.listening.set()
            await asyncio.Event().wait()
        finally:
            receiver.close(engine)
            engine.close_dispatcher()

    def stats(self) -> dict[str, Any]:
        """Return counters for the health page."""
        return {"port": self.port, "received": self.received, "of unknown hosts": self.unknown}

    async def _bound(self, transport: Any) -> None:
        try:
            await transport._lport
        except OSError as error:
            where = f"{self._settings.host}:{self._settings.port}"
            raise ConfigurationError(
                Problem(
                    "snmp",
                    "traps.port",
                    f"cannot listen on {where}: {error}",
                    "Choose a free port above 1023",
                )
            ) from error
        self.port = transport.transport.get_extra_info("sockname")[1]

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
        log.info("snmp notification", sender=str(address[0]), trap=which, known=known)


def _octets(engine_id: str) -> Any:
    from pysnmp.proto.rfc1902 import OctetString

    return OctetString(hexValue=engine_id.removeprefix("0x"))
