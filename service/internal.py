"""Calls that commands make to the running service; they need the token that lies in the data folder."""

from __future__ import annotations

import secrets
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict

from analytics.outlook.whatif import AddedJob, Scenario
from collectors.mqtt.replay import Into, replay
from domain.errors import HallwatchError, InputError
from service import store_jobs
from service.query import run_query
from service.system import System
from storage.telemetry import Aggregate


class Job(BaseModel):
    """A job to add: on how many racks, from when (UTC ms), for how long."""

    model_config = ConfigDict(extra="forbid")

    racks: int
    start: int
    hours: float = 48.0


class Question(BaseModel):
    """A what-if question: ids of CDUs, UPSes and feeds that are lost, jobs that are added, another limit in W."""

    model_config = ConfigDict(extra="forbid")

    lost: tuple[str, ...] = ()
    jobs: tuple[Job, ...] = ()
    limit: float | None = None

    def scenario(self) -> Scenario:
        """Return it as the analytics take it."""
        jobs = tuple(AddedJob(j.racks, j.start, j.hours) for j in self.jobs)
        return Scenario(self.lost, jobs, self.limit)


def router(system: System, token: str) -> APIRouter:
    """Return the internal routes, guarded by a bearer token."""

    def guard(authorization: Annotated[str, Header()] = "") -> None:
        if not secrets.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            raise HTTPException(401, "the token of the data folder is needed")

    routes = APIRouter(prefix="/internal/v1", dependencies=[Depends(guard)], include_in_schema=False)

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
            capture.write_bytes(await request.body())
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
            orjson.dumps(system.health(), option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS),
            media_type="application/json",
        )

    @routes.get("/upkeep")
    def upkeep() -> Response:
        return Response(orjson.dumps(system.live.upkeep), media_type="application/json")

    @routes.post("/what-if")
    def what_if(question: Question) -> Response:
        try:
            answer = system.what_if(question.scenario())
        except InputError as error:
            raise HTTPException(400, str(error)) from error
        return Response(orjson.dumps(answer.as_dict()), media_type="application/json")

    @routes.get("/outlook")
    def outlook(node: str = "") -> Response:
        """Tell when each node may pass its limit, what to shed, and how steeply power will move."""
        issuer = system.issuer
        wanted = node or system.site.id
        if wanted not in issuer.outlooks:
            known = ", ".join(list(issuer.outlooks)[:10])
            raise HTTPException(
                404, f"no forecast of {wanted!r} has been issued; issued are {known or 'none yet'}"
            )
        told = issuer.outlooks[wanted].as_dict()
        told["nodes"] = [
            {"id": name, "breached_by_end": float(o.breached_by[-1]), "shed": float(o.shed.max())}
            for name, o in issuer.outlooks.items()
        ]
        told["planned_steps"] = [
            {"time": int(t), "power": float(p)}
            for t, p in zip(issuer.steps.time, issuer.steps.power, strict=True)
        ]
        return Response(orjson.dumps(told), media_type="application/json")

    @routes.post("/store/{job}")
    def store_job(job: str, arguments: dict[str, Any]) -> dict[str, Any]:
        jobs = store_jobs.jobs(system.store, system.registry)
        if job not in jobs:
            raise HTTPException(404, f"there is no job {job!r}")
        try:
            return jobs[job](**arguments)
        except InputError as error:
            raise HTTPException(400, str(error)) from error
        except HallwatchError as error:
            raise HTTPException(500, str(error)) from error

    return routes
