"""The scraper against real HTTP servers on loopback, some of which misbehave."""

import asyncio
import contextlib
import gzip
import json
import socket
import threading
import time
from bisect import bisect
from itertools import pairwise
from pathlib import Path

import pytest

from collectors.prometheus.collector import PrometheusCollector
from collectors.prometheus.discovery import file_targets
from collectors.prometheus.settings import ExporterMapping, PrometheusSettings, Target
from domain.errors import SourceProtocolError
from domain.points import PointRegistry, Quality
from service.configuration import SHIPPED, load

ROOT = Path(__file__).parents[3]
MAPPING = load(SHIPPED / "prometheus" / "dcgm-exporter.yaml", ExporterMapping)
PLAIN = [(ROOT / f"tests/recordings/prometheus/plain/{n}.prom").read_bytes() for n in (1, 2)]
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


class Exporter:
    """A server that answers each connection with the next of its answers, the last for ever; None: it drips for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/metrics"
        self._stopped = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def target(self, rack="R001", tray="T01"):
        return Target(url=self.url, rack=rack, tray=tray)

    def _serve(self):
        while True:
            try:
                peer, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    def _answer(self, peer):
        with peer, contextlib.suppress(OSError):
            peer.recv(65536)
            self.asked.append(time.monotonic())
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is not None:
                peer.sendall(answer)
                return
            peer.sendall(OK + b"\r\n")
            while not self._stopped.wait(0.05):
                peer.sendall(b"#\n")

    def close(self):
        self._stopped.set()
        self._listening.close()


@pytest.fixture
def serve():
    with contextlib.ExitStack() as stack:

        def start(*answers):
            exporter = Exporter(
                *(a if a is None or a.startswith(b"HTTP") else OK + b"\r\n" + a for a in answers)
            )
            stack.callback(exporter.close)
            return exporter

        yield start


@contextlib.asynccontextmanager
async def scraping(settings, registry=None, racks=None):
    """Run a collector; yield it and `until(condition)`, which waits for the condition on what arrived, by key."""
    registry = PointRegistry() if registry is None else registry
    told, changed = {}, asyncio.Event()

    async def sink(batch):
        for row in zip(batch.point, batch.value, batch.quality, batch.observed, strict=True):
            told.setdefault(registry[int(row[0])].key, []).append(row[1:])
        changed.set()

    async def until(condition):
        async with asyncio.timeout(60):
            while not condition(told):
                changed.clear()
                await changed.wait()
        return {key: float(rows[-1][0]) for key, rows in told.items()}

    collector = PrometheusCollector(settings, MAPPING, registry, sink, racks)
    running = asyncio.create_task(collector.run())
    try:
        yield collector, until
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        await asyncio.wait([running])


def temperature(value, gpu=0):
    return b'DCGM_FI_DEV_GPU_TEMP{gpu="%d"} %d\n' % (gpu, value)


def key(tray, point_type="GpuTemperature", gpu=0):
    return f"GPU/{point_type}/nvml/R001/{tray}/G{gpu}"


async def test_metrics_become_the_points_that_the_tray_agent_tells(serve):
    exporter = serve(*PLAIN)
    registry = PointRegistry()
    settings = PrometheusSettings(targets=(exporter.target(),), interval=1)
    async with scraping(settings, registry) as (collector, until):
        scraped = {}
        told = await until(lambda t: scraped.update(t) or key("T01", "GpuPower") in t)
        assert told[key("T01", "GpuPowerAverage")] == 1050
        began, ended = (observed for _, _, observed in scraped[key("T01", "GpuPowerAverage")][:2])
        assert told[key("T01", "GpuPower")] == pytest.approx(10_480e3 / (ended - began), rel=0.05)  # J in ms
        assert told[f"Device/DeviceUp/prometheus/{exporter.url}"] == 1
        assert collector.stats()["scrapes"] >= 2
    point = registry[registry.index(key("T01", "GpuPowerAverage"))]
    assert (point.object_id, point.associate, point.unit) == ("R001-T01-G0", "R001", "W")


async def test_an_exporter_that_is_away_is_told_as_down_and_the_others_are_scraped(serve, free_port):
    away = Target(url=f"http://127.0.0.1:{free_port}/metrics", rack="R001", tray="T01")
    there = serve(temperature(50)).target(tray="T02")
    async with scraping(PrometheusSettings(targets=(away, there), interval=1)) as (collector, until):
        told = await until(lambda t: key("T02") in t and f"Device/DeviceUp/prometheus/{away.url}" in t)
        assert told[f"Device/DeviceUp/prometheus/{away.url}"] == 0
        assert told[f"Device/DeviceUp/prometheus/{there.url}"] == 1
        assert list(collector.stats()["errors"]) == [away.url]


async def test_a_target_that_drips_has_a_deadline_and_delays_nobody(serve):
    drips, good = serve(None), serve(temperature(50))
    settings = PrometheusSettings(
        targets=(drips.target(tray="T02"), good.target()), interval=1, timeout=2, at_once=2
    )
    async with scraping(settings) as (collector, until):
        await until(lambda t: key("T01") in t and drips.url in collector.stats()["errors"])
        assert "no whole answer within 2 s" in collector.stats()["errors"][drips.url]
    asked = len(drips.asked)
    async with scraping(settings.model_copy(update={"timeout": 300})) as (collector, until):
        await until(lambda t: len(t.get(key("T01"), ())) >= 4)
        assert len(drips.asked) == asked + 1  # and it drips still
        assert collector.stats()["errors"] == {}


async def test_targets_that_drip_take_the_places_of_others_once_and_then_wait_in_a_lane_of_their_own(serve):
    drip, good = [serve(None) for _ in range(4)], serve(temperature(50))
    targets = (*(d.target(tray=f"T1{n}") for n, d in enumerate(drip)), good.target())
    settings = PrometheusSettings(targets=targets, interval=1, timeout=1, at_once=1)
    async with scraping(settings) as (collector, until):
        await until(lambda t: collector.stats()["slow"] >= 4)
        first = len(good.asked)
        # one at a time, as often as the good one is asked; in its lane all four would come before it each time
        await until(lambda t: any(n <= 2 for n in asked_between(good.asked[first:], drip)))


def asked_between(times, others):
    """Return how often other exporters were asked between each two of these times."""
    theirs = sorted(at for other in others for at in other.asked)
    return [bisect(theirs, end) - bisect(theirs, start) for start, end in pairwise(times)]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (
            OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"#" * (300 << 20), 9),
            "more than 4,194,304 bytes",
        ),
        (OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(temperature(50))[:-12], "cut off"),
        (OK + b"Content-Encoding: gzip\r\n\r\nnot gzip", "cannot be asked"),
        (OK + b"Content-Encoding: br, gzip\r\n\r\nx", "coding"),
        (OK + b"Content-Length: 1000\r\n\r\n" + temperature(50), "RemoteProtocolError"),
        (OK + b"X: " + b"y" * 300_000 + b"\r\n\r\n", "RemoteProtocolError"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "answers 302"),
        (b"HTTP/1.1 401 Go Away\r\nContent-Length: 0\r\n\r\n", "SourceRefused"),
        (b"HTTP nonsense\r\n\r\n", "RemoteProtocolError"),
    ],
    ids=["bomb", "cut", "no-gzip", "other-coding", "short", "header", "elsewhere", "refused", "nonsense"],
)
async def test_an_answer_that_cannot_be_used_is_told_and_costs_itself(serve, answer, error):
    bad, good = serve(answer), serve(temperature(50))
    settings = PrometheusSettings(targets=(bad.target(tray="T02"), good.target()), interval=1)
    async with scraping(settings) as (collector, until):
        told = await until(lambda t: key("T01") in t and f"Device/DeviceUp/prometheus/{bad.url}" in t)
        assert told[f"Device/DeviceUp/prometheus/{bad.url}"] == 0
        assert error in collector.stats()["errors"][bad.url]


async def test_a_packed_page_is_read(serve):
    exporter = serve(OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(temperature(50)))
    async with scraping(PrometheusSettings(targets=(exporter.target(),))) as (_, until):
        assert (await until(lambda t: key("T01") in t))[key("T01")] == 50


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://\x00/",
        "http://a..b/",
        "gopher://x/",
        "nothing",
        "",
        "http://h:99999/",
        "http://\ud800/",
    ],
)
async def test_a_malformed_address_is_told_by_name_and_costs_only_itself(serve, url):
    good = serve(temperature(50))
    settings = PrometheusSettings(
        targets=(Target.model_construct(url=url, rack="", tray=""), good.target()), interval=1
    )
    async with scraping(settings) as (collector, until):
        await until(lambda t: key("T01") in t and collector.stats()["errors"])
        assert list(collector.stats()["errors"]) == [url]


@pytest.mark.parametrize(
    ("user", "query"),
    [
        ("anna:geheim@", ""),
        ("geheim-token@", ""),
        ("", "?token=geheim"),
        ("anna:ge%40heim@", "?api_key=geheim"),
    ],
)
async def test_a_secret_in_an_address_is_not_shown(serve, user, query):
    """Nor does it get into the key of a point, which is stored and exported."""
    exporter = serve(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    url = exporter.url.replace("http://", f"http://{user}") + query
    registry = PointRegistry()
    async with scraping(PrometheusSettings(targets=(Target(url=url),)), registry) as (collector, until):
        await until(lambda t: collector.stats()["errors"])
        assert "heim" not in str(collector.stats())
        assert len(registry)
        assert not [p for p in registry if "heim" in p.key]


async def test_racks_that_the_site_does_not_have_make_no_points(serve):
    row = b'DCGM_FI_DEV_GPU_TEMP{gpu="0",rack="R%d",tray="T01"} 50\n'
    exporter = serve(b"".join(row % n for n in range(20_000)))
    registry = PointRegistry()
    settings = PrometheusSettings(targets=(Target(url=exporter.url),), interval=1)
    async with scraping(settings, registry, racks=["R7"]) as (collector, until):
        await until(lambda t: "GPU/GpuTemperature/nvml/R7/T01/G0" in t)
        assert collector.stats()["unknown_rack"] >= 19_999
        assert "has no rack R0" in collector.stats()["set_aside"][exporter.url]["unknown_rack"]
    assert len(registry) == 3  # the reading, and two on the exporter itself


async def test_a_reading_makes_its_own_point_known_and_no_other(serve):
    registry = PointRegistry()
    exporter = serve(temperature(50, gpu=63))
    async with scraping(PrometheusSettings(targets=(exporter.target(),)), registry) as (_, until):
        await until(lambda t: key("T01", gpu=63) in t)
    assert [p.point_type for p in registry] == ["DeviceUp", "DeviceLatency", "GpuTemperature"]


async def test_a_target_makes_no_more_points_known_than_it_may(serve):
    exporter = serve(b"".join(temperature(50, gpu) for gpu in range(20)))
    settings = PrometheusSettings(targets=(exporter.target(),), max_points=5)
    async with scraping(settings) as (collector, until):
        await until(lambda t: key("T01", gpu=4) in t)
        assert collector.stats()["too_many_points_of_target"] == 15


async def test_a_point_beyond_the_limit_of_all_points_is_refused_and_told(serve):
    exporter = serve(temperature(50, 0) + temperature(51, 1))
    registry = PointRegistry(max_points=3)
    async with scraping(PrometheusSettings(targets=(exporter.target(),)), registry) as (collector, until):
        await until(lambda t: key("T01") in t)
        assert collector.stats()["too_many_points"] == 1


async def test_a_gpu_that_two_exporters_tell_is_taken_from_one(serve):
    one, other = serve(temperature(50)), serve(temperature(70))
    settings = PrometheusSettings(targets=(one.target(), other.target()), interval=1)
    async with scraping(settings) as (collector, until):
        await until(lambda t: len(t.get(key("T01"), ())) >= 2 and collector.stats().get("told_by_another"))
        told = await until(lambda t: True)
        assert told[key("T01")] in (50, 70)
        assert len(collector.stats()["set_aside"]) == 1


async def test_two_events_of_a_gpu_in_one_scrape_are_both_told(serve):
    xid = b'DCGM_EXP_XID_ERRORS_COUNT{gpu="0",xid="%d"} 1\n'
    exporter = serve(b"", xid % 48 + xid % 63)
    seen = {}

    def both(told):
        seen["rows"] = told.get(key("T01", "GpuXid"), [])
        return len(seen["rows"]) == 2

    async with scraping(PrometheusSettings(targets=(exporter.target(),), interval=1)) as (_, until):
        await until(both)
    (first, _, at), (second, _, then) = seen["rows"]
    assert {first, second} == {48, 63}
    assert at != then


async def test_a_frozen_exporter_is_told_and_its_readings_are_bad(serve, monkeypatch):
    monkeypatch.setattr(PrometheusSettings.model_fields["frozen_after"], "metadata", [])
    exporter = serve(b'DCGM_FI_DEV_POWER_USAGE{gpu="0"} 400\n')
    settings = PrometheusSettings(targets=(exporter.target(),), interval=1).model_copy(
        update={"frozen_after": 0.5}
    )
    seen = {}

    def bad(told):
        seen["qualities"] = [row[1] for row in told.get(key("T01", "GpuPowerAverage"), [])]
        return Quality.BAD in seen["qualities"]

    async with scraping(settings) as (collector, until):
        await until(bad)
        assert collector.stats()["frozen"] == [exporter.url]
    assert seen["qualities"][0] == Quality.GOOD


def collector_of(file):
    settings = PrometheusSettings(files=(file,))
    return PrometheusCollector(settings, MAPPING, PointRegistry(), lambda b: asyncio.sleep(0))


def test_targets_are_discovered_from_files_and_kept_while_a_file_is_broken(tmp_path):
    file = tmp_path / "dcgm.json"
    group = {"targets": ["n1:9400", "n2:9400"], "labels": {"rack": "R001", "tray": "T01"}}
    file.write_text(json.dumps([group]))
    collector = collector_of(file)
    assert [t.url for t in collector.targets()] == ["http://n1:9400/metrics", "http://n2:9400/metrics"]
    assert collector.targets()[0].rack == "R001"
    file.write_text("[{")
    assert len(collector.targets()) == 2
    assert collector.stats()["discovery_failures"] >= 1
    assert str(file) in collector.stats()["errors"]


async def test_a_target_that_a_file_no_longer_has_is_let_go_and_a_new_one_is_scraped(serve, tmp_path):
    one, other = serve(temperature(50)), serve(temperature(60))
    file = tmp_path / "dcgm.json"

    def write(exporter, tray):
        address = f"127.0.0.1:{exporter.port}"
        file.write_text(json.dumps([{"targets": [address], "labels": {"rack": "R001", "tray": tray}}]))

    write(one, "T01")
    async with scraping(PrometheusSettings(files=(file,), interval=1)) as (collector, until):
        await until(lambda t: key("T01") in t)
        write(other, "T020")
        await until(lambda t: key("T020") in t)
        assert collector.stats()["targets"] == 1


GOOD = {"targets": ["n1:9400"], "labels": {"rack": "R001", "tray": "T01"}}


@pytest.mark.parametrize(
    "group",
    [
        5,
        None,
        {"labels": {}},
        {"targets": "n2"},
        {"targets": ["n2"], "labels": []},
        {"targets": ["n2"], "labels": {"rack": ["R1"]}},
        {"targets": ["n2"], "labels": {"rack": "R" * 5000}},
        {"targets": [["n2"]], "labels": {}},
        {"targets": [{}], "labels": {}},
        {"targets": ["n" * 5000], "labels": {}},
    ],
)
def test_a_bad_group_of_a_file_costs_itself(group):
    found, faults = file_targets([group, GOOD])
    assert [t.url for t in found] == ["http://n1:9400/metrics"]
    assert len(faults) == 1


def test_a_file_that_is_no_list_is_refused():
    with pytest.raises(SourceProtocolError, match="no list"):
        file_targets({"targets": []})


def test_more_targets_than_there_may_be_are_told(tmp_path):
    file = tmp_path / "many.json"
    file.write_text(json.dumps([{"targets": [f"n{n}:9400" for n in range(10)]}]))
    settings = PrometheusSettings(files=(file,), max_targets=4)
    collector = PrometheusCollector(settings, MAPPING, PointRegistry(), lambda b: asyncio.sleep(0))
    assert len(collector.targets()) == 4
    assert len(collector.stats()["errors"]) == 6


def test_a_file_that_would_become_huge_is_refused(tmp_path):
    file = tmp_path / "bomb.yaml"
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    file.write_text("\n".join(rows))
    assert collector_of(file).targets() == []
