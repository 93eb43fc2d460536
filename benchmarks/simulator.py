"""What the simulated factory costs at full size: `python -m benchmarks.simulator [--seconds 30] [--racks 96]`.

Starts the factory with all its endpoints as the demo does, once per broker, with a subscriber to everything, and prints
one JSON object. References, in the same run: amqtt for the broker, a general SNMP library for an SNMP answer.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
import urllib.request
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import psutil
from paho.mqtt.enums import CallbackAPIVersion
from pyasn1.codec.ber import decoder, encoder  # type: ignore[import-untyped]
from pysnmp.proto import api

from domain.points import PointRegistry
from simulator.bms import Bms, ChangeFilter
from simulator.broker import mosquitto
from simulator.factory import Factory
from simulator.history import RECENT_MS, history
from simulator.options import SITE, read_site
from simulator.sizing import first_racks
from simulator.snmp.agents import SnmpAgents

WARM_UP_S = 12.0


def figure(value: float, unit: str, reference: float | None = None) -> dict[str, Any]:
    ratio = None if not reference else value / reference
    return {"value": value, "unit": unit, "reference": reference, "ratio": ratio}


def endpoints(program: str, racks: int, seconds: float) -> dict[str, float]:
    """Run everything on one broker for some seconds; return shares of a core, memory, rates, losses."""
    start = int(time.time()) * 1000 - RECENT_MS
    command = [sys.executable, "-m", "service.simulated", "--racks", str(racks), "--broker", program]
    command += ["--mqtt-port", "0", "--snmp-base-port", "0", "--start-ms", str(start)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            where = json.loads(process.stdout.readline())
            return observed(process.pid, where, seconds)
        finally:
            process.terminate()


def observed(pid: int, where: dict[str, Any], seconds: float) -> dict[str, float]:
    sequences: dict[str, list[int]] = {}
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bench", protocol=paho.MQTTv311)
    client.on_message = lambda _c, _u, message: note(sequences, message)
    client.on_connect = lambda c, *_: c.subscribe([("BMS/v1/#", 1), ("hallwatch/v1/#", 1)])
    client.connect("127.0.0.1", where["mqtt"])
    client.loop_start()
    time.sleep(WARM_UP_S)
    simulator, broker = psutil.Process(pid), psutil.Process(state(where)["broker"]["pid"])
    before, told = (cpu(simulator), cpu(broker)), sent(where)
    began = time.monotonic()
    time.sleep(seconds)
    after, told_after = (cpu(simulator), cpu(broker)), sent(where)
    took = time.monotonic() - began
    client.loop_stop()
    expected = sum(max(seen) - min(seen) + 1 for seen in sequences.values())
    return {
        "core_share": (after[0] - before[0]) / took,
        "broker_core_share": (after[1] - before[1]) / took,
        "memory_bytes": simulator.memory_info().rss,
        "messages_per_s": (told_after - told) / took,
        "sweeps_lost": expected - sum(len(set(seen)) for seen in sequences.values()),
    }


def note(sequences: dict[str, list[int]], message: paho.MQTTMessage) -> None:
    if message.topic.endswith("/sweep"):
        sequences.setdefault(message.topic, []).append(json.loads(message.payload)["seq"])


def state(where: dict[str, Any]) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{where['control']}/state") as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def sent(where: dict[str, Any]) -> int:
    told = state(where)
    return int(told["dsx"]["published"] + told["trays"]["sweeps"])


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def per_call(call: Any, repeat: int) -> float:
    call()
    began = time.process_time()
    for _ in range(repeat):
        call()
    return (time.process_time() - began) / repeat


def snmp_request(columns: int) -> bytes:
    """Return a GET of so many objects, made with the general library."""
    module = api.PROTOCOL_MODULES[api.SNMP_VERSION_2C]
    pdu = module.GetRequestPDU()
    module.apiPDU.set_defaults(pdu)
    oids = [
        (f"1.3.6.1.4.1.318.1.1.26.6.3.1.{4 + i % 7}.{1 + i % 3}", module.Null("")) for i in range(columns)
    ]
    module.apiPDU.set_varbinds(pdu, oids)
    message = module.Message()
    module.apiMessage.set_defaults(message)
    module.apiMessage.set_community(message, "public")
    module.apiMessage.set_pdu(message, pdu)
    return bytes(encoder.encode(message))


def general_answer(request: bytes) -> bytes:
    """Answer with the general library, values at hand."""
    module = api.PROTOCOL_MODULES[api.SNMP_VERSION_2C]
    message, _ = decoder.decode(request, asn1Spec=module.Message())
    pdu = module.apiMessage.get_pdu(message)
    response = module.apiMessage.get_response(message)
    answer = module.apiMessage.get_pdu(response)
    module.apiPDU.set_varbinds(
        answer, [(oid, module.Integer(4711)) for oid, _ in module.apiPDU.get_varbinds(pdu)]
    )
    return bytes(encoder.encode(response))


def parts(racks: int) -> dict[str, dict[str, Any]]:
    """Measure the parts in this process."""
    site = first_racks(read_site(SITE), racks)
    now = int(time.time()) * 1000
    factory = Factory(site, 1, now - RECENT_MS)
    began = time.perf_counter()
    rows = sum(len(batch) for batch in history(factory, PointRegistry(), now))
    laid = time.perf_counter() - began
    bms = Bms(factory)
    change = ChangeFilter(bms)
    agents = SnmpAgents(factory, bms.meters)
    request = snmp_request(20)
    module = api.PROTOCOL_MODULES[api.SNMP_VERSION_2C]
    assert module is not None
    return {
        "step_s": figure(per_call(factory.step, 300), "s"),
        "read_s": figure(per_call(lambda: change(bms.read()), 100), "s"),
        "history_s": figure(laid, "s"),
        "history_rows": figure(rows, "rows"),
        "snmp_answer_s": figure(
            per_call(lambda: agents.respond(agents.devices[0], request), 2000),
            "s",
            per_call(lambda: general_answer(request), 50),
        ),
        "gpus": figure(float(np.size(factory.gpus.power)), "1"),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=30.0)
    arguments.add_argument("--racks", type=int, default=96)
    told = arguments.parse_args()
    figures = parts(told.racks)
    programs = ["amqtt"] + (["mosquitto"] if mosquitto() else [])
    runs = {program: endpoints(program, told.racks, told.seconds) for program in programs}
    for program, run in runs.items():
        simple = runs["amqtt"]
        for name, unit in (
            ("core_share", "1"),
            ("broker_core_share", "1"),
            ("memory_bytes", "By"),
            ("messages_per_s", "1/s"),
            ("sweeps_lost", "count"),
        ):
            figures[f"{program}_{name}"] = figure(
                run[name], unit, simple[name] if program != "amqtt" else None
            )
    machine = {"cpus": psutil.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    print(json.dumps({"name": "simulator", "machine": machine, "figures": figures}, indent=1))


if __name__ == "__main__":
    main()
