"""Issued forecasts at the command line: what they say of a node, what they were worth, and that none was changed."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from domain.batch import now_ms
from domain.errors import InputError
from domain.units import shown
from service.commands.options import Data, RecordsOf
from service.commands.output import as_json, as_table, say, when

if TYPE_CHECKING:
    from storage.records import Records

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
NAMES = {
    "ActivePower": "power",
    "QuarterHourPower": "quarter-hour end",
    "ExpectedSupplyTemperature": "coolant supply",
    "ExpectedReturnTemperature": "coolant return",
    "ExpectedGpuTemperature": "hottest GPU",
    "ExpectedApproach": "CDU approach",
    "ExpectedRise": "largest rise",
    "ExpectedFall": "largest fall",
}

RAMPS = ("ExpectedRise", "ExpectedFall")
"""Of these the lead is the length of a window in seconds; they look an hour ahead."""


def _records(config: Path | None, data: Path | None) -> Records:
    from service.settings import records_url
    from storage.records import Records

    return Records(records_url(config, data))


def scores(
    since: Annotated[str, typer.Option(help="How far back, such as 7d; in steps of six hours")] = "7d",
    object_id: Annotated[
        str, typer.Option("--object", help="Only this site, feed, UPS, busway, rack or CDU")
    ] = "",
    json: Json = False,
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Tell what issued forecasts were worth, by lead time: coverage, loss beside simple rules, breach calibration."""
    from domain.scores import by_lead
    from service.commands.tables import timespan

    now = now_ms()
    start = now - int(timespan(since).total_seconds() * 1000)
    records = _records(config, data)
    found: dict[str, dict[str, Any]] = {}
    for point_type in NAMES:
        slots = records.scores(point_type, start, now)
        leads = by_lead(slots, [object_id] if object_id else None)
        if leads:
            found[point_type] = {"unit": slots[-1].unit, "leads": leads}
    if object_id and not found:
        raise InputError(f"no forecast of {object_id!r} has been scored since {when(start)}")
    if json:
        as_json(
            [
                {
                    "forecast": point_type,
                    "object": object_id or None,
                    "unit": of["unit"],
                    **asdict(accuracy),
                }
                for point_type, of in found.items()
                for accuracy in of["leads"].values()
            ]
        )
        return
    if not found:
        say(f"No forecast has been scored since {when(start)}.")
        return
    rows = [
        [
            NAMES[point_type],
            f"within {_span(a.lead)}" if point_type in RAMPS else _span(60 * a.lead),
            a.scored,
            a.missing,
            a.revised,
            _share(a.coverage),
            _size(a.error, of["unit"]),
            _number(a.to_persistence),
            _number(a.to_naive),
            _number(a.brier, 4),
            _number(a.brier_persistence, 4),
            f"{a.breaches} of {a.limited}" if a.limited else "-",
        ]
        for point_type, of in found.items()
        for a in of["leads"].values()
    ]
    as_table(
        [
            "forecast", "ahead", "scored", "missing", "revised", "in 90 %", "error", "of persistence", "of naive",
            "Brier", "as before", "breaches",
        ],
        rows,
    )  # fmt: skip


def show(
    node: Annotated[
        str, typer.Argument(metavar="NODE", help="Site, feed, UPS, busway or rack; all if left out")
    ] = "",
    json: Json = False,
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Show the newest power forecast that was issued of a node, or which nodes have one."""
    records = _records(config, data)
    now = now_ms()
    if not node:
        newest: dict[str, int] = defaultdict(int)
        for issued in records.issue_times("ActivePower", now - 86_400_000, now)[-1:]:
            newest |= {
                name: f.issued for name, f in records.issued("ActivePower", issued, issued + 1).items()
            }
        if json:
            as_json(newest)
        else:
            as_table(["node", "issued"], [[name, when(issued)] for name, issued in newest.items()])
        return
    forecast = records.latest_forecast(node)
    if forecast is None:
        raise InputError(
            f"no forecast of {node!r} has been issued; without a name, those that have are listed"
        )
    if json:
        as_json(asdict(forecast))
        return
    say(f"{node}, issued {when(forecast.issued)} by {forecast.model}; quality: {forecast.quality}")
    columns = [(q, forecast.quantile(q)) for q in (0.05, 0.5, 0.95)]
    as_table(
        ["UTC", *(f"{q:.0%}" for q, _ in columns), "limit", "breach"],
        [
            [
                when(int(start)),
                *(shown(float(values[i]), forecast.unit, 4) for _, values in columns),
                _size(float(forecast.limit[i]), forecast.unit),
                _share(float(forecast.breach_probability[i])),
            ]
            for i, start in enumerate(forecast.start)
        ],
    )


def verify(
    object_id: Annotated[
        str, typer.Option("--object", help="Only this site, feed, UPS, busway or rack")
    ] = "",
    known: Annotated[
        str,
        typer.Option(
            "--hash", metavar="HASH", help="A hash that a partner was told: look whether it is there"
        ),
    ] = "",
    json: Json = False,
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Look over the archive of issued forecasts: tell what was changed, removed, swapped or put in, and where."""
    from storage import forecast_seals

    if known and not object_id:
        raise InputError("--hash needs --object: the forecasts of each object are sealed one after the other")
    if known and not re.fullmatch("[0-9a-fA-F]{64}", known):
        raise InputError("--hash takes 64 hexadecimal digits, as in 'seal' of a forecast")
    found = list(forecast_seals.verify(_records(config, data), object_id, known))
    if object_id and not found:
        raise InputError(f"no forecast of {object_id!r} has been sealed")
    faults = [(chain, fault) for chain in found for fault in chain.faults]
    if json:
        as_json([asdict(chain) for chain in found])
    else:
        rows = [
            [c.object_id, f"{c.first} to {c.last}", c.looked_at, c.unsealed, len(c.faults), c.head[:16]]
            for c in found
        ]
        as_table(["object", "numbers", "looked at", "unsealed", "faults", "newest hash"], rows)
        if faults:
            as_table(
                ["object", "number", "issued", "fault"],
                [
                    [c.object_id, f.number or "-", when(f.issued) if f.issued else "-", f.what]
                    for c, f in faults
                ],
            )
        say(f"{sum(c.looked_at for c in found)} forecasts looked at, {len(faults)} faults.")
    if faults:
        raise typer.Exit(1)


def _span(seconds: int) -> str:
    return (
        f"{seconds} s"
        if seconds < 60
        else f"{seconds // 60} min"
        if seconds < 3600
        else f"{seconds / 3600:g} h"
    )


def _number(value: float, digits: int = 2) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1%}"


def _size(value: float, unit: str) -> str:
    return "-" if math.isnan(value) else shown(value, unit, 3)
