"""What the endpoints say, without a wire."""

import asyncio

import httpx
import orjson
import pytest

from collectors.nvml.placement import Place
from collectors.nvml.sweeper import Sweeper
from domain.errors import InputError
from domain.tray import GPU_FIELDS
from simulator.bms import Bms
from simulator.control import control_app
from simulator.dsx import DsxPublisher
from simulator.mqtt import encode_length, encode_text, publish_packet
from simulator.nvml import Driver, NVMLError, TrayNvml
from simulator.nvml_values import GpuReadings
from simulator.options import parse
from simulator.simulation import PlannedFault
from tests.unit.simulator.factories import NOW, small_factory


def control(factory):
    """A client of the factory's control channel."""
    transport = httpx.ASGITransport(control_app(factory, dict))
    return httpx.AsyncClient(transport=transport, base_url="http://control")


class Recorded(DsxPublisher):
    """A publisher whose packets end in a list."""

    def __init__(self, bms):
        super().__init__(bms, "127.0.0.1", 1)
        self.packets = []
        self.mqtt.send = self.packets.extend
        self.mqtt._writer = object()

    def messages(self):
        found = []
        for packet in self.packets:
            at = 1
            while packet[at] & 0x80:
                at += 1
            size = int.from_bytes(packet[at + 1 : at + 3], "big")
            body = packet[at + 1 :]
            if packet[0] & 0x06:  # QoS 1: a number stands between topic and payload
                body = body[: 2 + size] + body[4 + size :]
            found.append((packet[0] & 1, body[2 : 2 + size].decode(), orjson.loads(body[2 + size :])))
        self.packets.clear()
        return found


def test_on_connect_the_bms_tells_all_metadata_retained_then_all_values():
    bms = Bms(small_factory())
    dsx = Recorded(bms)
    dsx._start()
    metadata = dsx.messages()
    assert len(metadata) == len(bms.points) + 1
    assert all(retained for retained, _, _ in metadata)
    dsx.tell()
    told = dsx.messages()
    values = [m for m in told if "/Value/" in m[1] and "Heartbeat" not in m[1]]
    assert len(values) == len(bms.points)
    assert not any(retained for retained, _, _ in values)
    assert all(m[2].keys() == {"value", "timestamp", "quality"} for m in values)
    assert {m[2]["timestamp"] for m in values} == {NOW}
    assert sum("HeartbeatTimestampBms" in m[1] and "/Value/" in m[1] for m in told) == 1


def test_metadata_comes_again_every_100_s_spread_out():
    bms = Bms(small_factory())
    dsx = Recorded(bms)
    dsx._start()
    dsx.messages()
    again = []
    for _ in range(51):
        bms.factory.step(2.0)
        dsx.tell()
        new = [m[1] for m in dsx.messages() if "/Metadata/" in m[1]]
        assert len(new) < 0.04 * len(bms.points)
        again += new
    assert len(set(again)) == len(bms.points) + 1


def test_a_silent_bms_tells_nothing_not_even_its_heartbeat():
    factory = small_factory()
    dsx = Recorded(Bms(factory))
    factory.raise_fault("bms-silent", factory.site.id, NOW)
    factory.step()
    assert dsx.tell() == 0
    assert dsx.messages() == []


def misbehaving(name, target="R003", after_s=2.0):
    """What the bus carries while a fault goes on: (retained, topic, payload) of the fault's messages, BMS, time."""
    factory = small_factory()
    bms = Bms(factory)
    dsx = Recorded(bms)
    dsx._start()
    dsx.messages()
    factory.raise_fault(name, target, NOW)
    factory.step(after_s)
    dsx.tell()
    return dsx.messages(), factory.time_ms


def values_told(messages):
    return [m for m in messages if "/Value/" in m[1] and "Heartbeat" not in m[1]]


@pytest.mark.parametrize(
    ("name", "after_s", "ahead_s"),
    [("bms-clock-ahead", 2, 420), ("bms-clock-back", 2, -240), ("bms-clock-drift", 120, 2)],
)
def test_the_clock_of_the_bms_steps_and_drifts(name, after_s, ahead_s):
    messages, now = misbehaving(name, small_factory().site.id, after_s)
    assert {m[2]["timestamp"] - now for m in values_told(messages)} == {ahead_s * 1000}


def test_the_heartbeat_stops_while_values_go_on():
    messages, _ = misbehaving("bms-heartbeat-stops", small_factory().site.id)
    assert values_told(messages)
    assert not any("/Value/System/HeartbeatTimestampBms" in m[1] for m in messages)


def test_a_quantity_is_told_under_a_second_tag_with_metadata_of_its_own():
    messages, _ = misbehaving("tag-twice")
    second = [m for m in messages if m[1].endswith("/second")]
    assert [(m[0], m[1].split("/")[3]) for m in second] == [(1, "Metadata"), (0, "Value")]
    (first,) = [m for m in messages if second[1][1] == f"{m[1]}/second"]
    assert second[1][2]["value"] == pytest.approx(1.15 * first[2]["value"], rel=1e-3)
    assert second[0][2]["rackLocationId"] == "R003"


def test_values_of_one_rack_are_retained():
    messages, _ = misbehaving("value-retained")
    retained = [m[1] for m in values_told(messages) if m[0]]
    assert len(retained) == 1
    assert "/RackPower/" in retained[0]


def test_somebody_else_tells_a_racks_power():
    messages, _ = misbehaving("wrong-publisher")
    (rogue,) = [m for m in messages if m[1].startswith("BMS/v1/ROGUE/Value/Rack/RackPower/")]
    assert rogue[2]["value"] == 999


@pytest.mark.parametrize(("n", "encoded"), [(0, "00"), (127, "7f"), (128, "8001"), (2_097_151, "ffff7f")])
def test_remaining_lengths_are_those_of_the_mqtt_specification(n, encoded):
    assert encode_length(n).hex() == encoded


def test_a_publish_packet_is_as_the_specification_draws_it():
    assert publish_packet(encode_text("a/b"), b"hi", retain=True) == b"\x31\x07\x00\x03a/bhi"


def test_a_tray_swept_by_the_nvml_collector_tells_what_the_factory_has():
    factory = small_factory()
    sweeper = Sweeper(TrayNvml(Driver(factory), 76), 4)
    factory.step()
    sweeper.nvml._driver.refresh()
    sweeper.sweep(factory.time_ms)
    for _ in range(5):
        factory.step()
    sweeper.nvml._driver.refresh()
    row = sweeper.sweep(factory.time_ms)
    columns = GpuReadings(factory).told()
    for gpu in range(4):
        told = dict(zip(GPU_FIELDS, row[gpu * len(GPU_FIELDS) :], strict=False))
        for field in ("GpuTemperature", "GpuMemoryTemperature", "GpuEnergy", "GpuClock", "GpuMemoryTotal",
                      "GpuPowerInstant", "GpuEccCorrected", "GpuNvlinkTransmit", "GpuPowerLimit"):  # fmt: skip
            if told[field] is not None:  # limits come with a slow sweep only
                assert told[field] == pytest.approx(columns[field][76 + gpu], rel=1e-6), field
        assert told["GpuAvailable"] == 1.0
        assert told["GpuPower"] == pytest.approx(columns["GpuPower"][76 + gpu], rel=0.15)
        assert told["GpuFanSpeed"] is None


def test_the_simulated_gpus_answer_as_gb300_does():
    factory = small_factory()
    driver = Driver(factory)
    sweeper = Sweeper(TrayNvml(driver, 72 + 4 * 11), 4)
    factory.step()
    driver.refresh()
    values = sweeper.sweep(factory.time_ms)
    rows = [
        dict(zip(GPU_FIELDS, values[g * len(GPU_FIELDS) :][: len(GPU_FIELDS)], strict=True)) for g in range(4)
    ]
    assert [slot.place for slot in sweeper.slots][2] == Place(
        "1820000000001", 21, 11, 1, 3, f"165{(72 + 44) // 2 + 1:010d}"
    )
    assert [row["GpuModulePower"] is not None for row in rows] == [True, False, True, False]
    assert sweeper.module_power == pytest.approx(factory.gpus.module_power()[116:120:2].sum(), rel=1e-6)
    slowdown, shutdown = factory.plant.model.gpu.slowdown, factory.plant.model.gpu.shutdown
    for row in rows:
        assert row["GpuTemperatureLimit"] == pytest.approx(slowdown, abs=1)  # both are rounded
        assert row["GpuTemperatureShutdown"] == pytest.approx(shutdown, abs=1)
        assert 30 < row["GpuMemoryPower"] < 200
        assert (row["GpuNvlinksUp"], row["GpuNvlinksDown"]) == (18, 0)
        assert (row["GpuPcieGeneration"], row["GpuPcieWidth"]) == (6, 16)
        assert (row["GpuFabric"], row["GpuRecoveryAction"], row["GpuRepair"]) == (0, 0, 0)
        assert row["GpuPowerSmoothing"] is None
        assert row["GpuMemoryTemperatureLimit"] is None
    assert sweeper.slots[0].faults["field 251"] == "GpuPowerSmoothing: not permitted"
    factory.raise_fault("gpu-ecc", "R002-T12-G1", factory.time_ms + 1000)
    factory.advance_to(factory.time_ms + 3_600_000)
    driver.refresh()
    again = Sweeper(TrayNvml(driver, 72 + 4 * 11), 4).sweep(factory.time_ms)
    action = GPU_FIELDS.index("GpuRecoveryAction")
    assert [again[g * len(GPU_FIELDS) + action] for g in range(4)] == [0, 1, 0, 0]


def test_a_lost_gpu_is_lost_to_nvml_and_its_xid_is_told():
    factory = small_factory()
    driver = Driver(factory)
    sweeper = Sweeper(TrayNvml(driver, 0), 4)
    driver.refresh()
    sweeper.sweep(NOW)
    factory.raise_fault("gpu-lost", "R001-T01-G2", NOW + 1000)
    factory.advance_to(NOW + 3000)
    driver.refresh()
    row = sweeper.sweep(factory.time_ms)
    available = GPU_FIELDS.index("GpuAvailable")
    assert [row[g * len(GPU_FIELDS) + available] for g in range(4)] == [1.0, 1.0, 0.0, 1.0]
    assert driver.events[2] or [e.xid for e in sweeper.events] == [79]


def test_a_fault_that_is_raised_now_tells_its_xid_once():
    factory = small_factory()
    factory.advance_to(factory.time_ms + 2000)
    factory.raise_fault("gpu-lost", "R001-T01-G2", factory.time_ms)
    factory.advance_to(factory.time_ms + 5000)
    assert [(event.gpu, event.xid) for event in factory.xids] == [(2, 79)]


def test_nvml_refuses_what_a_liquid_cooled_gpu_has_not():
    nvml = TrayNvml(Driver(small_factory()), 0)
    nvml.nvmlInit()
    assert nvml.nvmlDeviceGetCount() == 4
    assert len({nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(i)) for i in range(4)}) == 4
    with pytest.raises(NVMLError) as refused:
        nvml.nvmlDeviceGetFanSpeed(0)
    assert refused.value.value == 3
    with pytest.raises(AttributeError):
        nvml.nvmlDeviceSetPowerManagementLimit(0, 1)


async def test_the_pager_keeps_what_somebody_was_told_newest_first():
    client = control(small_factory())
    for name in ("mei", "jonas"):
        assert (await client.post(f"/pager/{name}", json={"status": "firing"})).status_code == 204
    told = (await client.get("/pager")).json()
    assert [page["to"] for page in told] == ["jonas", "mei"]
    assert told[0]["message"] == {"status": "firing"}


async def test_faults_are_raised_and_cleared_over_the_control_channel():
    factory = small_factory()
    client = control(factory)
    assert len((await client.get("/catalogue")).json()) >= 20
    raised = await client.post("/faults", json={"name": "leak", "target": "R003", "after_s": 2})
    assert raised.status_code == 201
    assert raised.json()["onset"] == NOW + 2000
    factory.advance_to(NOW + 10_000)
    assert [f["progress"] for f in (await client.get("/state")).json()["faults"]] == [1.0]
    assert (await client.delete(f"/faults/{raised.json()['id']}")).json() == {"ended": 1}
    factory.step()
    assert (await client.get("/state")).json()["faults"] == []
    assert (await client.delete("/faults/99")).status_code == 404


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"name": "leek", "target": "R003"}, "did you mean 'leak'"),
        ({"name": "leak", "target": "R999"}, "'R999' is none"),
        ({"name": "leak"}, "target"),
        ({"name": "leak", "target": "R003", "duration_s": -1}, "duration_s"),
    ],
)
async def test_a_wrong_request_is_answered_with_what_is_wrong(body, message):
    answer = await control(small_factory()).post("/faults", json=body)
    assert answer.status_code == 422
    assert message in answer.text


async def test_jobs_and_tokens_are_told():
    factory = small_factory()
    client = control(factory)
    assert (await client.get("/jobs")).json()[0].keys() == {
        "name",
        "racks",
        "start",
        "planned_end",
        "intensity",
    }
    factory.advance_to(NOW + 5000)
    lines = (await client.get("/metrics")).text.splitlines()
    assert lines[1] == "# TYPE vllm:generation_tokens_total counter"
    assert float(lines[-1].rsplit(" ", 1)[1]) > 1000


def test_a_fault_on_the_command_line_is_read_or_explained():
    assert PlannedFault.parse("leak@R005@60") == PlannedFault("leak", "R005", 60.0)
    assert PlannedFault.parse("leak@R005") == PlannedFault("leak", "R005")
    for wrong in ("leak", "leak@R005@soon", "a@b@1@2@3"):
        with pytest.raises(InputError, match="name@object@seconds"):
            PlannedFault.parse(wrong)


def test_the_command_line_gives_site_and_options():
    site, options, seconds = parse(
        ["--racks", "4", "--mqtt-port", "-1", "--fault", "leak@R001@5", "--for", "3"], "simulator"
    )
    assert len(site.racks) == 4
    assert options.mqtt_port is None
    assert options.faults[0].target == "R001"
    assert seconds == 3.0


async def test_a_publisher_without_a_broker_counts_what_it_drops():
    bms = Bms(small_factory())
    dsx = DsxPublisher(bms, "127.0.0.1", 1)
    running = asyncio.create_task(dsx.mqtt.run())
    dsx.mqtt.send([b"x", b"y"])
    assert dsx.mqtt.dropped == 2
    assert dsx.tell() == 0
    running.cancel()
