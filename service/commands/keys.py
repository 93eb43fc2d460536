"""Keys of partners of the API, and what was done with them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from domain.batch import now_ms
from domain.errors import InputError
from partners.settings import Shows
from service.commands.options import Data, RecordsOf
from service.commands.output import as_json, as_table, to_the_second, when
from service.commands.people import accounts, done_by

if TYPE_CHECKING:
    from storage.records import Records

Prefix = Annotated[str, typer.Argument(help="The key's first part, as listed")]
LAST_REFUSALS = 20


def add_key(
    partner: Annotated[str, typer.Argument(help="Who the key is for")],
    shows: Annotated[
        list[Shows] | None,
        typer.Option(help="Show only this of what the partner's contract shows; may be repeated"),
    ] = None,
    expires: Annotated[
        str, typer.Option(help="After how long it ends, such as 365d; never if left out")
    ] = "",
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Make an API key and print it. It is shown this once; only a hash is kept."""
    ends = now_ms() + _ms(expires) if expires else 0
    secret, _ = accounts(config, data).add_api_key(partner, ends, done_by(), [s.value for s in shows or ()])
    typer.echo(secret)


def rotate_key(
    prefix: Prefix,
    overlap: Annotated[str, typer.Option(help="How long the old key works on")] = "7d",
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Make a key in place of another and print it: same partner, scopes and lifetime; the old one works on for a while."""
    secret, _ = accounts(config, data).rotate_api_key(prefix, _ms(overlap), done_by())
    typer.echo(secret)


def list_keys(config: RecordsOf = None, data: Data = None) -> None:
    """List API keys, without their secrets."""
    as_table(
        ["key", "partner", "shows", "made", "expires", "last used", "revoked"],
        [
            [
                k.prefix,
                k.partner,
                " ".join(k.scopes) or "all of its contract",
                when(k.created),
                when(k.expires),
                when(k.last_used),
                when(k.revoked),
            ]
            for k in accounts(config, data).api_keys()
        ],
    )


def revoke_key(prefix: Prefix, config: RecordsOf = None, data: Data = None) -> None:
    """Make an API key useless from now on."""
    accounts(config, data).revoke_api_key(prefix, done_by())
    typer.echo(f"{prefix} is revoked.")


def usage(
    since: Annotated[str, typer.Option(help="From when: a time, or a span before now such as 24h")] = "7d",
    until: Annotated[str, typer.Option(help="Until when")] = "now",
    partner: Annotated[str, typer.Option(help="Only this partner")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON, by hour")] = False,
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Tell who asked the API how often and with what success, by day, and what was refused and why.

    The service writes its counts once a minute.
    """
    from service.commands.data import moment

    records, start, end = _records(config, data), moment(since), moment(until) + 1
    # an hour belongs to the day in which it begins
    hours = records.usage(start - start % 3_600_000, end, partner)
    refusals = records.refusals(start, end, partner)
    if json:
        as_json({"usage": [asdict(u) for u in hours], "refusals": [asdict(r) for r in refusals]})
        return
    days: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for u in hours:
        day = datetime.fromtimestamp(u.start / 1000, UTC).strftime("%Y-%m-%d")
        days[day, u.partner or "unknown", u.route][_kind(u.status)] += u.calls
    as_table(
        ["day", "partner", "route", "answered", "unchanged", "refused", "faulty", "failed"],
        [
            [*key, *(n[kind] for kind in ("answered", "unchanged", "refused", "faulty", "failed"))]
            for key, n in days.items()
        ],
    )
    if refusals:
        as_table(
            ["when", "partner", "key", "from", "route", "status", "why"],
            [
                [
                    to_the_second(r.at),
                    r.partner or "unknown",
                    r.prefix or "-",
                    r.address,
                    r.route,
                    r.status,
                    r.reason,
                ]
                for r in refusals[:LAST_REFUSALS]
            ],
        )


def _kind(status: int) -> str:
    if status in (401, 403, 429):
        return "refused"
    if status == 304:
        return "unchanged"
    return "answered" if status < 400 else "faulty" if status < 500 else "failed"


def _records(config: Path | None, data: Path | None) -> Records:
    from service.settings import records_url
    from storage.records import Records

    return Records(records_url(config, data))


def _ms(text: str) -> int:
    from service.commands.tables import timespan

    found = int(timespan(text).total_seconds() * 1000)
    if not 0 <= found <= 100 * 365 * 86_400_000:
        raise InputError(f"{text!r}: write a span of at most a hundred years, such as 365d")
    return found
