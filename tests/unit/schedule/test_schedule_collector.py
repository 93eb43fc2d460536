"""Schedules over a real HTTP server and from a real file, into real records."""

import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from pydantic import ValidationError

from collectors.schedule.collector import ScheduleCollector
from collectors.schedule.entries import read_entries
from collectors.schedule.settings import ScheduleSettings
from domain.errors import SourceProtocolError
from storage.records import Records

NOW = 1_790_000_000_000
HOUR = 3_600_000
RACKS = [f"R{i:03d}" for i in range(1, 9)]
GOOD = {"name": "train", "racks": ["R001..004"], "start": NOW, "planned_end": NOW + HOUR, "intensity": 0.9}


@pytest.fixture
def served():
    """A scheduler's export: set its `answer` (bytes) and `status`."""

    class Export(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(self.server.status)
            self.end_headers()
            self.wfile.write(self.server.answer)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Export)
    server.status, server.answer = 200, b"[]"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def records(tmp_path):
    kept = Records(f"sqlite:///{tmp_path}/records.sqlite")
    yield kept
    kept.close()


async def look(collector):
    async with httpx.AsyncClient() as client:
        await collector.look(client)


def standing(records):
    return records.planned_work(NOW - HOUR, NOW + 100 * HOUR, known_at=NOW)


async def test_what_a_scheduler_announces_over_http_reaches_the_records(served, records):
    served.answer = json.dumps([GOOD]).encode()
    url = f"http://127.0.0.1:{served.server_port}/"
    collector = ScheduleCollector(ScheduleSettings(url=url), RACKS, records.keep_schedule, lambda: NOW)
    await look(collector)
    (work,) = standing(records)
    assert work.racks == ("R001", "R002", "R003", "R004")
    assert (work.start, work.end, work.intensity, work.known_since) == (NOW, NOW + HOUR, 0.9, NOW)
    assert math.isnan(work.power)
    assert collector.stats()["new"] == 1


async def test_a_scheduler_that_fails_changes_nothing_and_is_counted(served, records):
    served.answer = json.dumps([GOOD]).encode()
    url = f"http://127.0.0.1:{served.server_port}/"
    collector = ScheduleCollector(ScheduleSettings(url=url), RACKS, records.keep_schedule, lambda: NOW)
    await look(collector)
    for served.status, served.answer in ((500, b"[]"), (200, b"<html>"), (200, b'{"detail": "x"}')):
        await look(collector)
    assert len(standing(records)) == 1
    assert collector.stats()["failed_looks"] == 3
    assert "no list of planned work" in collector.stats()["error"]


async def test_a_bad_entry_is_named_and_counted_and_what_it_said_before_holds(served, records):
    served.answer = json.dumps([GOOD, GOOD | {"name": "other"}]).encode()
    url = f"http://127.0.0.1:{served.server_port}/"
    collector = ScheduleCollector(ScheduleSettings(url=url), RACKS, records.keep_schedule, lambda: NOW)
    await look(collector)
    served.answer = json.dumps([GOOD | {"racks": ["R001", "R999"]}, GOOD | {"name": "other"}]).encode()
    await look(collector)
    told = collector.stats()
    assert told["bad"] == {"train": "the site has no rack R999"}
    assert told["bad_entries"] == 1
    assert [w.name for w in standing(records)] == ["train", "other"]


async def test_a_watched_file_is_read_when_it_changes(tmp_path, records):
    file = tmp_path / "maintenance.yaml"
    settings = ScheduleSettings(name="maintenance", file=file)
    collector = ScheduleCollector(settings, RACKS, records.keep_schedule, lambda: NOW)
    await look(collector)
    assert collector.stats()["failed_looks"] == 1
    file.write_text(
        "- {name: pod 1 flush, racks: 'R001..008', start: 2026-09-21T14:00:00+00:00,"
        " end: 2026-09-21T18:00:00+00:00, power: 3 kW}\n"
    )
    await look(collector)
    (work,) = standing(records)
    assert (work.power, len(work.racks)) == (3000.0, 8)
    await look(collector)
    assert collector.stats()["new"] == 1


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"racks": []}, "names no racks"),
        ({"planned_end": NOW}, "must come after its start"),
        ({"start": "2026-09-21T14:00:00"}, "no time zone"),
        ({"start": 1_790_000_000}, "in milliseconds"),
        ({"start": None}, "start is missing"),
        ({"intensity": 95}, "between 0 and 1"),
        ({"power": "3 L/min"}, "a quantity in W is wanted"),
        ({"name": ""}, "has no name"),
    ],
)
def test_what_is_wrong_with_an_entry_is_told(change, fault):
    reading = read_entries([GOOD | change], "jobs", RACKS)
    assert reading.works == ()
    (told,) = reading.faults.values()
    assert fault in told


def test_of_two_entries_with_one_name_the_first_counts_and_the_second_is_told():
    reading = read_entries({"jobs": [GOOD, GOOD | {"intensity": 0.1}]}, "jobs", RACKS)
    assert [w.intensity for w in reading.works] == [0.9]
    assert "announced twice" in reading.faults["train"]


def test_an_answer_that_is_no_schedule_is_refused():
    with pytest.raises(SourceProtocolError, match="no list"):
        read_entries("busy", "jobs", RACKS)


@pytest.mark.parametrize("wrong", [{}, {"url": "https://a", "file": "b"}, {"url": "ftp://a"}])
def test_a_schedule_has_either_a_url_or_a_file(wrong):
    with pytest.raises(ValidationError):
        ScheduleSettings(**wrong)
