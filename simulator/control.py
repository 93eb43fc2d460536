"""The control channel: faults are raised and looked at over HTTP on loopback."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from pydantic import BaseModel, ConfigDict, Field

from domain.errors import InputError
from simulator.factory import Factory

MOST_PAGES = 100
LONGEST_NAME = 100


class FaultRequest(BaseModel):
    """What to let happen."""

    model_config = ConfigDict(extra="forbid")

    name: str
    target: str
    after_s: float = Field(0.0, ge=0, description="Seconds from now to its onset")
    severity: float = 1.0
    duration_s: float | None = Field(None, gt=0, description="The catalogue's own if not given")


def control_app(factory: Factory, stats: Callable[[], dict[str, Any]]) -> FastAPI:
    """Return the control application of a factory.

    ``GET /catalogue``, ``GET /faults``, ``POST /faults``, ``DELETE /faults[/ID]``, ``GET /jobs``, ``GET /state``,
    ``GET /metrics`` (inference servers, in the words of vLLM); ``POST /pager/NAME`` takes what a webhook tells somebody,
    ``GET /pager`` returns the last `MOST_PAGES`, newest first.
    """
    pages: deque[dict[str, Any]] = deque(maxlen=MOST_PAGES)
    app = FastAPI(title="Simulated factory", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/catalogue")
    async def catalogue() -> list[dict[str, Any]]:
        return [k.model_dump(exclude_defaults=True) for k in factory.faults.catalogue.values()]

    @app.get("/faults")
    async def faults() -> list[dict[str, Any]]:
        return [f.as_dict(factory.time_ms) for f in factory.faults.faults]

    @app.post("/faults", status_code=201)
    async def raise_fault(request: FaultRequest) -> dict[str, Any]:
        try:
            fault = factory.raise_fault(
                request.name,
                request.target,
                factory.time_ms + round(request.after_s * 1000),
                request.severity,
                request.duration_s,
            )
        except InputError as error:
            raise HTTPException(422, str(error)) from error
        return fault.as_dict(factory.time_ms)

    @app.delete("/faults")
    async def clear_all() -> dict[str, int]:
        return {"ended": factory.faults.clear()}

    @app.delete("/faults/{fault_id}")
    async def clear(fault_id: int) -> dict[str, int]:
        ended = factory.faults.clear(fault_id)
        if not ended:
            raise HTTPException(404, f"no fault {fault_id} goes on")
        return {"ended": ended}

    @app.get("/jobs")
    async def jobs(hours: float = 48.0) -> list[dict[str, Any]]:
        now = factory.time_ms
        racks = factory.layout.racks
        return [
            {
                "name": job.name,
                "racks": racks[job.first : job.last],
                "start": job.start,
                "planned_end": job.planned_end,
                "intensity": job.told_intensity,
            }
            for job in factory.workload.known_jobs(now, now + round(hours * 3.6e6))
        ]

    @app.get("/state")
    async def state() -> dict[str, Any]:
        return {
            "time": factory.time_ms,
            "site_power": float(factory.state.site),
            "it_power": float(factory.state.it),
            "racks": len(factory.layout.racks),
            "gpus": factory.layout.gpus,
            "tokens_per_s": float(factory.tokens.sum()),
            "faults": [f.as_dict(factory.time_ms) for f in factory.faults.active(factory.time_ms)],
            **stats(),
        }

    @app.post("/pager/{name}", status_code=204)
    async def page(name: str, message: dict[str, Any]) -> None:
        pages.appendleft({"to": name[:LONGEST_NAME], "at": factory.time_ms, "message": message})

    @app.get("/pager")
    async def paged() -> list[dict[str, Any]]:
        return list(pages)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(_metrics(factory), media_type="text/plain; version=0.0.4")

    return app


def _metrics(factory: Factory) -> str:
    name = "vllm:generation_tokens_total"
    lines = [f"# HELP {name} Number of generation tokens processed.", f"# TYPE {name} counter"]
    serving = zip(
        factory.layout.racks[factory.workload.training :],
        factory.tokens_total[factory.workload.training :],
        strict=True,
    )
    lines += [f'{name}{{model_name="demo",engine="{rack}"}} {total:.0f}' for rack, total in serving]
    return "\n".join(lines) + "\n"
