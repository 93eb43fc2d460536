"""An energy partner on the bus of DSX Flex: it signs load targets and hears what the site tells."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from collectors.mqtt.connection import Connection, connected
from collectors.mqtt.settings import BrokerSettings


def key_pair(folder: Path, name: str, kind: str = "ES256") -> tuple[Path, Path]:
    """Make a key pair; return the files of the private and of the public key, PEM."""
    made = (
        ec.generate_private_key(ec.SECP256R1()) if kind == "ES256" else rsa.generate_private_key(65537, 2048)
    )
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    pem = serialization.Encoding.PEM
    private.write_bytes(
        made.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(made.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def load_key(file: Path, kind: str = "ES256") -> ECKey | RSAKey:
    """Read a key."""
    return (ECKey if kind == "ES256" else RSAKey).import_key(file.read_bytes())


def iso(ms: float) -> str:
    """Return a moment (UTC ms) as ISO text."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def signed(payload: Any, key: ECKey | RSAKey, kid: str, alg: str = "ES256", **claims: Any) -> str:
    """Return a payload, signed."""
    registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
    return jws.serialize_compact(
        {"alg": alg, "kid": kid, **claims}, orjson.dumps(payload), key, registry=registry
    )


def target_event(data: str, party: str = "acme", **others: Any) -> dict[str, Any]:
    """Return the envelope around signed targets."""
    return {
        "specversion": "1.0.2",
        "id": str(uuid.uuid4()),
        "source": f"//grid/v1/isv/{party}",
        "type": "grid.loadtarget.set.v1",
        "time": datetime.now(UTC).isoformat(),
        "datacontenttype": "application/json",
        "subject": "loadtarget",
        "correlationid": str(uuid.uuid4()),
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "data": data,
        **others,
    }


def target(
    watts: float | None, start: timedelta | None = None, end: timedelta | None = None, **others: Any
) -> dict[str, Any]:
    """Return one load target, its interval told from now."""
    now = datetime.now(UTC)
    told = {"start_time": start, "end_time": end}
    return {
        "interval": {name: (now + shift).isoformat() for name, shift in told.items() if shift is not None},
        "load_constraint": None if watts is None else {"value": watts / 1e3, "unit": "kilowatt"},
        **others,
    }


class FlexContract:
    """The published AsyncAPI contract: validates messages and what is signed in them."""

    def __init__(self, file: Path) -> None:
        self._document = yaml.safe_load(file.read_text())

    def validate(self, schema: str, message: Any) -> None:
        """Raise what jsonschema raises where a message is not of a schema."""
        whole = {"$ref": f"#/components/schemas/{schema}", "components": self._document["components"]}
        jsonschema.Draft202012Validator(
            whole, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
        ).validate(message)


class EnergyPartner:
    """A partner that publishes targets and keeps what the site tells, each checked against contract and signature.

    Parameters
    ----------
    url
        Of the broker.
    name
        Its identifier.
    contract
        The published contract.
    site_key
        The site's public key.
    """

    def __init__(self, url: str, name: str, contract: FlexContract, site_key: Path) -> None:
        self.name = name
        self._contract = contract
        self._site_key = load_key(site_key)
        self._changed = threading.Condition()
        self.statuses: list[dict[str, Any]] = []
        self.alerts: list[dict[str, Any]] = []
        self.faults: list[str] = []
        topics = ["grid/v1/dsx-flex-agent/+/powerstate/status", "grid/v1/dsx-flex-agent/+/powerbreach"]
        self.connection = Connection(BrokerSettings(url=url, retry_max=0.5), self._take, topics)

    def __enter__(self) -> EnergyPartner:
        self.connection.start()
        connected(self.connection, 15.0, subscribed=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.stop()

    def publish(self, event: dict[str, Any] | bytes, party: str = "") -> None:
        """Send a message to the site."""
        payload = event if isinstance(event, bytes) else orjson.dumps(event)
        topic = f"grid/v1/isv/{party or self.name}/loadtarget/set"
        assert self.connection.publish(topic, payload, 1) is not None

    def wait_for(self, found: Callable[[], Any], timeout: float = 60) -> Any:
        """Wait until something that was told is found, and return it."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not (what := found()):
                left = deadline - time.monotonic()
                assert left > 0, f"not told in time; told were {self.statuses[-2:]} {self.alerts[-2:]}"
                self._changed.wait(min(left, 1.0))
        assert not self.faults, self.faults
        return what

    def _take(self, topic: bytes, payload: bytes, mid: int) -> None:
        self.connection.acknowledge([mid])
        try:
            event = orjson.loads(payload)
            breach = topic.endswith(b"powerbreach")
            name = "PowerBreachAlert" if breach else "PowerStateStatus"
            self._contract.validate(f"{name}Event", event)
            data = orjson.loads(
                jws.deserialize_compact(event["data"], self._site_key, algorithms=["ES256"]).payload
            )
            self._contract.validate(f"{name}Data", data)
        except Exception as error:
            self.faults.append(f"{topic!r}: {type(error).__name__}: {error}"[:2000])
            return
        with self._changed:
            (self.alerts if breach else self.statuses).append({**event, "data": data})
            self._changed.notify_all()
