"""The small interface through which devices are read, and its fast implementation.

`GufoClient` speaks through gufo-snmp, whose codec is compiled; benchmarks/snmp.py has the figures that chose it.
`collectors.snmp.pysnmp_client` implements the same with pysnmp, for what gufo lacks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, TypeVar

from gufo.snmp import (
    Aes128Key,
    Aes192Key,
    Aes256Key,
    DesKey,
    KeyExpansion,
    Md5Key,
    NoSuchInstance,
    Sha1Key,
    Sha224Key,
    Sha256Key,
    Sha384Key,
    Sha512Key,
    SnmpAuthError,
    SnmpError,
    SnmpVersion,
    User,
)
from gufo.snmp.aio import SnmpSession

from collectors.snmp.settings import Secrets
from collectors.snmp.walk import Scalar, arcs
from domain.errors import SourceError, SourceProtocolError, SourceRefused, SourceTimeout

T = TypeVar("T")

MOST_ROWS = 20_000
"""A column longer than this is taken for endless."""
SMALLEST_GET = 8
"""A request for more objects than that is halved when its answer cannot be read."""
LONGEST_STRING = 8_192
"""A text longer than this is cut off; no reading needs it."""

_VERSIONS = MappingProxyType({"1": SnmpVersion.v1, "2c": SnmpVersion.v2c, "3": SnmpVersion.v3})
_AUTH = MappingProxyType(
    {
        "MD5": Md5Key,
        "SHA": Sha1Key,
        "SHA224": Sha224Key,
        "SHA256": Sha256Key,
        "SHA384": Sha384Key,
        "SHA512": Sha512Key,
    }
)
_PRIV = MappingProxyType({"DES": DesKey, "AES": Aes128Key, "AES192": Aes192Key, "AES256": Aes256Key})


@dataclass(slots=True)
class Traffic:
    """What was asked of a device and what came of it."""

    requests: int = 0
    timeouts: int = 0
    errors: int = 0


class SnmpClient(Protocol):
    """One device over one session; one request at a time."""

    traffic: Traffic

    async def get(self, oids: Sequence[str]) -> dict[str, Scalar]:
        """Return what the agent has of `oids`; what it lacks is left out.

        Raises
        ------
        SourceTimeout, SourceRefused, SourceProtocolError
        """

    async def walk(self, oid: str, *, count: int = 40, most: int = MOST_ROWS) -> list[tuple[str, Scalar]]:
        """Return everything under `oid` in order, or its beginning where that is more than `most` objects.

        Parameters
        ----------
        oid
            Where to begin, itself left out.
        count
            Objects asked for in one GETBULK.
        most
            Stop after so many.

        Raises
        ------
        SourceTimeout, SourceRefused, SourceProtocolError
            The last also where the agent's OIDs do not increase.
        """

    def close(self) -> None:
        """Give the socket back."""


def check_increasing(oid: str, last: str, name: str) -> None:
    """Raise where an agent's OID does not come after the one before: its table would have no end.

    Raises
    ------
    SourceProtocolError
    """
    if arcs(name) <= arcs(last):
        raise SourceProtocolError(f"OID not increasing under {oid}: {name} after {last}")


class GufoClient:
    """One device through gufo-snmp.

    Parameters
    ----------
    host, port
        The agent.
    secrets
        Version, community or v3 user.
    timeout
        Seconds that one answer may take.
    retries
        How often an unanswered request is repeated, waiting twice as long each time.
    """

    def __init__(
        self, host: str, port: int, secrets: Secrets, *, timeout: float = 2.0, retries: int = 1
    ) -> None:
        self.traffic = Traffic()
        self._host, self._port, self._secrets = host, port, secrets
        self._timeout = timeout
        self._retries = retries
        self._session: SnmpSession | None = None
        self._refreshed = 0.0
        self._answered = False
        self._discovered = False
        self._bulk = 1000
        """Most objects that one GETBULK may ask for; smaller once the agent has choked."""

    @property
    def _where(self) -> str:
        return f"{self._host}:{self._port}"

    async def get(self, oids: Sequence[str]) -> dict[str, Scalar]:  # noqa: D102
        if self._secrets.version == "1" and len(oids) > 1:
            return await self._get_v1(oids)

        async def ask(session: SnmpSession) -> Mapping[str, Scalar]:
            try:
                return await session.get_many(oids)
            except NoSuchInstance:
                return {}

        try:
            answer = await self._ask(ask)
        except SourceProtocolError:
            # Perhaps the answer was larger than the codec takes: ask for halves.
            if not self._answered or len(oids) <= SMALLEST_GET:
                raise
            half = len(oids) // 2
            return await self.get(oids[:half]) | await self.get(oids[half:])
        wanted = set(oids)
        return {o: _cut(v) for o, v in answer.items() if v is not None and o in wanted}

    async def _get_v1(self, oids: Sequence[str]) -> dict[str, Scalar]:
        """Version 1 answers nothing where one object is missing: ask for halves, then one by one."""
        session_answer = await self._ask(lambda s: s.get_many(oids))
        if session_answer or len(oids) == 1:
            return {o: _cut(v) for o, v in session_answer.items() if v is not None}
        half = len(oids) // 2
        found: dict[str, Scalar] = {}
        for part in (oids[:half], oids[half:]):
            found |= await (self._get_v1(part) if len(part) > 1 else self.get(part))
        return found

    async def walk(  # noqa: D102
        self, oid: str, *, count: int = 40, most: int = MOST_ROWS
    ) -> list[tuple[str, Scalar]]:
        while True:
            size = min(count, self._bulk)
            try:
                rows = await self._ask(lambda session: self._steps(session, oid, size, most))  # noqa: B023
                break
            except (SourceTimeout, SourceProtocolError):
                # Agents that choke on large answers are common; one that has never answered is just not there.
                if not self._answered or size <= 1:
                    raise
                self._bulk = 10 if size > 10 else 1
        if len(rows) >= MOST_ROWS:
            self.traffic.errors += 1
            raise SourceProtocolError(f"{MOST_ROWS} objects under {oid} and no end; the table seems endless")
        return rows

    async def _steps(self, session: SnmpSession, oid: str, size: int, most: int) -> list[tuple[str, Scalar]]:
        rows: list[tuple[str, Scalar]] = []
        last = oid
        single = self._secrets.version == "1" or size <= 1
        steps = session.getnext(oid) if single else session.getbulk(oid, size)
        async for name, value in steps:
            check_increasing(oid, last, name)
            rows.append((name, _cut(value)))
            last = name
            if len(rows) >= most:
                break
        return rows

    def close(self) -> None:  # noqa: D102
        self._session = None

    async def _ask(self, ask: Callable[[SnmpSession], Awaitable[T]]) -> T:
        wait, cancelled = self._timeout, _cancellations()
        for left in range(self._retries, -1, -1):
            self.traffic.requests += 1
            try:
                session = await self._open(wait)
                answer = await ask(session)
            except TimeoutError:
                self.traffic.timeouts += 1
                # A late answer must not be taken for that of the next request: a new socket cannot get it.
                self._session = None
                if not left:
                    if self._discovered and not self._answered:
                        raise SourceRefused(
                            f"{self._where} tells its engine id but answers no request; check the privacy key"
                        ) from None
                    raise SourceTimeout(f"{self._where} gave no answer in {wait:g} s") from None
                wait *= 2
            except SnmpAuthError as error:
                self._session = None
                self.traffic.errors += 1
                raise SourceRefused(f"{self._where} refused: {error or 'wrong user or key'}") from error
            except SourceProtocolError:
                self._session = None
                self.traffic.errors += 1
                raise
            except OSError as error:
                self._session = None
                self.traffic.errors += 1
                raise SourceError(f"{self._where}: {error}") from error
            except BaseException as error:
                # The codec panics on some garbage, with an exception that is no Exception.
                if not isinstance(error, SnmpError) and type(error).__name__ != "PanicException":
                    raise
                self._session = None
                self.traffic.errors += 1
                if not left:
                    raise SourceProtocolError(f"{self._where}: broken answer ({error})") from None
            else:
                self._answered = True
                return answer
            finally:
                # asyncio.wait_for, in the codec, drops a cancellation that meets an answer (Python 3.11).
                if _cancellations() > cancelled:
                    self._session = None
                    raise asyncio.CancelledError
        raise AssertionError

    async def _open(self, wait: float) -> SnmpSession:
        s = self._secrets
        if self._session is None:
            user = None
            if s.version == "3":
                user = User(
                    s.user,
                    auth_key=_AUTH[s.auth](s.auth_key.encode()) if s.auth else None,
                    priv_key=_PRIV[s.priv](s.priv_key.encode()) if s.priv else None,
                    key_expansion=KeyExpansion.Cisco
                    if s.key_extension == "reeder"
                    else KeyExpansion.Blumenthal,
                )
            host = await _address(self._host)
            session = SnmpSession(
                host, self._port, community=s.community, user=user, version=_VERSIONS[s.version], timeout=wait
            )
            if s.version == "3":
                try:
                    await session.refresh()
                finally:
                    self._discovered = bool(session.get_engine_id())
            self._session = session
            self._refreshed = time.monotonic()
        elif s.version == "3" and time.monotonic() - self._refreshed > 120:
            # RFC 3414 2.2.3: engine time must be known to 150 s.
            await self._session.refresh()
            self._refreshed = time.monotonic()
        return self._session


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


async def _address(host: str) -> str:
    """Return an IP address, without blocking the loop on the resolver."""
    if host.replace(".", "").isdigit() or ":" in host:
        return host
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=2)
    return str(found[0][4][0])


def _cut(value: Scalar) -> Scalar:
    return value[:LONGEST_STRING] if isinstance(value, (bytes, str)) else value
