"""A schedule's answer, as JSON and as YAML."""

from typing import Any

from collectors.schedule.collector import from_json
from collectors.schedule.entries import MOST_ENTRIES, read_entries
from domain.documents import parse_document
from domain.errors import HallwatchError

RACKS = frozenset(f"R{n:03d}" for n in range(1, 9))
NOW = 1_790_000_000_000
GOOD = {"name": "\u2713 good", "racks": ["R001..004"], "start": NOW, "end": NOW + 3_600_000}


def fuzz(data: bytes) -> None:
    for read in (
        lambda: from_json(data, "x"),
        lambda: parse_document(data.decode("utf-8", "replace"), "x").data,
    ):
        try:
            answer: Any = read()
        except HallwatchError:
            continue
        try:
            reading = read_entries(answer, "jobs", RACKS, NOW)
        except HallwatchError:
            continue
        for work in reading.works:
            assert work.start < work.end < 1 << 43
            assert set(work.racks) <= RACKS
        assert all(len(fault) <= 300 for fault in reading.faults.values())
        if isinstance(answer, list) and len(answer) < MOST_ENTRIES:
            names = [work.name for work in read_entries([*answer, GOOD], "jobs", RACKS, NOW).works]
            assert GOOD["name"] in names
