"""How the alarms performed, at the command line."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from domain.errors import InputError
from service.commands.data import moment
from service.commands.options import Data, RecordsOf
from service.commands.output import as_json, as_table, say, when

if TYPE_CHECKING:
    from alerts.settings import AlertSettings


def report(
    since: Annotated[
        str, typer.Option(help="From when: an ISO time, or a span before now such as 30d")
    ] = "30d",
    until: Annotated[str, typer.Option(help="Until when")] = "now",
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print name,value lines")] = False,
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Tell how the alarms performed, by the measures of ISA-18.2 and EEMUA 191."""
    from alerts.performance import as_dict, measured, rows
    from service.settings import records_url
    from storage.records import Records

    if json and as_csv:
        raise InputError("print JSON or CSV, not both")
    start, end = moment(since), moment(until)
    if end <= start:
        raise InputError("the time must end after it begins")
    found = measured(Records(records_url(config, data)), _settings(config), start, end)
    if json:
        as_json(as_dict(found))
        return
    if as_csv:
        csv.writer(sys.stdout).writerows([["measure", "value", "target"], *(m[:3] for m in rows(found))])
        return
    say(f"Alarms from {when(start)} to {when(end)}, {found.operators} at the console")
    as_table(["measure", "value", "target", ""], [[*m[:3], "off" if m.off else ""] for m in rows(found)])
    as_table(["most frequent", "object", "times"], [[f.rule, f.object_id, f.times] for f in found.top])
    if found.stale_top:
        stale = [[s.rule, s.object_id, s.severity, when(s.opened)] for s in found.stale_top]
        as_table(["stale", "object", "severity", "since"], stale)


def _settings(config: Path | None) -> AlertSettings:
    from alerts.settings import AlertSettings
    from service.settings import read_configuration

    return AlertSettings() if config is None else read_configuration(config).alerts
