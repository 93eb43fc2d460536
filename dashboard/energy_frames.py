"""What the browser is sent of the energy page: figures, tables and the chart of today's demand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from dashboard import cells
from dashboard.data import ConsoleData
from dashboard.energy import Account, Asked, Running, Today
from dashboard.views import QUARTER_MS
from dashboard.words import count, say, term
from domain.errors import HallwatchError
from domain.grid import BOUNDING, OPEN_END

Payload = dict[str, Any]
Told = Mapping[str, Any]
LIKELY, UNLIKELY = 0.5, 0.05
MOST_REQUESTS, MOST_JOBS, MOST_PARTS = 40, 40, 3
WAITING, AGREED = "waiting", "agreed"


def now(data: ConsoleData) -> Payload:
    """Return what changes by the second: the running quarter hour, the grid's requests, flexibility."""
    zone, at = data.site.zone, data.clock()
    asked = data.energy.asked()
    told = _running(data.energy.running(), at, zone)
    if asked is None:
        none = [_nothing("energy-none", say("energy.no_grid"))]
        return {"cells": told, "nodes": none, "requests": [], "links": [], "offers": none, "jobs": []}
    return {
        "cells": told | _summary(asked),
        "nodes": [_node(node, zone) for node in asked.status["nodes"]],
        "requests": [_request(r, at, zone) for r in _sorted(asked.requests)[:MOST_REQUESTS]],
        "links": [_link(name, link) for name, link in asked.status["links"].items()],
        "offers": [_offer(one) for one in (asked.flexibility, *asked.flexibility["feeds"])],
        "jobs": [_job(job, zone) for job in asked.flexibility["jobs"][:MOST_JOBS]]
        or [_nothing("energy-job-none", say("energy.no_jobs"))],
    }


def account(data: ConsoleData) -> Payload:
    """Return what changes by quarter hour: today's demand, the month against the contract, energy by day and month."""
    try:
        found = data.energy.account()
    except HallwatchError as error:
        return {"trouble": str(error)}
    zone = data.site.zone
    return {
        "trouble": "",
        "chart": _chart(found, zone),
        "peaks": _peaks(found.month, zone),
        "costs": _costs(found.month),
        "tariff": _tariff(found.month, zone),
        "energy": _energy(found),
        "cells": {"energy-month": [found.month["name"] if found.month else "", "muted"]},
    }


def _running(running: Running | None, at: int, zone: ZoneInfo) -> dict[str, cells.Cell]:
    if running is None:
        missing: cells.Cell = [cells.DASH, "missing", say("cell.no_reading")]
        return {f"energy-{name}": missing for name in ("so-far", "ends", "room", "risk", "elapsed")}
    o = running.outlook
    room = running.limit - o.expected
    risk = "alarm" if o.breach_probability > LIKELY else "warning" if o.breach_probability > UNLIKELY else ""
    end = cells.clock(o.start + QUARTER_MS, zone, "%H:%M")
    left = max(0, o.start + QUARTER_MS - at)
    return {
        "energy-so-far": [cells.quantity(o.used, "W", 4), cells.absent(o.used)],
        "energy-ends": [
            cells.quantity(o.expected, "W", 4),
            cells.absent(o.expected),
            say("energy.spread", spread=cells.quantity(o.deviation, "W", 2)),
        ],
        "energy-room": [
            cells.DASH if math.isnan(room) else cells.signed(room, "W"),
            cells.absent(room) or ("alarm" if room < 0 else ""),
        ],
        "energy-risk": [cells.percent(o.breach_probability), cells.absent(o.breach_probability) or risk],
        "energy-elapsed": [say("energy.left", span=cells.duration(left), end=end), "muted"],
    }


def _chart(found: Account, zone: ZoneInfo) -> Payload:
    today, month = found.today, found.month
    edges = np.array([today.begin, today.end])
    whole = np.arange(today.begin, today.end, QUARTER_MS)
    contracted = [] if month is None else [peak["contracted"] / 1e6 for peak in month["peaks"]]
    return {
        "time": cells.wall(today.start + QUARTER_MS // 2, zone).tolist(),
        "metered": cells.numbers(np.where(today.metered, today.power, np.nan) / 1e6, 3),
        "averaged": cells.numbers(np.where(today.metered, np.nan, today.power) / 1e6, 3),
        "limitTime": cells.wall(np.append(whole, today.end), zone).tolist(),
        "limit": cells.numbers(np.append(today.limit, today.limit[-1]) / 1e6, 3),
        "edges": cells.wall(edges, zone).tolist(),
        "contracted": round(max(contracted), 3) if contracted else None,
        "told": _told_today(today, zone),
    }


def _told_today(today: Today, zone: ZoneInfo) -> str:
    """Return today's demand in a sentence: what a screen reader says instead of the chart."""
    known = np.flatnonzero(~np.isnan(today.power))
    if not len(known):
        return say("energy.today_none")
    highest = known[int(np.argmax(today.power[known]))]
    return say(
        "energy.today_told",
        n=len(known),
        power=cells.quantity(float(today.power[highest]), "W", 4),
        time=cells.clock(int(today.start[highest]), zone, "%H:%M"),
    )


def _peaks(month: Told | None, zone: ZoneInfo) -> list[Payload]:
    if month is None:
        return [_nothing("energy-peak-none", say("energy.no_contract"))]
    rows = []
    for peak in month["peaks"]:
        end, exceeds = peak["end"], peak["exceeds"]
        so_far = math.nan if peak["so_far"] is None else float(peak["so_far"])
        when = cells.date(peak["at"], zone) if peak["at"] else ""
        low, middle, high = (
            (cells.DASH,) * 3
            if end is None
            else (cells.quantity(float(end[i]), "W", 4) for i in (0, len(end) // 2, -1))
        )
        risk = (
            ""
            if exceeds is None
            else "alarm"
            if exceeds > LIKELY
            else "warning"
            if exceeds > UNLIKELY
            else ""
        )
        rows.append(
            _row(
                f"energy-peak-{peak['name']}",
                [peak["name"], "name"],
                [cells.quantity(peak["contracted"], "W", 4), ""],
                [
                    cells.quantity(so_far, "W", 4),
                    "alarm" if so_far > peak["contracted"] else cells.absent(so_far),
                    when,
                ],
                [middle, "missing" if end is None else "", say("energy.between", low=low, high=high)],
                [
                    cells.DASH if exceeds is None else cells.percent(exceeds),
                    "missing" if exceeds is None else risk,
                ],
                _money(peak["excess_so_far"], month["currency"], bool(peak["excess_so_far"])),
                _money(peak["excess"], month["currency"], exceeds is not None and exceeds > UNLIKELY),
            )
        )
    return rows


def _costs(month: Told | None) -> list[Payload]:
    if month is None:
        return []
    basic = sum(peak["basic"] for peak in month["peaks"])
    excess = [peak["excess"] for peak in month["peaks"]]
    expected = None if None in excess else sum(excess)
    rows = [
        ("cost_energy", month["energy_cost"]),
        ("cost_basic", basic),
        ("cost_excess", expected),
    ]
    told = [
        _row(f"energy-{key}", [say(f"energy.{key}"), "name"], _money(value, month["currency"], False))
        for key, value in rows
    ]
    share = cells.percent(month["measured"])
    mark = "warning" if month["measured"] < 0.99 else ""
    return [*told, _row("energy-measured", [say("energy.measured"), "name"], [share, mark])]


def _tariff(month: Told | None, zone: ZoneInfo) -> list[Payload]:
    if month is None:
        return [_nothing("energy-period-none", say("energy.no_contract"))]
    return [
        _row(
            f"energy-period-{n}",
            [say("energy.now") if n == 0 else cells.date(run["start"], zone), "name"],
            [run["period"], ""],
            [
                cells.DASH if run["price"] is None else f"{run['price']:g} {month['currency']}/kWh",
                "missing" if run["price"] is None else "",
            ],
            [cells.date(run["end"], zone), ""],
        )
        for n, run in enumerate(month["periods"])
    ]


def _energy(found: Account) -> list[Payload]:
    told = [*(found.months or {}).get("periods", [])[-1:], *reversed((found.days or {}).get("periods", []))]
    return [_energy_row(one) for one in told] or [_nothing("energy-of-none", say("energy.not_known"))]


def _energy_row(of: Told) -> Payload:
    def known(key: str) -> float:
        return math.nan if of[key] is None else float(of[key])

    pue, carbon = known("pue"), known("carbon")
    part = "missing" if of["measured"] == 0 else "warning" if of["measured"] < 0.99 else ""
    return _row(
        f"energy-of-{of['name']}",
        [of["name"], "name"],
        [cells.quantity(known("energy"), "J", 4), cells.absent(known("energy"))],
        [cells.quantity(known("it_energy"), "J", 4), cells.absent(known("it_energy"))],
        [
            cells.DASH if math.isnan(pue) else f"{pue:.3f}",
            cells.absent(pue),
            cells.batteries(of["on_battery"]),
        ],
        [cells.DASH if math.isnan(carbon) else f"{carbon / 1000:.2f} t", cells.absent(carbon)],
        [cells.quantity(known("highest"), "W", 4), cells.absent(known("highest"))],
        [cells.percent(of["measured"]), part],
    )


def _summary(asked: Asked) -> dict[str, cells.Cell]:
    waiting = sum(r["standing"] == WAITING for r in asked.requests)
    mark = "warning" if waiting else "muted"
    unmeasured = asked.flexibility["unmeasured"]
    return {
        "energy-waiting": [count("energy.waiting", waiting) if waiting else "", mark],
        "energy-unmeasured": [count("energy.unmeasured", unmeasured) if unmeasured else "", "warning"],
    }


def _node(node: Told, zone: ZoneInfo) -> Payload:
    limit, kept, feasible = node["limit"], node["kept"], node["feasible"]
    until = "" if limit is None else say("energy.until", time=_until(node["end"], zone))
    yes_no: dict[bool | None, list[Any]] = {
        True: [say("cell.yes"), ""],
        False: [say("energy.exceeded_now"), "alarm"],
        None: [cells.DASH, "muted"],
    }
    short = cells.quantity(node["short"], "W", 3)
    foretold: dict[bool | None, list[Any]] = {
        True: [say("cell.yes"), ""],
        False: [say("energy.short", power=short), "warning"],
        None: [cells.DASH, "muted"],
    }
    return _row(
        f"energy-node-{node['node']}",
        cells.thing(node["node"]),
        [say("cell.none") if limit is None else cells.quantity(limit, "W", 4), "" if limit else "muted"],
        [term("energy.phase", node["phase"]), "", until],
        [cells.DASH, "missing"] if node["power"] is None else [cells.quantity(node["power"], "W", 4), ""],
        yes_no[kept],
        foretold[feasible],
    )


def _sorted(requests: Iterable[Told]) -> list[Told]:
    """Return requests with those that wait for somebody first; else as they come."""
    return sorted(requests, key=lambda r: r["standing"] != WAITING)


def _request(r: Told, at: int, zone: ZoneInfo) -> Payload:
    over = r["end"] <= at
    standing = term("energy.standings", r["standing"])
    who = f"{r['decided_by']} {r['note']}".strip()
    row = _row(
        f"energy-request-{r['id']}",
        [str(r["id"]), "name"],
        [r["party"], "name", r["source"]],
        [_what(r), "", r["text"]],
        [cells.date(r["start"], zone), ""],
        [_until(r["end"], zone), ""],
        [standing, "warning" if r["standing"] == WAITING else "muted" if over else "", who],
        None,  # what may be decided, which the browser's script puts there
    )
    bounding = r["kind"] in {kind.value for kind in BOUNDING}
    row["may"] = (
        ["consent", "refuse"]
        if r["standing"] == WAITING and not over
        else ["refuse"]
        if r["standing"] == AGREED and bounding and not over
        else []
    )
    row["number"] = r["id"]
    return row


def _what(r: Told) -> str:
    """Return what a request asks for, without words that would have to be translated where it is a limit."""
    if r["kind"] not in {kind.value for kind in BOUNDING}:
        return str(r["text"] or r["kind"])
    told = [
        f"{part['node']} "
        + (
            say("energy.lifted")
            if part["value"] is None
            else f"\u2264 {cells.quantity(part['value'], 'W', 4)}"
        )
        for part in r["parts"][:MOST_PARTS]
    ]
    return say("text.comma").join(told) + (" \u2026" if len(r["parts"]) > MOST_PARTS else "")


def _link(name: str, link: Told) -> Payload:
    up = link["connected"]
    refused = sum(n for key, n in link.items() if key.startswith("refused_"))
    return _row(
        f"energy-link-{name}",
        [name, "name"],
        [
            say("energy.connected") if up else say("energy.not_connected"),
            "" if up else "alarm",
            link["error"] or "",
        ],
        [cells.thousands(link.get("taken", 0)), ""],
        [cells.thousands(refused), "warning" if refused else ""],
    )


def _offer(one: Told) -> Payload:
    return _row(
        f"energy-offer-{one['node']}",
        cells.thing(one["node"]),
        *(_watts(one[key]) for key in ("power", "headroom", "shed")),
        [cells.duration(1000 * one["within"]) if one["shed"] else cells.DASH, "" if one["shed"] else "muted"],
        _watts(one["raised"]),
    )


def _job(job: Told, zone: ZoneInfo) -> Payload:
    tokens = (
        [cells.percent(job["lost"] / job["tokens"]), ""]
        if job["tokens"] and job["lost"] is not None
        else [cells.DASH, "muted"]
    )
    return _row(
        f"energy-job-{job['place']}",
        [str(job["place"]), "name"],
        [job["job"] or say("energy.no_job"), "name"],
        [str(len(job["racks"])), "", say("text.comma").join(job["racks"])],
        _watts(job["shed"]),
        [_why(job), "name"],
        [
            cells.duration(1000 * job["longest"]) if job["shed"] else cells.DASH,
            "" if job["shed"] else "muted",
        ],
        [cells.date(job["until"], zone) if job["until"] else cells.DASH, "" if job["until"] else "muted"],
        tokens,
    )


def _why(job: Told) -> str:
    if not job["kind"]:
        return say("energy.why_none")
    share = job["shed"] / job["power"] if job["power"] else 0.0
    return say("energy.why", kind=job["kind"], share=cells.percent(share))


def _watts(value: float | None) -> cells.Cell:
    if value == 0:
        return ["0 W", "muted"]
    return [cells.DASH, "missing"] if value is None else [cells.quantity(value, "W", 4), ""]


def _money(value: float | None, currency: str, marked: bool) -> cells.Cell:
    if value is None:
        return [cells.DASH, "missing"]
    return [f"{cells.thousands(round(value))} {currency}", "warning" if marked and value else ""]


def _until(ms: int, zone: ZoneInfo) -> str:
    return say("energy.further") if ms >= OPEN_END else cells.date(ms, zone)


def _row(name: str, *columns: Sequence[Any] | None) -> Payload:
    return {"id": name.replace(" ", "-"), "mark": "", "cells": list(columns)}


def _nothing(name: str, text: str) -> Payload:
    return _row(name, [text, "muted"])
