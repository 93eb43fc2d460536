"""What the browser is sent of the power path: cells of every unit, and what its loss does now and at the peak."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from analytics.outlook.failover import Gap, Loss, Room
from dashboard import cells
from dashboard.power import OBSERVED_DAYS, Peak, PowerPath, Reserve, Unit
from dashboard.words import count, say, term
from domain.forecast import Forecast
from domain.site import Site

Payload = dict[str, Any]
NEAR, OVER = 0.9, 1.0
"""Share of a limit from which a unit is marked as near it, and as over it."""
UNBALANCED = 0.1
"""Phases that differ by more are marked: neutral and the heaviest phase run warm before the meter's sum tells."""
RISKY = 0.05
MOST_NAMED = 3


def structure(site: Site) -> Payload:
    """Return what hangs on what: units above the racks with what they serve, pods with their racks."""
    envelope = site.envelope()
    units = [n for n in envelope if n.kind not in ("Site", "Rack")]
    known = {n.id for n in units}
    return {
        "site": site.id,
        "units": [
            [n.id, n.kind, [c for c in n.children if c in known], _pods(n.children, site)] for n in units
        ],
        "pods": [[pod.id, list(pod.racks)] for pod in site.pods],
    }


def oneline(p: PowerPath, zone: ZoneInfo) -> Payload:
    """Return the units and racks of the one-line diagram, and the detail of each unit."""
    return {
        "units": {u.id: _unit(u, p.now, zone) for u in (p.site, *p.units)},
        "racks": cells.numbers(p.racks.value / 1e3, 0),
        "marks": cells.marked(p.racks, p.now),
        "severity": {rack: severity.value for rack, severity in p.rack_severity.items()},
    }


def reserve(r: Reserve | None, hidden: Mapping[str, Gap], site: Site) -> Payload:
    """Return what the loss of each unit does, and the pods' room; `hidden` tells of which units nothing may be told, and why."""
    if r is None:
        return {
            "units": {},
            "titles": {},
            "rows": [],
            "rooms": [],
            "cells": {"reserve-note": [say("power.working"), "muted"]},
        }
    peak = "" if r.peak is None else cells.clock(r.peak.start, site.zone, "%H:%M")
    units = {
        name: {
            "now": _loss(loss, _why(hidden.get(name))),
            "then": _loss(r.then[name], _why(hidden.get(name))) if name in r.then else None,
        }
        for name, loss in r.now.items()
    }
    worst = sorted(r.now, key=lambda n: _order(r.now[n], r.then.get(n)))
    return {
        "units": units,
        "emptied": None if r.emptied is None else _loss(replace(r.emptied, batteries=()), ""),
        "titles": {
            "emptied": say("power.emptied"),
            "now": say("power.fails_title"),
            "then": say("power.fails_at", at=peak) if peak else "",
        },
        "rows": [_loss_row(r.now[n], r.then.get(n), _why(hidden.get(n))) for n in worst],
        "rooms": [_room(room, site.id) for room in r.rooms],
        "cells": {
            "reserve-note": [_peak_note(r.peak, site.zone), "warning" if r.untold else "", _untold(r)],
            "reserve-answer": _answer(r),
            "stranded-total": _stranded(r),
        },
    }


def _pods(children: tuple[str, ...], site: Site) -> list[int]:
    """Return the numbers of the pods whose racks hang directly on a unit."""
    served = set(children)
    return [i for i, pod in enumerate(site.pods) if served.intersection(pod.racks)]


def _unit(u: Unit, now: int, zone: ZoneInfo) -> Payload:
    share = u.share
    load = "alarm" if share > OVER else "warning" if share > NEAR else ""
    return {
        "kind": u.kind,
        "text": cells.quantity(u.power.value, "W", 3),
        "share": cells.rounded(share, 3),
        "mark": f"{cells.trust(u.power, now)} {load}".strip(),
        "state": u.state,
        "note": _note(u),
        "severity": u.severity.value if u.severity else "",
        "rows": _detail(u, now, zone, load),
    }


def _note(u: Unit) -> str:
    """Return the state of a unit in a word or two; empty where it is as usual."""
    if u.state == "battery":
        left = u.runtime.value
        return say("power.battery") if math.isnan(left) else say("power.battery_for", n=f"{left / 60:.0f}")
    return say("power.off") if u.state == "off" else ""


def _detail(u: Unit, now: int, zone: ZoneInfo, load: str) -> list[list[Any]]:
    """Return the figures of one unit: a label and a cell each."""
    head = u.headroom
    rows: list[list[Any]] = [
        [say("power.power"), cells.reading(u.power, "W", now, 4, load)],
        [say("power.limit"), [cells.quantity(u.limit, "W", 4), "", say("power.average")]],
        [say("power.load"), [cells.percent(u.share), load or cells.absent(u.share), ""]],
    ]
    if u.kind == "UPS":
        rows += [
            [say("power.state"), [term("state", u.status) or cells.DASH, _state_mark(u)]],
            [say("power.charge"), cells.number(u.charge, 100.0, 0, now, " %")],
            [say("power.runtime"), cells.number(u.runtime, 1 / 60, 0, now, " min")],
        ]
    if not math.isnan(u.rating.value):
        tight = "alarm" if head.value < 0 else "warning" if head.value < 1 - NEAR else ""
        rows.append([say("power.highest_phase"), cells.number(u.current, 1.0, 0, now, " A")])
        rows.append([say("power.breaker"), cells.number(head, 100.0, 0, now, " %", tight)])
    if u.phases:
        off = u.unbalance
        told = " / ".join(cells.number(p, 1.0, 0, now)[0] for p in u.phases)
        uneven = "warning" if off > UNBALANCED else cells.absent(off)
        rows.append([say("power.phases"), [f"{told} A", ""]])
        rows.append([say("power.unbalance"), [cells.percent(off), uneven, say("power.unbalance_is")]])
    risky = cells.absent(u.risk.value) or ("warning" if u.risk.value > RISKY else "")
    rows.append([say("power.observed", days=OBSERVED_DAYS), _observed(u, zone)])
    rows.append([say("power.foretold"), _ahead(u.ahead, u.limit, now)])
    rows.append([say("power.risk"), [cells.percent(u.risk.value), risky]])
    if u.hidden:
        rows.append([say("power.attribution"), [say("power.incomplete"), "warning", _why(u.hidden)]])
    return rows


def _state_mark(u: Unit) -> str:
    if not u.status:
        return "missing"
    return "alarm" if u.state in ("battery", "off") else ""


def _observed(u: Unit, zone: ZoneInfo) -> cells.Cell:
    o = u.observed
    if o is None or math.isnan(o.power):
        return [cells.DASH, "missing", say("power.no_quarter")]
    share = o.power / u.limit
    return [
        f"{cells.quantity(o.power, 'W', 3)}, {cells.percent(share)}",
        "alarm" if share > OVER else "",
        say("power.observed_at", at=cells.date(o.at, zone)),
    ]


def _ahead(forecast: Forecast | None, limit: float, now: int) -> cells.Cell:
    if forecast is None:
        return [cells.DASH, "missing", say("power.no_forecast")]
    step = forecast.interval_minutes * 60_000
    coming = forecast.start + step > now
    if not coming.any():
        return [cells.DASH, "missing", say("power.forecast_over")]
    middle, high = (float(forecast.quantile(q)[coming].max()) for q in (0.5, 0.95))
    hours = (int(forecast.start[-1]) + step - now) / 3_600_000
    mark = "alarm" if middle > limit else "warning" if high > limit else ""
    return [
        say("power.ahead", middle=cells.quantity(middle, "W", 3), high=cells.quantity(high, "W", 3)),
        mark,
        say("power.within", hours=f"{hours:.0f}"),
    ]


def _loss(loss: Loss, hidden: str) -> Payload:
    """Return what the loss of a unit does: whether it holds, and why, in lines."""
    if hidden:
        return {"holds": None, "lines": [[say("power.not_told", why=hidden), "missing"]]}
    lines: list[list[str]] = []
    if loss.unpowered:
        dark = count("power.lose_power", len(loss.unpowered), racks=_named(loss.unpowered))
        lines.append([dark, "alarm"])
    for n in loss.over[:MOST_NAMED]:
        after, limit = (cells.quantity(v, "W", 3) for v in (n.after, n.limit))
        lines.append([say("power.would_carry", id=n.id, after=after, limit=limit), "alarm"])
    if len(loss.over) > MOST_NAMED:
        lines.append([say("power.more_over", n=len(loss.over) - MOST_NAMED), "alarm"])
    if loss.batteries:
        lines.append([say("power.on_battery", ups=_named(loss.batteries)), ""])
    if loss.takes:
        lines.append([say("power.taken_over"), "muted"])
        lines += [
            [
                say("power.takes", id=n.id, before=_share(n.before, n.limit), after=_share(n.after, n.limit)),
                "",
            ]
            for n in sorted(loss.takes, key=lambda n: -n.after / n.limit)[:MOST_NAMED]
        ]
    if not lines:
        lines.append([say("power.nothing_hangs"), ""])
    return {"holds": loss.holds, "lines": lines}


def _loss_row(now: Loss, then: Loss | None, hidden: str) -> Payload:
    tight = now.tightest if then is None else then.tightest
    told = cells.DASH if tight is None or hidden else f"{tight.id} {cells.percent(tight.after / tight.limit)}"
    return {
        "id": f"loss-{now.unit}",
        "mark": "" if hidden else "alarm" if not now.holds else "warning" if then and not then.holds else "",
        "cells": [
            cells.thing(now.unit),
            _verdict(now, hidden),
            _verdict(then, hidden),
            [told, "missing" if told == cells.DASH else "", hidden or say("power.nearest")],
        ],
    }


def _verdict(loss: Loss | None, hidden: str) -> cells.Cell:
    if loss is None or hidden:
        return [cells.DASH, "missing", hidden or say("power.no_forecast")]
    if loss.holds:
        return [say("power.holds"), ""]
    if loss.unpowered:
        return [count("power.dark", len(loss.unpowered)), "alarm"]
    return [say("power.over", n=len(loss.over)), "alarm"]


def _share(power: float, limit: float) -> str:
    return cells.percent(power / limit)


def _watts(power: float) -> str:
    return "0 kW" if power < 500 else cells.quantity(power, "W", 3)


def _room(room: Room, site: str) -> Payload:
    limit = say("power.site_limit") if room.limit == site else room.limit
    bound = say("power.bound_if", limit=limit, lost=room.lost) if room.lost else limit
    stranded = room.stranded > 0.005 * max(room.built, 1.0)
    usable = max(0.0, min(room.usable, room.built))
    return {
        "id": f"room-{room.pod}",
        "mark": "",
        "cells": [
            [room.pod, "name"],
            [_watts(room.built), "", say("power.built_is")],
            [_watts(usable), "", say("power.usable_is")],
            [_watts(room.stranded), ""],
            [bound if stranded else cells.DASH, "" if stranded else "muted", say("power.bound_is")],
        ],
    }


def _order(now: Loss, then: Loss | None) -> tuple[bool, bool, float]:
    tight = (then or now).tightest
    return now.holds, then is None or then.holds, -(tight.after / tight.limit) if tight else 0.0


def _why(gap: Gap | None) -> str:
    return "" if gap is None else say(f"power.{gap.why}", ids=_named(gap.ids))


def _untold(r: Reserve) -> str:
    return say("power.racks_untold", n=r.untold, all=r.racks) if r.untold else ""


def _named(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:MOST_NAMED])
    return (
        shown if len(names) <= MOST_NAMED else say("power.and_more", names=shown, n=len(names) - MOST_NAMED)
    )


def _peak_note(peak: Peak | None, zone: ZoneInfo) -> str:
    if peak is None:
        return say("power.only_now")
    at = cells.date(peak.start, zone)
    middle, high = (cells.quantity(v, "W", 3) for v in (peak.middle, peak.high))
    return say("power.peak", at=at, middle=middle, high=high)


def _answer(r: Reserve) -> cells.Cell:
    """Return in one line whether the loss of any one unit would hold."""
    if not r.now:
        return [cells.DASH, "missing", say("power.no_racks")]
    bad = [name for name, loss in r.now.items() if not loss.holds]
    later = [name for name, loss in r.then.items() if not loss.holds and name not in bad]
    if bad:
        return [say("power.fails_now", units=_named(tuple(bad))), "alarm", ""]
    if later:
        return [say("power.fails_then", units=_named(tuple(later))), "warning", ""]
    return [say("power.holds_both" if r.then else "power.holds_now"), "", say("power.any_one")]


def holding(r: Reserve | None, zone: ZoneInfo) -> dict[str, cells.Cell]:
    """Return in a word whether the loss of any one unit would hold, and of which it would not: for the overview."""
    if r is None or not r.now:
        return {
            "reserve": [cells.DASH, "missing", say("power.working" if r is None else "power.no_racks")],
            "reserve-units": ["", "", ""],
        }
    bad = tuple(name for name, loss in r.now.items() if not loss.holds)
    later = tuple(name for name, loss in r.then.items() if not loss.holds and name not in bad)
    mark = "alarm" if bad else "warning" if later else ""
    text = "power.holds_not" if bad else "power.holds_not_then" if later else "power.holds"
    peak = "" if r.peak is None else say("power.and_at", at=cells.clock(r.peak.start, zone, "%H:%M"))
    units = say("power.if_one", units=_named(bad or later)) if mark else peak
    return {
        "reserve": [say(text), mark, _answer(r)[0], 0, "/power"],
        "reserve-units": [units, mark, ""],
    }


def _stranded(r: Reserve) -> cells.Cell:
    total = sum(room.stranded for room in r.rooms)
    built = sum(room.built for room in r.rooms)
    return [
        say("power.stranded", part=_watts(total), whole=_watts(built)),
        "" if r.rooms else "missing",
        say("power.stranded_is"),
    ]
