"""Who a device says that it is, and everything that profiles want to know of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from collectors.snmp.client import SnmpClient
from collectors.snmp.profiles import Profile, Table
from collectors.snmp.walk import Scalar, Walk, text
from domain.errors import ConfigurationError, Problem, SourceError, SourceTimeout

SYS_DESCR, SYS_OBJECT_ID, SYS_UPTIME = "1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.2.0", "1.3.6.1.2.1.1.3.0"
SMALL_TABLE = 8
"""Up to so many rows a table is read whole, beyond column by column."""
MOST_BROKEN_COLUMNS = 2
"""Columns of one table that may hang or loop before the rest of it is left alone."""
LARGEST_WHOLE = 600
"""A table that turns out to hold more objects than that is read column by column after all."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a device says that it is."""

    description: str
    object_id: str


async def identify(client: SnmpClient) -> Identity:
    """Ask a device what it is.

    Raises
    ------
    SourceTimeout, SourceRefused, SourceProtocolError
    """
    got = await client.get([SYS_DESCR, SYS_OBJECT_ID])
    return Identity(text(got.get(SYS_DESCR)), text(got.get(SYS_OBJECT_ID)).lstrip("."))


def named(profiles: Mapping[str, Profile], name: str) -> Profile:
    """Return a profile by name.

    Raises
    ------
    ConfigurationError
        Telling the known names.
    """
    if name not in profiles:
        raise ConfigurationError(
            Problem(
                "snmp", "profile", f"no profile is called {name!r}", f"Known: {', '.join(sorted(profiles))}"
            )
        )
    return profiles[name]


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was read of a device, and the tables that failed."""

    walk: Walk
    failed: tuple[str, ...]


async def take_inventory(client: SnmpClient, profiles: Iterable[Profile], *, count: int = 40) -> Inventory:
    """Read everything that `profiles` name: values, labels, units, scales.

    A table that breaks the protocol is left out and named; a device that stops answering raises.

    Raises
    ------
    SourceTimeout
        Where the device does not answer.
    """
    walk, failed = Walk(), []
    scalars: list[str] = []
    elsewhere: dict[str, None] = {}
    for profile in profiles:
        for table in profile.tables:
            if not table.index:
                scalars += [f"{table.oid}.{v.at}.0" for v in table.values]
                scalars += [f"{f.oid or f'{table.oid}.{f.at}'}.0" for f in table.fields.values()]
                continue
            try:
                rows = await _table(client, table, count)
            except SourceTimeout:
                raise
            except SourceError as error:
                failed.append(f"{table.symbol}: {error}")
                continue
            walk.update(rows)
            if rows:
                elsewhere |= {f.oid: None for f in table.fields.values() if f.oid}
    for oid in elsewhere:
        try:
            walk.update(await client.walk(oid, count=count))
        except SourceTimeout:
            raise
        except SourceError as error:
            failed.append(f"{oid}: {error}")
    wanted = [o for o in dict.fromkeys(scalars) if o not in walk]
    walk.update(await client.get(wanted))
    return Inventory(walk, tuple(failed))


async def _table(client: SnmpClient, table: Table, count: int) -> list[tuple[str, Scalar]]:
    """Read what a profile wants of a table: a short one whole, a long one column by column."""
    first = await client.walk(table.oid, count=count, most=count)
    broken = table.oid in client.troubles
    if not broken:
        if len(first) < count:
            return first
        head = _column_of(first[0][0], table)
        if sum(_column_of(oid, table) == head for oid, _ in first) <= SMALL_TABLE:
            whole = await client.walk(table.oid, count=count, most=LARGEST_WHOLE)
            broken = table.oid in client.troubles
            if len(whole) < LARGEST_WHOLE and not broken:
                return whole
    # A table that hangs or loops in one column has others.
    wanted = dict.fromkeys([*(f.at for f in table.fields.values() if f.at), *(v.at for v in table.values)])
    rows, broken_columns = list(first), 0
    for at in wanted:
        rows += await client.walk(f"{table.oid}.{at}", count=count)
        broken_columns += f"{table.oid}.{at}" in client.troubles
        if broken_columns > MOST_BROKEN_COLUMNS:
            break
    return rows


def _column_of(oid: str, table: Table) -> str:
    return oid[len(table.oid) + 1 :].split(".", 1)[0]
