"""Internal routes of alerts: what is listed, what is kept quiet, and what people do with alarms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import orjson
from fastapi import APIRouter, HTTPException, Response
from pydantic import BaseModel, ConfigDict, Field

from alerts.performance import as_dict, measured
from alerts.settings import AlertSettings
from dashboard.alarms import LONGEST_H, LONGEST_NAME, Alarms
from domain.alert import plain
from domain.batch import now_ms
from domain.errors import InputError
from storage.records import Records

MOST_TEXT = 500


class Act(BaseModel):
    """What somebody does with an alarm, or with an object's alarms; see `dashboard.alarms.Alarms.act`."""

    model_config = ConfigDict(extra="forbid")

    who: str = Field(min_length=1, max_length=LONGEST_NAME)
    reason: str = Field("", max_length=MOST_TEXT)
    id: int = 0
    hours: float = Field(0.0, ge=0, le=LONGEST_H)
    object: str = Field("", max_length=LONGEST_NAME)
    rule: str = Field("*", max_length=LONGEST_NAME)
    below: bool = False


def add(
    routes: APIRouter, records: Records, settings: AlertSettings, clock: Callable[[], int] = now_ms
) -> None:
    """Add the routes of alerts to the internal ones."""
    alarms = Alarms(records, clock, settings)

    @routes.get("/alerts")
    def alerts() -> Response:
        quiet = alarms.quiet()
        return _json(
            [
                plain(alert) | {"suppression": asdict(quiet[alert.id]) if alert.id in quiet else None}
                for alert in alarms.listed()
            ]
        )

    @routes.get("/alerts/suppressed")
    def suppressed() -> Response:
        return _json([asdict(one) for one in alarms.suppressions()])

    @routes.get("/alerts/report")
    def report(since: int, until: int = 0) -> Response:
        end = until or clock()
        if end <= since:
            raise HTTPException(400, "the time must end after it begins")
        return _json(as_dict(measured(records, settings, since, end)))

    @routes.post("/alerts/{act}")
    def do(act: str, body: Act) -> dict[str, str]:
        try:
            request = body.model_dump(exclude={"who"}) | {"act": act.replace("-", " ")}
            return {"done": alarms.act(request, body.who)}
        except InputError as error:
            raise HTTPException(400, str(error)) from error


def _json(data: Any) -> Response:
    return Response(orjson.dumps(data), media_type="application/json")
