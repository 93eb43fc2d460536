"""Calls that commands make to the running service; they need the token that lies in the data folder."""

from __future__ import annotations

import asyncio
import inspect
import secrets
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import orjson
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from alerts.oncall import changes
from alerts.oncall.people import OnCall
from alerts.oncall.roster import DAYS, roster_json, rosters
from analytics.contract.baseline import BaselineRule
from analytics.outlook.whatif import AddedJob, Scenario
from collectors.mqtt.replay import Into, replay
from domain.batch import now_ms
from domain.errors import HallwatchError, InputError
from service import alert_routes, grid_routes, store_jobs
from service.history import StoredHistory, pack, pack_points
from service.query import run_query
from service.system import System
from storage.telemetry import Aggregate

Model = TypeVar("Model", bound=BaseModel)

MOST_PARTS = 1000
"""Lost devices, and jobs, in one question."""
MOST_NAME = 200
MOST_FAULTS = 10
MOST_TEXT = 2000
MOST_HISTORY = 5_000_000
"""Values of stored history in one answer."""
LATEST = 253_402_300_799_999
"""The last millisecond of the year 9999."""


class Job(BaseModel):
    """A job to add: on how many racks, from when (UTC ms), for how long."""

    model_config = ConfigDict(extra="forbid")

    racks: int
    start: int = Field(ge=-LATEST, le=LATEST)
    hours: float = 48.0


class Question(BaseModel):
    """A what-if question: ids of units that are lost, jobs that are added, another limit in W, weather warmer by K."""

    model_config = ConfigDict(extra="forbid")

    lost: tuple[Annotated[str, Field(max_length=MOST_NAME)], ...] = Field((), max_length=MOST_PARTS)
    jobs: tuple[Job, ...] = Field((), max_length=MOST_PARTS)
    limit: float | None = None
    warmer: float = 0.0

    def scenario(self) -> Scenario:
        """Return it as the analytics take it."""
        jobs = tuple(AddedJob(j.racks, j.start, j.hours) for j in self.jobs)
        return Scenario(self.lost, jobs, self.limit, warmer=self.warmer)


class Accepted(BaseModel):
    """Whose present state is usual from now on; who says so, and why."""

    model_config = ConfigDict(extra="forbid")

    object: str = Field(max_length=MOST_NAME)
    who: str = Field(max_length=MOST_NAME)
    note: str = Field("", max_length=MOST_TEXT)


class EventAsked(BaseModel):
    """A demand-response event (UTC ms), days with others, and how its baseline is made."""

    model_config = ConfigDict(extra="forbid")

    start: int = Field(ge=0, le=LATEST)
    end: int = Field(ge=0, le=LATEST)
    events: tuple[date, ...] = Field((), max_length=MOST_PARTS)
    rule: BaselineRule = BaselineRule()


class PointTypes(BaseModel):
    """Whose points are asked for."""

    model_config = ConfigDict(extra="forbid")

    types: tuple[Annotated[str, Field(max_length=MOST_NAME)], ...] = Field(max_length=MOST_PARTS)


class HistoryAsked(BaseModel):
    """One value per point and step: of which points (indexes), over which time (UTC ms), by which aggregate."""

    model_config = ConfigDict(extra="forbid")

    points: tuple[int, ...] = Field(max_length=MOST_HISTORY)
    start: int = Field(ge=0, le=LATEST)
    end: int = Field(ge=0, le=LATEST)
    step: int = Field(ge=1000)
    how: Aggregate

    @model_validator(mode="after")
    def _bounded(self) -> HistoryAsked:
        values = len(self.points) * max(0, self.end - self.start) // self.step
        if values > MOST_HISTORY:
            raise ValueError(f"{values:,} values are more than {MOST_HISTORY:,}; ask for less at a time")
        return self


class Change(BaseModel):
    """Who is on call by a schedule in [start, end), UTC ms; with `other`, the two stand in for each other."""

    model_config = ConfigDict(extra="forbid")

    schedule: str = Field(max_length=MOST_NAME)
    person: str = Field(max_length=MOST_NAME)
    other: str = Field("", max_length=MOST_NAME)
    start: int = Field(ge=0, le=LATEST)
    end: int = Field(ge=0, le=LATEST)
    who: str = Field(max_length=MOST_NAME)
    note: str = Field("", max_length=MOST_TEXT)


class Ended(BaseModel):
    """Which override or swap ends now, and who says so."""

    model_config = ConfigDict(extra="forbid")

    number: int
    who: str = Field(max_length=MOST_NAME)


def router(system: System, token: str, web: Callable[[], dict[str, Any]] = dict) -> APIRouter:
    """Return the internal routes, guarded by a bearer token; `web` returns the web server's counters."""
    expected = f"Bearer {token}".encode()
    history = StoredHistory(system.registry, system.store)

    class Guarded(APIRoute):
        """A route that looks at the token before it reads anything else of the request."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """Return the handler, guarded."""
            answer = super().get_route_handler()

            async def handler(request: Request) -> Response:
                told = request.headers.get("authorization", "")
                if not secrets.compare_digest(told.encode(), expected):
                    raise HTTPException(401, "the token of the data folder is needed")
                return await answer(request)

            return handler

    routes = APIRouter(prefix="/internal/v1", route_class=Guarded, include_in_schema=False)

    @routes.get("/query")
    def query(
        pattern: str, start: int, end: int, every: int | None = None, how: Aggregate = Aggregate.TIME_WEIGHTED
    ) -> Response:
        try:
            found = run_query(system.registry, system.store, pattern, start, end, every, how)
        except InputError as error:
            raise HTTPException(400, str(error)) from error
        return Response(orjson.dumps(found), media_type="application/json")

    @routes.post("/replay")
    async def replay_here(request: Request, speed: float = 1.0, start: int | None = None) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            capture = Path(folder) / "capture.csv"
            await _keep(request, capture)
            try:
                report = await replay(
                    capture, Into(system.registry, system.ingest.accept), speed=speed, start=start
                )
            except InputError as error:
                raise HTTPException(400, str(error)) from error
        return asdict(report)

    @routes.get("/health")
    def health() -> Response:
        return Response(
            orjson.dumps(
                system.health() | {"web": web()}, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
            ),
            media_type="application/json",
        )

    @routes.get("/upkeep")
    def upkeep() -> Response:
        return Response(orjson.dumps(system.live.upkeep), media_type="application/json")

    @routes.post("/accept")
    async def accept(request: Request) -> Response:
        body = await request.body()
        return await run_in_threadpool(
            _answer, lambda: system.accept_state(**read(body, Accepted).model_dump())
        )

    @routes.post("/what-if")
    async def what_if(request: Request) -> Response:
        body = await request.body()
        return await run_in_threadpool(
            _answer, lambda: system.what_if(read(body, Question).scenario()).as_dict()
        )

    @routes.get("/outlook")
    def outlook(node: str = "") -> Response:
        """Tell a node's forecast, when each may pass its limit, what to shed, and how steeply power will move."""
        issuer = system.issuer
        wanted = node or system.site.id
        if wanted not in issuer.outlooks:
            known = ", ".join(list(issuer.outlooks)[:10])
            raise HTTPException(
                404, f"no forecast of {wanted!r} has been issued; issued are {known or 'none yet'}"
            )
        told = issuer.outlooks[wanted].as_dict()
        forecast = issuer.nodes[wanted]
        told["quantiles"] = list(forecast.quantiles)
        told["values"] = np.round(forecast.values, 1).tolist()
        told["nodes"] = [
            {"id": name, "breached_by_end": float(o.breached_by[-1]), "shed": float(o.shed.max())}
            for name, o in issuer.outlooks.items()
        ]
        told["planned_steps"] = [
            {"time": int(t), "power": float(p)}
            for t, p in zip(issuer.steps.time, issuer.steps.power, strict=True)
        ]
        return Response(orjson.dumps(told), media_type="application/json")

    @routes.get("/contract")
    def month() -> Response:
        return _answer(lambda: system.contract.month(now_ms()))

    @routes.get("/energy")
    def energy(
        by: Literal["day", "month"] = "day", first: date | None = None, last: date | None = None
    ) -> Response:
        """Tell energy, PUE and carbon by day or month."""
        return _answer(lambda: system.contract.energy(now_ms(), by, first, last))

    @routes.post("/contract/event")
    async def event(request: Request) -> Response:
        body = await request.body()

        def delivered() -> dict[str, Any]:
            asked = read(body, EventAsked)
            return system.contract.baseline(asked.start, asked.end, asked.events, asked.rule)

        return await run_in_threadpool(_answer, delivered)

    @routes.post("/history/points")
    async def history_points(request: Request) -> Response:
        body = await request.body()
        return await run_in_threadpool(
            _answer, lambda: pack_points(history.points(read(body, PointTypes).types))
        )

    @routes.post("/history")
    async def history_values(request: Request) -> Response:
        body = await request.body()

        def values() -> bytes:
            asked = read(body, HistoryAsked)
            points = np.array(asked.points, np.int32)
            if len(points) and not 0 <= points.min() <= points.max() < len(system.registry):
                raise InputError("there are no points of such numbers")
            return pack(history.aggregate(points, asked.start, asked.end, asked.step, asked.how))

        return await run_in_threadpool(_answer, values)

    grid_routes.add(routes, system.grid)
    alert_routes.add(routes, system.records, system.configuration.alerts)

    @routes.get("/incidents")
    async def incidents(since: int | None = None) -> Response:
        """Tell the incidents that last, or those opened since (UTC ms) too, each with its lead and what it explains."""
        return await run_in_threadpool(
            _answer, lambda: {"incidents": [asdict(i) for i in system.records.incidents(since)]}
        )

    def on_call() -> OnCall:
        return OnCall(system.configuration.alerts, system.site.zone)

    @routes.get("/oncall")
    async def rota(days: int = DAYS) -> Response:
        """Tell who is on call by every schedule, from now on for so many days."""
        now = now_ms()

        def found() -> dict[str, Any]:
            known = rosters(on_call(), system.records.overrides(now), now, max(days, 1))
            return {"schedules": [roster_json(roster) for roster in known]}

        return await run_in_threadpool(_answer, found)

    @routes.post("/oncall/changes")
    async def change_rota(request: Request) -> Response:
        body = await request.body()
        return await run_in_threadpool(
            _answer,
            lambda: asdict(changes.begin(on_call(), system.records, **read(body, Change).model_dump())),
        )

    @routes.post("/oncall/changes/end")
    async def end_change(request: Request) -> Response:
        body = await request.body()

        def ended() -> dict[str, Any]:
            told = read(body, Ended)
            changes.end(system.records, told.number, told.who, now_ms())
            return {"number": told.number}

        return await run_in_threadpool(_answer, ended)

    @routes.post("/store/{job}")
    async def store_job(job: str, request: Request) -> Response:
        jobs = store_jobs.jobs(system.store, system.registry, system.latest)
        if job not in jobs:
            raise HTTPException(404, f"there is no job {job[:MOST_NAME]!r}")
        body = await request.body()
        return await run_in_threadpool(_answer, lambda: jobs[job](**job_arguments(body, jobs[job])))

    return routes


def read(body: bytes, model: type[Model]) -> Model:
    """Return what was sent, such as a what-if question.

    Raises
    ------
    InputError
        If it is none: the first faults of it, with their places.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)[:MOST_FAULTS]
        told = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'body'}: {f['msg']}" for f in faults)
        raise InputError(told[:MOST_TEXT]) from error


def job_arguments(body: bytes, job: Callable[..., Any]) -> dict[str, Any]:
    """Return a store job's arguments as they were sent.

    Raises
    ------
    InputError
        If they are not what the job takes.
    """
    try:
        told = orjson.loads(body)
        if not isinstance(told, dict):
            raise TypeError("an object of arguments is needed")
        bound = inspect.signature(job, eval_str=True).bind(**told)
        for name, value in bound.arguments.items():
            wanted = inspect.signature(job, eval_str=True).parameters[name].annotation
            if not isinstance(value, wanted):
                raise TypeError(f"{name} must be {getattr(wanted, '__name__', wanted)}")
    except (ValueError, TypeError) as error:
        raise InputError(str(error)[:MOST_TEXT]) from error
    return told


def _answer(work: Callable[[], dict[str, Any] | bytes]) -> Response:
    try:
        found = work()
    except InputError as error:
        raise HTTPException(400, str(error)) from error
    except HallwatchError as error:
        raise HTTPException(500, str(error)) from error
    if isinstance(found, bytes):
        return Response(found, media_type="application/octet-stream")
    return Response(orjson.dumps(found), media_type="application/json")


async def _keep(request: Request, path: Path) -> None:
    """Write a body to disk as it comes."""
    with path.open("wb") as file:
        async for part in request.stream():
            await asyncio.to_thread(file.write, part)
