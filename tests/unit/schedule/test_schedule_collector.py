"""Schedules over a real HTTP server and from a real file, into real records."""

import asyncio
import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from pydantic import ValidationError

from collectors.schedule.collector import ScheduleCollector
from collectors.schedule.entries import MOST_ENTRIES, read_entries
from collectors.schedule.probe import examine
from collectors.schedule.settings import ScheduleSettings
from domain.errors import SourceProtocolError
from service.loop_watch import LoopWatch
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
    async with httpx.AsyncClient(timeout=60) as client:
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
        ({"name": "x" * 300}, "no printable text"),
        ({"name": "\x1b[2J"}, "no printable text"),
        ({"name": ["a"]}, "has no name"),
        ({"power": []}, "no quantity"),
        ({"power": {}}, "no quantity"),
        ({"power": True}, "no quantity"),
        ({"power": "9" * 20_000}, "no quantity"),
        ({"power": 10**30}, "no power of one rack"),
        ({"power": "nan W"}, "no quantity"),
        ({"start": 2**63, "planned_end": 2**63 + 1}, "after the year 2100"),
        ({"start": 1e308, "planned_end": 1.1e308}, "after the year 2100"),
        ({"start": math.inf}, "after the year 2100"),
        ({"start": "9999-12-31T23:59:59-14:00"}, "no time that can be reckoned with"),
        ({"start": "9999-12-31T23:59:59+00:00"}, "after the year 2100"),
        ({"start": "2" * 20_000}, "is no time"),
        ({"start": [NOW]}, "start is missing"),
        ({"racks": "R0..300000"}, "has not all of the racks"),
        ({"racks": "R" + "9" * 20_000 + ".." + "9" * 20_000}, "has not all of the racks"),
        ({"racks": ["R001..008"] * 1000}, "again and again"),
        ({"racks": ["R" * 100_000]}, "the site has no rack"),
        ({"racks": [["R001"]]}, "no id of a rack"),
        ({"racks": {"R001": 1}}, "names no racks"),
        ({"intensity": [[]]}, "between 0 and 1"),
    ],
)
def test_what_is_wrong_with_an_entry_is_told(change, fault):
    reading = read_entries([GOOD | change], "jobs", RACKS)
    assert reading.works == ()
    (told,) = reading.faults.values()
    assert fault in told
    assert len(told) <= 300


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


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "bad",
    [
        None,
        5,
        "x",
        [],
        nested(900),
        {"name": nested(900)},
        {"name": "a", "racks": nested(900)},
        GOOD | {"power": []},
    ],
    ids=lambda bad: type(bad).__name__,
)
def test_a_bad_entry_costs_itself(bad):
    reading = read_entries([bad, GOOD | {"name": "good"}], "jobs", RACKS)
    assert [work.name for work in reading.works] == ["good"]
    assert len(reading.faults) == 1


def test_an_entry_beyond_the_horizon_is_left_out():
    far = GOOD | {"start": NOW + 6 * 366 * 24 * HOUR, "planned_end": NOW + 6 * 366 * 24 * HOUR + HOUR}
    reading = read_entries([far, GOOD | {"name": "good"}], "jobs", RACKS, NOW)
    assert [work.name for work in reading.works] == ["good"]
    assert "five years ahead" in reading.faults["train"]


def test_entries_beyond_the_bound_are_told_by_name_so_that_what_they_said_before_holds():
    reading = read_entries([GOOD | {"name": f"job {n}"} for n in range(MOST_ENTRIES + 5)], "jobs", RACKS)
    assert len(reading.works) == MOST_ENTRIES
    assert list(reading.faults) == [f"job {n}" for n in range(MOST_ENTRIES, MOST_ENTRIES + 5)]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"[" * 100_000, "no JSON"),
        (b"[" + b"1," * 3_000_000 + b"1]", "more than 4,194,304 bytes"),
        (b'[{"name": "\\ud800"}]', "no JSON"),
        (b"\x00\xff", "no JSON"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_told_and_what_was_announced_holds(
    served, records, answer, error
):
    served.answer = json.dumps([GOOD]).encode()
    url = f"http://anna:geheim@127.0.0.1:{served.server_port}/"
    collector = ScheduleCollector(ScheduleSettings(url=url), RACKS, records.keep_schedule, lambda: NOW)
    await look(collector)
    served.answer = answer
    await look(collector)
    assert error in collector.stats()["error"]
    assert "geheim" not in str(collector.stats())
    assert len(standing(records)) == 1


async def test_numbers_that_no_time_holds_cost_their_entry_on_the_way_from_the_server_too(served, records):
    entries = [GOOD | {"name": "good"}, GOOD | {"start": 10**30}, GOOD | {"name": "b", "power": []}]
    served.answer = json.dumps(entries).encode()
    url = f"http://127.0.0.1:{served.server_port}/"
    collector = ScheduleCollector(ScheduleSettings(url=url), RACKS, records.keep_schedule, lambda: NOW)
    await look(collector)
    assert [work.name for work in standing(records)] == ["good"]
    assert set(collector.stats()["bad"]) == {"train", "b"}


@pytest.mark.parametrize("url", ["http://[::1", "http://a..b/", "http://h:99999/", "http://\x00/"])
async def test_a_malformed_address_is_told_and_does_not_end_the_collector(records, url):
    collector = ScheduleCollector(ScheduleSettings(url=url), RACKS, records.keep_schedule, lambda: NOW)
    await look(collector)
    assert url.split("/")[2][:3] in collector.stats()["error"]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "a: &a [*a]", "? [", "x: " + "9" * 20_000, "\x00", "!!python/object:os.x {}"]
)
async def test_a_file_that_cannot_be_read_is_told(tmp_path, records, text):
    file = tmp_path / "jobs.yaml"
    file.write_text(text)
    collector = ScheduleCollector(ScheduleSettings(file=file), RACKS, records.keep_schedule, lambda: NOW)
    await look(collector)
    assert collector.stats()["failed_looks"] == 1
    assert "jobs.yaml" in collector.stats()["error"]


async def test_the_event_loop_goes_on_while_a_large_schedule_is_read(served, records):
    served.answer = json.dumps(
        [{"name": f"job {n}", "racks": ["R001..008"] * 10} for n in range(20_000)]
    ).encode()
    assert len(served.answer) > 2_000_000
    url = f"http://127.0.0.1:{served.server_port}/"
    collector = ScheduleCollector(ScheduleSettings(url=url), RACKS, records.keep_schedule, lambda: NOW)
    watch = LoopWatch()
    async with httpx.AsyncClient(timeout=60) as client:
        with watch.watching():
            await collector.look(client)
            await asyncio.sleep(0)  # the callback that read it is over
    assert collector.stats()["bad_entries"] == 20_000
    told = watch.stats()
    assert told["callbacks"] > 10
    assert told["slow"] == 0, told["last_slow"]  # it kept the loop for 14 s


async def test_a_look_tells_works_and_what_is_wrong_with_the_others(served):
    served.answer = json.dumps([GOOD, GOOD | {"name": "b", "racks": ["R999"]}]).encode()
    found = await examine(ScheduleSettings(url=f"http://127.0.0.1:{served.server_port}/"), RACKS)
    assert [work["name"] for work in found.readings] == ["train"]
    assert [(a.reason, a.example) for a in found.set_aside] == [("the site has no rack R999", "b")]
    assert not found.ok


@pytest.mark.parametrize(
    ("settings", "about"),
    [
        ({"url": "http://[::1"}, "reachability"),
        ({"url": "http://127.0.0.1:1/"}, "reachability"),
        ({"url": "http://127.0.0.1:1/", "bearer_token_env": "NO_SUCH_VARIABLE"}, "credentials"),
        ({"file": "nowhere.yaml"}, "reachability"),
    ],
)
async def test_a_look_at_what_cannot_be_read_says_so(settings, about):
    found = await examine(ScheduleSettings(**settings), RACKS)
    assert [finding.about for finding in found.findings] == [about]
    assert not found.ok
