"""Silences: alerts that page nobody for a while, such as during planned work. They are shown all the same."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from domain.batch import now_ms
from domain.errors import InputError
from service.commands.options import Data, RecordsOf
from service.commands.output import as_table, when

if TYPE_CHECKING:
    from storage.alert_records import AlertRecords


def _records(config: Path | None, data: Path | None) -> AlertRecords:
    from service.settings import records_url
    from storage.alert_records import AlertRecords

    return AlertRecords(records_url(config, data))


def add(
    object_id: Annotated[str, typer.Argument(metavar="OBJECT", help="Object, or a glob such as 'R01*'")],
    rule: Annotated[str, typer.Option(help="Only this rule, or a glob")] = "*",
    last: Annotated[str, typer.Option("--for", help="How long, such as 2h")] = "2h",
    note: Annotated[str, typer.Option(help="Why, for those who wonder")] = "",
    who: Annotated[str, typer.Option(help="Who asks for it (default: the login name)")] = "",
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Tell nobody about alerts of an object for a while."""
    from service.commands.tables import timespan

    now = now_ms()
    end = now + int(timespan(last).total_seconds() * 1000)
    silence = _records(config, data).add_silence(rule, object_id, now, end, who or getpass.getuser(), note)
    typer.echo(f"{silence.id}: {rule} on {object_id} is silent until {when(end)}")


def list_(config: RecordsOf = None, data: Data = None) -> None:
    """List the silences that hold, and those to come."""
    as_table(
        ["id", "rule", "object", "from", "until", "who", "note"],
        [
            [str(s.id), s.rule, s.object_id, when(s.start), when(s.end), s.who, s.note]
            for s in _records(config, data).silences(now_ms())
        ],
    )


def end(
    number: Annotated[int, typer.Argument(help="The silence's number, as listed")],
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """End a silence now."""
    records, now = _records(config, data), now_ms()
    if all(silence.id != number for silence in records.silences(now)):
        raise InputError(f"there is no silence {number} that still holds; see `hallwatch silence list`")
    records.end_silence(number, now)
    typer.echo(f"{number} has ended.")
