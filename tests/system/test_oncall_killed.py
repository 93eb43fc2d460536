"""An escalation in progress outlives kill -9: each step is told, and none a second time."""

import asyncio
import contextlib
import math
import random
import shutil
import sys
from pathlib import Path

import orjson
import yaml

from domain.alert import Condition, Severity
from domain.batch import now_ms
from storage.records import Records
from tests.contract.notify_receivers import HookReceiver
from tests.system.test_alert_delivery import until

ROOT = Path(__file__).parents[2]
STEPS, APART_S, KILLS = 8, 1.5, 3


class Steps(HookReceiver):
    """Keeps which step was told by which message, in the order in which they came."""

    def __init__(self):
        super().__init__()
        self.told = []

    def take(self, headers, body):
        (alert,) = orjson.loads(body)["alerts"]
        self.told.append((self.paths[-1], alert["event"], headers["webhook-id"]))
        return super().take(headers, body)


@contextlib.asynccontextmanager
async def child(folder):
    """Run the engine in a process of its own, which is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.system.oncall_engine",
        str(folder),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert b"evaluating" in await process.stdout.readline()
        yield
    finally:
        process.kill()
        await process.wait()


async def test_an_escalation_goes_on_over_kill_9_at_random_moments_and_repeats_no_step(tmp_path):
    async with Steps().serve() as receiver:
        shutil.copy(ROOT / "config/site.yaml", tmp_path / "site.yaml")
        channels = {
            f"h{n}": {"kind": "webhook", "url": f"http://127.0.0.1:{receiver.port}/{n}", "timeout": "20 s"}
            for n in range(STEPS)
        }
        steps = [{"after": n * APART_S, "people": [f"p{n}"]} for n in range(STEPS)]
        settings = {
            "interval": 0.1,
            "rules": [
                {
                    "name": "leak",
                    "kind": "state",
                    "points": ["RackLeakDetect"],
                    "normal": ["NoLeak"],
                    "severity": "critical",
                }
            ],
            "routes": [{"severities": ["critical"], "escalation": "plant"}],
            "channels": channels,
            "on_call": {
                "people": {f"p{n}": {"reach": [f"h{n}"]} for n in range(STEPS)},
                "escalations": {"plant": {"steps": steps}},
            },
        }
        (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(settings))
        records = Records(f"sqlite:///{tmp_path}/records.sqlite")
        # a leak whose sensor is silent: it stands
        leak = Condition("leak", "R001", Severity.CRITICAL, "R001: Leak", 1.0, math.nan, "", now_ms())
        (alert,) = records.open_alerts([leak], now_ms())
        rng = random.Random(20_261_128)
        async with asyncio.timeout(500):
            for _ in range(KILLS):
                async with child(tmp_path):
                    await asyncio.sleep(rng.uniform(0, 1.5))
            async with child(tmp_path):
                await until(lambda: len({path for path, _, _ in receiver.told}) == STEPS, 300)
                await until(lambda: not records.due_deliveries(now_ms(), f"h{STEPS - 1}"), 60)
        progress = records.escalations()[alert.id]
        records.close()
    # a message that was under way when the process was killed may come twice, under its one id
    assert len({(path, number) for path, _, number in receiver.told}) == STEPS
    assert {path for path, event, _ in receiver.told if event == "opened"} == {"/0"}
    assert {event for path, event, _ in receiver.told if path != "/0"} == {"escalated"}
    assert [p.taken for p in progress] == [STEPS]
