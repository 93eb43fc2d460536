"""Drives the VEN once against a running openleadr-rs; `tests/contract/openleadr_rs.sh` starts it. Not a test of the suite.

Usage: ``python -m tests.contract.openleadr_rs URL BASE64-SECRET FOLDER``; prints what was tried, and fails at the first surprise.
"""

from __future__ import annotations

import base64
import json
import socket
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import OctKey

from tests.servers.hallwatch import SITE, Service, hallwatch, write_configuration

CLIENT, SECRET = "hallwatch-ven", "a secret of the contract run"
VEN_SCOPES = [
    "read_targets",
    "read_ven_objects",
    "write_reports_ven",
    "write_subscriptions_ven",
    "write_vens_ven",
]
OURS = "read_all write_programs write_events write_vens_bl write_reports_bl write_users"


class BusinessLogic:
    """The other side: it makes users, programs and events, and reads reports, with tokens that it mints itself."""

    def __init__(self, url: str, secret: str) -> None:
        now = int(time.time())
        claims = {"sub": "contract-run", "iat": now, "nbf": now, "exp": now + 3600, "scope": OURS}
        token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(base64.b64decode(secret)))
        self._client = httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=30)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._client.request(method, path, json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None


def until(found: Any, why: str, timeout: float = 60) -> Any:
    deadline = time.monotonic() + timeout
    while not (what := found()):
        assert time.monotonic() < deadline, why
        time.sleep(0.2)
    return what


def done(what: str) -> None:
    print(f"ok: {what}", flush=True)


def main(url: str, secret: str, folder: Path) -> None:
    bl = BusinessLogic(url, secret)
    user = bl.call("POST", "/users", {"reference": "hallwatch", "description": None, "scope": VEN_SCOPES})
    bl.call("POST", f"/users/{user['id']}", {"client_id": CLIENT, "client_secret": SECRET})
    program = bl.call("POST", "/programs", {"programName": "Capacity"})
    done("a user with the scopes of a VEN, and a program")
    (folder / "ven-secret").write_text(SECRET)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ven = {
        "name": "openleadr",
        "url": url,
        "client_id": CLIENT,
        "client_secret_file": str(folder / "ven-secret"),
    }
    ven |= {
        "program": "Capacity",
        "ven_name": "lab-ven",
        "interval": 1,
        "callback_url": f"http://127.0.0.1:{port}",
    }
    settings = {"grid": {"openadr": [ven]}, "web": {"port": port}}
    service = Service(write_configuration(folder / "config", settings, SITE, {"rules": []}))

    def grid(*arguments: str) -> Any:
        return json.loads(hallwatch("grid", *arguments, "-c", str(service.config), "--json").stdout)

    def link() -> dict[str, Any]:
        return dict(service.health()["grid"]["openleadr"])

    service.start(timeout=180)
    try:
        until(lambda: link()["connected"], f"it does not connect: {link()['error']}")
        done("a token by client credentials, the program found")
        assert [v["venName"] for v in bl.call("GET", "/vens")] == ["lab-ven"]
        done("the VEN is registered")
        print(f"    resources: {[r['resourceName'] for r in bl.call('GET', '/resources')]}")
        print(f"    subscriptions: {link().get('subscribed', 0)}")
        start = (datetime.now(UTC) - timedelta(minutes=20)).isoformat().replace("+00:00", "Z")
        event = {
            "programID": program["id"],
            "eventName": "Evening peak",
            "intervalPeriod": {"start": start, "duration": "PT2H"},
            "payloadDescriptors": [
                {
                    "objectType": "EVENT_PAYLOAD_DESCRIPTOR",
                    "payloadType": "IMPORT_CAPACITY_LIMIT",
                    "units": "KW",
                }
            ],
            "reportDescriptors": [
                {"payloadType": "USAGE", "units": "KWH", "startInterval": 0, "historical": False},
                {"payloadType": "LOAD_SHED_DELTA_AVAILABLE", "startInterval": 0, "historical": False},
            ],
            "intervals": [{"id": 0, "payloads": [{"type": "IMPORT_CAPACITY_LIMIT", "values": [380.0]}]}],
        }
        made = bl.call("POST", "/events", event)
        (asked,) = until(lambda: grid("events"), "the event never came")
        assert (asked["reference"], asked["text"]) == (made["id"], "Evening peak: at most 380.0 kW"), asked
        done("an event became a request")
        hallwatch("grid", "consent", str(asked["id"]), "-c", str(service.config))
        until(lambda: [h["limit"] for h in grid("status")["limits"]] == [380e3], "it does not hold")
        done("agreed to, it is a limit")
        event["intervals"][0]["payloads"][0]["values"] = [360.0]  # type: ignore[index]
        bl.call("PUT", f"/events/{made['id']}", event)
        until(lambda: len(grid("events")) == 2, "the change never came")
        done("a changed event is a new version")
        reports = until(
            lambda: len(found := bl.call("GET", "/reports")) == 2 and found,
            f"the reports never came: {link()}",
        )
        kinds = sorted(r["payloadDescriptors"][0]["payloadType"] for r in reports)
        assert kinds == ["LOAD_SHED_DELTA_AVAILABLE", "USAGE"], kinds
        done("both reports are there")
        for report in reports:  # it keeps events that were reported on
            bl.call("DELETE", f"/reports/{report['id']}")
        bl.call("DELETE", f"/events/{made['id']}")
        until(lambda: "agreed" not in {r["standing"] for r in grid("events")}, "it was not called off")
        done("a deleted event is called off")
        print(f"    counters: { {k: v for k, v in link().items() if k != 'refusals'} }")
    finally:
        service.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
