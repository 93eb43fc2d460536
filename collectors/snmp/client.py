"""What a device is asked, and what is made of agents that misbehave.

`SnmpClient` is the small interface through which devices are read; `PatientClient` implements it: large requests are
asked for in parts, the object that spoils a request is found and asked apart, a table that hangs or loops costs
itself, and what was learnt of a sick agent is tried anew after a while, so that it is back at full speed when it is
well again. What was not had, and why, stands in `troubles`. `collectors.snmp.pysnmp_client` implements the same with
pysnmp, for recordings.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Protocol

from collectors.snmp.codec import NO_SUCH_NAME, TOO_BIG, Absent, Answer, status_name
from collectors.snmp.settings import Secrets
from collectors.snmp.walk import Scalar, arcs
from collectors.snmp.wire import SYS_UPTIME, Budget, BudgetSpent, GufoWire, Traffic, UdpWire, Wire
from domain.errors import SourceError, SourceProtocolError, SourceRefused, SourceTimeout

__all__ = ["Budget", "BudgetSpent", "PatientClient", "SnmpClient", "Traffic"]

MOST_ROWS = 5_000
"""Objects of one walk; a table that is longer is taken for endless and left out."""
TRY_AGAIN = 300.0
"""Seconds after which what a sick agent could not do is tried anew."""
MOST_TROUBLES = 50
"""Reasons that are kept of one device."""
MOST_HANGS = 2
"""Requests without an answer that one poll waits for, of a device that answers others."""


class SnmpClient(Protocol):
    """One device over one session; one request at a time."""

    @property
    def traffic(self) -> Traffic:
        """What was asked of the device and what came of it."""

    @property
    def troubles(self) -> dict[str, str]:
        """What of the device cannot be had now, by OID, and why."""

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
        """

    def close(self) -> None:
        """Give the socket back."""


class PatientClient:
    """One device, whatever its agent makes of our requests.

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
    max_varbinds
        Most objects in one GET.
    any_address
        Whether an answer may come from another address or port than was asked (versions 1 and 2c).
    """

    def __init__(
        self,
        host: str,
        port: int,
        secrets: Secrets,
        *,
        timeout: float = 2.0,
        retries: int = 1,
        max_varbinds: int = 40,
        any_address: bool = False,
    ) -> None:
        self._secrets = secrets
        self._wire: Wire
        if secrets.version == "3":
            self._wire = GufoWire(host, port, secrets, timeout=timeout, retries=retries)
        else:
            self._wire = UdpWire(
                host, port, secrets, timeout=timeout, retries=retries, any_address=any_address
            )
        self._reach = (host, port, timeout, any_address)
        self._most, self._size, self._shrunk = max_varbinds, max_varbinds, 0.0
        self._bulk, self._bulk_lowered, self._bulk_seen = 1000, 0.0, False
        self._aside: dict[str, tuple[float, str]] = {}
        """Objects that are asked for apart: until when, and why; an empty reason where the agent just lacks it."""
        self._suspects: list[tuple[str, ...]] = []
        """Groups of objects of which one hangs; asked last, and halved from poll to poll."""
        self._whole: tuple[Sequence[str], int, list[tuple[str, ...]]] = ((), 0, [])
        """What was asked last, and its requests: mostly the same as now."""
        self._tables: dict[str, tuple[float, str]] = {}
        """Tables that are in trouble: until when they are left alone (0: they are not), and why."""
        self._other_version: tuple[float, str] = (0.0, "")

    @property
    def traffic(self) -> Traffic:
        """What was asked and what came of it."""
        return self._wire.traffic

    @property
    def troubles(self) -> dict[str, str]:
        """What of the device cannot be had now, by OID, and why."""
        told = {oid: reason for oid, (_, reason) in self._tables.items()}
        told |= {oid: reason for oid, (_, reason) in self._aside.items() if reason}
        told |= {
            g[0]: "no answer when it is asked for" + (f" with {len(g) - 1} others" if len(g) > 1 else "")
            for g in self._suspects
        }
        return dict(list(told.items())[:MOST_TROUBLES])

    @property
    def address(self) -> str:
        """Where it is asked, as a number, once it has been."""
        return self._wire.address

    @property
    def left_alone(self) -> set[str]:
        """Objects that are not asked for, or apart from the others, because of what came of it."""
        return {o for o, (_, reason) in self._aside.items() if reason} | {
            o for g in self._suspects for o in g
        }

    def limit(self, budget: Budget) -> None:
        """Set what everything asked from now on may cost in all."""
        self._wire.budget = budget

    async def knock(self) -> None:
        """Ask one object, once.

        Raises
        ------
        SourceTimeout, SourceRefused, SourceProtocolError
        """
        try:
            await self._wire.get((SYS_UPTIME,), retries=0)
        except SourceTimeout:
            if not self._wire.answered:
                await self._check_version()
            raise

    def forget(self) -> None:
        """Forget what an agent lacked or could not do: it has started anew."""
        self._aside.clear()
        self._tables.clear()
        self._suspects.clear()
        self._size, self._bulk = self._most, 1000

    async def get(self, oids: Sequence[str]) -> dict[str, Scalar]:  # noqa: D102
        got: dict[str, Scalar] = {}
        async for part in self.read(oids):
            got |= part
        return got

    async def read(self, oids: Sequence[str]) -> AsyncIterator[dict[str, Scalar]]:
        """Ask for objects; yield what each request brought.

        Raises
        ------
        SourceTimeout, SourceRefused, SourceProtocolError, BudgetSpent
            What was yielded before stays true.
        """
        groups, doubtful = self._groups(oids)
        hangs, alive = 0, False
        while groups:
            group = groups.popleft()
            if len(group) > self._size:
                groups.extendleft(reversed(_parts(group, self._size)))
                continue
            try:
                answer = await self._wire.get(group, retries=0 if hangs or group in doubtful else None)
            except BudgetSpent:
                if alive:
                    self._suspects += [group, *(g for g in groups if g in doubtful)]
                raise
            except SourceTimeout as error:
                if not alive:
                    await self._check_alive(error)
                alive, hangs = True, hangs + 1
                self._split_hanging(group, groups, give_up=hangs >= MOST_HANGS)
                continue
            except SourceProtocolError as error:
                if not alive:
                    await self._check_alive(error)
                alive = True
                self._split(group, groups, str(error))
                continue
            alive = True
            if answer.whole and not answer.status:
                yield dict(answer.rows)  # type: ignore[arg-type]
                continue
            if answer.status or not answer.rows:
                self._take_error(group, groups, answer)
                continue
            asked = set(group)
            told = {oid: value for oid, value in answer.rows if oid in asked}
            if len(told) < len(group):
                self._take_rest(tuple(o for o in group if o not in told), groups, answer, len(told))
            if values := {o: v for o, v in told.items() if not isinstance(v, Absent)}:
                yield values

    def _groups(self, oids: Sequence[str]) -> tuple[deque[tuple[str, ...]], set[tuple[str, ...]]]:
        """Return what to ask, in requests, what is set aside left out; and those of them that may hang, asked last."""
        now = time.monotonic()
        if self._size < self._most and now - self._shrunk > TRY_AGAIN:
            self._size, self._shrunk = min(self._most, 2 * self._size), now
        if self._aside:
            self._aside = {o: a for o, a in self._aside.items() if a[0] > now}
        if not self._aside and not self._suspects:
            if self._whole[:2] != (oids, self._size):
                self._whole = (oids, self._size, _parts(oids, self._size))
            return deque(self._whole[2]), set()
        wanted = [o for o in oids if o not in self._aside]
        if not self._suspects:
            return deque(_parts(wanted, self._size)), set()
        known = set(wanted)
        doubtful = [g for g in (tuple(o for o in g if o in known) for g in self._suspects) if g]
        self._suspects = [g for g in self._suspects if not known.intersection(g)]
        suspected = {o for g in doubtful for o in g}
        healthy = [o for o in wanted if o not in suspected]
        return deque((*_parts(healthy, self._size), *doubtful)), set(doubtful)

    def _take_rest(
        self, rest: tuple[str, ...], groups: deque[tuple[str, ...]], answer: Answer, told: int
    ) -> None:
        """Ask again for what an answer left out, or held in a form that cannot be read."""
        if told and not answer.unreadable:
            groups.appendleft(rest)
        elif len(rest) == answer.unreadable and told:
            for oid in rest:
                self._set_aside(oid, answer.reason)
        else:
            self._split(rest, groups, answer.reason or "answered with other objects")

    def _take_error(self, group: tuple[str, ...], groups: deque[tuple[str, ...]], answer: Answer) -> None:
        """Find what spoilt a request."""
        at = answer.index - 1
        named = 0 <= at < len(group)
        rest = group[:at] + group[at + 1 :] if named else ()
        if answer.status == NO_SUCH_NAME and (named or len(group) == 1):
            self._set_aside(group[at] if named else group[0], "")
            if rest:
                groups.appendleft(rest)
        elif len(group) == 1:
            self._set_aside(group[0], _reason(answer))
        elif answer.status == TOO_BIG:
            self._size, self._shrunk = max(1, len(group) // 2), time.monotonic()
            groups.appendleft(group)
        elif named:
            # Agents lie about the index, so the culprit is heard alone before it is set aside.
            groups.extendleft((rest, (group[at],)))
        else:
            self._split(group, groups, _reason(answer))

    def _split(self, group: tuple[str, ...], groups: deque[tuple[str, ...]], reason: str) -> None:
        if len(group) == 1:
            self._set_aside(group[0], reason)
        else:
            groups.extendleft(reversed(_parts(group, (len(group) + 1) // 2)))

    def _split_hanging(
        self, group: tuple[str, ...], groups: deque[tuple[str, ...]], *, give_up: bool
    ) -> None:
        """Halve a group that gets no answer; past the patience of a poll the next one goes on with it."""
        if len(group) == 1:
            self._set_aside(group[0], "no answer when it is asked for")
            return
        halves = _parts(group, (len(group) + 1) // 2)
        if give_up:
            self._suspects += halves
        else:
            groups.extend(halves)

    def _set_aside(self, oid: str, reason: str) -> None:
        if reason:
            self._wire.traffic.errors += 1
        self._aside[oid] = (time.monotonic() + TRY_AGAIN, reason)

    async def _check_alive(self, error: SourceError) -> None:
        """Raise `error` where the device answers nothing at all, or what is known better of it."""
        try:
            await self._wire.get((SYS_UPTIME,), retries=0)
        except (SourceTimeout, SourceProtocolError):
            if isinstance(error, SourceTimeout) and not self._wire.answered:
                await self._check_version()
            raise error from None

    async def _answers(self) -> bool:
        try:
            await self._wire.get((SYS_UPTIME,))
        except (SourceTimeout, SourceProtocolError):
            return False
        return True

    async def _check_version(self) -> None:
        """Raise where an agent that is silent answers to another version."""
        if self._secrets.version == "3":
            return
        due, found = self._other_version
        now = time.monotonic()
        if now >= due:
            host, port, timeout, any_address = self._reach
            other = "1" if self._secrets.version == "2c" else "2c"
            wire = UdpWire(
                host, port, self._secrets.model_copy(update={"version": other}),
                timeout=timeout, retries=0, any_address=any_address,
            )  # fmt: skip
            wire.traffic, wire.budget = self._wire.traffic, replace(self._wire.budget)
            try:
                await wire.get((SYS_UPTIME,))
                # an agent that has just come up, or a network that loses much, looks alike: asked once more, it tells
                found = "" if await self._answers() else other
            except SourceError:
                found = ""
            finally:
                wire.close()
            self._other_version = (now + TRY_AGAIN, found)
        if found:
            host, port, *_ = self._reach
            raise SourceRefused(f"{host}:{port} answers to version {found} only: use version {found}")

    async def walk(  # noqa: D102
        self, oid: str, *, count: int = 40, most: int = MOST_ROWS
    ) -> list[tuple[str, Scalar]]:
        now = time.monotonic()
        if self._tables.get(oid, (0.0, ""))[0] > now:
            return []
        self._tables.pop(oid, None)
        if self._bulk < 1000 and now - self._bulk_lowered > TRY_AGAIN:
            self._bulk = 1000
        size = 1 if self._secrets.version == "1" else min(count, self._bulk)
        rows: list[tuple[str, Scalar]] = []
        last, ended, patient, lowered = oid, False, None, False
        if any(until and oid.startswith(f"{table}.") for table, (until, _) in self._tables.items()):
            size, patient = min(size, 10), 0
        while not ended:
            reason, small = "", False
            try:
                answer = await self._wire.following(oid, last, size, retries=patient)
            except BudgetSpent as error:
                self._trouble(oid, f"not read to its end: {error}")
                break
            except SourceTimeout as error:
                if patient is None:
                    await self._check_alive(error)
                patient, reason = 0, f"no answer when asked for what follows {last}"
            except SourceProtocolError as error:
                if patient is None:
                    await self._check_alive(error)
                patient, reason = 0, str(error)
            else:
                if answer.status == NO_SUCH_NAME:
                    break
                if answer.status:
                    small = answer.status != TOO_BIG
                    reason = f"{_reason(answer)} when asked for what follows {last}"
                elif not answer.rows:
                    reason, small = answer.reason or "an empty answer", True
            if reason:
                # Agents that choke on GETBULK are common: ask for less, then object by object.
                if size > 1:
                    size, lowered = (10 if size > 10 and not small else 1), True
                    continue
                if reason != "an empty answer":
                    self._trouble(oid, reason, hangs=patient == 0)
                break
            if lowered:
                self._bulk, self._bulk_lowered, lowered = size, now, False
            last, ended = self._take(oid, last, answer, rows, most)
        if len(rows) >= MOST_ROWS and len(rows) == most:
            self._trouble(
                oid, f"{MOST_ROWS} objects and no end: left out, as the table seems endless", hangs=True
            )
            return []
        return rows

    def _take(
        self, root: str, last: str, answer: Answer, rows: list[tuple[str, Scalar]], most: int
    ) -> tuple[str, bool]:
        """Take in what follows `last`; return the new last name and whether the walk is over."""
        began, inside = last, root + "."
        passed = arcs(last)
        for name, value in answer.rows:
            if value is Absent.END:
                return last, True
            here = arcs(name)
            if here == passed:
                continue  # told twice
            if here > passed and not name.startswith(inside):
                return last, True
            if here < passed:
                self._trouble(root, f"OIDs do not increase: {name} after {last}; broken off there")
                return last, True
            last, passed = name, here
            if not isinstance(value, Absent):
                rows.append((name, value))
            if len(rows) >= most:
                return last, True
        if last == began:
            self._trouble(root, f"the same answer again and again after {last}; broken off there")
            return last, True
        return last, False

    def _trouble(self, table: str, reason: str, *, hangs: bool = False) -> None:
        self._wire.traffic.errors += 1
        if len(self._tables) < MOST_TROUBLES:
            self._tables[table] = (time.monotonic() + TRY_AGAIN if hangs else 0.0, reason)

    def close(self) -> None:  # noqa: D102
        self._wire.close()


def check_increasing(oid: str, last: str, name: str) -> None:
    """Raise where an agent's OID does not come after the one before: its table would have no end.

    Raises
    ------
    SourceProtocolError
    """
    if arcs(name) <= arcs(last):
        raise SourceProtocolError(f"OID not increasing under {oid}: {name} after {last}")


def _parts(oids: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(oids[i : i + size]) for i in range(0, len(oids), size)]


def _reason(answer: Answer) -> str:
    if answer.status:
        return f"{status_name(answer.status)} ({answer.status})"
    return answer.reason or "an empty answer"
