"""A look at a schedule, as the service would see it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from collectors.examination import Aside, Examination
from collectors.fetch import without_secrets
from collectors.schedule.collector import client_of, fetched, from_file, from_json
from collectors.schedule.entries import read_entries
from collectors.schedule.settings import ScheduleSettings
from domain.batch import now_ms
from domain.errors import ConfigurationError, HallwatchError, SourceRefused
from domain.planned import PlannedWork


async def examine(settings: ScheduleSettings, racks: Collection[str]) -> Examination:
    """Look at one schedule; whatever is wrong is a finding, never an error. Its `readings` are the works that it announces.

    Parameters
    ----------
    settings
        Where it is; a `file` with its whole path.
    racks
        Ids of the site's racks.
    """
    where = without_secrets(settings.url) if settings.url else str(settings.file)
    look = Examination(f"schedule {settings.name}: {where}")
    now = now_ms()
    try:
        if settings.file is not None:
            answer = await asyncio.to_thread(from_file, settings.file, settings.max_bytes)
        else:
            async with client_of(settings) as client:
                answer = from_json(await fetched(client, settings), settings.url)
        reading = await asyncio.to_thread(read_entries, answer, settings.name, racks, now)
    except SourceRefused as error:
        look.find("problem", "credentials", f"{error}: see bearer_token_env, or the path of the address")
    except ConfigurationError as error:
        look.find("problem", "content" if settings.file else "credentials", str(error))
    except (OSError, HallwatchError) as error:
        look.find("problem", "reachability", str(error))
    else:
        look.find("fine", "reachability", "it answers")
        look.readings = [_shown(work) for work in reading.works]
        look.set_aside = [Aside(fault, 1, name) for name, fault in reading.faults.items()]
        told = f"{len(reading.works)} works are read, {len(reading.faults)} entries are left out"
        look.find("problem" if reading.faults else "fine", "content", told)
        over = sum(work.end < now for work in reading.works)
        if over:
            look.find("note", "clock", f"{over} works are past their planned end and still listed")
    return look


def _shown(work: PlannedWork) -> dict[str, Any]:
    return {
        "name": work.name,
        "racks": list(work.racks),
        "start": datetime.fromtimestamp(work.start / 1000, UTC).isoformat(),
        "end": datetime.fromtimestamp(work.end / 1000, UTC).isoformat(),
        "power": None if math.isnan(work.power) else work.power,
        "intensity": None if math.isnan(work.intensity) else work.intensity,
    }
