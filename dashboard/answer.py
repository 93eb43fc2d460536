"""The page behind the link in a message: what it is, and a button that takes it. No login; made for a phone.

Mail scanners and previews follow links: asking for the page changes nothing, only its buttons do.
"""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from alerts import actions
from alerts.oncall.links import PLACE, Answer, Links
from alerts.oncall.people import OnCall
from alerts.runbooks import Runbooks
from alerts.state_settings import Shelving
from dashboard.answer_texts import TEXTS
from dashboard.auth import security_headers
from dashboard.threads import reading
from dashboard.words import texts as words
from domain.alert import Alert, AlertState
from domain.batch import now_ms
from domain.errors import InputError, LinkExpired, LinkRefused, StorageError, printable
from domain.languages import Language
from domain.pace import Pace, network
from domain.units import shown
from storage.records import Records

log = structlog.get_logger(__name__)

FORGED_PACE = (1 / 10, 20)
"""Links a second, and at once, that are none of ours and that one address may try; then it waits."""
PACE = (1 / 5, 10)
"""The same for answers by one link."""
LONGEST_NOTE, MOST_FIELDS = 500, 10
HOURS = (1, 4, 8)
"""How long an alert may be shelved from the page."""

SHELVED = (AlertState.OPEN, AlertState.ACKNOWLEDGED)
"""What may be shelved: what is not gone."""

_PAGE = (Path(__file__).parent / "answer.html").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Answering:
    """What answers need.

    Attributes
    ----------
    links, on_call, records
        What links allow, people, and where alerts lie.
    advice, runbooks
        What to do first, by rule.
    shelving
        How long an alert may be shelved.
    site_name
        Of the site.
    """

    links: Links
    on_call: OnCall
    records: Records
    advice: Mapping[str, str]
    runbooks: Runbooks
    shelving: Shelving
    site_name: str


class _Reader(NamedTuple):
    """Who looks at the page: by name, in which words, by whose clocks."""

    name: str
    language: Language
    zone: ZoneInfo

    @property
    def texts(self) -> dict[str, str]:
        return TEXTS[self.language]

    def time(self, at: int) -> str:
        return datetime.fromtimestamp(at / 1000, self.zone).strftime("%Y-%m-%d %H:%M %Z")


def answer_router(
    answering: Answering, counters: Counter[str], clock: Callable[[], int] = now_ms
) -> APIRouter:
    """Return the routes of the page behind the links; `counters` counts answers and refusals."""
    router = APIRouter(include_in_schema=False)
    forged, pace = Pace(*FORGED_PACE), Pace(*PACE)

    async def resolved(request: Request, token: str) -> tuple[Answer, _Reader, Alert] | HTMLResponse:
        """Return what a link allows, who reads, and the alert; or the page that refuses it."""
        language: Language = (
            "zh-Hant" if request.headers.get("accept-language", "").startswith("zh") else "en"
        )
        address = network(request.client.host if request.client else "")
        try:
            answer = answering.links.read(token)
        except LinkExpired:
            counters["links_expired"] += 1
            return _refused("expired", language, answering.site_name, 410)
        except LinkRefused:
            counters["links_refused"] += 1
            if wait := forged.take(address):
                return _refused("often", language, answering.site_name, 429, wait)
            log.warning("a link that is none of ours", address=address)
            return _refused("forged", language, answering.site_name, 403)
        person = answering.on_call.settings.people.get(answer.person)
        try:
            alert = await reading(answering.records.alert, answer.alert_id)
        except StorageError:
            return _refused("busy", language, answering.site_name, 503, 5)
        except InputError:
            alert = None
        if person is None or alert is None:
            counters["links_refused"] += 1
            return _refused("gone", language, answering.site_name, 410)
        name, zone = answering.on_call.name_of(answer.person), answering.on_call.zone_of(answer.person)
        return answer, _Reader(name, person.language, zone), alert

    @router.api_route(PLACE + "{token}", methods=["GET", "HEAD"])
    async def show(request: Request, token: str, done: str = "") -> HTMLResponse:
        found = await resolved(request, token)
        if isinstance(found, HTMLResponse):
            return found
        _, reader, alert = found
        return _page(reader.language, answering.site_name, _body(answering, reader, alert, done))

    @router.post(PLACE + "{token}")
    async def answer(request: Request, token: str) -> Response:
        found = await resolved(request, token)
        if isinstance(found, HTMLResponse):
            return found
        allowed, reader, alert = found
        if wait := pace.take(f"{allowed.alert_id} {allowed.person}"):
            return _refused("often", reader.language, answering.site_name, 429, wait)
        async with request.form(max_files=0, max_fields=MOST_FIELDS) as form:
            what, note, hours = (str(form.get(f, "")) for f in ("action", "note", "hours"))
        address = request.client.host if request.client else ""
        try:
            await reading(
                _act, answering, alert.id, reader.name, what, note[:LONGEST_NOTE].strip(), hours, clock()
            )
        except StorageError:
            return _refused("busy", reader.language, answering.site_name, 503, 5)
        except InputError as error:
            body = _body(answering, reader, alert, "", str(error))
            return _page(reader.language, answering.site_name, body, 409)
        counters["links_answered"] += 1
        log.info("answered by link", alert=alert.id, who=reader.name, what=what, address=address)
        return RedirectResponse(f"{PLACE}{token}?done={what}", status_code=303)

    return router


def _act(answering: Answering, alert_id: int, who: str, what: str, note: str, hours: str, now: int) -> None:
    """Do what somebody answered, as they; blocks.

    Raises
    ------
    InputError
        If it cannot be done: the alert is over, no reason is given, there is no such answer.
    StorageError
        If the records cannot be written now.
    """
    records = answering.records
    if what == "acknowledge":
        actions.acknowledge(records, alert_id, who, note, now)
    elif what == "comment":
        actions.comment(records, alert_id, who, note, now)
    elif what == "shelve" and hours in map(str, HOURS):
        until = now + int(hours) * 3_600_000
        actions.shelve(records, alert_id, who, note, now, until=until, shelving=answering.shelving)
    else:
        raise InputError("this page knows no such answer")


def _body(answering: Answering, reader: _Reader, alert: Alert, done: str, error: str = "") -> str:
    texts, condition = reader.texts, alert.condition
    told = f'<p class="done" id="done">{texts[f"done_{done}"]}</p>' if f"done_{done}" in texts else ""
    if error:
        told = f'<p class="refused" role="alert">{_safe(error)}</p>'
    rows = [
        (texts["object"], condition.object_id),
        (texts["since"], reader.time(alert.opened)),
        (texts["value"], _figure(condition.value, condition.unit)),
        (texts["limit"], _figure(condition.limit_told, condition.unit)),
        (texts["state"], _state(reader, alert)),
        (texts["first"], _first(answering, reader, condition.rule)),
    ]
    table = "".join(f"<dt>{name}</dt><dd>{_safe(text)}</dd>" for name, text in rows if text)
    severity = condition.severity.value
    parts = [
        f'<p class="site">{_safe(answering.site_name)}</p>',
        f'<span class="severity {severity}">{words(reader.language)[f"severity.{severity}"].upper()}</span>',
        f"<h1>{_safe(condition.told(reader.language))}</h1>",
        told,
        f"<dl>{table}</dl>",
    ]
    if alert.state is not AlertState.CLEARED:
        parts += [_take(texts, alert), _comment(texts)]
        parts += [_shelve(texts, answering.shelving)] if alert.state in SHELVED else []
        parts.append(f'<p class="muted">{_safe(texts["as"].format(name=reader.name))}</p>')
    parts.append(f'<p><a href="/alerts?alert={alert.id}">{texts["console"]}</a></p>')
    return "\n".join(parts)


def _first(answering: Answering, reader: _Reader, rule: str) -> str:
    runbook = answering.runbooks.find(rule, reader.language)
    return answering.advice.get(rule, "") or (runbook.first_action if runbook is not None else "")


def _state(reader: _Reader, alert: Alert) -> str:
    texts = reader.texts
    if alert.state is AlertState.CLEARED:
        return texts["over"].format(at=reader.time(alert.cleared_at))
    if alert.acknowledged_by:
        return texts["taken"].format(who=alert.acknowledged_by, at=reader.time(alert.acknowledged_at))
    return texts["open"]


def _take(texts: dict[str, str], alert: Alert) -> str:
    if alert.acknowledged_by:
        return ""
    return (
        '<form method="post"><input type="hidden" name="action" value="acknowledge">'
        f'<button class="main" id="take">{texts["take"]}</button>'
        f'<label for="note">{texts["note"]}</label><input id="note" name="note" maxlength="{LONGEST_NOTE}"></form>'
    )


def _comment(texts: dict[str, str]) -> str:
    return (
        f'<details id="comment"><summary>{texts["comment"]}</summary><form method="post">'
        '<input type="hidden" name="action" value="comment">'
        f'<label for="say">{texts["say"]}</label><input id="say" name="note" required maxlength="{LONGEST_NOTE}">'
        f"<button>{texts['say']}</button></form></details>"
    )


def _shelve(texts: dict[str, str], shelving: Shelving) -> str:
    possible = [h for h in HOURS if h * 3600 <= shelving.longest]
    hours = "".join(f'<option value="{h}">{h} h</option>' for h in possible)
    return (
        f'<details id="shelve"><summary>{texts["shelve"]}</summary><form method="post">'
        '<input type="hidden" name="action" value="shelve">'
        f'<label for="hours">{texts["hours"]}</label><select id="hours" name="hours">{hours}</select>'
        f'<label for="reason">{texts["reason"]}</label>'
        f'<input id="reason" name="note" required maxlength="{LONGEST_NOTE}"><button>{texts["shelve"]}</button></form></details>'
    )


def _refused(why: str, language: str, site_name: str, status: int, wait: float = 0.0) -> HTMLResponse:
    texts = TEXTS[language]
    told = texts[why].format(seconds=math.ceil(wait)) if why == "often" else texts[why]
    body = (
        f'<p class="site">{_safe(site_name)}</p><h1>{texts["refused"]}</h1><p class="refused" role="alert">{told}</p>'
        f'<p><a href="/alerts">{texts["console"]}</a></p>'
    )
    return _page(language, site_name, body, status, wait)


def _page(language: str, site_name: str, body: str, status: int = 200, wait: float = 0.0) -> HTMLResponse:
    title = f"{TEXTS[language]['answer']} - {site_name}"
    text = _PAGE.replace("{LANG}", language).replace("{TITLE}", _safe(title)).replace("{BODY}", body)
    headers = security_headers() | {"Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
    headers |= {"Retry-After": str(math.ceil(wait))} if wait else {}
    return HTMLResponse(text, status_code=status, headers=headers)


def _figure(value: float, unit: str) -> str:
    """Return a value as people read it; nothing where there is none, or it is the number of a state."""
    return "" if math.isnan(value) or not unit else shown(value, unit, 4)


def _safe(text: str) -> str:
    return html.escape(printable(text), quote=True)
