"""What the browser is sent of data health: what is wrong with the data first, then what each part of Hallwatch says of itself."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from dashboard import cells
from dashboard.views import STALE_MS, Health, SourceAge
from dashboard.words import count, measured, say, term
from domain.catalogue import POINT_TYPES
from domain.units import shown

Payload = dict[str, Any]

MOST_AGES = 200
"""Sources of points that the page lists, the longest silent first."""
MOST_TROUBLES = 100
"""Lines of what is wrong with the data, of which the gravest come first."""
MOST_SAMPLES = 40
"""Refused readings and messages that are shown, the newest."""
LONGEST_SAMPLE = 200
"""Characters of a refused message that are shown."""
LAG_WARNING_S = 10.0
"""Devices that are asked so much later than they are due (99 % of the polls) are marked."""
OFF_WARNING_S = 30.0
"""A source's clock that is further off is marked."""
SOON_DAYS = 30.0
"""Parts that reach their limit within so many days are marked."""


def health(h: Health, zone: ZoneInfo) -> Payload:
    """Return the health page's tables."""
    sources = [_source_row(name, stats) for name, stats in sorted(h.sources.items(), key=_first)]
    troubles = sorted(_troubles(h), key=lambda t: t[0] != "alarm")
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
        if name != "quarantine_recent"
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
        "cells": _figures(h, len(troubles)) | {"ages-summary": [_ages_summary(h), ""]},
        "troubles": [_trouble_row(n, t) for n, t in enumerate(troubles[:MOST_TROUBLES])]
        or [_nothing("trouble", say("health.no_trouble"))],
        "violations": _violation_rows(h) or [_nothing("violation", say("health.no_violation"))],
        "quarantine": _sample_rows(h, zone) or [_nothing("sample", say("health.no_sample"))],
        "counters": counters,
        "store": [_pair("store", k, v) for k, v in store.items()],
        "forecast": [_pair("forecast", k, v) for k, v in forecast.items()],
        "worth": [_worth_row(row) for row in h.worth] or [_nothing("worth", say("health.none_due"))],
        "upkeep": [_worn_row(row) for row in h.upkeep] or [_nothing("upkeep", say("health.none_worn"))],
        "instruments": [_instrument_row(row) for row in h.instruments]
        or [_nothing("instruments", say("health.none_lies"))],
        "clocks": _clock_rows(h.clocks) or [_nothing("clocks", say("health.none_off"))],
    }


_TOLD_APART = frozenset(
    [
        "violations_by_topic", "violations_recent", "down", "partly", "doubts", "corrections", "heartbeats",
        "last_slow",
    ]
)  # fmt: skip
"""What a collector tells that has lines of its own."""
_NO_ANSWER = re.compile(r"\S+ gave no answer in ([\d.]+) s")
Trouble = tuple[str, str, str, str]
"""How grave it is (a mark), of what, what is wrong, and since when or how often."""


def _figures(h: Health, troubles: int) -> dict[str, cells.Cell]:
    """Return the figures on top of the page."""
    late = sum(h.now - a.newest > STALE_MS for a in h.ages)
    snmp, mqtt = _snmp(h), _mqtt(h)
    down = sum(len(s["down"]) for s in snmp)
    trays, online = sum(s["trays"] for s in mqtt), sum(s["trays_online"] for s in mqtt)
    refused = sum(sum(s["violations"].values()) for s in mqtt)
    aside = sum(h.counters.get("quarantine", {}).values())
    spooled = int(h.counters.get("spool_waiting", 0))
    lag = max((s["lateness_p99_s"] for s in snmp), default=math.nan)
    return {
        "health-troubles-count": [str(troubles), "warning" if troubles else ""],
        "health-silent": [
            say("health.n_of", n=late, all=cells.thousands(len(h.ages))),
            "warning" if late else "",
        ],
        "health-down": [say("health.n_of", n=down, all=sum(s["devices"] for s in snmp)), "warning" if down else ""],
        "health-trays": [say("health.n_of", n=online, all=trays), "warning" if online < trays else ""],
        "health-refused": [cells.thousands(refused), "warning" if refused else ""],
        "health-aside": [cells.thousands(aside), "warning" if aside else ""],
        "health-spool": [cells.thousands(spooled), "warning" if spooled else ""],
        "health-waiting": [cells.thousands(int(h.counters.get("waiting", 0))), ""],
        "health-lag": [cells.DASH, "missing"] if math.isnan(lag) else [f"{lag:.1f} s", "warning" if lag > LAG_WARNING_S else ""],
    }  # fmt: skip


def _snmp(h: Health) -> list[Mapping[str, Any]]:
    return [s for s in h.sources.values() if "lateness_p99_s" in s]


def _mqtt(h: Health) -> list[Mapping[str, Any]]:
    return [s for s in h.sources.values() if "violations" in s]


def _troubles(h: Health) -> Iterator[Trouble]:
    """Return what is wrong with the data now."""
    if not h.store.available:
        yield "alarm", h.store.kind, say("health.store_silent"), h.store.detail
    for name, s in sorted(h.sources.items()):
        if s.get("connected") is False:
            yield "alarm", name, say("health.not_connected", error=s.get("error") or cells.DASH), ""
        for beat, told in s.get("heartbeats", {}).items():
            if told["gone"]:
                yield "alarm", f"{name} {beat}", say("health.no_heartbeat"), ""
        for topic, why in s.get("subscriptions_refused", {}).items():
            yield "alarm", name, say("health.refused", topic=topic, why=why), ""
        for device, reason in s.get("down", {}).items():
            yield "warning", device, say("health.down", reason=_why(reason)), _silent(h, device)
        for device, reason in s.get("partly", {}).items():
            yield "warning", device, say("health.partly", reason=reason), ""
        for device, doubts in s.get("doubts", {}).items():
            for doubt in doubts:
                yield "warning", device, say("health.doubt", doubt=doubt), ""
        for device, corrections in s.get("corrections", {}).items():
            for correction in corrections:
                yield "", device, say("health.corrected", correction=correction), ""
        if missing := s.get("trays", 0) - s.get("trays_online", 0):
            yield "warning", name, count("health.trays_gone", missing), ""
    known = {device for s in h.sources.values() for device in s.get("down", {})}
    for age in h.ages:
        if h.now - age.newest > STALE_MS and age.source.partition(":")[2] not in known:
            yield "warning", age.source, say("health.silent"), _since(h, age)
    for source, n in h.counters.get("frozen_objects", {}).get("by_source", {}).items():
        yield "warning", source, count("health.frozen", n), ""
    if waiting := h.counters.get("spool_waiting", 0):
        size = shown(h.counters.get("spool_bytes", 0), "By")
        yield "warning", say("health.spool"), say("health.spooled", n=cells.thousands(waiting), size=size), ""
    if dropped := h.counters.get("dropped", 0):
        yield "alarm", say("health.spool"), say("health.dropped", n=cells.thousands(dropped)), ""


def _why(reason: str) -> str:
    """Return why a device is taken for down: mostly since nothing came in time, else in its collector's words."""
    late = _NO_ANSWER.fullmatch(reason)
    return say("health.no_answer", span=say("span.seconds", s=late[1])) if late else reason or cells.DASH


def _silent(h: Health, device: str) -> str:
    return next((_since(h, a) for a in h.ages if a.source.partition(":")[2] == device), "")


def _since(h: Health, age: SourceAge) -> str:
    return cells.duration(h.now - age.newest) if age.newest else say("health.never")


def _trouble_row(n: int, trouble: Trouble) -> Payload:
    mark, what, told, since = trouble
    return {
        "id": f"trouble-{n}",
        "mark": "critical" if mark == "alarm" else mark,
        "cells": [[what, "name"], [told, ""], [since, ""]],
    }


def _reason(code: str) -> str:
    return term("reason", code.replace("_", " "))


def _violation_rows(h: Health) -> list[Payload]:
    """Return the violations of the contract by reason and topic, the most frequent first."""
    found = [(name, one) for name, s in sorted(h.sources.items()) for one in s.get("violations_by_topic", ())]
    found.sort(key=lambda item: (item[1]["tolerated"], -item[1]["count"]))
    return [
        {
            "id": f"violation-{n}",
            "mark": "" if one["tolerated"] else "warning",
            "cells": [
                [_reason(one["reason"]), "", term("meaning", one["meaning"])],
                [one["topic"], "", name],
                [one["detail"], "name"],
                [cells.thousands(one["count"]), ""],
                [say("health.used" if one["tolerated"] else "health.set_aside"), "muted"],
            ],
        }
        for n, (name, one) in enumerate(found[:MOST_TROUBLES])
    ]


def _sample_rows(h: Health, zone: ZoneInfo) -> list[Payload]:
    """Return the newest readings and messages that were set aside, whatever set them aside."""
    entries = [e for s in h.sources.values() for e in s.get("violations_recent", ())]
    entries += h.counters.get("quarantine_recent", ())
    entries.sort(key=lambda e: -e["received"])
    return [
        {
            "id": f"sample-{n}",
            "mark": "",
            "cells": [
                [cells.date(e["received"], zone, "long"), "name"],
                [_reason(e["reason"]), ""],
                [e.get("topic") or e.get("point", ""), ""],
                [str(e.get("payload", e.get("value", "")))[:LONGEST_SAMPLE], ""],
                [e["detail"], "muted name"],
            ],
        }
        for n, e in enumerate(entries[:MOST_SAMPLES])
    ]


def _first(source: tuple[str, Mapping[str, Any]]) -> tuple[bool, str]:
    """Collectors stand before what else is counted."""
    return "connected" not in source[1] and "up" not in source[1], source[0]


def _source_row(name: str, stats: Mapping[str, Any]) -> Payload:
    """Return a collector's line: how it is in a word or two, and all of its counters."""
    told = [
        f"{cells.words(k)} {cells.counter(v)}"
        for k, v in stats.items()
        if k not in _TOLD_APART and (v or not isinstance(v, Mapping | list | tuple))
    ]
    silent = any(beat["gone"] for beat in stats.get("heartbeats", {}).values())
    well = stats.get("connected", True) and not stats.get("down") and not silent
    return {
        "id": f"source-{name}",
        "mark": "" if well else "warning",
        "cells": [
            [name, "name"],
            [_state(stats), ""],
            [" \u00b7 ".join(told), "muted name"],
        ],
    }


def _state(stats: Mapping[str, Any]) -> str:
    """Return what matters most of a collector."""
    told = []
    if "connected" in stats:
        told.append(say("health.connected" if stats["connected"] else "health.apart"))
    if "up" in stats:
        told.append(say("health.up", n=stats["up"], all=stats["devices"]))
    if stats.get("trays"):
        told.append(say("health.trays_told", n=stats["trays_online"], all=stats["trays"]))
    return say("text.comma").join(told) or cells.DASH


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


def _quantity(name: str) -> str:
    return measured(name) if name in POINT_TYPES else term("signal", cells.words(name))


def _instrument_row(row: Mapping[str, Any]) -> Payload:
    return {
        "id": f"instrument-{row['object']}-{row['quantity']}".replace(" ", "-"),
        "mark": "warning",
        "cells": [
            cells.thing(row["object"]),
            [_quantity(row["quantity"]), ""],
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
