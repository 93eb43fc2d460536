"""Alarm performance by ISA-18.2 and EEMUA 191: measured for a time, as rows for people, as a file a month."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import orjson
import structlog

from alerts.settings import AlertSettings
from domain.batch import now_ms
from domain.errors import StorageError
from storage.alert_performance import FLOOD, TARGETS, AlarmPerformance, performance
from storage.private import private_folder, private_opener
from storage.records import Records

log = structlog.get_logger(__name__)

FOLDER = "alarm-performance"
MOST_FILES = 36
"""Monthly files that are kept."""
EVERY_S = 3600.0
HOURLY = 6.0
"""Alarms of an operator and hour that are very likely to be acceptable (EEMUA 191), and one in ten minutes."""

FEWEST_FOR_SHARE = 200
"""Of fewer alarms ten are more than 5 % in any case: the share is told, and not held against the target."""


def measured(records: Records, settings: AlertSettings, since: int, until: int) -> AlarmPerformance:
    """Return how the alarms performed in [since, until), UTC ms, by the configuration's measures. Blocks."""
    flapping = settings.flapping
    return performance(
        records,
        since,
        until,
        settings.performance.operators,
        int(settings.performance.stale_after * 1000),
        flapping.times,
        int(flapping.within * 1000),
    )


class Measure(NamedTuple):
    """One measure for people; the target is empty where there is none, `off` says that it is missed."""

    name: str
    value: str
    target: str = ""
    off: bool = False


def rows(found: AlarmPerformance) -> list[Measure]:
    """Return the measures of a report with their targets."""
    return [
        Measure("annunciated alarms", str(found.annunciated)),
        Measure("of all that were recorded", str(found.recorded)),
        Measure(
            "per operator and hour", f"{found.per_hour:.2f}", f"{HOURLY:g} at most", found.per_hour > HOURLY
        ),
        Measure("per operator and 10 min", f"{found.per_period:.2f}", "1 at most", found.per_period > 1),
        Measure("in the worst 10 min", f"{found.peak:g}", f"{FLOOD} at most", found.peak > FLOOD),
        Measure("floods (over 10 in 10 min)", str(found.floods)),
        Measure("time in floods", _percent(found.flood_share), "1 % at most", found.flood_share > 0.01),
        *(
            Measure(f"of priority {name}", _percent(found.priorities[name]), f"about {target * 100:.0f} %")
            for name, target in TARGETS.items()
        ),
        Measure(
            "of the ten most frequent",
            _percent(found.top_share),
            "5 % at most",
            found.annunciated >= FEWEST_FOR_SHARE and found.top_share > 0.05,
        ),
        Measure("chattering alarms", str(found.chattering), "0", found.chattering > 0),
        Measure(
            f"stale (over {found.stale_after / 3.6e6:g} h)", str(found.stale), "5 at most", found.stale > 5
        ),
        Measure("acknowledged", _percent(found.acknowledged)),
        Measure("time until taken, median", _seconds(found.taken_median)),
        Measure("time until taken, 90 %", _seconds(found.taken_p90)),
    ]


def as_dict(found: AlarmPerformance) -> dict[str, Any]:
    """Return a report as JSON has it: times in UTC ms, what is not known null."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(found).items()
    }


class MonthlyReports:
    """Writes the report of each month that is over into a folder, once, and keeps so many of them.

    Parameters
    ----------
    records, settings, zone
        What is measured, how, and whose calendar tells the month.
    folder
        The data folder.
    clock
        UTC ms.
    """

    def __init__(
        self,
        records: Records,
        settings: AlertSettings,
        zone: ZoneInfo,
        folder: Path,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._records = records
        self._settings = settings
        self._zone = zone
        self._folder = folder / FOLDER
        self._clock = clock

    async def run(self) -> None:
        """Write what is due until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.once)
            except (StorageError, OSError) as error:
                log.error("the month's alarm report cannot be written, it is tried again", error=str(error))
            await asyncio.sleep(EVERY_S)

    def once(self) -> Path | None:
        """Write the report of the last month that is over, if it is not there; return its file if so. Blocks."""
        now = datetime.fromtimestamp(self._clock() / 1000, self._zone)
        end = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        year, month = (end.year, end.month - 1) if end.month > 1 else (end.year - 1, 12)
        begin = end.replace(year=year, month=month)
        file = self._folder / f"{begin:%Y-%m}.json"
        if file.exists():
            return None
        found = measured(self._records, self._settings, _ms(begin), _ms(end))
        private_folder(self._folder)
        fresh = file.with_suffix(".new")
        with open(fresh, "wb", opener=private_opener) as written:
            written.write(
                orjson.dumps({"month": f"{begin:%Y-%m}"} | as_dict(found), option=orjson.OPT_INDENT_2)
            )
        os.replace(fresh, file)
        for old in sorted(self._folder.glob("????-??.json"))[:-MOST_FILES]:
            with contextlib.suppress(FileNotFoundError):
                old.unlink()
        log.info("the month's alarm report is written", file=str(file), annunciated=found.annunciated)
        return file


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %" if 0 < share < 0.1 else f"{share * 100:.0f} %"


def _seconds(seconds: float) -> str:
    if math.isnan(seconds):
        return "nobody took any"
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
