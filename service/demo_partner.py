"""The demonstration's energy partner: it asks for one load target over the simulated factory's own broker, signed, on loopback."""

from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path

import orjson
import structlog
from joserfc import jws
from joserfc.jwk import ECKey

from collectors.mqtt.connection import Connection, connected
from collectors.mqtt.settings import BrokerSettings
from domain.batch import now_ms
from domain.errors import HallwatchError
from partners.grid.flex.agent import FlexAgent
from partners.grid.flex.messages import moment

log = structlog.get_logger(__name__)

PARTY, SITE = "demo-utility", "demo-site"
LIMIT = 0.9
"""Share of the site's limit that it asks for."""
AHEAD_MS, LASTS_MS = 2 * 3_600_000, 3_600_000
WAIT_S = 300.0


def demo_keys(folder: Path) -> dict[str, Path]:
    """Return the files of the partner's and the site's keys, private ones under their names, public ones as ``.pub``."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Path] = {}
    for name in (PARTY, SITE):
        private, public = folder / f"{name}.key", folder / f"{name}.pub"
        if not (private.exists() and public.exists()):
            key = ECKey.generate_key("P-256")
            private.unlink(missing_ok=True)
            handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(key.as_pem(private=True))
            public.write_bytes(key.as_pem(private=False))
        found |= {name: private, f"{name}.pub": public}
    return found


async def ask(agent: FlexAgent, broker: dict[str, str], key: Path, limit: float) -> None:
    """Ask for a target in two hours, once the site listens.

    Parameters
    ----------
    agent
        The site's side.
    broker
        Settings of the broker.
    key
        The partner's private key.
    limit
        The site's limit, W.
    """
    waited = 0.0
    while not agent.up:  # nothing is kept for a session that never was
        if waited > WAIT_S:
            return
        await asyncio.sleep(1.0)
        waited += 1.0
    connection = Connection(BrokerSettings.model_validate(broker))
    connection.start()
    try:
        await asyncio.to_thread(connected, connection, 30.0)
        connection.publish(f"grid/v1/isv/{PARTY}/loadtarget/set", _target(key, limit), 1)
        await asyncio.sleep(2.0)  # for the broker's answer
    except HallwatchError as error:
        log.warning("the demonstration's energy partner could not ask", error=str(error))
    finally:
        await asyncio.to_thread(connection.stop)


def _target(key: Path, limit: float) -> bytes:
    now = now_ms()
    target = {
        "interval": {"start_time": moment(now + AHEAD_MS), "end_time": moment(now + AHEAD_MS + LASTS_MS)},
        "load_constraint": {"value": round(LIMIT * limit / 1e3), "unit": "kilowatt"},
    }
    header = {"alg": "ES256", "kid": PARTY}
    signed = jws.serialize_compact(
        header, orjson.dumps({"targets": [target]}), ECKey.import_key(key.read_bytes())
    )
    event = {
        "specversion": "1.0.2",
        "id": str(uuid.uuid4()),
        "source": f"//grid/v1/isv/{PARTY}",
        "type": "grid.loadtarget.set.v1",
        "time": moment(now),
        "datacontenttype": "application/json",
        "subject": "loadtarget",
        "correlationid": str(uuid.uuid4()),
        "traceparent": f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01",
        "data": signed,
    }
    return orjson.dumps(event)
