"""`hallwatch doctor` on a configuration of which one half works, against a real broker and devices on real UDP."""

import asyncio
import json

import pytest

from benchmarks._server_process import free_port
from tests.servers.hallwatch import SITE, hallwatch, write_configuration
from tests.servers.mosquitto import Mosquitto
from tests.system.snmp_agent import quick_agent, target

pytestmark = pytest.mark.server("mosquitto")

PAGE = "".join(f'DCGM_FI_DEV_GPU_TEMP{{gpu="{gpu}",Hostname="x"}} {40 + gpu}\n' for gpu in range(4)).encode()


async def _exporter(reader, writer):
    if not await reader.read(1000):
        return  # somebody only looked whether the port answers
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(PAGE) + PAGE)
    await writer.drain()
    writer.close()


async def test_each_thing_that_a_configuration_names_is_tried_and_told(tmp_path, monkeypatch):
    monkeypatch.setenv("HW_BROKER_PASSWORD", "a-secret-of-ours")
    exporter = await asyncio.start_server(_exporter, "127.0.0.1", 0)
    http = exporter.sockets[0].getsockname()[1]
    closed = free_port()
    with Mosquitto(tmp_path / "mosquitto") as broker:
        async with quick_agent() as a:
            folder = write_configuration(
                tmp_path / "config",
                {
                    "mqtt": [
                        {"name": "bms", "broker": {"url": broker.url}},
                        {
                            "name": "away",
                            "broker": {
                                "url": f"mqtt://127.0.0.1:{closed}",
                                "username": "us",
                                "password_env": "HW_BROKER_PASSWORD",
                            },
                        },
                    ],
                    "snmp": {
                        "polling": {"timeout": 1.0, "retries": 0},
                        "targets": [
                            target(a),
                            {"host": "127.0.0.1", "port": free_port(), "object_id": "PDU-2"},
                        ],
                    },
                    "prometheus": [
                        {
                            "targets": [
                                {
                                    "url": f"http://127.0.0.1:{http}/metrics",
                                    "rack": "Pod1C-E01",
                                    "tray": "T01",
                                }
                            ]
                        }
                    ],
                },
                SITE,
                {
                    "channels": {
                        "mail": {
                            "kind": "smtp",
                            "host": "127.0.0.1",
                            "port": closed,
                            "security": "none",
                            "sender": "hallwatch@example.org",
                            "recipients": ["oncall@example.org"],
                        },
                        "hook": {"kind": "webhook", "url": f"http://127.0.0.1:{http}/page"},
                    },
                    "routes": [],
                    "rules": [],
                },
            )
            done = await asyncio.to_thread(
                hallwatch, "doctor", "-c", folder, "--for", "1", "--json", check=False
            )
    exporter.close()
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    looks = {look["source"].split(": ")[0]: look for look in told["sources"]}
    assert {name for name, look in looks.items() if not look["ok"]} == {
        "mqtt away",
        "snmp PDU-2",
        "channel mail",
    }
    assert {"this machine", "mqtt bms", "snmp PDU-1", "channel hook"} <= looks.keys()
    assert len(looks["snmp PDU-1"]["readings"]) > 10
    assert any("GpuTemperature" in str(look["readings"]) for look in told["sources"])
    assert "a-secret-of-ours" not in done.stdout + done.stderr
