"""The real `hallwatch agent` process, nvidia-ml-py and the C stand-in in it, through a real mosquitto."""

import asyncio
import contextlib
import shutil

import pytest

from collectors.mqtt.collector import MqttCollector
from collectors.mqtt.connection import connected
from collectors.mqtt.settings import BrokerSettings, MqttSettings
from domain.points import PointRegistry
from tests.nvml_standin import build
from tests.nvml_standin.capture import table_of
from tests.servers.mosquitto import Mosquitto
from tests.servers.tray_agent import Cable, TrayAgentProcess

pytestmark = [
    pytest.mark.server("mosquitto"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
    pytest.mark.xdist_group("mosquitto"),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("nvml")).parent


class Heard:
    """What arrives of the tray: its readings by point type, and the sequence numbers."""

    def __init__(self):
        self.registry = PointRegistry()
        self.latest = {}
        self.sequence = []
        self.events = []
        self.online = []

    async def __call__(self, batch):
        for index, value, observed in zip(batch.point, batch.value, batch.observed, strict=True):
            point = self.registry[int(index)]
            self.latest[point.object_id, point.point_type] = float(value)
            if point.point_type == "SweepsTaken":
                self.sequence.append(int(value))
            elif point.point_type == "GpuXid":
                self.events.append((point.object_id, int(value), int(observed)))
            elif point.point_type == "TrayOnline":
                self.online.append(int(value))

    @property
    def complete(self):
        """Whether every sweep up to the newest has come."""
        return set(self.sequence) == set(range(max(self.sequence, default=-1) + 1))

    async def until(self, condition, timeout=90):
        async with asyncio.timeout(timeout):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def until_logged(agent, text, timeout=60):
    async with asyncio.timeout(timeout):
        while text not in (agent.folder / "agent.log").read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def hearing(url, racks=None, chassis=None):
    heard = Heard()
    settings = MqttSettings(broker=BrokerSettings(url=url, client_id="collector", retry_max=0.5))
    collector = MqttCollector(settings, heard.registry, heard, racks, chassis)
    running = asyncio.create_task(collector.run())
    await asyncio.to_thread(connected, collector.connection, 60.0, subscribed=True)
    heard.stats = collector.stats
    try:
        yield heard
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_four_gpus_are_heard(mosquitto, library, tmp_path):
    async with hearing(mosquitto.url) as heard:
        with TrayAgentProcess(tmp_path / "agent", library, mosquitto.url):
            await heard.until(lambda: len(heard.sequence) >= 5)
        await heard.until(lambda: heard.online[-1] == 0)  # it said goodbye
    power = [heard.latest[f"R001-T01-G{n}", "GpuPower"] for n in range(4)]
    assert power == pytest.approx([700, 750, 800, 850], rel=0.02)
    assert heard.latest["R001-T01-G0", "GpuPowerLimit"] == 1200
    assert ("R001-T01-G0", "GpuFanSpeed") not in heard.latest
    assert heard.complete


async def test_an_agent_without_a_place_finds_it_from_its_gpus(
    mosquitto, library, tmp_path, testdata, monkeypatch
):
    table = tmp_path / "table"
    table.write_text(table_of(testdata / "nvml" / "nvidia-smi-q-x.gb300.xml"))
    monkeypatch.setenv("STANDIN_TABLE", str(table))
    async with hearing(mosquitto.url, ["R007"], {"1820000000001": "R007"}) as heard:
        with TrayAgentProcess(tmp_path / "agent", library, mosquitto.url, rack='""', tray='""'):
            await heard.until(lambda: len(heard.sequence) >= 3)
    modules = [heard.latest.get((f"R007-T16-G{n}", "GpuModulePower")) for n in range(4)]
    assert [m is not None for m in modules].count(True) == 2
    assert heard.latest["R007-T16", "TrayModulePower"] == pytest.approx(sum(m for m in modules if m))
    assert heard.latest["R007-T16-G0", "GpuTemperatureLimit"] == 89
    assert heard.latest["R007-T16", "GpuProduct"] == 1


async def test_a_killed_agent_loses_no_sweep_and_its_absence_is_told(mosquitto, library, tmp_path):
    async with hearing(mosquitto.url) as heard:
        agent = TrayAgentProcess(tmp_path / "agent", library, mosquitto.url)
        agent.start()
        await heard.until(lambda: len(heard.sequence) >= 10)
        agent.kill()
        await heard.until(lambda: heard.online and heard.online[-1] == 0)
        before = max(heard.sequence)
        with agent:
            await heard.until(lambda: max(heard.sequence) >= before + 10 and heard.complete)
        assert 1 in heard.online
        assert heard.stats()["sweeps_missing"] == 0
    assert heard.complete


async def test_an_inference_server_whose_address_is_malformed_does_not_end_the_agent(
    mosquitto, library, tmp_path
):
    bad = '[{url: "http://[::1"}, {url: "http://a..b/"}]'
    async with hearing(mosquitto.url) as heard:
        with TrayAgentProcess(tmp_path / "agent", library, mosquitto.url, inference=bad) as agent:
            await until_logged(agent, "inference server cannot be read")
            before = len(heard.sequence)
            await heard.until(lambda: len(heard.sequence) >= before + 5)
            assert agent.process.poll() is None


async def test_while_the_broker_is_away_sweeps_wait_and_then_all_come(mosquitto, library, tmp_path):
    async with hearing(mosquitto.url) as heard:
        with TrayAgentProcess(tmp_path / "agent", library, mosquitto.url, replay_rate=200):
            await heard.until(lambda: len(heard.sequence) >= 5)
            mosquitto.kill()
            await asyncio.sleep(3)
            mosquitto.start()
            before = max(heard.sequence)
            await heard.until(lambda: max(heard.sequence) >= before + 35 and heard.complete)
            assert heard.stats()["sweeps_missing"] == 0
            await heard.until(lambda: heard.latest["R001-T01", "SweepsSpooled"] == 0)


async def test_sweeps_wait_for_a_subscriber(mosquitto, library, tmp_path):
    with TrayAgentProcess(tmp_path / "agent", library, mosquitto.url, replay_rate=200) as agent:
        await until_logged(agent, "no subscriber")
        await asyncio.sleep(2)
        async with hearing(mosquitto.url) as heard:
            await heard.until(lambda: max(heard.sequence, default=0) >= 25 and heard.complete)
            assert heard.stats()["sweeps_missing"] == 0


async def test_an_agent_killed_while_the_broker_is_away_still_loses_nothing(mosquitto, library, tmp_path):
    async with hearing(mosquitto.url) as heard:
        agent = TrayAgentProcess(tmp_path / "agent", library, mosquitto.url, replay_rate=200)
        agent.start()
        await heard.until(lambda: len(heard.sequence) >= 5)
        mosquitto.kill()
        await asyncio.sleep(2)
        agent.kill()
        before = max(heard.sequence)
        mosquitto.start()
        with agent:
            await heard.until(lambda: max(heard.sequence) >= before + 20 and heard.complete)


async def test_a_full_spool_loses_only_what_it_says(mosquitto, library, tmp_path):
    """The smallest spool holds about 700 sweeps: with an unreachable broker the oldest go, and are counted."""
    folder = tmp_path / "agent"
    settings = {"interval": 0.05, "spool_bytes": 1 << 20}
    from collectors.nvml.spool import SweepSpool

    spool = SweepSpool(folder / "spool", 1 << 20)
    for _ in range(1500):  # as if the broker had been away for long
        spool.append(b"x" * 1400)
    spool.close()
    dropped = spool.dropped
    assert dropped > 0
    async with hearing(mosquitto.url) as heard:
        with TrayAgentProcess(folder, library, mosquitto.url, **settings, replay_rate=2000):
            await heard.until(lambda: heard.sequence and heard.stats()["refused"] >= 1500 - dropped)
    assert min(heard.sequence) == 1500
    assert heard.stats()["refused"] == 1500 - dropped


@pytest.fixture
def cable():
    try:
        with Cable() as found:
            yield found
    except OSError as error:
        pytest.skip(str(error))


async def test_a_cut_between_agent_and_broker_loses_nothing(cable, library, tmp_path, free_port):
    settings = f"listener {free_port} {cable.near}\nmax_queued_messages 0\nallow_anonymous true"
    with Mosquitto(tmp_path / "mosquitto", settings) as broker:
        async with hearing(broker.url) as heard:
            agent = TrayAgentProcess(
                tmp_path / "agent",
                library,
                f"mqtt://{cable.near}:{free_port}",
                prefix=cable.prefix,
                replay_rate=200,
            )
            with agent:
                await heard.until(lambda: len(heard.sequence) >= 5)
                cable.cut()
                await asyncio.sleep(10)  # longer than the agent's keepalive
                cable.mend()
                before = max(heard.sequence)
                await heard.until(lambda: max(heard.sequence) >= before + 100 and heard.complete)
