"""The simulated factory behind its real endpoints: MQTT, SNMP, HTTP."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from collectors.snmp.probe import probe
from domain import dsx
from domain.errors import SourceError
from simulator.bms import Bms
from simulator.dsx import DsxPublisher
from simulator.options import SITE, read_site
from simulator.simulation import Options, PlannedFault, Simulation
from simulator.sizing import first_racks
from tests.servers.mosquitto import Mosquitto
from tests.unit.simulator.factories import small_factory

SMALL = first_racks(read_site(SITE), 4)
BROKERS = ["amqtt", pytest.param("mosquitto", marks=pytest.mark.server("mosquitto"))]


class Listener:
    """A client that keeps everything it hears from when it is made: the broker has agreed to the subscription by then."""

    def __init__(self, port, *topics, lasting=""):
        self.heard = {}
        self.retained = set()
        self.changed = threading.Condition()
        subscribed = threading.Event()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, lasting, clean_session=not lasting, protocol=paho.MQTTv311
        )
        self.client.on_connect = lambda client, *_: client.subscribe([(t, 1) for t in topics])
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.on_message = self._hear
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert subscribed.wait(60)

    def _hear(self, client, userdata, message):
        with self.changed:
            self.heard.setdefault(message.topic, []).append(json.loads(message.payload))
            if message.retain:
                self.retained.add(message.topic)
            self.changed.notify_all()

    def until(self, condition, timeout=60):
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.heard), timeout), sorted(self.heard)[:20]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@contextlib.asynccontextmanager
async def running(**options):
    simulation = Simulation(SMALL, Options(**({"mqtt_port": 0, "snmp_base_port": 0} | options)))
    async with simulation.endpoints():
        yield simulation


@pytest.mark.parametrize("broker", BROKERS)
async def test_the_bms_tells_metadata_values_and_heartbeat_and_a_raised_leak(broker):
    async with running(broker=broker, cadence_s=1.0) as simulation:
        listener = await asyncio.to_thread(Listener, simulation.mqtt_port, "BMS/v1/#")
        try:
            keys = simulation.bms.keys
            metadata = {dsx.metadata_topic(key) for key in keys}
            await asyncio.to_thread(listener.until, lambda heard: metadata <= heard.keys())
            later = await asyncio.to_thread(Listener, simulation.mqtt_port, "BMS/v1/PUB/Metadata/#")
            await asyncio.to_thread(later.until, lambda _: metadata <= later.retained)
            await asyncio.to_thread(later.close)
            feed = dsx.value_topic(next(k for k in keys if "ActivePower" in k and "FEED-A" in k))
            await asyncio.to_thread(listener.until, lambda heard: len(heard.get(feed, ())) >= 3)
            told = listener.heard[feed][-1]
            assert told["quality"] == 1
            assert told["value"] * 1e3 == pytest.approx(float(simulation.factory.state.feeds[0]), rel=0.05)
            beat = f"BMS/v1/PUB/Value/System/HeartbeatTimestampBms/{SMALL.id}/bms/heartbeat"
            await asyncio.to_thread(listener.until, lambda heard: beat in heard)

            url = f"http://127.0.0.1:{simulation.control_port}"
            async with httpx.AsyncClient(base_url=url, timeout=60) as control:
                raised = await control.post("/faults", json={"name": "leak", "target": "R002"})
                assert raised.status_code == 201
                leak = dsx.value_topic(f"Rack/RackLeakDetect/{SMALL.id}/P01/R002/leakStatus/state")
                await asyncio.to_thread(
                    listener.until, lambda heard: heard.get(leak, [{}])[-1].get("value") == 1
                )
                state = (await control.get("/state")).json()
                assert [f["name"] for f in state["faults"]] == ["leak"]
                assert state["dsx"]["dropped"] == 0
        finally:
            await asyncio.to_thread(listener.close)


@pytest.mark.server("mosquitto")
async def test_a_leak_that_is_told_while_a_subscriber_is_away_is_there_when_it_is_back(tmp_path):
    with Mosquitto(tmp_path) as broker:
        bms = Bms(small_factory())
        leak = dsx.value_topic(next(key for key in bms.keys if "RackLeakDetect/" in key))
        publisher = DsxPublisher(bms, "127.0.0.1", broker.port)
        telling = asyncio.create_task(publisher.mqtt.run())
        try:
            away = await asyncio.to_thread(Listener, broker.port, "BMS/v1/#", lasting="hall")
            async with asyncio.timeout(60):
                while leak not in away.heard:
                    publisher.tell()
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(away.close)
            bms.factory.raise_fault("leak", bms.factory.layout.racks[0], bms.factory.time_ms)
            bms.factory.step(20.0)
            publisher.tell()
            bms.factory.faults.clear()
            bms.factory.step(20.0)
            publisher.tell()
            back = await asyncio.to_thread(Listener, broker.port, "BMS/v1/#", lasting="hall")
            try:
                await asyncio.to_thread(back.until, lambda heard: len(heard.get(leak, ())) >= 2, 60)
                assert [told["value"] for told in back.heard[leak][:2]] == [1, 0]
            finally:
                await asyncio.to_thread(back.close)
        finally:
            telling.cancel()


async def test_snmp_devices_are_recognised_and_read_by_their_profiles():
    async with running(mqtt_port=None) as simulation:
        base, state = simulation.snmp.base_port, simulation.factory.state
        found = {d.object_id: base + i for i, d in enumerate(simulation.snmp.devices)}

        async def readings(device, profile):
            told = await probe("127.0.0.1", found[device], object_id=device)
            assert told.profile == profile
            assert not told.failed
            return {(r.point.point_type, r.point.phase, r.name): r.value for r in told.readings}

        pdu = await readings("R003-PDU-B", "apc-rpdu2")
        assert pdu["ActivePower", "", "Power"] == pytest.approx(state.taps[2, 1], rel=0.05)
        assert sum(v for (kind, phase, _), v in pdu.items() if kind == "PhasePower") == pytest.approx(
            state.taps[2, 1], rel=0.05
        )
        ups = await readings("UPS-A1", "ups-mib")
        assert ups["BatteryCharge", "", "Battery charge"] == 1.0
        output = [v for (kind, phase, _), v in ups.items() if kind == "PhasePower"]
        assert sum(output) == pytest.approx(state.ups_out[0], rel=0.05)
        crah = {kind: v for (kind, _, _), v in (await readings("CRAH-01", "apc-inrow")).items()}
        told = (await probe("127.0.0.1", found["CRAH-01"], object_id="CRAH-01")).readings
        air = {r.point.process_area: r.value for r in told if r.point.point_type == "AirTemperature"}
        assert 15 < air["Supply",] < air["Return",] < 45
        assert 0.2 < crah["FanSpeed"] <= 1.0
        assert crah["CoolingPower"] == pytest.approx(state.crah_heat[0], rel=0.05)


async def test_a_dead_pdu_answers_nobody():
    fault = PlannedFault("pdu-dead", "R001-PDU-A")
    async with running(mqtt_port=None, faults=(fault,)) as simulation:
        simulation.factory.step()
        port = simulation.snmp.base_port
        with pytest.raises(SourceError):
            await probe("127.0.0.1", port, timeout=0.2, retries=0)
        assert (await probe("127.0.0.1", port + 1)).profile == "apc-rpdu2"


@pytest.mark.parametrize("fault", ["pdu-half-answers", "pdu-odd-answers", "pdu-no-clock"])
async def test_a_misbehaving_agent_of_the_twin_loses_no_reading(fault):
    async with running(mqtt_port=None) as simulation:
        port = simulation.snmp.base_port
        well = await probe("127.0.0.1", port, timeout=1.0)
        simulation.factory.raise_fault(fault, "R001-PDU-A")
        simulation.factory.step()
        sick = await probe("127.0.0.1", port, timeout=1.0)
        lost = {r.symbol for r in well.readings} - {r.symbol for r in sick.readings}
        assert lost == ({"sysUpTime"} if fault == "pdu-no-clock" else set())
        assert sick.ok


async def test_readings_of_the_twin_stand_still_while_an_agent_is_frozen_and_go_on_after_it():
    async def power(port):
        told = await probe("127.0.0.1", port, timeout=1.0)
        return [r.value for r in told.readings if r.point.unit in {"W", "J"}]

    async with running(mqtt_port=None) as simulation:
        frozen, other = simulation.snmp.base_port, simulation.snmp.base_port + 1
        simulation.factory.raise_fault("pdu-frozen", "R001-PDU-A")
        simulation.factory.step()
        before = await power(frozen), await power(other)
        simulation.factory.step(600.0)
        after = await power(frozen), await power(other)
        assert after[0] == before[0]
        assert after[1] != before[1]
        simulation.factory.faults.clear()
        simulation.factory.step()
        assert await power(frozen) != before[0]


async def test_a_taken_port_is_told():
    async with running(mqtt_port=None, control_port=None) as simulation:
        other = Simulation(
            SMALL, Options(mqtt_port=None, snmp_base_port=simulation.snmp.base_port, control_port=None)
        )
        with pytest.raises(SourceError, match="for R001-PDU-A cannot be opened"):
            async with other.endpoints():
                pass


def test_a_taken_control_port_ends_the_process_with_exit_code_1(free_port):
    with socket.create_server(("127.0.0.1", free_port)):
        command = [sys.executable, "-m", "simulator", "--racks", "1", "--control-port", str(free_port)]
        told = subprocess.run(
            [*command, "--mqtt-port", "-1", "--snmp-base-port", "-1"], capture_output=True, text=True
        )
    assert told.returncode == 1
    assert f"TCP port {free_port} for the control channel cannot be opened" in told.stderr


@pytest.mark.parametrize("broker", BROKERS)
def test_the_process_sweeps_every_tray_through_the_nvml_collector_and_ends_cleanly(broker):
    command = [sys.executable, "-m", "service.simulated", "--racks", "2", "--broker", broker]
    command += ["--mqtt-port", "0", "--snmp-base-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            where = json.loads(process.stdout.readline())
            listener = Listener(where["mqtt"], "hallwatch/v1/trays/#")
            trays = {f"hallwatch/v1/trays/R{r:03d}/T{t:02d}" for r in (1, 2) for t in range(1, 19)}
            listener.until(lambda heard: {f"{t}/presence" for t in trays} <= heard.keys())
            listener.until(lambda heard: all(len(heard.get(f"{t}/sweep", ())) >= 3 for t in trays))
            for tray in trays:
                first, second, third = listener.heard[f"{tray}/sweep"][:3]
                assert [second["seq"], third["seq"]] == [first["seq"] + 1, first["seq"] + 2]
                assert third["t"] - first["t"] > 5000  # every 5 s; the first of a busy machine is late
                assert second["gpus"] == 4
            assert all(m["online"] for t in trays for m in listener.heard[f"{t}/presence"])
            fault = {"name": "tray-agent-dead", "target": "R002-T05"}
            httpx.post(
                f"http://127.0.0.1:{where['control']}/faults", json=fault, timeout=60
            ).raise_for_status()
            dead = "hallwatch/v1/trays/R002/T05/presence"
            listener.until(lambda heard: heard[dead][-1]["online"] is False)
            fault = {"name": "rack-trip", "target": "R001"}
            httpx.post(
                f"http://127.0.0.1:{where['control']}/faults", json=fault, timeout=60
            ).raise_for_status()
            rack = [f"hallwatch/v1/trays/R001/T{t:02d}/presence" for t in range(1, 19)]
            listener.until(lambda heard: all(heard[t][-1]["online"] is False for t in rack))
            listener.close()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        with pytest.raises(OSError, match="refused"):
            paho.Client(CallbackAPIVersion.VERSION2).connect("127.0.0.1", where["mqtt"])


def test_nothing_is_left_behind_when_whoever_started_it_is_gone():
    command = [
        sys.executable,
        "-m",
        "simulator",
        "--racks",
        "1",
        "--mqtt-port",
        "0",
        "--snmp-base-port",
        "-1",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        where = json.loads(process.stdout.readline())
        process.stdout.close()
        assert process.wait(60) == 0
    with pytest.raises(OSError, match="refused"):
        paho.Client(CallbackAPIVersion.VERSION2).connect("127.0.0.1", where["mqtt"])


def test_wrong_arguments_are_told_with_exit_code_2():
    command = [sys.executable, "-m", "simulator", "--racks", "2", "--fault", "leek@R001", "--for", "1"]
    told = subprocess.run(
        [*command, "--mqtt-port", "-1", "--snmp-base-port", "-1"], capture_output=True, text=True
    )
    assert told.returncode == 2
    assert "did you mean 'leak'" in told.stderr
