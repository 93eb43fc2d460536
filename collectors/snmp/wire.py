"""One request to a device and its answer: over UDP for versions 1 and 2c, through gufo-snmp for version 3.

What to ask next, and what to do about an odd answer, is decided in `collectors.snmp.client`.
"""

from __future__ import annotations

import asyncio
import random
import socket
import sys
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
    SnmpVersion,
    User,
)
from gufo.snmp.aio import SnmpSession

from collectors.snmp import codec
from collectors.snmp.codec import LONGEST_STRING, Answer, Malformed
from collectors.snmp.settings import Secrets
from collectors.snmp.walk import Scalar, arcs
from domain.errors import SourceError, SourceProtocolError, SourceRefused, SourceTimeout

T = TypeVar("T")

SYS_UPTIME = "1.3.6.1.2.1.1.3.0"
MOST_STRAYS = 64
"""Datagrams that are no answer, taken while one is waited for; beyond, the device is said to flood."""

_VERSIONS = MappingProxyType({"1": 0, "2c": 1})
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
    strays: int = 0
    """Datagrams that were no answer: another address, another request, garbage."""
    unreadable: int = 0
    """Bindings that were set aside."""


class BudgetSpent(SourceError):
    """A device has cost as much as one poll or inventory may."""


@dataclass(slots=True)
class Budget:
    """What a poll or an inventory may still cost.

    Parameters
    ----------
    seconds
        From now.
    requests, octets
        Sent and received.
    """

    seconds: float = 3600.0
    requests: int = 100_000
    octets: int = 64 << 20
    until: float = 0.0

    def __post_init__(self) -> None:
        self.until = time.monotonic() + self.seconds

    def spend(self) -> None:
        """Take one request off.

        Raises
        ------
        BudgetSpent
        """
        self.requests -= 1
        if self.requests < 0:
            raise BudgetSpent("asked as often as one poll may ask")
        if self.octets < 0:
            raise BudgetSpent("answered with more octets than one poll may take")
        if time.monotonic() >= self.until:
            raise BudgetSpent(f"took longer than {self.seconds:g} s")

    def wait(self, seconds: float) -> float:
        """Return for how long an answer may be waited for."""
        return min(seconds, max(0.0, self.until - time.monotonic()))


class Wire(Protocol):
    """One device over one socket; one request at a time.

    Both kinds of request raise SourceTimeout, SourceRefused, SourceProtocolError, BudgetSpent.
    """

    traffic: Traffic
    budget: Budget
    answered: bool

    @property
    def address(self) -> str:
        """Where the agent is asked, as a number; empty before the first request."""

    async def get(self, oids: Sequence[str], retries: int | None = None) -> Answer:
        """GET; `retries` instead of those of the settings."""

    async def following(self, root: str, last: str, count: int, retries: int | None = None) -> Answer:
        """Return up to `count` objects behind `last`, under `root`: GETBULK, or GETNEXT where `count` is 1."""

    def close(self) -> None:
        """Give the socket back."""


class UdpWire:
    """Versions 1 and 2c.

    Parameters
    ----------
    host, port
        The agent.
    secrets
        Version and community.
    timeout
        Seconds that one answer may take.
    retries
        How often an unanswered request is repeated, waiting twice as long each time.
    any_address
        Whether an answer may come from another address or port than was asked.
    """

    def __init__(
        self,
        host: str,
        port: int,
        secrets: Secrets,
        *,
        timeout: float = 2.0,
        retries: int = 1,
        any_address: bool = False,
    ) -> None:
        self.traffic, self.budget, self.answered = Traffic(), Budget(), False
        self._host, self._port = host, port
        self._version, self._community = _VERSIONS[secrets.version], secrets.community.encode()
        self._timeout, self._retries, self._any_address = timeout, retries, any_address
        self._socket: socket.socket | None = None
        self._to: tuple[object, ...] = ()
        self._odd = ""
        """What came instead of an answer, for the reason."""

    @property
    def address(self) -> str:  # noqa: D102
        return str(self._to[0]) if self._to else ""

    @property
    def where(self) -> str:
        """The agent's address, for messages."""
        return f"{self._host}:{self._port}"

    async def get(self, oids: Sequence[str], retries: int | None = None) -> Answer:  # noqa: D102
        return await self._ask(codec.GET, oids, 0, retries)

    async def following(  # noqa: D102
        self, root: str, last: str, count: int, retries: int | None = None
    ) -> Answer:
        return await self._ask(codec.GET_NEXT if count == 1 else codec.GET_BULK, (last,), count, retries)

    def close(self) -> None:  # noqa: D102
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _ask(self, kind: int, oids: Sequence[str], count: int, retries: int | None) -> Answer:
        number = random.getrandbits(31)
        repetitions = count if kind == codec.GET_BULK else 0
        try:
            wanted = tuple(oids)
            asked = codec.cached_names(wanted) if len(wanted) > 1 else codec.encode_names(wanted)
            request = codec.encode_request(self._version, self._community, kind, number, asked, repetitions)
        except Malformed as error:
            raise SourceProtocolError(f"{self.where}: {error}") from None
        wait = self._timeout
        self._odd = ""
        for left in range(self._retries if retries is None else retries, -1, -1):
            self.budget.spend()
            self.traffic.requests += 1
            # A repeat keeps its number, so that an answer to the first asking, late, still counts.
            patience = self.budget.wait(wait)
            try:
                await self._send(request)
                answer = await self._receive(number, asked, time.monotonic() + patience)
            except OSError as error:
                self.close()
                self._failed(error, left)
            except (Malformed, ValueError) as error:
                self.traffic.errors += 1
                if not left:
                    raise SourceProtocolError(f"{self.where}: broken answer ({error})") from None
            else:
                if answer is not None:
                    self.answered = True
                    self.traffic.unreadable += answer.unreadable
                    return answer
                self.traffic.timeouts += 1
                if patience < wait:
                    self.budget.spend()
                if not left:
                    raise SourceTimeout(f"{self.where} gave no answer in {wait:g} s{self._odd}")
                wait *= 2
        raise AssertionError

    def _failed(self, error: OSError, left: int) -> None:
        if isinstance(error, ConnectionRefusedError):
            self.traffic.timeouts += 1
            if not left:
                raise SourceTimeout(f"{self.where} refuses the connection: no agent listens there") from None
            return
        self.traffic.errors += 1
        raise SourceError(f"{self.where}: {error}") from error

    async def _send(self, request: bytes) -> None:
        if self._socket is None:
            family, self._to = await resolved(self._host, self._port)
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            if sys.platform == "linux" and family == socket.AF_INET:
                self._socket.setsockopt(
                    socket.SOL_IP, 11, 1
                )  # IP_RECVERR: hear of a port where nobody listens
        try:
            self._socket.sendto(request, self._to)
        except BlockingIOError:
            # The kernel's buffer is full: as good as lost on the way, and repeated like that.
            return

    async def _receive(self, number: int, asked: codec.Asked, until: float) -> Answer | None:
        """Wait for the answer with that number; None where none came in time."""
        assert self._socket is not None
        for _ in range(MOST_STRAYS):
            data, waited = None, False
            while data is None:
                try:
                    data, source = self._socket.recvfrom(codec.LARGEST_DATAGRAM)
                except BlockingIOError:
                    waited = True
                    if not await _readable(self._socket, until - time.monotonic()):
                        return None
            if not waited:
                # an agent may answer before anybody waits, again and again: others have their turn meanwhile
                await asyncio.sleep(0)
            self.budget.octets -= len(data)
            expected = source[:2] == self._to[:2]
            try:
                got, answer = codec.decode_answer(data, asked)
            except Malformed:
                if expected:
                    raise
                self.traffic.strays += 1
                continue
            if got == number and (expected or self._any_address):
                return answer
            self.traffic.strays += 1
            if got == number:
                self._odd = (
                    f"; an answer came from {source[0]}:{source[1]} instead (any_address would take it)"
                )
            elif expected and not self.answered:
                self._odd = "; it answers with the number of another request"
        self.close()
        raise Malformed(f"{MOST_STRAYS} datagrams that are no answer to what was asked")


class GufoWire:
    """Version 3, through gufo-snmp, whose codec is compiled; it hides error status and index.

    So every GET asks for the uptime too: an answer without it is taken for an error.

    Parameters
    ----------
    host, port
        The agent.
    secrets
        The user and keys.
    timeout, retries
        As in `UdpWire`.
    """

    def __init__(
        self, host: str, port: int, secrets: Secrets, *, timeout: float = 2.0, retries: int = 1
    ) -> None:
        self.traffic, self.budget, self.answered = Traffic(), Budget(), False
        self._host, self._port, self._secrets = host, port, secrets
        self._timeout, self._retries = timeout, retries
        self._session: SnmpSession | None = None
        self._refreshed = 0.0
        self._discovered = False
        self._to: tuple[object, ...] = ()
        self._has_uptime: bool | None = None
        self._bulk_answered = False
        self._steps: tuple[str, str, int, object] | None = None
        """Root, last name and count of the walk under way, and its iterator."""

    @property
    def address(self) -> str:  # noqa: D102
        return str(self._to[0]) if self._to else ""

    @property
    def where(self) -> str:
        """The agent's address, for messages."""
        return f"{self._host}:{self._port}"

    async def get(self, oids: Sequence[str], retries: int | None = None) -> Answer:  # noqa: D102
        if self._has_uptime is None:
            self._has_uptime = bool(await self._get_many([SYS_UPTIME], retries))
        asked = [*oids, SYS_UPTIME] if self._has_uptime and SYS_UPTIME not in oids else list(oids)
        got = await self._get_many(asked, retries)
        if self._has_uptime and SYS_UPTIME not in got:
            return Answer(codec.GEN_ERR)
        if not got and not self._has_uptime:
            return Answer(
                codec.GEN_ERR if len(oids) > 1 else 0, rows=[(o, codec.Absent.MISSING) for o in oids]
            )
        wanted = set(oids)
        rows: list[tuple[str, codec.Told]] = [
            (o, _cut(v)) for o, v in got.items() if v is not None and o in wanted
        ]
        rows += [(o, codec.Absent.MISSING) for o in oids if o not in got]
        return Answer(rows=rows)

    async def _get_many(self, oids: Sequence[str], retries: int | None) -> Mapping[str, Scalar]:
        async def ask(session: SnmpSession) -> Mapping[str, Scalar]:
            try:
                return await session.get_many(oids)
            except NoSuchInstance:
                return {}

        return await self._ask(ask, retries)

    async def following(  # noqa: D102
        self, root: str, last: str, count: int, retries: int | None = None
    ) -> Answer:
        async def ask(session: SnmpSession) -> Answer:
            steps = self._steps
            if steps is None or steps[:3] != (root, last, count) or last == root:
                iterator = session.getnext(root) if count == 1 else session.getbulk(root, count)
            else:
                iterator = steps[3]  # type: ignore[assignment]
            self._steps = None
            rows: list[tuple[str, codec.Told]] = []
            passed = arcs(last)
            async for name, value in iterator:
                if arcs(name) <= passed and len(rows) == 0 and last != root:
                    self.budget.spend()
                    continue  # on the way back to where a walk was broken off
                rows.append((name, _cut(value)))
                if len(rows) >= count:
                    break
            else:
                if not rows and count > 1 and not self._bulk_answered:
                    # An error looks like an end: only GETNEXT tells whether the table is empty or GETBULK is missing.
                    async for _ in session.getnext(root):
                        return Answer(codec.GEN_ERR)
                self._bulk_answered |= bool(rows) and count > 1
                rows.append((root, codec.Absent.END))
                return Answer(rows=rows)
            self._bulk_answered |= count > 1
            self._steps = (root, rows[-1][0], count, iterator)
            return Answer(rows=rows)

        return await self._ask(ask, retries)

    def close(self) -> None:  # noqa: D102
        self._session = self._steps = None

    async def _ask(self, ask: Callable[[SnmpSession], Awaitable[T]], retries: int | None) -> T:
        wait, cancelled = self._timeout, _cancellations()
        again = 1 if self.answered else 0
        left = self._retries if retries is None else retries
        while True:
            self.budget.spend()
            self.traffic.requests += 1
            try:
                session = await self._open(self.budget.wait(wait))
                answer = await ask(session)
            except TimeoutError:
                self.traffic.timeouts += 1
                # A late answer must not be taken for that of the next request: a new socket cannot get it.
                self.close()
                if not left:
                    if self._discovered and not self.answered:
                        raise SourceRefused(
                            f"{self.where} tells its engine id but answers no request; check the privacy key"
                        ) from None
                    raise SourceTimeout(f"{self.where} gave no answer in {wait:g} s") from None
                wait *= 2
            except SnmpAuthError as error:
                self.close()
                self.traffic.errors += 1
                if not again:
                    raise SourceRefused(f"{self.where} refused: {error or 'wrong user or key'}") from error
                # An engine that has started anew (RFC 3414 2.2) knows us again once its boots and time are learnt.
                again -= 1
                continue
            except SourceError:
                self.close()
                raise
            except OSError as error:
                self.close()
                self.traffic.errors += 1
                raise SourceError(f"{self.where}: {error}") from error
            except BaseException as error:
                # On some garbage the codec panics, with an exception that is no Exception; on some it raises others.
                if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                    raise
                self.close()
                self.traffic.errors += 1
                if not left:
                    raise SourceProtocolError(f"{self.where}: broken answer ({str(error)[:200]})") from None
            else:
                self.answered = True
                return answer
            finally:
                # asyncio.wait_for, in the codec, drops a cancellation that meets an answer (Python 3.11).
                if _cancellations() > cancelled:
                    self.close()
                    raise asyncio.CancelledError
            left -= 1

    async def _open(self, wait: float) -> SnmpSession:
        s = self._secrets
        if self._session is None:
            user = User(
                s.user,
                auth_key=_AUTH[s.auth](s.auth_key.encode()) if s.auth else None,
                priv_key=_PRIV[s.priv](s.priv_key.encode()) if s.priv else None,
                key_expansion=KeyExpansion.Cisco if s.key_extension == "reeder" else KeyExpansion.Blumenthal,
            )
            _, self._to = await resolved(self._host, self._port)
            session = SnmpSession(
                str(self._to[0]), self._port, user=user, version=SnmpVersion.v3, timeout=wait
            )
            try:
                await session.refresh()
            finally:
                self._discovered = bool(session.get_engine_id())
            self._session = session
            self._refreshed = time.monotonic()
        elif time.monotonic() - self._refreshed > 120:
            # RFC 3414 2.2.3: engine time must be known to 150 s.
            await self._session.refresh()
            self._refreshed = time.monotonic()
        return self._session


async def resolved(host: str, port: int) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    """Return family and address to send to, without blocking the loop on the resolver.

    Raises
    ------
    OSError
        If the name is unknown.
    """
    loop = asyncio.get_running_loop()
    flags = socket.AI_NUMERICHOST if host.replace(".", "").isdigit() or ":" in host else 0
    if flags:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=flags)
    else:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    return found[0][0], found[0][4]


async def _readable(sock: socket.socket, seconds: float) -> bool:
    """Return whether there is something to receive before the time is over."""
    if seconds <= 0:
        return False
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bool] = loop.create_future()

    def tell(readable: bool) -> None:
        if not done.done():
            done.set_result(readable)

    handle = (
        sock.fileno()
    )  # a selector that does not know a socket yet writes it out for its message, in two calls
    loop.add_reader(handle, tell, True)
    timer = loop.call_later(seconds, tell, False)
    try:
        return await done
    finally:
        timer.cancel()
        loop.remove_reader(handle)


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def _cut(value: Scalar) -> Scalar:
    return value[:LONGEST_STRING] if isinstance(value, (bytes, str)) else value
