"""Traps and informs: heard from whom they may come, and harmless in any number."""

import asyncio
import os
import socket
import time
from contextlib import asynccontextmanager

import pytest

from collectors.snmp import collector as collector_module
from collectors.snmp import traps as traps_module
from tests.system.snmp_agent import POWER, Running, agent, target, up

COLD_START = ("", "1.3.6.1.6.3.1.1.5.1")


@asynccontextmanager
async def listening(senders, **more):
    """Run a collector of one device at 127.0.0.1 that hears notifications, polled once an hour otherwise; tells its seconds."""
    traps = {"host": "127.0.0.1", "port": 0, "credentials": senders}
    async with agent() as a, Running([target(a)], traps=traps, interval=3600, **more) as run:
        await asyncio.wait_for(run.collector.traps.listening.wait(), 60)
        began = time.monotonic()
        run.seconds = lambda: time.monotonic() - began
        yield run


async def datagram(community="traps"):
    """Return a trap of version 2c as snmptrap sends it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        s.setblocking(False)
        where = f"127.0.0.1:{s.getsockname()[1]}"
        await notify("snmptrap", "-v2c", "-c", community, where, *COLD_START)
        return await asyncio.get_running_loop().sock_recv(s, 65535)


async def notify(*arguments):
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "MIBS": ""},
    )
    told, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, told.decode()


@pytest.fixture
def community(monkeypatch):
    monkeypatch.setenv("TRAP_COMMUNITY", "traps")
    return [{"community_env": "TRAP_COMMUNITY"}]


async def send(port, datagrams, host="127.0.0.1"):
    """Send from an address, a few at a time, so that the kernel drops none of them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((host, 0))
        for n, data in enumerate(datagrams):
            s.sendto(data, ("127.0.0.1", port))
            if n % 20 == 19:
                await asyncio.sleep(0)


@pytest.mark.server("snmptrap")
async def test_a_flood_of_notifications_makes_one_poll(community):
    """1,421 polls instead of one."""
    async with listening(community) as run:
        trap = await datagram()
        await send(run.collector.traps.port, [trap] * 1500)
        await run.kept.until(lambda: run.kept.value(POWER) == 5130.0)
        await run.quiet()
        most = 1 + run.seconds() // collector_module.EXTRA_POLL_EVERY
        assert 1 <= run.device.polls == run.collector.stats()["extra_polls"] <= most
        traps = run.collector.traps
        assert 0 < traps.taken <= 10 * (1 + run.seconds()), "ten a second of one host are taken apart"
        assert traps.dropped > 1000


@pytest.mark.server("snmptrap")
async def test_a_flood_of_notifications_is_left_to_the_kernel(community, monkeypatch):
    monkeypatch.setattr(traps_module, "MOST_READ", 20)
    async with listening(community) as run:
        trap = await datagram()
        began = time.monotonic()
        await send(run.collector.traps.port, [trap] * 200)
        await run.kept.until(lambda: run.kept.value(POWER) == 5130.0)
        seconds = time.monotonic() - began + 1
        assert run.collector.traps.taken + run.collector.traps.dropped <= 20 * (seconds + 1)
        heard = run.collector.traps.taken
        async with asyncio.timeout(60):
            while run.collector.traps.taken == heard:  # it listens again
                await send(run.collector.traps.port, [trap])
                await asyncio.sleep(0.05)


async def test_the_sender_of_a_notification_is_known_though_it_is_configured_by_name(monkeypatch):
    monkeypatch.setattr(collector_module, "EXTRA_POLL_EVERY", 0.05)
    async with agent() as a:
        by_name = {**target(a), "host": "localhost"}
        async with Running([by_name], interval=3600) as run:
            await run.quiet()
            assert not run.collector.poll_soon("127.0.0.1")
            assert run.collector.poll_soon("localhost")
            await run.kept.until(lambda: run.device.polls == 1)
            assert run.collector.poll_soon("127.0.0.1")
            await run.kept.until(lambda: run.device.polls == 2)


async def test_notifications_within_a_while_make_one_poll_more(monkeypatch):
    monkeypatch.setattr(collector_module, "EXTRA_POLL_EVERY", 1.0)
    async with agent() as a, Running([target(a)], interval=3600) as run:
        await run.quiet()
        began = time.monotonic()
        for _ in range(1000):
            run.collector.poll_soon("127.0.0.1")
        await run.kept.until(lambda: run.device.polls == 1)
        for _ in range(1000):
            run.collector.poll_soon("127.0.0.1")
        await run.kept.until(lambda: run.device.polls == 2)
        assert time.monotonic() - began > 0.9
        await run.quiet()
        assert run.device.polls == run.collector.stats()["extra_polls"] == 2
        assert run.collector.stats()["notifications_coalesced"] == 2 * 999


@pytest.mark.server("snmptrap")
async def test_a_flood_from_hosts_that_are_no_target_hides_no_device(community):
    async with listening(community) as run:
        trap = await datagram()
        for n in range(2, 12):
            await send(run.collector.traps.port, [trap] * 100, host=f"127.0.0.{n}")
        await send(run.collector.traps.port, [trap])
        await run.kept.until(lambda: run.kept.value(POWER) == 5130.0)
        assert run.collector.traps.unknown <= 5 * (2 + run.seconds()), "five a second of all of them"
        assert run.collector.traps.dropped > 500


@pytest.mark.server("snmptrap")
async def test_datagrams_that_are_no_notification_end_nothing(community):
    async with listening(community) as run:
        nested = b"\x30\x80" * 400
        trap = await datagram()
        odd = [b"", b"\x30", b"\xff" * 100, nested, b"\x30\x82\xff\xff\x02\x01"]
        await send(run.collector.traps.port, [*odd, trap])
        await run.kept.until(lambda: run.kept.value(POWER) == 5130.0)
        assert run.collector.traps.taken == 6
        assert run.collector.traps.received == 1
        assert run.collector.stats()["traps"]["not believed or no notification"] == 5


async def test_a_port_that_cannot_be_had_stops_no_polling_and_is_told(community):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        traps = {"host": "127.0.0.1", "port": taken.getsockname()[1], "credentials": community}
        async with agent() as a, Running([target(a)], traps=traps) as run:
            await run.kept.until(lambda: run.kept.value(up()) == 1)
            assert "cannot listen" in run.collector.stats()["traps_failed"]


KEYS = {
    "version": "3",
    "user": "watch",
    "auth": "SHA256",
    "auth_env": "TRAP_AUTH",
    "priv": "AES",
    "priv_env": "TRAP_PRIV",
}
V3_SENDER = (
    "-v3",
    "-u",
    "watch",
    "-l",
    "authPriv",
    "-a",
    "SHA-256",
    "-A",
    "authsecret1",
    "-x",
    "AES",
    "-X",
    "privsecret1",
)


@pytest.mark.server("snmptrap")
async def test_a_trap_makes_its_sender_be_polled_at_once(monkeypatch):
    monkeypatch.setenv("TRAP_COMMUNITY", "traps")
    async with listening([{"community_env": "TRAP_COMMUNITY"}]) as run:
        await notify("snmptrap", "-v2c", "-c", "traps", f"127.0.0.1:{run.collector.traps.port}", *COLD_START)
        await run.kept.until(lambda: run.kept.value(POWER) == 5130.0)
        assert run.collector.stats()["notifications"] == 1


@pytest.mark.server("snmptrap")
async def test_a_trap_with_the_wrong_community_is_not_believed(monkeypatch):
    monkeypatch.setenv("TRAP_COMMUNITY", "traps")
    async with listening([{"community_env": "TRAP_COMMUNITY"}]) as run:
        where = f"127.0.0.1:{run.collector.traps.port}"
        await notify("snmptrap", "-v2c", "-c", "wrong", where, *COLD_START)
        await notify("snmptrap", "-v2c", "-c", "traps", where, *COLD_START)
        await run.kept.until(lambda: run.kept.value(POWER) is not None)
        assert run.collector.stats()["notifications"] == 1


@pytest.mark.server("snmptrap")
async def test_an_inform_of_version_3_is_answered_and_believed(monkeypatch):
    monkeypatch.setenv("TRAP_AUTH", "authsecret1")
    monkeypatch.setenv("TRAP_PRIV", "privsecret1")
    async with listening([KEYS]) as run:
        # -Ci: an inform; snmptrap fails when it gets no answer
        await notify("snmptrap", "-Ci", *V3_SENDER, f"127.0.0.1:{run.collector.traps.port}", *COLD_START)
        await run.kept.until(lambda: run.kept.value(POWER) == 5130.0)


@pytest.mark.server("snmptrap")
async def test_a_trap_of_version_3_is_believed_by_its_engine_id(monkeypatch):
    monkeypatch.setenv("TRAP_AUTH", "authsecret1")
    monkeypatch.setenv("TRAP_PRIV", "privsecret1")
    engine = "8000000001020304"
    async with listening([{**KEYS, "engine_ids": [engine]}]) as run:
        where = f"127.0.0.1:{run.collector.traps.port}"
        await notify("snmptrap", "-e", f"0x{engine}", *V3_SENDER, where, *COLD_START)
        await run.kept.until(lambda: run.kept.value(POWER) == 5130.0)
