"""The part of a power chart that is zoomed into, as finely as its pixels show it: extremes are kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter, HTTPException, Request

from dashboard import cells
from dashboard.data import ConsoleData
from dashboard.moments import seen
from dashboard.series import merged
from dashboard.views import MINUTE_MS, QUARTER_MS, Series
from domain.errors import InputError, StorageError

STEPS_MS = (2_000, 10_000, MINUTE_MS, QUARTER_MS, 4 * QUARTER_MS)
"""How finely readings are asked for."""
LEAST_POINTS, MOST_POINTS = 50, 2_000
"""Points of a line that is drawn; a chart asks for as many as it is wide."""
FINER = 4
"""So many steps, at most, go into the two extremes that a point stands for."""
LONGEST_MS = 400 * 86_400_000


def zoomed(data: ConsoleData, node: str, start: int, end: int, points: int) -> dict[str, Any]:
    """Return a node's power (W) from `start` to `end` (UTC ms), with times on the site's wall clock.

    Raises
    ------
    InputError
        If the envelope has no such node, or the time is none.
    StorageError
        If the store does not answer.
    """
    if node not in data.plant.envelope.nodes:
        raise InputError(f"the site has no {node[:40]!r} whose power is known")
    end = min(end, data.clock())
    if not 0 < end - start <= LONGEST_MS:
        raise InputError("the time to be shown ends before it begins, lies ahead, or is longer than 400 days")
    points = min(max(points, LEAST_POINTS), MOST_POINTS)
    finest = (end - start) / (points * FINER)
    step = next((s for s in STEPS_MS if s >= finest), STEPS_MS[-1])
    fine = data.plant.power_history(node, start, end, step)
    coarse = (
        data.plant.power_history(node, start - QUARTER_MS, end, QUARTER_MS) if step < QUARTER_MS else fine
    )
    line = extremes(merged(fine, coarse), points)
    zone = data.site.zone
    return {"time": cells.wall(line.time, zone).tolist(), "power": cells.numbers(line.value, 0), "step": step}


def extremes(line: Series, points: int) -> Series:
    """Return a line of about so many points: of each group of neighbours the lowest and the highest, in their order."""
    if len(line.time) <= points:
        return line
    size = -(-2 * len(line.time) // points)
    keep = []
    for first in range(0, len(line.time), size):
        part = line.value[first : first + size]
        if np.isnan(part).any():  # where the line breaks
            keep.append(first + int(np.flatnonzero(np.isnan(part))[0]))
        if not np.isnan(part).all():
            keep += [first + int(np.nanargmin(part)), first + int(np.nanargmax(part))]
    rows = np.unique(keep)
    return Series(line.time[rows], line.value[rows])


def zoom_router(data: ConsoleData) -> APIRouter:
    """Return the route that a chart asks when it is zoomed."""
    router = APIRouter(include_in_schema=False)

    @router.get("/zoomed/power")
    async def power(request: Request, node: str, start: int, end: int, points: int = 800) -> dict[str, Any]:
        try:
            return await seen(data, request.url.query, zoomed, node, start, end, points)
        except InputError as error:
            raise HTTPException(400, str(error)) from error
        except StorageError as error:
            raise HTTPException(503, str(error)) from error

    return router
