"""The real `hallwatch agent` process, nvidia-ml-py and the C stand-in in it, through a real mosquitto."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys

import pytest

from collectors.mqtt.collector import MqttCollector
from collectors.mqtt.connection import connected
from collectors.mqtt.settings import BrokerSettings, MqttSettings
from domain.points import PointRegistry
from tests.nvml_standin import build
from tests.servers.mosquitto import Mosquitto

pytestmark = [
    pytest.mark.server("mosquitto"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
    pytest.mark.xdist_group("mosquitto"),
]
INTERVAL = 0.1


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("nvml")).parent


class Agent:
    """An agent process of tray R001-T01, its GPUs in the stand-in library."""

    def __init__(self, folder, library, url, prefix=(), **settings):
        self.folder, self.library, self.prefix = folder, library, prefix
        folder.mkdir(parents=True, exist_ok=True)
        told = {
            "rack": "R001",
            "tray": "T01",
            "interval": INTERVAL,
            "spool": str(folder / "spool"),
        } | settings
        lines = [f"{name}: {value}" for name, value in told.items()]
        lines += ["broker:", f"  url: {url}", "  retry_max: 0.5", "  keepalive: 5"]
        (folder / "agent.yaml").write_text("\n".join(lines) + "\n")

    def start(self):
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "service", "agent", "-c", str(self.folder)],
                env={**os.environ, "LD_LIBRARY_PATH": str(self.library)},
                stdout=log,
                stderr=log,
            )

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(15)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()


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
async def hearing(url):
    heard = Heard()
    settings = MqttSettings(broker=BrokerSettings(url=url, client_id="collector", retry_max=0.5))
    collector = MqttCollector(settings, heard.registry, heard)
    running = asyncio.create_task(collector.run())
    await asyncio.to_thread(connected, collector.connection, 15.0, subscribed=True)
    heard.stats = collector.stats
    try:
        yield heard
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_four_gpus_are_heard(mosquitto, library, tmp_path):
    async with hearing(mosquitto.url) as heard:
        with Agent(tmp_path / "agent", library, mosquitto.url):
            await heard.until(lambda: len(heard.sequence) >= 5)
        await heard.until(lambda: heard.online[-1] == 0)  # it said goodbye
    power = [heard.latest[f"R001-T01-G{n}", "GpuPower"] for n in range(4)]
    assert power == pytest.approx([700, 750, 800, 850], rel=0.02)
    assert heard.latest["R001-T01-G0", "GpuPowerLimit"] == 1200
    assert ("R001-T01-G0", "GpuFanSpeed") not in heard.latest
    assert heard.complete


async def test_a_killed_agent_loses_no_sweep_and_its_absence_is_told(mosquitto, library, tmp_path):
    async with hearing(mosquitto.url) as heard:
        agent = Agent(tmp_path / "agent", library, mosquitto.url)
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


async def test_while_the_broker_is_away_sweeps_wait_and_then_all_come(mosquitto, library, tmp_path):
    async with hearing(mosquitto.url) as heard:
        with Agent(tmp_path / "agent", library, mosquitto.url, replay_rate=200):
            await heard.until(lambda: len(heard.sequence) >= 5)
            mosquitto.kill()
            await asyncio.sleep(3)
            mosquitto.start()
            before = max(heard.sequence)
            await heard.until(lambda: max(heard.sequence) >= before + 35 and heard.complete)
            assert heard.stats()["sweeps_missing"] == 0
            await heard.until(lambda: heard.latest["R001-T01", "SweepsSpooled"] == 0)


async def test_sweeps_wait_for_a_subscriber(mosquitto, library, tmp_path):
    with Agent(tmp_path / "agent", library, mosquitto.url, replay_rate=200) as agent:
        await until_logged(agent, "no subscriber")
        await asyncio.sleep(2)
        async with hearing(mosquitto.url) as heard:
            await heard.until(lambda: max(heard.sequence, default=0) >= 25 and heard.complete)
            assert heard.stats()["sweeps_missing"] == 0


async def test_an_agent_killed_while_the_broker_is_away_still_loses_nothing(mosquitto, library, tmp_path):
    async with hearing(mosquitto.url) as heard:
        agent = Agent(tmp_path / "agent", library, mosquitto.url, replay_rate=200)
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
    from collectors.nvml.spool import Spool

    spool = Spool(folder / "spool", 1 << 20)
    for _ in range(1500):  # as if the broker had been away for long
        spool.append(b"x" * 1400)
    spool.close()
    dropped = spool.dropped
    assert dropped > 0
    async with hearing(mosquitto.url) as heard:
        with Agent(folder, library, mosquitto.url, **settings, replay_rate=2000):
            await heard.until(lambda: heard.sequence and heard.stats()["refused"] >= 1500 - dropped)
    assert min(heard.sequence) == 1500
    assert heard.stats()["refused"] == 1500 - dropped


NAMESPACE = f"hallwatch{os.getpid()}"


@pytest.fixture
def namespace():
    """A network of the agent's own, joined to ours by one cable; yields how to cut it and the two addresses."""
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    cable = f"hw{os.getpid() % 10_000}"
    commands = (
        f"netns add {NAMESPACE}",
        f"link add {cable}a type veth peer name {cable}b netns {NAMESPACE}",
        f"addr add 198.18.213.1/30 dev {cable}a",
        f"link set {cable}a up",
        f"-n {NAMESPACE} addr add 198.18.213.2/30 dev {cable}b",
        f"-n {NAMESPACE} link set {cable}b up",
        f"-n {NAMESPACE} link set lo up",
    )
    try:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=False, capture_output=True)
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    yield lambda state: subprocess.run(["ip", "link", "set", f"{cable}a", state], check=True)
    subprocess.run(["ip", "netns", "del", NAMESPACE], check=False)


async def test_a_cut_between_agent_and_broker_loses_nothing(namespace, library, tmp_path, free_port):
    settings = f"listener {free_port} 198.18.213.1\nmax_queued_messages 0\nallow_anonymous true"
    with Mosquitto(tmp_path / "mosquitto", settings) as broker:
        async with hearing(broker.url) as heard:
            agent = Agent(
                tmp_path / "agent",
                library,
                f"mqtt://198.18.213.1:{free_port}",
                prefix=("ip", "netns", "exec", NAMESPACE),
                replay_rate=200,
            )
            with agent:
                await heard.until(lambda: len(heard.sequence) >= 5)
                namespace("down")
                await asyncio.sleep(10)  # longer than the agent's keepalive
                namespace("up")
                before = max(heard.sequence)
                await heard.until(lambda: max(heard.sequence) >= before + 100 and heard.complete)
