"""What the browser is sent of the health page's tables: collectors, ages, counters, store, forecasts' worth, instruments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from dashboard import cells
from dashboard.views import STALE_MS, Health
from dashboard.words import count, say, term
from domain.units import shown

Payload = dict[str, Any]

MOST_AGES = 200
"""Sources of points that the health page lists, the longest silent first."""
OFF_WARNING_S = 30.0
"""A source's clock that is further off is marked."""
SOON_DAYS = 30.0
"""Parts that reach their limit within so many days are marked."""


def health(h: Health, zone: ZoneInfo) -> Payload:
    """Return the health page's tables."""
    sources = [row for name, stats in sorted(h.sources.items()) for row in _source_rows(name, stats)]
    ages = [
        {
            "id": f"age-{a.source}",
            "mark": "",
            "cells": [
                [a.source or cells.DASH, "name"],
                [cells.thousands(a.points), ""],
                [
                    cells.duration(h.now - a.newest) if a.newest else say("health.never"),
                    "old" if a.newest and h.now - a.newest > STALE_MS else "" if a.newest else "warning",
                ],
            ],
        }
        for a in h.ages[:MOST_AGES]
    ]
    counters = [
        {
            "id": f"counter-{name}",
            "mark": "",
            "cells": [[cells.words(name), "name"], [cells.counter(value), ""]],
        }
        for name, value in h.counters.items()
    ]
    s = h.store
    store = {
        "kind": s.kind,
        "version": s.version,
        "answers": say("cell.yes" if s.available else "cell.no"),
        "detail": s.detail or cells.DASH,
        "rows": cells.DASH if s.rows is None else cells.thousands(s.rows),
        "size": cells.DASH if s.size_bytes is None else shown(s.size_bytes, "By"),
        "points-known": cells.thousands(h.points),
    }
    f = h.forecast
    forecast = {"issued": cells.DASH} if f is None else {
        "issued": cells.date(f.issued, zone, "long"),
        "age": cells.duration(h.now - f.issued),
        "data-until": cells.date(f.data_cutoff, zone),
        "model": f.model,
        "quality": term("forecast_quality", f.quality),
        "horizon": f"{len(f.start) * f.interval_minutes / 60:.0f} h",
    }  # fmt: skip
    return {
        "sources": sources,
        "ages": ages,
        "cells": {"ages-summary": [_ages_summary(h), ""]},
        "counters": counters,
        "store": [_pair("store", k, v) for k, v in store.items()],
        "forecast": [_pair("forecast", k, v) for k, v in forecast.items()],
        "worth": [_worth_row(row) for row in h.worth] or [_nothing("worth", say("health.none_due"))],
        "upkeep": [_worn_row(row) for row in h.upkeep] or [_nothing("upkeep", say("health.none_worn"))],
        "instruments": [_instrument_row(row) for row in h.instruments]
        or [_nothing("instruments", say("health.none_lies"))],
        "clocks": _clock_rows(h.clocks) or [_nothing("clocks", say("health.none_off"))],
    }


def _source_rows(name: str, stats: Mapping[str, Any]) -> list[Payload]:
    """Return a row of a collector's plain counters, and one for each list or table that holds anything."""
    plain = {k: v for k, v in stats.items() if not isinstance(v, Mapping | list | tuple)}
    rows = [
        _source_row(
            f"source-{name}",
            name,
            " \u00b7 ".join(f"{cells.words(k)} {cells.counter(v)}" for k, v in plain.items()),
        )
    ]
    for key, value in stats.items():
        if key not in plain and value:
            rows.append(
                _source_row(f"source-{name}-{key}", f"{name} {cells.words(key)}", cells.counter(value))
            )
    return rows


def _source_row(row_id: str, name: str, text: str) -> Payload:
    return {"id": row_id, "mark": "", "cells": [[name, "name"], [text, ""]]}


def _worn_row(row: Mapping[str, Any]) -> Payload:
    """Return a line of the maintenance list; days, and a dash where there may be no end."""

    def days(name: str) -> str:
        value = row[name]
        return (
            cells.DASH
            if value is None
            else say("health.now")
            if value == 0
            else say("span.days", d=f"{value:.0f}")
        )

    left = row["days_left"]
    mark = "warning" if left is not None and left <= SOON_DAYS else ""
    return {
        "id": f"upkeep-{row['object']}-{row['what']}".replace(" ", "-"),
        "mark": mark,
        "cells": [
            cells.thing(row["object"]),
            [term("wear", row["what"]), ""],
            [f"{row['now']:.2f}", ""],
            [f"{row['limit']:.2f}", ""],
            [days("days_left"), mark],
            [say("health.from_to", first=days("earliest"), last=days("latest")), ""],
            [term("wear", row["advice"]), ""],
        ],
    }


def _worth_row(row: Mapping[str, Any]) -> Payload:
    """Return a line of what forecasts were worth; the verdict is that of its lead time."""

    def number(name: str, digits: int) -> str:
        value = row[name]
        return cells.DASH if math.isnan(value) else f"{value:.{digits}f}"

    mark = "warning" if row["state"] not in (None, "Good") else ""
    worse = "warning" if row["to_persistence"] > 1 else ""
    unscored = [say(f"health.{name}", n=row[name]) for name in ("missing", "revised") if row[name]]
    return {
        "id": f"worth-{row['forecast']}-{row['lead']}".replace(" ", "-"),
        "mark": mark,
        "cells": [
            [term("worth", row["forecast"]), "name"],
            [term("worth", row["ahead"]), ""],
            [cells.percent(row["coverage"]), mark, say("health.inside_hint")],
            [cells.quantity(row["error"], row["unit"], 3), "", say("health.error_hint")],
            [number("to_persistence", 2), worse, say("health.persistence_hint")],
            [number("to_naive", 2), "", say("health.naive_hint")],
            [number("brier", 3), "", count("health.brier_hint", row["breaches"])],
            [cells.thousands(row["scored"]), "", say("text.comma").join(unscored)],
            [
                term("worth", row["state"]) if row["state"] else say("health.not_known"),
                mark or ("" if row["state"] else "muted"),
            ],
        ],
    }


def _instrument_row(row: Mapping[str, Any]) -> Payload:
    return {
        "id": f"instrument-{row['object']}-{row['quantity']}".replace(" ", "-"),
        "mark": "warning",
        "cells": [
            cells.thing(row["object"]),
            [term("quantity", cells.words(row["quantity"])), ""],
            [term("verdict", cells.words(row["verdict"])), ""],
            [
                say("health.estimate" if row["estimated"] else "health.nothing"),
                "estimated" if row["estimated"] else "missing",
            ],
        ],
    }


def _clock_rows(clocks: Mapping[str, Any]) -> list[Payload]:
    """Return a line for each source whose clock is off or was stepped, after one for our own where many say so."""
    ours = clocks.get("our_own_off_s", 0.0)
    told = [("ours", say("health.own_clock"), _off(ours), "alarm", "", "")] if ours else []
    for name, clock in clocks.get("off", {}).items():
        mark = "warning" if abs(clock["offset_s"]) >= OFF_WARNING_S else ""
        drift = clock["drift_s_per_minute"]
        shown_drift = f"{drift:+.2f} s/min" if drift else ""
        told.append((name, name, _off(clock["offset_s"]), mark, shown_drift, str(clock["steps"] or "")))
    return [
        {
            "id": f"clock-{row}".replace(" ", "-"),
            "mark": mark,
            "cells": [[name, "name"], [off, mark], [drift, ""], [steps, ""]],
        }
        for row, name, off, mark, drift, steps in told
    ]


def _off(seconds: float) -> str:
    return say("health.clock_ahead" if seconds > 0 else "health.clock_behind", s=f"{abs(seconds):.1f}")


def _nothing(table: str, text: str) -> Payload:
    return {"id": f"{table}-none", "mark": "", "cells": [[text, "muted"]]}


def _ages_summary(h: Health) -> str:
    late = sum(h.now - a.newest > STALE_MS for a in h.ages)
    return say("health.late", late=late, all=cells.thousands(len(h.ages)))


def _pair(table: str, key: str, value: str) -> Payload:
    return {
        "id": f"{table}-{key.replace(' ', '-')}",
        "mark": "",
        "cells": [[say(f"{table}.{key}"), "name"], [value, ""]],
    }
