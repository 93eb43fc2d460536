"""Everything that reads from outside is fed the same garbage, with good things beside it: the good ones arrive.

Each parser by itself is a target of tests/fuzz, which also says what must hold of it; here they all get the same list, and
the collectors get it from real servers.
"""

import asyncio
import contextlib
import itertools
import json

import httpx
import pytest

from alerts.notify.webhook import WebhookNotifier
from alerts.settings import Webhook
from collectors.prometheus.collector import PrometheusCollector
from collectors.prometheus.settings import ExporterMapping, PrometheusSettings, Target
from collectors.schedule.collector import ScheduleCollector
from collectors.schedule.settings import ScheduleSettings
from collectors.snmp.settings import TrapSender, TrapSettings
from collectors.snmp.traps import TrapReceiver
from domain.batch import Batch
from domain.errors import NotificationError
from domain.points import Point, PointRegistry
from service.configuration import SHIPPED, load
from storage.reading_spool import ReadingSpool
from tests import fuzz
from tests.contract.notify_receivers import notification
from tests.fuzz.targets import _bus
from tests.fuzz.targets.snmp_notification import COLD_START
from tests.system.snmp_agent import Running, agent, target, up

NOW = 1_790_000_000_000
GARBAGE = {
    "empty": b"",
    "NUL": b"\0",
    "many NUL": b"\0" * 4096,
    "invalid UTF-8": b"\xff\xfe\xc3\x28\xed\xa0\x80",
    "byte order mark": b"\xef\xbb\xbf{}",
    "a megabyte of brackets": b"[" * 500_000 + b"]" * 500_000,
    "a thousand brackets": b"[" * 1000 + b"]" * 1000,
    "deep objects": b'{"a":' * 2000 + b"1" + b"}" * 2000,
    "deep YAML": b"\n".join(b" " * n + b"a:" for n in range(200)),
    "YAML that multiplies": b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b]",
    "a huge number": b"1" + b"0" * 400,
    "5,000 digits": b'{"value": ' + b"9" * 5000 + b"}",
    "a huge exponent": b'{"value": 1e999999999, "timestamp": 1e400}',
    "no number": b'{"value": NaN, "timestamp": Infinity, "quality": -Infinity}',
    "2^63": b'{"value": 9223372036854775808, "timestamp": 9223372036854775808}',
    "wrong types": b'{"value": {}, "timestamp": [], "quality": "x", "name": 5, "racks": 7, "targets": null}',
    "null": b"null",
    "a text": b'"text"',
    "a list of everything": b'[null, true, 1, -1.5, "x", [], {}, [[]], {"a": {}}]',
    "truncated JSON": b'{"value": 1.0, "timest',
    "bidi and ESC": "{\"\u202egnp\": \"\x1b[31m\u2066\x07\"}".encode(),
    "Unicode digits": '{"value": "\u0663\u0664", "gpu": "\u00b2"}'.encode(),
    "a line without end": b"x" * 300_000,
    "labels without a value": b'DCGM_FI_DEV_GPU_TEMP{gpu="0"}\n' * 50,
    "HTML": b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>",
    "truncated BER": COLD_START[:-7],
    "BER of lengths that lie": b"\x30\x84\xff\xff\xff\xff" + COLD_START,
    "gzip": bytes.fromhex("1f8b08000000000000ff") + b"\xff" * 100,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(fuzz.load_targets()))
def test_each_parser_handles_it_and_reads_what_is_beside_it(name):
    target = fuzz.load_targets()[name]
    for told in GARBAGE.values():
        target(told)


def test_a_bus_of_garbage_delivers_the_good_messages_and_counts_each_of_the_others():
    topic = b"BMS/v1/PUB/Value/Rack/RackPower/never/told"
    values = [(topic, told, 0) for told in GARBAGE.values()]
    sweeps = [(b"hallwatch/v1/gpu/R1/T1/sweep", told, 0) for told in GARBAGE.values()]
    topics = [(told[:60_000], b"1", 0) for told in GARBAGE.values()]
    decoder = _bus.decode_among_good_ones(*values, *sweeps, *topics)
    assert sum(decoder.quarantine.counts.values()) >= len(topics)


@pytest.fixture
async def serve():
    """Start servers that answer each connection with given bytes."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*answers):
            left = list(answers)

            async def answer(reader, writer):
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(left.pop(0) if len(left) > 1 else left[0])
                    await writer.drain()
                writer.close()

            server = await asyncio.start_server(answer, "127.0.0.1", 0)
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close)
            return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"

        yield start


def page(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_exporters_of_garbage_leave_the_good_one_its_readings(serve):
    good = await serve(page(b'DCGM_FI_DEV_SM_CLOCK{gpu="0"} 1000\n'))
    pages = [Target(url=await serve(page(told)), rack="R001", tray="T01") for told in GARBAGE.values()]
    bare = [Target(url=await serve(told), rack="R001", tray="T02") for told in GARBAGE.values()]
    settings = PrometheusSettings(
        targets=(*pages, *bare, Target(url=good, rack="R002", tray="T01")), interval=1, timeout=5
    )
    registry, rounds = PointRegistry(), []

    async def sink(batch):
        rounds.extend(registry[int(index)].object_id for index in batch.point)

    mapping = load(SHIPPED / "prometheus" / "dcgm-exporter.yaml", ExporterMapping)
    collector = PrometheusCollector(settings, mapping, registry, sink, ["R001", "R002"])
    task = asyncio.create_task(collector.run())
    await until(lambda: rounds.count("R002-T01-G0") >= 3)
    assert not task.done()
    stats = collector.stats()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert stats["errors"] or stats["set_aside"]
    assert all(len(told) < 1000 for told in stats["errors"].values())


async def test_a_schedule_of_garbage_leaves_what_was_announced_and_a_good_one_is_taken_again(serve):
    entry = {"name": "train", "racks": ["R001..002"], "start": NOW, "planned_end": NOW + 3_600_000}
    good = page(json.dumps([entry]).encode())
    answers = [part for told in GARBAGE.values() for part in (page(told), told, good)]
    url = await serve(good, *answers)
    kept = []
    settings = ScheduleSettings(name="jobs", url=url, timeout=30)

    def keep(*arguments):
        kept.append(arguments)

    collector = ScheduleCollector(settings, ["R001", "R002"], keep, clock=lambda: NOW)
    async with httpx.AsyncClient(timeout=60) as client:
        for _ in range(1 + len(answers)):
            await collector.look(client)
    assert len(kept) >= 1 + len(GARBAGE)
    stats = collector.stats()
    assert stats["failed_looks"] >= len(GARBAGE)
    assert len(str(stats)) < 10_000


async def test_a_flood_of_garbage_leaves_the_next_notification_heard():
    receiver = TrapReceiver(TrapSettings(port=0, credentials=[TrapSender()]), lambda _: True)
    task = asyncio.create_task(receiver.run())
    await receiver.listening.wait()
    for told in GARBAGE.values():
        receiver.take(told[:60_000], ("127.0.0.2", 30162))
    before = receiver.received
    await asyncio.sleep(1.1)  # the second in which so many were heard of it is over
    receiver.take(COLD_START, ("127.0.0.1", 30162))
    assert receiver.received == before + 1
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_receiver_that_answers_garbage_is_told_and_one_that_answers_well_is_not(serve):
    for told in GARBAGE.values():
        notifier = WebhookNotifier(Webhook(kind="webhook", url=await serve(told), timeout=30))
        with pytest.raises(NotificationError) as error:
            await notifier.send(notification())
        assert len(str(error.value)) < 500
        assert error.value.retryable
    for told in GARBAGE.values():
        notifier = WebhookNotifier(Webhook(kind="webhook", url=await serve(page(told)), timeout=30))
        assert await notifier.send(notification()) == ""


async def test_a_device_that_answers_garbage_leaves_the_good_one_its_polls():
    answers = itertools.cycle(told[:60_000] for told in GARBAGE.values())

    def odd(_agent, _asked):
        return [(0, next(answers))]

    async with (
        agent() as good,
        agent(spoil=odd) as sick,
        Running([target(sick), target(good, "GOOD")], interval=0.2, timeout=0.3) as run,
    ):
        await run.kept.until(lambda: run.kept.value(up("GOOD")) == 1)
        await run.polled(5)
        assert not run.task.done()
        await run.kept.until(lambda: run.kept.value(up("GOOD")) == 1)
        assert len(str(run.collector.stats())) < 10_000


@pytest.mark.parametrize("damaged", ["points.jsonl", "000000000000.spool", "position"])
def test_a_spool_beside_which_garbage_was_written_keeps_what_it_had(tmp_path, damaged):
    point = Point("Rack/RackPower/R1", "Rack", "RackPower", "R1")
    for number, told in enumerate(GARBAGE.values()):
        folder = tmp_path / str(number)
        registry = PointRegistry()
        spool = ReadingSpool(folder, registry, 1 << 24)
        spool.append(Batch.of([registry.register(point)], NOW, [5.0]))
        spool.close()
        with (folder / damaged).open("ab") as file:
            file.write(told)
        again = ReadingSpool(folder, PointRegistry(), 1 << 24)
        _, batch = again.peek(100)
        assert batch is not None
        assert batch.value.tolist() == [5.0]
        again.append(Batch.of([0], NOW + 1, [6.0]))  # and it goes on
        assert again.peek(100)[1].value.tolist() == [5.0, 6.0]
        again.close()
