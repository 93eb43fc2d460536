"""What the browser is sent of reports: tables, a chart, and the quarter hours as a file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from alerts.performance import rows as measures
from analytics.contract.energy import EnergyOf
from dashboard import cells
from dashboard.data import ConsoleData
from dashboard.reports import Report, Span
from dashboard.words import language, say, term
from domain.errors import HallwatchError
from domain.spreadsheet import guarded

Payload = dict[str, Any]
TARGET_PUE = 1.3
"""What Taiwan asks of new data centres."""
MOST_OVER = 40


def page(data: ConsoleData, kind: str, back: int) -> Payload:
    """Return a report as the page shows it."""
    try:
        found = data.reports.report(kind, back)
    except HallwatchError as error:
        return {"trouble": str(error)}
    zone = data.site.zone
    return {
        "trouble": "",
        "file": f"/reports/quarters.csv?span={kind}&back={back}",
        "running": found.span.running,
        "chart": _chart(found, zone),
        "envelope": _envelope(found, zone),
        "energy": _energy(found),
        "parts": [_part(part, found.span) for part in found.parts],
        "over": _over(found, zone),
        "alarms": [
            {
                "id": f"report-measure-{n}",
                "mark": "",
                "cells": [
                    [term("measure", m.name), "name"],
                    [term("measure", m.value), "warning" if m.off else ""],
                    [term("measure", m.target), "muted"],
                ],
            }
            for n, m in enumerate(measures(found.alarms))
        ],
        "incidents": _incidents(found, data),
        "contract": _contract(found.contract, zone),
        "cells": {
            "report-title": [_title(found.span, zone), ""],
            "report-state": _state(found.span, data.clock(), zone),
        },
    }


def quarters_csv(data: ConsoleData, kind: str, back: int) -> tuple[str, str]:
    """Return the name and the content of the file of a report's quarter hours.

    Raises
    ------
    InputError, StorageError
        If it cannot be made.
    """
    found, zone = data.reports.report(kind, back), data.site.zone
    text = io.StringIO()
    out = csv.writer(text)
    out.writerow(["start", "start_utc", "site_W", "it_W", "limit_W", "pue", "over_limit"])
    columns = (found.start, found.power, found.load, found.limit, found.pue)
    for t, power, load, limit, pue in zip(*(column.tolist() for column in columns), strict=True):
        moment = datetime.fromtimestamp(t / 1000, UTC)
        out.writerow(
            [
                moment.astimezone(zone).isoformat(),
                moment.isoformat().replace("+00:00", "Z"),
                _plain(power, 0),
                _plain(load, 0),
                _plain(limit, 0),
                _plain(pue, 3),
                "" if math.isnan(power) else int(power > limit),
            ]
        )
    begin = datetime.fromtimestamp(found.span.start / 1000, zone)
    return f"{guarded(data.site.id)}-{kind}-{begin:%Y-%m-%dT%H}.csv", text.getvalue()


def _chart(r: Report, zone: ZoneInfo) -> Payload:
    return {
        "time": cells.wall(r.start, zone).tolist(),
        "power": cells.numbers(r.power / 1e6, 3),
        "load": cells.numbers(r.load / 1e6, 3),
        "limit": cells.numbers(r.limit / 1e6, 3),
    }


def _envelope(r: Report, zone: ZoneInfo) -> list[Payload]:
    known = ~np.isnan(r.power)
    over = len(r.over)
    margin = r.limit - r.power
    rows: list[list[Any]] = [
        [say("report.quarters"), [f"{int(known.sum())} / {len(r.power)}", "" if known.all() else "warning"]],
        [say("report.over_limit"), [str(over), "alarm" if over else ""]],
    ]
    if known.any():
        best, tight = int(np.nanargmax(r.power)), int(np.nanargmin(margin))
        rows += [
            [
                say("report.highest"),
                [_at(r.power[best], r.start[best], zone), "alarm" if r.power[best] > r.limit[best] else ""],
            ],
            [
                say("report.least_margin"),
                [_at(margin[tight], r.start[tight], zone), "alarm" if margin[tight] < 0 else ""],
            ],
            [say("report.mean"), [cells.quantity(float(np.nanmean(r.power)), "W", 4), ""]],
            [say("report.within"), [cells.percent(1 - over / int(known.sum())), "alarm" if over else ""]],
        ]
    return _pairs("envelope", rows)


def _energy(r: Report) -> list[Payload]:
    of = r.whole
    worse = "warning" if of.pue > TARGET_PUE else cells.absent(of.pue)
    rows: list[list[Any]] = [
        [say("report.energy"), [cells.quantity(of.energy, "J", 4), _part_known(of.measured)]],
        [
            say("report.it_energy"),
            [
                cells.quantity(of.it_energy, "J", 4),
                _part_known(of.it_measured),
                say(f"report.at_{r.measured_at}"),
            ],
        ],
        [
            say("report.pue"),
            [
                _two(of.pue),
                worse,
                f"{say('report.pue_is', target=f'{TARGET_PUE:g}')} {cells.batteries(of.on_battery)}".strip(),
            ],
        ],
        [
            say("report.carbon"),
            [cells.DASH if math.isnan(of.carbon) else f"{of.carbon / 1000:.2f} t", cells.absent(of.carbon)],
        ],
        [say("report.measured"), [cells.percent(of.measured), _part_known(of.measured)]],
    ]
    return _pairs("energy", rows)


def _part(of: EnergyOf, span: Span) -> Payload:
    return {
        "id": f"part-{of.name}".replace(":", "-"),
        "mark": "",
        "cells": [
            [of.name, "name"],
            [cells.quantity(of.energy, "J", 4), cells.absent(of.energy)],
            [cells.quantity(of.it_energy, "J", 4), cells.absent(of.it_energy)],
            [
                _two(of.pue),
                "warning" if of.pue > TARGET_PUE else cells.absent(of.pue),
                cells.batteries(of.on_battery),
            ],
            [cells.quantity(of.highest, "W", 4), cells.absent(of.highest)],
            [cells.percent(of.measured), _part_known(of.measured)],
        ],
    }


def _over(r: Report, zone: ZoneInfo) -> list[Payload]:
    found = [
        {
            "id": f"over-{n}",
            "mark": "alarm",
            "cells": [
                [cells.date(int(r.start[i]), zone), "name"],
                [cells.quantity(float(r.power[i]), "W", 4), "alarm"],
                [cells.quantity(float(r.limit[i]), "W", 4), ""],
                [cells.quantity(float(r.power[i] - r.limit[i]), "W", 3), ""],
            ],
        }
        for n, i in enumerate(r.over[:MOST_OVER])
    ]
    return found or [{"id": "over-none", "mark": "", "cells": [[say("report.none_over"), "muted"]]}]


def _incidents(r: Report, data: ConsoleData) -> list[Payload]:
    zone = data.site.zone
    found = [
        {
            "id": f"report-incident-{i.lead.id}",
            "mark": i.lead.condition.severity.value,
            "cells": [
                [cells.date(i.opened, zone), "name"],
                [i.lead.condition.object_id, ""],
                [data.alarms.title(i.lead.condition.rule, language()), ""],
                [
                    cells.duration(i.closed - i.opened) if i.closed else say("report.lasts"),
                    "" if i.closed else "warning",
                ],
                [str(sum(i.members.values())), ""],
                [i.lead.acknowledged_by or cells.DASH, "" if i.lead.acknowledged_by else "muted"],
            ],
        }
        for i in r.incidents
    ]
    return found or [
        {"id": "report-incident-none", "mark": "", "cells": [[say("report.no_incident"), "muted"]]}
    ]


def _contract(month: Mapping[str, Any] | None, zone: ZoneInfo) -> list[Payload]:
    if month is None:
        return [{"id": "contract-none", "mark": "", "cells": [[say("report.no_contract"), "muted"]]}]
    rows = []
    middle = list(month["levels"]).index(0.5)
    for peak in month["peaks"]:
        end, exceeds = peak["end"], peak["exceeds"]
        so_far = float(peak["so_far"])
        rows.append(
            {
                "id": f"contract-{peak['name']}".replace(" ", "-"),
                "mark": "",
                "cells": [
                    [str(peak["name"]), "name"],
                    [cells.quantity(float(peak["contracted"]), "W", 4), ""],
                    [
                        cells.quantity(so_far, "W", 4),
                        "alarm" if so_far > peak["contracted"] else cells.absent(so_far),
                    ],
                    [
                        cells.DASH if end is None else cells.quantity(float(end[middle]), "W", 4),
                        "missing" if end is None else "",
                    ],
                    [
                        cells.DASH if exceeds is None else cells.percent(float(exceeds)),
                        "missing" if exceeds is None else "warning" if exceeds > 0.05 else "",
                    ],
                ],
            }
        )
    return rows


def _pairs(table: str, rows: list[list[Any]]) -> list[Payload]:
    return [
        {"id": f"report-{table}-{n}", "mark": "", "cells": [[label, "name"], cell]}
        for n, (label, cell) in enumerate(rows)
    ]


def _title(span: Span, zone: ZoneInfo) -> str:
    begin, end = (datetime.fromtimestamp(t / 1000, zone) for t in (span.start, span.end))
    if span.kind == "month":
        return f"{begin:%Y-%m}"
    return f"{begin:%Y-%m-%d}" if span.kind == "day" else f"{begin:%Y-%m-%d %H:%M} \u2013 {end:%H:%M}"


def _state(span: Span, now: int, zone: ZoneInfo) -> cells.Cell:
    made = cells.date(now, zone)
    return [say("report.so_far" if span.running else "report.over", made=made), "muted"]


def _at(watts: float, start: int, zone: ZoneInfo) -> str:
    return f"{cells.quantity(float(watts), 'W', 4)}, {cells.date(int(start), zone)}"


def _two(value: float) -> str:
    return cells.DASH if math.isnan(value) else f"{value:.3f}"


def _part_known(share: float) -> str:
    return "missing" if share == 0 else "warning" if share < 0.99 else ""


def _plain(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"
