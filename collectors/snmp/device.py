"""One polled device: its inventory, its readings as columns, how well it answers."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from collectors.snmp.client import TRY_AGAIN, Budget, PatientClient
from collectors.snmp.discovery import SYS_UPTIME, identify, take_inventory
from collectors.snmp.profiles import Derived, Profile
from collectors.snmp.rates import Counter
from collectors.snmp.readings import Device, Reading
from collectors.snmp.settings import Polling, Target
from collectors.snmp.survey import Survey, survey
from collectors.snmp.walk import Scalar, text
from domain.batch import Batch, now_ms
from domain.catalogue import POINT_TYPES
from domain.errors import SourceError, SourceProtocolError, SourceRefused, SourceTimeout
from domain.points import Point, PointRegistry

UP_STATES = ((0, "no answer"), (1, "up"), (2, "refused"), (3, "broken answers"))
INVENTORY_AGAIN = 60.0
"""Seconds before rows that vanished cause another inventory."""
SURVEY_AGAIN = 6 * 3600.0
"""Seconds after which all profiles are weighed anew; inventories in between read the tables of those that answered."""
INVENTORY_SECONDS, INVENTORY_REQUESTS, INVENTORY_OCTETS = 60.0, 10_000, 16 << 20
"""What an inventory may cost; what is read by then is used."""
POLL_OCTETS = 4 << 20
"""What the answers to one poll may measure."""
OVERTIME = 5.0
"""Seconds after which a poll that does not keep to its budget is broken off."""
TOLD = 3
"""Troubles of one device that its reason names; `probe` names all."""


@dataclass(frozen=True, slots=True)
class _Column:
    """A reading in the poll: where it goes and how it is converted."""

    reading: Reading
    index: int
    plain: bool
    """Whether an integer needs no more than scale and offset."""
    scale: float
    offset: float
    none: frozenset[int]
    """Integers that stand for no reading."""

    @classmethod
    def of(cls, reading: Reading, index: int) -> _Column:
        plain = not (reading.guards or reading.rate or reading.bits or reading.signed)
        none = frozenset(int(t) for t in reading.none if t.removeprefix("-").isdecimal() and t == str(int(t)))
        return cls(reading, index, plain, reading.scale, reading.offset, none)


@dataclass(frozen=True, slots=True)
class _Sum:
    """A derived point: the sum of some readings."""

    index: int
    oids: tuple[str, ...]


@dataclass(slots=True)
class _Plan:
    """What is asked at each poll."""

    fast: tuple[str, ...] = ()
    slow: tuple[str, ...] = ()
    columns: dict[str, _Column] = field(default_factory=dict)
    sums: tuple[_Sum, ...] = ()


class PolledDevice:
    """One device and all that is known of it.

    Parameters
    ----------
    target
        Where it is and how it is filed.
    polling
        Interval, patience, sizes.
    client
        The session with it.
    registry
        Where its points are registered.
    profiles
        By name.
    """

    def __init__(
        self,
        target: Target,
        polling: Polling,
        client: PatientClient,
        registry: PointRegistry,
        profiles: Mapping[str, Profile],
    ) -> None:
        self.target, self.polling, self.client = target, polling, client
        self.profile: str | None = None
        self.description = ""
        self.state = 0
        self.reason = "not asked yet"
        self.failures = 0
        self.polls = 0
        self.readings = 0
        self.doubts: tuple[str, ...] = ()
        """What physics had against its readings at the last inventory."""
        self.corrections: tuple[str, ...] = ()
        """Which scales were put right at the last inventory, and why."""
        self.left_out = 0
        """Readings beyond what one device may have."""
        self._registry = registry
        self._profiles = profiles
        self._plan: _Plan | None = None
        self._counters: dict[str, Counter] = {}
        self._uptime: int | None = None
        self._inventory_due = self._slow_due = self._survey_due = 0.0
        self._seen: Survey | None = None
        self._inventory_taken = 0.0
        own = target.id
        self._health = tuple(
            registry.register(
                Point(
                    key=f"Device/{point_type}/snmp/{own}",
                    object_type="Device",
                    point_type=point_type,
                    object_id=own,
                    object_name=target.name,
                    unit=POINT_TYPES[point_type].unit,
                    state_text=UP_STATES if point_type == "DeviceUp" else (),
                    associate=target.associate,
                    process_area=target.process_area,
                    source=f"snmp:{own}",
                )
            )
            for point_type in ("DeviceUp", "DeviceLatency", "DeviceTimeouts", "DeviceErrors")
        )

    @property
    def point_count(self) -> int:
        """Readings that a poll asks for."""
        return len(self._plan.columns) if self._plan is not None else 0

    async def poll(self) -> Batch:
        """Ask for everything that is due; what failed shows in the batch's DeviceUp, what was read is in it too."""
        began = time.monotonic()
        requests = self.client.traffic.requests
        rows: list[tuple[int, int, float]] = []
        deadline = self.polling.deadline or 0.9 * self.polling.interval
        try:
            # The first inventory of a large device may take longer than a poll may.
            if self._plan is None or began >= self._inventory_due:
                seconds = max(deadline, INVENTORY_SECONDS)
                self.client.limit(Budget(seconds, INVENTORY_REQUESTS, INVENTORY_OCTETS))
                async with asyncio.timeout(seconds + OVERTIME):
                    await self._take_inventory()
            self.client.limit(Budget(deadline, self._most_requests(), POLL_OCTETS))
            async with asyncio.timeout(deadline + OVERTIME):
                cut_short = await self._read(rows)
        except TimeoutError:
            self._failed(0, f"the poll took longer than {deadline:g} s")
        except SourceTimeout as error:
            self._failed(0, str(error))
        except SourceRefused as error:
            self._failed(2, str(error))
        except SourceProtocolError as error:
            self._failed(3, str(error))
        except SourceError as error:
            self._failed(0, str(error))
        else:
            self.state, self.reason, self.failures = 1, self._told(cut_short), 0
        self.polls += 1
        self.readings += len(rows)
        took = (time.monotonic() - began) / max(1, self.client.traffic.requests - requests)
        return self._batch(rows, took)

    def _most_requests(self) -> int:
        """Return how many requests a poll may take: what it needs, and as much again to find what spoils it."""
        plan = self._plan
        objects = len(plan.fast) + len(plan.slow) if plan is not None else 0
        return 100 + 2 * objects

    def _told(self, cut_short: str) -> str:
        """Return what a device that answers leaves out, and why; empty where all is well."""
        told = [cut_short] if cut_short else []
        if self.left_out:
            told.append(
                f"{self.left_out} readings beyond the {self.polling.max_readings} that one device may have"
            )
        told += self.doubts[:TOLD]
        troubles = self.client.troubles
        told += [f"{oid}: {reason}" for oid, reason in list(troubles.items())[:TOLD]]
        if len(troubles) > TOLD:
            told.append(f"and {len(troubles) - TOLD} more")
        return "; ".join(told)

    async def knock(self) -> bool:
        """Ask one object, once: whether a device that was given up answers again."""
        self.polls += 1
        self.client.limit(Budget())
        try:
            await self.client.knock()
        except SourceRefused as error:
            self._failed(2, str(error))
        except SourceProtocolError as error:
            self._failed(3, str(error))
        except SourceError as error:
            self._failed(0, str(error))
        else:
            return True
        return False

    def health(self) -> Batch:
        """Return the points on how well it answers, without a reading."""
        return self._batch([], None)

    def fail(self, reason: str) -> None:
        """Count a poll whose answers could not be used."""
        self._failed(3, reason)

    def expect_change(self) -> None:
        """Look at the device anew at the next poll."""
        self._inventory_due = self._survey_due = 0.0

    def _failed(self, state: int, reason: str) -> None:
        self.state, self.reason = state, reason
        self.failures += 1

    def _batch(self, rows: Sequence[tuple[int, int, float]], latency: float | None) -> Batch:
        now = now_ms()
        up, took, timeouts, errors = self._health
        traffic = self.client.traffic
        health: list[tuple[int, int, float]] = [
            (up, now, self.state),
            (timeouts, now, traffic.timeouts),
            (errors, now, traffic.errors),
        ]
        if latency is not None and self.state == 1:
            health.append((took, now, latency))
        index, observed, value = zip(*rows, *health, strict=True)
        return Batch.of(index, observed, value, received=now)

    async def _take_inventory(self) -> None:
        seen = await self._survey()
        self.description = seen.identity.description
        self.profile = seen.profile.name if seen.profile is not None else None
        t = self.target
        device = Device(t.id, t.name, t.serves, t.associate, t.process_area, t.phase, t.object_type)
        found = [r for r in seen.readings(device) if not r.duplicate]
        self.doubts = tuple(f"{d.symbol}: {d.text}" for d in seen.doubts(found))
        self.corrections = tuple(dict.fromkeys(f"{r.symbol}: {r.corrected}" for r in found if r.corrected))
        most = self.polling.max_readings
        self.left_out, found = max(0, len(found) - most), found[:most]
        self._plan = self._planned(found, seen.derived)
        now = time.monotonic()
        again = min(self.polling.inventory, TRY_AGAIN) if self.client.troubles else self.polling.inventory
        self._inventory_taken, self._inventory_due, self._slow_due = now, now + again, 0.0

    async def _survey(self) -> Survey:
        """Look at the device: anew, or only at the tables that it was found to have."""
        count, before, now = self.polling.max_varbinds, self._seen, time.monotonic()
        if before is not None and now < self._survey_due:
            identity = await identify(self.client)
            if identity == before.identity:
                inventory = await take_inventory(self.client, before.parts, count=count)
                if 2 * len(inventory.walk) > len(before.inventory.walk):
                    return replace(before, inventory=inventory)
        self._seen = await survey(self.client, self._profiles, self.target.profile, count=count)
        self._survey_due = now + SURVEY_AGAIN
        return self._seen

    def _planned(self, found: Sequence[Reading], derived: Sequence[Derived]) -> _Plan:
        columns = {r.oid: _Column.of(r, self._registry.register(r.point)) for r in found}

        def wanted(slow: bool) -> tuple[str, ...]:
            chosen = [r for r in found if r.slow == slow]
            guards = (oid for r in chosen for oid, _ in r.guards)
            return tuple(dict.fromkeys([*(r.oid for r in chosen), *guards, *(() if slow else (SYS_UPTIME,))]))

        sums: list[_Sum] = []
        for d in derived:
            by_object: dict[str, list[Reading]] = {}
            for r in found:
                if r.symbol == d.sum_of:
                    by_object.setdefault(r.point.object_id, []).append(r)
            for object_id, parts in by_object.items():
                total = (object_id, d.point, "")
                # A total that the device itself tells is better than a sum.
                if not any((r.point.object_id, r.point.point_type, r.point.phase) == total for r in found):
                    sums.append(self._sum(d, object_id, parts))
        return _Plan(wanted(False), wanted(True), columns, tuple(sums))

    def _sum(self, derived: Derived, object_id: str, parts: Sequence[Reading]) -> _Sum:
        first = parts[0].point
        point = Point(
            key=f"{first.object_type}/{derived.point}/snmp/{self.target.id}/sum.{derived.sum_of}.{object_id}",
            object_type=first.object_type,
            point_type=derived.point,
            object_id=object_id,
            object_name=first.object_name,
            unit=first.unit,
            serves=first.serves,
            associate=first.associate,
            process_area=first.process_area,
            source=first.source,
        )
        return _Sum(self._registry.register(point), tuple(r.oid for r in parts))

    async def _read(self, rows: list[tuple[int, int, float]]) -> str:
        """Ask for what is due and add it to `rows`; return why it is not all, if it is not."""
        plan = self._plan
        assert plan is not None
        now = time.monotonic()
        slow = bool(plan.slow) and now >= self._slow_due
        oids = (*plan.fast, *plan.slow) if slow else plan.fast
        got: dict[str, Scalar] = {}
        others: list[tuple[_Column, str, Scalar, int]] = []
        values: dict[str, tuple[float, int]] = {}
        cut_short = ""
        columns, add, summed = plan.columns, rows.append, bool(plan.sums)
        try:
            async for answer in self.client.read(oids):
                got |= answer
                stamp = now_ms()
                for oid, raw in answer.items():
                    column = columns.get(oid)
                    if column is None:
                        continue
                    if column.plain and type(raw) is int:
                        if raw not in column.none:
                            value = raw * column.scale + column.offset
                            add((column.index, stamp, value))
                            if summed:
                                values[oid] = value, stamp
                    else:
                        others.append((column, oid, raw, stamp))
        except SourceError as error:
            # What came before stays true; a device that has died meanwhile shows at the next poll.
            if not got:
                raise
            cut_short = f"{len(got)} of {len(oids)} objects read: {error}"
        self._notice_restart(got.get(SYS_UPTIME))
        for column, oid, raw, stamp in others:
            told = self._value(column.reading, raw, got, stamp)
            if told is not None and math.isfinite(told):
                values[oid] = told, stamp
                add((column.index, stamp, told))
        rows += [
            (total.index, values[total.oids[-1]][1], sum(values[oid][0] for oid in total.oids))
            for total in plan.sums
            if all(oid in values for oid in total.oids)
        ]
        if slow:
            self._slow_due = now + self.polling.slow
        if len(got) < len(oids) and not cut_short and now - self._inventory_taken > INVENTORY_AGAIN:
            apart = self.client.left_alone
            if any(oid in columns and oid not in got and oid not in apart for oid in oids):
                self._inventory_due = 0.0
        return cut_short

    def _value(self, reading: Reading, raw: Scalar, got: Mapping[str, Scalar], observed: int) -> float | None:
        for oid, pattern in reading.guards:
            if pattern.fullmatch(text(got.get(oid))):
                return None
        if not reading.rate:
            return reading.convert(raw)
        if not isinstance(raw, int):
            return None
        counter = self._counters.setdefault(reading.oid, Counter(reading.rate))
        rate = counter.rate(raw, observed)
        return None if rate is None else rate * reading.scale

    def _notice_restart(self, raw: Scalar) -> None:
        """Forget counters and the inventory of an agent that has started anew."""
        if not isinstance(raw, int):
            return
        before, self._uptime = self._uptime, raw
        wrapped = before is not None and before > 0xFFFF0000 and raw < 0x10000000
        if before is not None and raw < before and not wrapped:
            self._counters.clear()
            self.client.forget()
            self.expect_change()
