"""A VTN of OpenADR 3.1: a real HTTP server that checks every message, in and out, against the published schema."""

from __future__ import annotations

import copy
import socket
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import orjson
import uvicorn
import yaml
from fastapi import FastAPI, Request, Response

CLIENT, SECRET = "ven-client", "ven-secret"
PREFIX = "/openadr3/3.1.0"


class OpenAdrSchema:
    """The published OpenAPI document: validates bodies by schema, and parameters by path."""

    def __init__(self, folder: Path) -> None:
        self._document = _json_schema(yaml.safe_load((folder / "openadr3-3.1.0.yaml").read_text()))
        self._reports = yaml.safe_load((folder / "enumerations/report-payloads.schema.yaml").read_text())[
            "definitions"
        ]
        self._events = yaml.safe_load(
            (folder / "enumerations/event-interval-payloads.schema.yaml").read_text()
        )["definitions"]
        self._units = yaml.safe_load((folder / "enumerations/units.schema.yaml").read_text())["enum"]
        self._readings = yaml.safe_load((folder / "enumerations/reading-types.schema.yaml").read_text())[
            "enum"
        ]

    def validate(self, name: str, message: Any) -> None:
        """Raise what jsonschema raises where a message is not of a schema."""
        self._check({"$ref": f"#/components/schemas/{name}"}, message)

    def validate_report(self, report: Any) -> None:
        """Validate a report, and its payloads, units and reading types by the enumerations."""
        self.validate("reportRequest", report)
        for descriptor in report["payloadDescriptors"]:
            assert descriptor["units"] in self._units, descriptor
            assert descriptor["readingType"] in self._readings, descriptor
        for resource in report["resources"]:
            for interval in resource["intervals"]:
                for payload in interval["payloads"]:
                    self._check(_plain(self._reports[payload["type"]]), payload["values"])

    def validate_event(self, event: Any) -> None:
        """Validate an event, and its payloads by the enumerations: a test's own mistakes count, too."""
        self.validate("event", event)
        for interval in event.get("intervals") or []:
            for payload in interval["payloads"]:
                if payload["type"] in self._events:
                    self._check(_plain(self._events[payload["type"]]), payload["values"])

    def validate_call(self, method: str, path: str, query: dict[str, str]) -> None:
        """Raise where the document has no such call, or a parameter is none of its."""
        known = {
            p["name"]: p["schema"]
            for p in self._document["paths"][path][method.lower()].get("parameters", [])
        }
        for name, value in query.items():
            assert name in known, f"{method} {path} takes no {name}"
            number = known[name].get("type") == "integer"
            self._check(known[name], int(value) if number else value)

    def _check(self, schema: dict[str, Any], message: Any) -> None:
        whole = {**schema, "components": self._document["components"]}
        jsonschema.Draft4Validator(whole, format_checker=jsonschema.FormatChecker()).validate(message)


def _json_schema(part: Any) -> Any:
    """Return an OpenAPI 3.0 schema as JSON Schema: what is nullable may be null."""
    if isinstance(part, list):
        return [_json_schema(item) for item in part]
    if not isinstance(part, dict):
        return part
    made = {key: _json_schema(value) for key, value in part.items()}
    return {"anyOf": [made, {"type": "null"}]} if made.pop("nullable", False) is True else made


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "$id"}


class VtnServer:
    """One VTN on loopback.

    Parameters
    ----------
    folder
        With the schema and the enumerations.
    """

    def __init__(self, folder: Path) -> None:
        self.schema = OpenAdrSchema(folder)
        self.faults: list[str] = []
        self.reports: list[dict[str, Any]] = []
        self.vens: list[dict[str, Any]] = []
        self.resources: list[dict[str, Any]] = []
        self.subscriptions: list[dict[str, Any]] = []
        self.events: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.tokens: set[str] = set()
        self.lifetime = 3600
        self.outage = False
        self.secret = SECRET
        self.program = self._object("PROGRAM", {"programName": "Capacity"})
        self._app = FastAPI()
        self._app.add_api_route("/{path:path}", self._answer, methods=["GET", "POST", "PUT", "DELETE"])
        self._bound = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._bound.getsockname()[1]}{PREFIX}"
        self._server = uvicorn.Server(uvicorn.Config(self._app, log_level="error", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, args=([self._bound],), daemon=True)

    def __enter__(self) -> VtnServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(60)
        self._bound.close()

    def publish(self, **fields: Any) -> str:
        """Make an event of the program; return its id."""
        made = self._object("EVENT", {"programID": self.program["id"], **fields})
        self.schema.validate_event(made)
        self.events[made["id"]] = made
        self._notify("CREATE", made)
        return str(made["id"])

    def modify(self, event: str, **fields: Any) -> None:
        """Change an event."""
        changed = {**self.events[event], **fields, "modificationDateTime": _now()}
        self.schema.validate_event(changed)
        self.events[event] = changed
        self._notify("UPDATE", changed)

    def delete(self, event: str) -> None:
        """Call an event off."""
        self._notify("DELETE", self.events.pop(event))

    def wait_for(self, found: Callable[[], Any], timeout: float = 60) -> Any:
        """Wait until something was told, and return it; fail where a message was none of the schema."""
        deadline = time.monotonic() + timeout
        while not (what := found()):
            assert time.monotonic() < deadline, (
                f"not told in time; last calls {self.calls[-10:]}; {self.faults}"
            )
            time.sleep(0.05)
        assert not self.faults, self.faults
        return what

    def _object(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": uuid.uuid4().hex,
            "createdDateTime": _now(),
            "modificationDateTime": _now(),
            "objectType": kind,
            **copy.deepcopy(fields),
        }

    def _notify(self, operation: str, event: dict[str, Any]) -> None:
        for subscription in self.subscriptions:
            for wanted in subscription["objectOperations"]:
                note = {"objectType": "EVENT", "operation": operation, "object": event}
                self.schema.validate("notification", note)
                headers = {"authorization": f"Bearer {wanted['bearerToken']}"}
                answer = httpx.post(wanted["callbackUrl"], json=note, headers=headers, timeout=60)
                if not answer.is_success:
                    self.faults.append(f"{wanted['callbackUrl']} answers {answer.status_code}")

    async def _answer(self, path: str, request: Request) -> Response:
        body = await request.body()
        path = f"/{path}".removeprefix(PREFIX)
        self.calls.append(f"{request.method} {path}")
        if self.outage:
            return _problem(503, "under maintenance")
        try:
            return self._handled(request.method, path, dict(request.query_params), body, request.headers)
        except Exception as error:
            self.faults.append(f"{request.method} {path}: {type(error).__name__}: {error}"[:1500])
            return _problem(400, str(error)[:300])

    def _handled(self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any) -> Response:
        self.schema.validate_call(method, path, query)
        if path == "/auth/server":
            return self._told("authServerInfo", {"tokenURL": f"{self.url}/auth/token"})
        if path == "/auth/token":
            form = dict(pair.split("=", 1) for pair in body.decode().split("&"))
            self.schema.validate("clientCredentialRequest", form)
            if (form["client_id"], form["client_secret"]) != (CLIENT, self.secret):
                return _json({"error": "invalid_client"}, 401)
            token = uuid.uuid4().hex
            self.tokens.add(token)
            told = {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime}
            return self._told("clientCredentialResponse", told)
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return _problem(401, "no token of ours")
        if method == "GET":
            return self._listed(path, query)
        message = orjson.loads(body)
        if path == "/reports":
            self.schema.validate_report(message)
            made = self._object("REPORT", {**message, "clientID": CLIENT})
            self.reports.append(made)
            return self._told("report", made, 201)
        if path == "/vens":
            self.schema.validate("VenVenRequest", message)
            if any(v["venName"] == message["venName"] for v in self.vens):
                return _problem(409, "there is one of that name")
            fields = {**message, "objectType": "VEN", "clientID": CLIENT, "targets": []}
            self.vens.append(self._object("VEN", fields))
            return _json(self.vens[-1], 201)
        if path == "/resources":
            self.schema.validate("VenResourceRequest", message)
            self.resources.append(self._object("RESOURCE", {**message, "objectType": "RESOURCE"}))
            return _json(self.resources[-1], 201)
        if path == "/subscriptions":
            self.schema.validate("subscriptionRequest", message)
            self.subscriptions.append(self._object("SUBSCRIPTION", {**message, "clientID": CLIENT}))
            return self._told("subscription", self.subscriptions[-1], 201)
        return _problem(404, "nothing here")

    def _listed(self, path: str, query: dict[str, str]) -> Response:
        skip, limit = int(query.pop("skip", 0)), int(query.pop("limit", 50))
        everything = {
            "/programs": [self.program],
            "/events": list(self.events.values()),
            "/vens": self.vens,
            "/resources": self.resources,
            "/reports": self.reports,
        }[path]
        found = [o for o in everything if all(o.get(key) == value for key, value in query.items())]
        return _json(found[skip : skip + limit])

    def _told(self, name: str, message: Any, status: int = 200) -> Response:
        self.schema.validate(name, message)
        return _json(message, status)


def _json(message: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(message), status, media_type="application/json")


def _problem(status: int, detail: str) -> Response:
    return _json({"type": "about:blank", "title": "refused", "status": status, "detail": detail}, status)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
