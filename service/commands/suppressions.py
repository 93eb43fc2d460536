"""Alarms that page nobody for a while: shelved, in a maintenance window, out of service. They are shown all the same."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from domain.batch import now_ms
from domain.suppression import Suppression, SuppressionKind
from service.commands.options import Data, RecordsOf
from service.commands.output import as_json, as_table, say, when

if TYPE_CHECKING:
    from alerts.state_settings import Shelving
    from storage.records import Records

Object = Annotated[str, typer.Argument(metavar="OBJECT", help="Object, or a glob such as 'R01*'")]
Reason = Annotated[str, typer.Option(help="Why; whoever looks next wants to know")]
Who = Annotated[str, typer.Option(help="Who asks for it (default: the login name)")]
Rule = Annotated[str, typer.Option(help="Only this rule, or a glob; leaks and smoke only by name")]
Below = Annotated[bool, typer.Option("--with-below", help="And what hangs under the object")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


def _records(config: Path | None, data: Path | None) -> Records:
    from service.settings import records_url
    from storage.records import Records

    return Records(records_url(config, data))


def _shelving(config: Path | None) -> Shelving | None:
    """Return what the configuration says of shelves, if one is named; a running service ends them by its own."""
    from service.settings import read_configuration

    return None if config is None else read_configuration(config).alerts.shelving


def _until(start: int, last: str) -> int:
    from service.commands.tables import timespan

    return start + int(timespan(last).total_seconds() * 1000)


def _said(made: Suppression) -> None:
    until = "until somebody puts it back" if not made.end else f"until {when(made.end)}"
    if made.once:
        until = f"until it clears, {when(made.end)} at the latest"
    say(f"{made.id}: {made.rule} on {made.object_id} is {_KINDS[made.kind]} {until}")


_KINDS = {
    SuppressionKind.SHELVED: "shelved",
    SuppressionKind.MAINTENANCE: "under maintenance",
    SuppressionKind.OUT_OF_SERVICE: "out of service",
    SuppressionKind.MODE: "expected",
}


def shelve(
    number: Annotated[int, typer.Argument(help="The alert's number, as listed and as in every page")],
    reason: Reason,
    last: Annotated[str, typer.Option("--for", help="How long, such as 2h")] = "",
    once: Annotated[
        bool, typer.Option("--once", help="Until it clears, or as long as a shelf may last")
    ] = False,
    who: Who = "",
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Put one alarm on the shelf: it pages nobody for a while; when that ends and it still holds, it does again."""
    from alerts import actions

    now = now_ms()
    until = _until(now, last) if last else 0
    records = _records(config, data)
    _said(
        actions.shelve(records, number, who or getpass.getuser(), reason, now, until, once, _shelving(config))
    )


def maintenance(
    object_id: Object,
    reason: Reason,
    last: Annotated[str, typer.Option("--for", help="How long, such as 4h")],
    begins: Annotated[
        str, typer.Option("--in", help="Begins in so long, such as 12h; now if not given")
    ] = "",
    rule: Rule = "*",
    below: Below = False,
    who: Who = "",
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Announce a maintenance window: alarms of an object are expected, and page nobody until it ends."""
    from alerts import actions

    now = now_ms()
    start = _until(now, begins) if begins else now
    made = actions.suppress(
        _records(config, data),
        SuppressionKind.MAINTENANCE,
        object_id,
        who or getpass.getuser(),
        reason,
        now,
        rule=rule,
        start=start,
        end=_until(start, last),
        below=below,
    )
    _said(made)


def out_of_service(
    object_id: Object,
    reason: Reason,
    rule: Rule = "*",
    below: Below = False,
    who: Who = "",
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Take alarms out of service until somebody puts them back (`hallwatch alerts resume`); they are listed meanwhile."""
    from alerts import actions

    made = actions.suppress(
        _records(config, data),
        SuppressionKind.OUT_OF_SERVICE,
        object_id,
        who or getpass.getuser(),
        reason,
        now_ms(),
        rule=rule,
        below=below,
    )
    _said(made)


def resume(
    number: Annotated[int, typer.Argument(help="Its number, as `hallwatch alerts suppressed` lists it")],
    note: Annotated[str, typer.Option(help="Why, for those who wonder")] = "",
    who: Who = "",
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """End a shelf or a window, or put back into service; what still holds is told then."""
    from alerts import actions

    ended = actions.resume(_records(config, data), number, who or getpass.getuser(), note, now_ms())
    say(f"{number}: {ended.rule} on {ended.object_id} pages again.")


def suppressed(
    since: Annotated[str, typer.Option(help="And those that ended within so long, such as 7d")] = "",
    json: Json = False,
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """List what is shelved, under maintenance, expected by the equipment's mode, or out of service."""
    from service.commands.tables import timespan

    now = now_ms()
    ended = now - int(timespan(since).total_seconds() * 1000) if since else None
    found = _records(config, data).suppressions(ended)
    if json:
        as_json([asdict(one) for one in found])
        return
    as_table(
        ["number", "kind", "rule", "object", "from", "until", "who", "why", "ended"],
        [
            [
                s.id,
                s.kind,
                s.rule,
                s.object_id + (" and below" if s.below else ""),
                when(s.start),
                "it clears" if s.once else when(s.end) if s.end else "put back",
                s.who,
                s.reason,
                f"{when(s.ended)}, {s.ended_by or 'by itself'}: {s.ended_why}" if s.ended else "-",
            ]
            for s in found
        ],
    )
