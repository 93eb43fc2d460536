"""What an InfluxDB can do to us, and what becomes of the readings."""

import asyncio
import gzip
import logging
import os
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from domain.batch import Batch, now_ms
from domain.errors import ConfigurationError, StorageError, StoreUnavailable
from domain.points import Point, PointRegistry
from storage.influxdb_store import InfluxStore
from storage.influxdb_wire import InfluxWire
from storage.ingest import Ingest
from storage.open import open_store
from storage.settings import HOUR, InfluxSettings, IngestSettings, Retention, StorageSettings, StoreKind
from storage.telemetry import Aggregate
from tests.servers import InfluxServer

TOKEN = "HALLWATCH_INFLUXDB_TOKEN"


def settings_for(url: str, folder, **influxdb) -> StorageSettings:
    return StorageSettings(
        kind=StoreKind.INFLUXDB,
        path=folder,
        influxdb=InfluxSettings(url=url, timeout_s=5, **influxdb),
        ingest=IngestSettings(commit_interval_ms=1, retry_s=0.05),
    )


def some_points(n: int = 4) -> PointRegistry:
    return PointRegistry(
        Point(f"Rack/RackPower/R{i}", "Rack", "RackPower", f"R{i}", unit="W") for i in range(n)
    )


@pytest.fixture
def opened(influxdb, tmp_path, monkeypatch):
    monkeypatch.setenv(TOKEN, influxdb.token)
    settings = settings_for(influxdb.url, tmp_path)
    registry = some_points()
    store = open_store(settings, registry)
    store.save_points(list(enumerate(registry)))
    yield influxdb, settings, registry, store
    store.close()


@pytest.mark.server("influxd")
@pytest.mark.server("nginx")
def test_a_rejected_line_is_quarantined_and_its_neighbours_are_stored(opened, caplog):
    _, settings, registry, store = opened
    other = registry.register(Point("UPS/Load/u", "UPS", "Load", "u", unit="1"))
    # somebody else wrote text into the field that ours is a number in
    store._wire.write("raw", [f'Load,key=x value="text" {now_ms()}'])
    now = now_ms()
    batch = Batch.of([0, other, 1, other, 2], now + np.arange(5), [1, 2, 3, 4, 5])
    report = store.write(batch)
    assert report.stored == 3
    assert sum(report.rejected.values()) == 2
    assert "conflict" in next(iter(report.rejected))
    refused = Batch.concat([rows for _, rows in report.refused])
    assert refused.value.tolist() == [2, 4]
    assert store.read(np.arange(3, dtype=np.int32), now, now + 10).value.tolist() == [1, 3, 5]

    async def through_ingest():
        ingest = Ingest.open(settings, registry, store)
        await ingest.accept(batch)
        assert ingest.counters.stored == 3
        assert ingest.counters.quarantined == 2
        assert {e["value"] for e in ingest.quarantine.recent} == {2.0, 4.0}
        await ingest.close()

    asyncio.run(through_ingest())


@pytest.mark.server("influxd")
@pytest.mark.server("nginx")
def test_retention_policies_are_set_up_and_follow_the_settings(opened, tmp_path):
    _, settings, registry, store = opened

    def policies():
        return {
            row[0]: row[1]
            for series in store._wire.query('SHOW RETENTION POLICIES ON "hallwatch"')
            for row in series.rows
        }

    assert policies()["raw"] == "48h0m0s"
    assert policies()["minute"] == "168h0m0s"
    assert policies()["hour"] == "0s"
    assert policies()["meta"] == "0s"
    longer = settings.model_copy(update={"retention": Retention(raw_hours=96)})
    InfluxStore(longer, registry).close()
    assert policies()["raw"] == "96h0m0s"


@pytest.mark.server("influxd")
@pytest.mark.server("nginx")
async def test_while_influxdb_is_stopped_nothing_is_lost(opened, caplog):
    server, settings, registry, store = opened
    ingest = Ingest.open(settings, registry, store)
    run = asyncio.create_task(ingest.run())
    now = now_ms()
    sent = 0

    async def send(n: int) -> None:
        nonlocal sent
        for _ in range(n):
            await ingest.accept(Batch.of(np.arange(4), now + sent, np.full(4, sent)))
            sent += 1

    with caplog.at_level(logging.CRITICAL):
        await send(5)
        await asyncio.to_thread(server.stop)
        await send(20)
        assert ingest.counters.spooled == 80
        new = registry.register(Point("CDU/Flow/x", "CDU", "Flow", "x"))
        await ingest.accept(Batch.of([new], now, [1]))
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(60):
            while ingest.counters.drained < 81:
                await send(1)
                await asyncio.sleep(0.02)
    got = await asyncio.to_thread(store.read, np.arange(5, dtype=np.int32), now, now + 100_000)
    assert len(got) == 4 * sent + 1
    assert sorted(set(got.value.tolist())) == list(range(sent))
    assert [p.key for p in await asyncio.to_thread(store.load_points)] == [p.key for p in registry]
    run.cancel()
    await ingest.close()


def test_a_service_starts_while_influxdb_is_away_and_its_readings_wait(tmp_path, free_port):
    async def scenario():
        registry = some_points()
        settings = settings_for(f"http://127.0.0.1:{free_port}", tmp_path)
        store = open_store(settings, registry)
        ingest = Ingest.open(settings, registry, store)
        await ingest.accept(Batch.of([0], now_ms(), [1]))
        assert ingest.counters.spooled == 1
        assert not store.health().available
        with pytest.raises(StoreUnavailable):
            store.read(np.array([0], np.int32), 0, 1)
        await ingest.close()
        store.close()

    asyncio.run(scenario())


@pytest.mark.server("influxd")
@pytest.mark.server("nginx")
def test_a_wrong_token_is_told_with_the_remedy_and_loses_nothing(influxdb, tmp_path, monkeypatch):
    monkeypatch.setenv(TOKEN, "wrong")
    registry = some_points()
    store = open_store(settings_for(influxdb.url, tmp_path), registry)
    with pytest.raises(StoreUnavailable, match="token"):
        store.write(Batch.of([0], now_ms(), [1]))
    assert "token" in store.health().detail
    store.close()


@pytest.mark.server("influxd")
@pytest.mark.server("nginx")
def test_the_token_may_lie_in_a_file(influxdb, tmp_path):
    (tmp_path / "token").write_text(influxdb.token + "\n")
    store = open_store(settings_for(influxdb.url, tmp_path, token_file=tmp_path / "token"), some_points())
    assert store.health().available
    assert store.health().version.startswith("InfluxDB 1.6")
    store.close()
    with pytest.raises(ConfigurationError, match="token_file"):
        open_store(settings_for(influxdb.url, tmp_path, token_file=tmp_path / "none"), some_points())


@pytest.mark.server("influxd")
@pytest.mark.server("nginx")
def test_tls_is_verified_against_the_given_authority(tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    with InfluxServer(tmp_path / "tls", certificate=(certificate, key)) as server:
        monkeypatch.setenv(TOKEN, server.token)
        trusting = open_store(settings_for(server.url, tmp_path, ca_file=certificate), some_points())
        now = now_ms()
        trusting.write(Batch.of([0], now, [5]))
        assert trusting.read(np.array([0], np.int32), now, now + 1).value.tolist() == [5]
        trusting.close()
        wary = open_store(settings_for(server.url, tmp_path), some_points())
        with pytest.raises(StoreUnavailable):
            wary.write(Batch.of([0], now, [5]))
        wary.close()
    with pytest.raises(StorageError, match="ca_file"):
        open_store(settings_for(server.url, tmp_path, ca_file=tmp_path / "none"), some_points())


@pytest.mark.server("influxd")
@pytest.mark.server("nginx")
def test_a_request_that_is_too_large_is_halved(tmp_path, monkeypatch):
    with InfluxServer(tmp_path / "small", max_body=20_000) as server:
        monkeypatch.setenv(TOKEN, server.token)
        store = open_store(settings_for(server.url, tmp_path), some_points())
        now = now_ms()
        report = store.write(Batch.of(np.zeros(3000, np.int32), now + np.arange(3000), np.arange(3000)))
        assert report.stored == 3000
        assert len(store.read(np.array([0], np.int32), now, now + 3000)) == 3000
        store.close()


class Overloaded(BaseHTTPRequestHandler):
    """Answers like an InfluxDB that is overloaded, as often as it is told."""

    status, wait, refusals, lines = 503, "7", 0, []

    def do_POST(self):
        body = (
            gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
            if "write" in self.path
            else b""
        )
        cls = type(self)
        if cls.refusals and b"value=" in body:  # readings; what upkeep writes is let through
            cls.refusals -= 1
            self.send_response(cls.status)
            self.send_header("Retry-After", cls.wait)
        else:
            cls.lines += body.decode().splitlines()
            self.send_response(204 if "write" in self.path else 200)
        self.send_header("Content-Length", "0" if "write" in self.path else "14")
        self.end_headers()
        if "write" not in self.path:
            self.wfile.write(b'{"results":[]}')

    def do_GET(self):
        self.send_response(204)
        self.send_header("X-Influxdb-Version", "v2.7.1")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_asks_for_time_is_left_alone_that_long(tmp_path, status, caplog):
    handler = type("Handler", (Overloaded,), {"status": status, "wait": "2", "refusals": 1, "lines": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = settings_for(f"http://127.0.0.1:{server.server_port}", tmp_path, manage_retention=False)
    registry = some_points()
    store = open_store(settings, registry)
    with pytest.raises(StoreUnavailable) as told:
        store.write(Batch.of([0], now_ms(), [1]))
    assert told.value.retry_after == 2
    handler.refusals = 1
    ingest = Ingest.open(settings, registry, store)
    run = asyncio.create_task(ingest.run())
    now = now_ms()
    await asyncio.gather(*(ingest.accept(Batch.of([0], now + n, [42 + n])) for n in range(2)))
    assert ingest.counters.spooled == 2
    assert not any("value=42" in line for line in handler.lines), "it was not left alone"
    async with asyncio.timeout(60):
        while ingest.counters.drained < 2:  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.02)
    assert sum("value=4" in line for line in handler.lines) == 2
    assert "2.7.1" in store.health().version
    run.cancel()
    await ingest.close()
    store.close()
    server.shutdown()


@pytest.mark.server("influxd")
@pytest.mark.server("nginx")
def test_of_two_processes_one_makes_the_rollups_and_the_other_takes_over(opened):
    _, settings, registry, store = opened
    other = InfluxStore(settings, registry)
    hour = now_ms() // HOUR * HOUR - 4 * HOUR
    store.write(Batch.of([0], [hour], [1]))
    assert store.maintain(now_ms())["repaired"] > 0
    other.write(Batch.of([1], [hour], [2]))
    assert other.maintain(now_ms())["repaired"] == 0
    assert store.maintain(now_ms())["repaired"] > 0
    store.write(Batch.of([2], [hour], [3]))
    store.close()
    assert other.maintain(now_ms())["repaired"] > 0
    grid = other.aggregate(np.arange(3, dtype=np.int32), hour, hour + HOUR, HOUR, Aggregate.MAX)
    assert grid.values[:, 0].tolist() == [1, 2, 3]
    other.close()


@pytest.mark.server("influxd")
@pytest.mark.server("nginx")
def test_numbers_of_1x_are_read_as_arrays(opened):
    _, _, _, store = opened
    now = now_ms()
    store.write(Batch.of(np.zeros(100), now - 1000 * np.arange(100), np.arange(100) / 10))
    (series,) = store._wire.query('SELECT value, quality FROM "RackPower" GROUP BY "key"')
    if store._wire.version.startswith("1."):
        assert isinstance(series.rows, np.ndarray), "it was told in JSON, or row by row"
    assert np.asarray(series.rows)[:, 1].tolist() == [(99 - n) / 10 for n in range(100)]


@pytest.mark.server("influxd")
@pytest.mark.server("nginx")
def test_a_server_that_calls_its_version_unknown_gets_its_database_and_retention(tmp_path, monkeypatch):
    with InfluxServer(tmp_path / "built", version="unknown") as server:
        monkeypatch.setenv(TOKEN, server.token)
        settings = settings_for(server.url, tmp_path, database="built_by_hand")
        registry = some_points(1)
        store = open_store(settings, registry)
        store.save_points(list(enumerate(registry)))
        assert "1.x, which calls itself unknown" in store.health().version
        (policies,) = store._wire.query('SHOW RETENTION POLICIES ON "built_by_hand"')
        names = [row[0] for row in np.asarray(policies.rows, object).tolist()]
        assert {"raw", "minute", "quarter", "hour"} <= set(names)
        store.write(Batch.of([0], [now_ms()], [42]))
        assert store.read(np.array([0], np.int32), 0, now_ms() + 1).value.tolist() == [42]
        store.close()


class Unnamed(BaseHTTPRequestHandler):
    """What a 2.x and a 3.x built by hand say of themselves, as their handlers have it."""

    pong, onboarding = b"", b""

    def do_GET(self):
        body = self.onboarding if self.path == "/api/v2/setup" else self.pong
        self.send_response(404 if self.path == "/api/v2/setup" and not body else 200)
        self.send_header("X-Influxdb-Version", "dev")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.mark.parametrize(
    ("pong", "setup", "version"),
    [(b"", b'{"allowed":false}', "2.x"), (b'{"version":"","revision":"x"}', b"", "3.x"), (b"", b"", "1.x")],
)
def test_a_server_without_a_version_is_told_by_what_it_answers(tmp_path, pong, setup, version):
    handler = type("Handler", (Unnamed,), {"pong": pong, "onboarding": setup})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    wire = InfluxWire(InfluxSettings(url=f"http://127.0.0.1:{server.server_port}"))
    assert wire.ping() == f"{version}, which calls itself dev"
    wire.close()
    server.shutdown()


def against(server, *options):
    """Run the contract against a server as its README says, where no InfluxDB is installed."""
    folder = server.folder / "bin"
    folder.mkdir(exist_ok=True)
    for program in ("bash", "dirname", "mktemp", "rm", "tee", "grep", "env"):
        (folder / program).unlink(missing_ok=True)
        (folder / program).symlink_to(str(shutil.which(program)))
    command = [Path(__file__).with_name("run_against.sh"), server.url, server.token, "-", *options]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PATH": str(folder)})


@pytest.mark.server("influxd")
@pytest.mark.server("nginx")
def test_the_contract_runs_against_a_server_elsewhere_and_fails_where_nothing_ran(influxdb):
    ran = against(influxdb, "-k", "influxdb and points_come_back")
    assert (ran.returncode, "1 passed" in ran.stdout) == (0, True), ran.stdout + ran.stderr
    none = against(influxdb, "--collect-only")
    assert (none.returncode, "none ran" in none.stderr) == (1, True), none.stdout + none.stderr
