"""Who is on call now, in the next two weeks, and when nobody is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from dash import Dash, Input, Output, html

from alerts.oncall.calendar import days_between, moment
from alerts.oncall.people import OnCall
from alerts.oncall.roster import DAY_MS, DAYS, Roster
from alerts.oncall.schedule import Shift
from dashboard import cells
from dashboard.auth import session_now
from dashboard.broadcast import Broadcaster
from dashboard.components.panel import aria, panel
from dashboard.data import ConsoleData
from dashboard.moments import seen
from dashboard.page import Asked, Level, Page
from dashboard.words import say, several

COLOURS = 8
"""People have one of so many colours each, by their order in the file."""
MOST_SHIFTS = 60
"""Shifts of a schedule that are listed; the timeline shows them all."""


def layout(_asked: Asked) -> html.Div:
    """Return the page, which is filled once a minute."""
    return html.Div(id="oncall-body", className="oncall")


def body(on_call: OnCall | None, rosters: Sequence[Roster], now: int, viewer: str) -> list[html.Section]:
    """Return what the page shows at `now` (UTC ms), by the clocks of the viewer where `people` has their login name."""
    if on_call is None or not rosters:
        text = say("oncall.no_schedule")
        return [panel(say("page.oncall"), html.P(text, className="muted"))]
    zone = on_call.zone_of(viewer)
    own = viewer in on_call.settings.people
    clocks = html.Span(
        say("oncall.own_clocks" if own else "oncall.site_clocks", zone=zone),
        className="muted",
        id="oncall-clocks",
    )
    return [
        panel(
            say("oncall.now"),
            html.Div([_now(on_call, r, zone) for r in rosters], className="oncall-now"),
            extra=clocks,
        ),
        panel(
            say("oncall.next", days=DAYS), _axis(now, zone), *[_line(on_call, r, now, zone) for r in rosters]
        ),
        *_escalations(on_call, rosters),
        panel(say("oncall.gaps"), _gaps(on_call, rosters, zone), extra=_stands_in(on_call)),
        *[panel(say("oncall.shifts", schedule=r.schedule), _shifts(on_call, r, zone)) for r in rosters],
    ]


def _now(on_call: OnCall, roster: Roster, zone: ZoneInfo) -> html.Div:
    shift = roster.now
    following = next((s for s in roster.shifts[1:] if s.person), None)
    whole = len(roster.shifts) == 1  # nobody looked further
    until = say("oncall.at_least", days=DAYS) if whole else say("oncall.until", time=_shown(shift.end, zone))
    then = say("oncall.then", name=on_call.name_of(following.person)) if following is not None else ""
    return html.Div(
        [
            html.Span(roster.schedule, className="label"),
            html.Span(on_call.name_of(shift.person) or say("oncall.nobody"), className="oncall-who"),
            html.Span(until, className="muted"),
            html.Span(then, className="muted"),
        ],
        className=f"oncall-card {_colour(on_call, shift.person)}",
        id=f"oncall-now-{roster.schedule}",
    )


def _axis(now: int, zone: ZoneInfo) -> html.Div:
    """Return the days above the timelines, each where it begins; a day of a clock change is as long as it is."""
    until = now + DAYS * DAY_MS
    marks = []
    for day in days_between(now, until, zone):
        at = moment(day, 0, zone)
        if now <= at < until:
            marks.append(
                html.Span(
                    cells.date(at, zone, "day"), style={"left": _share(at - now)}, className="oncall-day"
                )
            )
    return html.Div(
        [html.Span(className="oncall-name"), html.Div(marks, className="oncall-days")], className="oncall-row"
    )


def _line(on_call: OnCall, roster: Roster, now: int, zone: ZoneInfo) -> html.Div:
    bars = [
        html.Span(
            [html.Span(name, className="whole"), html.Span(_initials(name), className="initials")],
            title=say(
                "oncall.bar",
                name=name,
                first=_shown(s.start, zone),
                last=_shown(s.end, zone),
            ),
            style={"left": _share(s.start - now), "width": _share(s.end - s.start)},
            className=f"oncall-bar {_colour(on_call, s.person)}",
        )
        for s in roster.shifts
        for name in [on_call.name_of(s.person) or say("oncall.nobody")]
    ]
    bars_of = html.Div(
        bars, className="oncall-bars", role="img", **aria(say("oncall.by", schedule=roster.schedule))
    )
    return html.Div([html.Span(roster.schedule, className="oncall-name"), bars_of], className="oncall-row")


def _escalations(on_call: OnCall, rosters: Sequence[Roster]) -> list[html.Section]:
    """Return whom an alert is told one after the other, as long as nobody takes it, with who is on call now."""
    now = {r.schedule: on_call.name_of(r.now.person) or say("oncall.nobody") for r in rosters}
    people, teams = on_call.name_of, on_call.settings.teams
    rows = []
    for name, escalation in on_call.settings.escalations.items():
        for n, step in enumerate(escalation.steps):
            told = [say("oncall.by_way", way=s, names=now[s]) for s in step.schedules if s in now]
            told += [
                say("oncall.by_way", way=t, names=say("text.comma").join(people(p) for p in teams[t]))
                for t in step.teams
            ]
            told += [*(people(p) for p in step.people), *step.channels]
            after = cells.duration(1000 * step.after) if step.after else say("oncall.at_once")
            rows.append(
                html.Tr(
                    [html.Td("" if n else name), html.Td(after), html.Td(say("text.semicolon").join(told))]
                )
            )
    if not rows:
        return []
    table = _table(several("oncall", "escalation", "after", "told"), rows, say("oncall.escalations"))
    return [panel(say("oncall.escalations"), table)]


def _gaps(on_call: OnCall, rosters: Sequence[Roster], zone: ZoneInfo) -> html.Div:
    found = [(roster.schedule, gap) for roster in rosters for gap in roster.gaps]
    if not found:
        return html.Div(say("oncall.no_gap", days=DAYS), id="oncall-gaps", className="muted")
    rows = [
        html.Tr([html.Td(name), html.Td(_shown(gap.start, zone)), html.Td(_shown(gap.end, zone))])
        for name, gap in found[:MOST_SHIFTS]
    ]
    return html.Div(
        _table(several("oncall", "schedule", "from", "to"), rows, say("oncall.gaps")), id="oncall-gaps"
    )


def _stands_in(on_call: OnCall) -> html.Span:
    told = say("text.comma").join(on_call.name_of(name) for name in on_call.settings.fallback)
    return html.Span(
        say("oncall.instead", names=told) if told else say("oncall.no_instead"), className="muted"
    )


def _shifts(on_call: OnCall, roster: Roster, zone: ZoneInfo) -> html.Div:
    rows = [_shift(on_call, shift, zone) for shift in roster.shifts[:MOST_SHIFTS]]
    changes = [
        html.Li(
            f"{change.id}: "
            + (
                say("oncall.swap", one=on_call.name_of(change.person), other=on_call.name_of(change.other))
                if change.other
                else say("oncall.stands_in", name=on_call.name_of(change.person))
            )
            + say(
                "oncall.change",
                first=_shown(change.start, zone),
                last=_shown(change.end, zone),
                who=change.who,
            )
            + change.note
        )
        for change in roster.overrides
    ]
    return html.Div(
        [
            _table(
                several("oncall", "from", "to", "who"), rows, say("oncall.shifts", schedule=roster.schedule)
            ),
            html.Ul(changes),
        ]
    )


def _shift(on_call: OnCall, shift: Shift, zone: ZoneInfo) -> html.Tr:
    who = html.Td(
        on_call.name_of(shift.person) or say("oncall.nobody"), className=_colour(on_call, shift.person)
    )
    return html.Tr([html.Td(_shown(shift.start, zone)), html.Td(_shown(shift.end, zone)), who])


def _table(columns: Sequence[str], rows: Sequence[html.Tr], label: str) -> html.Table:
    head = html.Thead(html.Tr([html.Th(c, scope="col") for c in columns]))
    return html.Table([head, html.Tbody(list(rows))], className="live", **aria(label))


def _colour(on_call: OnCall, person: str) -> str:
    people = list(on_call.settings.people)
    return f"who-{people.index(person) % COLOURS}" if person in people else "who-nobody"


def _initials(name: str) -> str:
    """Return what of a name a narrow bar has room for: `Mei Chen` is MC, a name in one word its first letters."""
    words = name.split()
    return "".join(word[0] for word in words[:2]) if len(words) > 1 else name[:2]


def _share(length: int) -> str:
    return f"{100 * length / (DAYS * DAY_MS):.3f}%"


def _shown(at: int, zone: ZoneInfo) -> str:
    return cells.date(at, zone, "zoned")


def _connect(app: Dash, data: ConsoleData, _broadcaster: Broadcaster) -> None:
    @app.callback(Output("oncall-body", "children"), Input("minute", "data"), Input("url", "search"))
    async def on_call(_minute: int, search: str | None) -> Any:
        """Return who is on call, anew each minute."""
        people, known, now = await seen(data, search, ConsoleData.rosters)
        return body(people, known, now, session_now().user)


PAGE = Page(name="oncall", path="/oncall", level=Level.SYSTEM, layout=layout, connect=_connect)
