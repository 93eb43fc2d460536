"""Devices through pysnmp: slower, but it tells the type of each value, and speaks what gufo-snmp does not.

Recordings are made with it. One engine serves every client of a process: engines are heavy and never quite go away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

from pysnmp.error import PySnmpError
from pysnmp.hlapi.v3arch import asyncio as hlapi
from pysnmp.proto import errind, rfc1902, rfc1905

from collectors.snmp.client import MOST_ROWS, check_increasing
from collectors.snmp.settings import Secrets
from collectors.snmp.walk import (
    ADDRESS,
    COUNTER32,
    COUNTER64,
    GAUGE32,
    INTEGER,
    OBJECT_ID,
    OCTETS,
    TICKS,
    Scalar,
)
from collectors.snmp.wire import Traffic
from domain.errors import SourceProtocolError, SourceRefused, SourceTimeout

AUTH = MappingProxyType(
    {
        "MD5": hlapi.USM_AUTH_HMAC96_MD5,
        "SHA": hlapi.USM_AUTH_HMAC96_SHA,
        "SHA224": hlapi.USM_AUTH_HMAC128_SHA224,
        "SHA256": hlapi.USM_AUTH_HMAC192_SHA256,
        "SHA384": hlapi.USM_AUTH_HMAC256_SHA384,
        "SHA512": hlapi.USM_AUTH_HMAC384_SHA512,
    }
)
_REEDER = MappingProxyType(
    {
        "DES": hlapi.USM_PRIV_CBC56_DES,
        "AES": hlapi.USM_PRIV_CFB128_AES,
        "AES192": hlapi.USM_PRIV_CFB192_AES,
        "AES256": hlapi.USM_PRIV_CFB256_AES,
    }
)
_BLUMENTHAL = MappingProxyType(
    {
        **_REEDER,
        "AES192": hlapi.USM_PRIV_CFB192_AES_BLUMENTHAL,
        "AES256": hlapi.USM_PRIV_CFB256_AES_BLUMENTHAL,
    }
)
_REFUSALS = (
    errind.WrongDigest,
    errind.UnknownUserName,
    errind.UnsupportedSecurityLevel,
    errind.AuthenticationFailure,
    errind.AuthenticationError,
    errind.DecryptionError,
    errind.UnknownCommunityName,
)


class _NoCompiler:
    """Stands where pysnmp would put a compiler that fetches MIBs from the Internet: nothing leaves the site."""

    def compile(self, *_: object, **__: object) -> dict[str, str]:
        return {}


def new_engine() -> Any:
    """Return an SNMP engine that never looks for a MIB outside."""
    made = hlapi.SnmpEngine()
    made.get_mib_builder()._MibBuilder__mibCompiler = _NoCompiler()
    return made


_ENGINES: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()


def engine() -> Any:
    """Return the one SNMP engine that all clients on the running loop share; an engine serves no second loop."""
    loop = asyncio.get_running_loop()
    if loop not in _ENGINES:
        _ENGINES[loop] = new_engine()
    return _ENGINES[loop]


def privacy(secrets: Secrets) -> Any:
    """Return pysnmp's name of the privacy protocol."""
    if secrets.priv is None:
        return hlapi.USM_PRIV_NONE
    return (_REEDER if secrets.key_extension == "reeder" else _BLUMENTHAL)[secrets.priv]


def _identity(secrets: Secrets) -> Any:
    if secrets.version != "3":
        return hlapi.CommunityData(secrets.community, mpModel=0 if secrets.version == "1" else 1)
    return hlapi.UsmUserData(
        secrets.user,
        authKey=secrets.auth_key or None,
        privKey=secrets.priv_key or None,
        authProtocol=AUTH[secrets.auth] if secrets.auth else hlapi.USM_AUTH_NONE,
        privProtocol=privacy(secrets),
    )


class PysnmpClient:
    """One device through pysnmp; the same interface as `collectors.snmp.client.GufoClient`."""

    def __init__(
        self, host: str, port: int, secrets: Secrets, *, timeout: float = 2.0, retries: int = 1
    ) -> None:
        self.traffic = Traffic()
        self.troubles: dict[str, str] = {}
        self._host, self._port, self._secrets = host, port, secrets
        self._timeout, self._retries = timeout, retries
        self._target: Any = None

    async def get(self, oids: Sequence[str]) -> dict[str, Scalar]:  # noqa: D102
        objects = [hlapi.ObjectType(hlapi.ObjectIdentity(o)) for o in oids]
        rows = await self._ask(hlapi.get_cmd, *objects)
        return {oid: value for oid, tag, value in rows if tag is not None}

    async def walk(  # noqa: D102
        self, oid: str, *, count: int = 40, most: int = MOST_ROWS
    ) -> list[tuple[str, Scalar]]:
        return [(o, v) async for o, _, v in self.typed_walk(oid, count=count, most=most)]

    async def typed_walk(
        self, oid: str, *, count: int = 40, most: int = MOST_ROWS
    ) -> AsyncIterator[tuple[str, int, Scalar]]:
        """Yield (oid, ASN.1 tag, value) of everything under `oid`.

        Raises
        ------
        SourceTimeout, SourceRefused, SourceProtocolError
        """
        last, seen = oid, 0
        while True:
            ask = hlapi.ObjectType(hlapi.ObjectIdentity(last))
            if self._secrets.version == "1":
                rows = await self._ask(hlapi.next_cmd, ask)
            else:
                rows = await self._ask(hlapi.bulk_cmd, 0, count, ask)
            for name, tag, value in rows:
                if tag is None or not name.startswith(oid + "."):
                    return
                check_increasing(oid, last, name)
                last, seen = name, seen + 1
                yield name, tag, value
                if seen >= most:
                    return
            if not rows:
                return

    def close(self) -> None:  # noqa: D102
        self._target = None

    async def _ask(self, command: Any, *arguments: Any) -> list[tuple[str, int | None, Scalar]]:
        if self._target is None:
            kind = hlapi.Udp6TransportTarget if ":" in self._host else hlapi.UdpTransportTarget
            self._target = await kind.create(
                (self._host, self._port), timeout=self._timeout, retries=self._retries
            )
        self.traffic.requests += 1
        where = f"{self._host}:{self._port}"
        try:
            failure, status, _, rows = await command(
                engine(),
                _identity(self._secrets),
                self._target,
                hlapi.ContextData(),
                *arguments,
                lookupMib=False,
            )
        except PySnmpError as error:
            self.traffic.errors += 1
            raise SourceProtocolError(f"{where}: {error}") from error
        if failure is not None:
            if isinstance(failure, errind.RequestTimedOut):
                self.traffic.timeouts += 1
                raise SourceTimeout(f"{where} gave no answer in {self._timeout:g} s")
            self.traffic.errors += 1
            if isinstance(failure, _REFUSALS):
                raise SourceRefused(f"{where} refused: {failure}")
            raise SourceProtocolError(f"{where}: {failure}")
        if int(status) == 2:  # noSuchName, version 1
            return []
        if int(status):
            self.traffic.errors += 1
            raise SourceProtocolError(f"{where}: error status {int(status)}")
        return [(str(name), *_typed(value)) for name, value in rows]


def _typed(value: Any) -> tuple[int | None, Scalar]:
    """Return (ASN.1 tag, value); no tag where the agent has nothing there."""
    if isinstance(value, (rfc1905.NoSuchObject, rfc1905.NoSuchInstance, rfc1905.EndOfMibView)):
        return None, None
    for kind, tag in (
        (rfc1902.IpAddress, ADDRESS),
        (rfc1902.Counter64, COUNTER64),
        (rfc1902.Counter32, COUNTER32),
        (rfc1902.TimeTicks, TICKS),
        (rfc1902.Gauge32, GAUGE32),
        (rfc1902.Unsigned32, GAUGE32),
    ):
        if isinstance(value, kind):
            return tag, value.prettyPrint() if tag == ADDRESS else int(value)
    if isinstance(value, rfc1902.univ.OctetString):
        return OCTETS, bytes(value)
    if isinstance(value, rfc1902.univ.ObjectIdentifier):
        return OBJECT_ID, str(value)
    try:
        return INTEGER, int(value)
    except (TypeError, ValueError):
        return None, None
