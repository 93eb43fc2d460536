"""What the browser is sent of forecasts: charts, ramps, scores, planned work, and the answer to a what-if question."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from analytics.outlook.whatif import AddedJob, Answer, MovedJob, Scenario
from dashboard import cells
from dashboard.data import ConsoleData
from dashboard.fans import fan
from dashboard.foretold import AGO, SCORED_LEADS, Foretold, Worth
from dashboard.views import AHEAD_H
from dashboard.words import count, say
from domain.breaches import AHEAD_S, breach_ahead
from domain.errors import InputError, StorageError
from domain.forecast import Forecast, Ramps
from domain.planned import PlannedWork

Payload = dict[str, Any]
NOMINAL, OFF = 0.9, 0.05
"""What the 90 % interval should hold, and how far from it is told."""
MOST_NAMED = 4
MOST_HOURS = 24 * 14
"""Hours that a job may last, or be moved by, in a question."""


def page(data: ConsoleData, node: str, ago: str) -> Payload:
    """Return all that the page shows of a node, by the forecast that was issued `ago` (a key of `AGO`)."""
    zone = data.site.zone
    try:
        found = data.foretold.look(node, AGO[ago])
        worth, planned, trouble = data.foretold.worth(node), data.foretold.planned(), ""
    except StorageError as error:
        return {"trouble": str(error), "node": node}
    return {
        "trouble": trouble,
        "node": node,
        "chart": chart(found, zone),
        "ramps": ramps(found.ramps),
        "worth": scores(worth, zone),
        "planned": [_planned(work, zone) for work in planned],
        "cells": {
            "foretold-issued": _issued(found, zone),
            "foretold-came": _came(found),
            "foretold-worth-note": _worth_note(worth),
        },
    }


def chart(f: Foretold, zone: ZoneInfo) -> Payload:
    """Return the measured line, the limit, the fan as issued and what came, in MW or kW, on the site's wall clock."""
    scale, unit = (1e6, "MW") if f.node.limit >= 1e6 else (1e3, "kW")
    payload: Payload = {
        "unit": unit,
        "now": int(cells.wall(np.array([f.now]), zone)[0]),
        "offset": int(cells.wall(np.array([f.now]), zone)[0]) - f.now,
        "time": cells.wall(f.measured.time, zone).tolist(),
        "power": cells.numbers(f.measured.value / scale, 3),
        "limitTime": cells.wall(f.limit.time, zone).tolist(),
        "limit": cells.numbers(f.limit.value / scale, 3),
        "fan": None,
        "cameTime": cells.wall(f.actual.time + 450_000, zone).tolist(),
        "came": cells.numbers(f.actual.value / scale, 3),
    }
    if f.forecast is not None:
        payload["fan"] = fan(f.forecast, zone, scale)
    return payload


def ramps(r: Ramps | None) -> list[Payload]:
    """Return the largest rises and falls to expect in the hour, a row a window."""
    if r is None:
        return [{"id": "ramps-none", "mark": "", "cells": [[say("foretold.no_ramps"), "muted"]]}]
    middle, high = r.quantiles.index(0.5), len(r.quantiles) - 1
    return [
        {
            "id": f"ramp-{seconds}",
            "mark": "",
            "cells": [
                [_span(seconds), "name"],
                ["+" + cells.quantity(float(r.up[i, middle]), "W", 2), ""],
                ["+" + cells.quantity(float(r.up[i, high]), "W", 2), ""],
                ["\u2212" + cells.quantity(float(r.down[i, middle]), "W", 2), ""],
                ["\u2212" + cells.quantity(float(r.down[i, high]), "W", 2), ""],
            ],
        }
        for i, seconds in enumerate(r.windows_s)
    ]


def scores(worth: Worth, zone: ZoneInfo) -> Payload:
    """Return coverage (per cent) and error of the median (kW) over the last week, by lead time."""
    times = np.array([start for start, _ in worth.slots], np.int64)

    def of(lead: int, name: str, scale: float) -> list[float | None]:
        return [
            cells.rounded(getattr(found[lead], name) * scale, 1) if lead in found else None
            for _, found in worth.slots
        ]

    return {
        "time": cells.wall(times, zone).tolist(),
        "leads": [
            {
                "name": _span(60 * lead),
                "coverage": of(lead, "coverage", 100.0),
                "error": of(lead, "error", 1e-3),
            }
            for lead in SCORED_LEADS
        ],
        "nominal": 100 * NOMINAL,
    }


def scenario(asked: Mapping[str, Any], planned: list[PlannedWork], now: int) -> Scenario:
    """Read a question as the page sends it.

    Raises
    ------
    InputError
        If it asks for nothing, or for what cannot be.
    KeyError, TypeError, ValueError
        If it is none.
    """
    lost = tuple(dict.fromkeys(str(unit)[:200] for unit in list(asked.get("lost") or [])[:10] if unit))
    jobs: tuple[AddedJob, ...] = ()
    if racks := int(asked.get("racks") or 0):
        wait, hours = _hours(asked.get("in") or 0), _hours(asked.get("hours") or 24)
        jobs = (AddedJob(racks, now + int(wait * 3_600_000), hours),)
    moved: tuple[MovedJob, ...] = ()
    if name := str(asked.get("job") or ""):
        work = next((w for w in planned if f"{w.source}/{w.name}" == name), None)
        if work is None:
            raise InputError(say("foretold.no_such_job", job=name[:100]))
        by = _hours(asked.get("by") or 0, least=-MOST_HOURS)
        hours = (work.end - work.start) / 3_600_000
        moved = (MovedJob(work.racks, work.start, work.start + int(by * 3_600_000), hours, work.power),)
    limit = float(asked["limit"]) * 1e6 if asked.get("limit") else None
    if limit is not None and not 0 < limit < 1e11:
        raise InputError(say("foretold.bad_limit"))
    warmer = float(asked.get("warmer") or 0)
    if not (lost or jobs or moved or limit is not None or warmer):
        raise InputError(say("foretold.nothing_asked"))
    return Scenario(lost, jobs, limit, moved, warmer)


def ask(data: ConsoleData, asked: Mapping[str, Any]) -> Payload:
    """Return the answer to a question of the page.

    Raises
    ------
    InputError, StorageError
        If it cannot be answered.
    KeyError, TypeError, ValueError
        If it is no question.
    """
    now = data.clock()
    question = scenario(asked, data.foretold.planned(), now)
    found, issued = data.foretold.ask(question)
    return answer(found, issued, data.site.id, now, data.site.zone)


def answer(found: Answer, issued: Forecast | None, site: str, now: int, zone: ZoneInfo) -> Payload:
    """Return the answer in lines, worst first, and the site's fan under the scenario."""
    lines: list[list[str]] = []
    if found.unpowered_racks:
        lines.append(
            [count("foretold.dark", len(found.unpowered_racks), racks=_named(found.unpowered_racks)), "alarm"]
        )
    if found.on_battery:
        minutes = 0.0 if found.battery_minutes is None else found.battery_minutes
        lines.append([say("foretold.battery", ups=_named(found.on_battery), n=f"{minutes:.0f}"), "warning"])
    for n in found.overloaded[:MOST_NAMED]:
        what = {
            k: cells.quantity(v, "W", 3)
            for k, v in (("before", n.before), ("after", n.after), ("limit", n.limit))
        }
        lines.append([say("foretold.over", id=n.id, **what), "alarm"])
    if len(found.overloaded) > MOST_NAMED:
        lines.append([say("foretold.more_over", n=len(found.overloaded) - MOST_NAMED), "alarm"])
    if found.hot:
        first = found.hot[0]
        racks = {h.rack for h in found.hot}
        lines.append(
            [
                count(
                    "foretold.hot", len(racks), rack=first.rack, what=say(f"foretold.{first.quantity}"),
                    peak=cells.quantity(first.peak, "Cel", 3), after=cells.duration(first.seconds * 1000),
                ),
                "alarm",
            ]
        )  # fmt: skip
    f = found.forecast
    if f is not None and issued is not None:
        lines += _of_power(f, issued, found, now, zone)
    changed = [
        n
        for n in found.nodes
        if n.id != site and abs(n.after - n.before) > 0.01 * n.limit and n.after <= n.limit
    ]
    for n in sorted(changed, key=lambda n: -n.after / n.limit)[:MOST_NAMED]:
        before, after = (cells.percent(v / n.limit) for v in (n.before, n.after))
        lines.append([say("foretold.changes", id=n.id, before=before, after=after), ""])
    if not any(mark for _, mark in lines):
        lines.insert(0, [say("foretold.all_well"), ""])
    return {
        "lines": lines,
        "assumes": say("foretold.assumes"),
        "fan": None if f is None else fan(f, zone, 1e6, now),
        "limit": None if f is None else [cells.rounded(float(v), 3) for v in f.limit[[0, -1]] / 1e6],
        "site": site,
    }


def _of_power(f: Forecast, issued: Forecast, found: Answer, now: int, zone: ZoneInfo) -> list[list[str]]:
    coming = f.start + f.interval_minutes * 60_000 > now
    if not coming.any():
        return []
    middle = f.quantile(0.5)
    best = int(np.flatnonzero(coming)[np.argmax(middle[coming])])
    before = float(issued.quantile(0.5)[issued.start + 900_000 > now].max(initial=0.0))
    risk, without = (_chance(told, now) for told in (f, issued))
    shed = max(found.shed)
    lines = [
        [
            say(
                "foretold.peak", power=cells.quantity(float(middle[best]), "W", 4),
                at=cells.date(int(f.start[best]), zone), before=cells.quantity(before, "W", 4),
            ),
            "",
        ],
        [
            say("foretold.breach", hours=AHEAD_H, risk=cells.percent(risk), before=cells.percent(without)),
            "alarm" if risk > 0.5 else "warning" if risk > 0.05 else "",
        ],
    ]  # fmt: skip
    if shed > 0:
        lines.append([say("foretold.shed", power=cells.quantity(shed, "W", 3)), "warning"])
    return lines


def _chance(f: Forecast, now: int) -> float:
    """Return how likely the limit is passed, as the header and the alert have it."""
    ahead = breach_ahead(f, now, AHEAD_S)
    return 0.0 if ahead is None else ahead.chance


def _issued(f: Foretold, zone: ZoneInfo) -> cells.Cell:
    if f.forecast is None:
        return [say("foretold.none_issued"), "missing"]
    at = cells.date(f.forecast.issued, zone)
    good = f.forecast.quality == "good"
    text = say("foretold.issued", at=at, age=cells.duration(f.now - f.forecast.issued))
    return [text if good else f"{text}, {f.forecast.quality}", "" if good else "warning", f.forecast.model]


def _came(f: Foretold) -> cells.Cell:
    """Return how a forecast did in the intervals that are over."""
    if f.forecast is None or not len(f.actual.time):
        return ["", ""]
    n = len(f.actual.time)
    known = ~np.isnan(f.actual.value)
    if not known.any():
        return [say("foretold.not_measured"), "missing"]
    low, high = (f.forecast.quantile(q)[:n][known] for q in (0.05, 0.95))
    value = f.actual.value[known]
    inside = float(((value >= low) & (value <= high)).mean())
    error = float(np.abs(f.forecast.quantile(0.5)[:n][known] - value).mean())
    return [
        say(
            "foretold.did",
            n=int(known.sum()),
            inside=cells.percent(inside),
            error=cells.quantity(error, "W", 3),
        ),
        "",
        say("foretold.should"),
    ]


def _worth_note(worth: Worth) -> cells.Cell:
    if not worth.slots:
        return [say("foretold.not_due"), "muted"]
    scored = sum(a.scored for _, found in worth.slots for lead, a in found.items() if lead == SCORED_LEADS[1])
    hits = sum(
        a.coverage * a.scored
        for _, found in worth.slots
        for lead, a in found.items()
        if lead == SCORED_LEADS[1] and a.scored
    )
    if not scored:
        return [say("foretold.not_due"), "muted"]
    share = hits / scored
    off = abs(share - NOMINAL) > OFF
    return [
        say("foretold.covered", share=cells.percent(share), n=scored),
        "warning" if off else "",
        say("foretold.should"),
    ]


def _planned(work: PlannedWork, zone: ZoneInfo) -> Payload:
    each = "" if math.isnan(work.power) else cells.quantity(work.power, "W", 3)
    return {
        "id": f"job-{work.source}-{work.name}".replace(" ", "-"),
        "mark": "",
        "job": f"{work.source}/{work.name}",
        "cells": [
            [work.name, "name", work.source],
            [str(len(work.racks)), "", _named(work.racks)],
            [cells.date(work.start, zone), ""],
            [cells.date(work.end, zone), ""],
            [each or cells.DASH, "" if each else "muted", say("foretold.each_rack")],
        ],
    }


def _named(names: tuple[str, ...]) -> str:
    some = ", ".join(names[:MOST_NAMED])
    return (
        some if len(names) <= MOST_NAMED else say("foretold.and_more", names=some, n=len(names) - MOST_NAMED)
    )


def _span(seconds: int) -> str:
    return (
        f"{seconds} s"
        if seconds < 60
        else f"{seconds // 60} min"
        if seconds < 7200
        else f"{seconds // 3600} h"
    )


def _hours(value: Any, least: float = 0.0) -> float:
    hours = float(value)
    if not least <= hours <= MOST_HOURS:
        raise InputError(say("foretold.bad_hours", most=MOST_HOURS))
    return hours
