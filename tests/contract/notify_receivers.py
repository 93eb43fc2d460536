"""Real receivers of mail and webhooks on loopback, and a message to send to them."""

import asyncio
import contextlib
import email
import email.policy
import os
import re
import socket
from zoneinfo import ZoneInfo

import orjson
import uvicorn
from aiosmtpd.smtp import SMTP

from alerts.notify import Notice, Notification
from alerts.notify.build import build_notifiers
from alerts.settings import AlertSettings
from domain.alert import Alert, AlertState, Condition, Severity
from storage.delivery_records import Event

OPENED = 1_790_000_000_000  # 2026-09-21 21:33:20 in Taipei


def notification(*objects, event=Event.OPENED, summary=None, severity=Severity.CRITICAL):
    def alert(n, object_id):
        condition = Condition(
            "envelope-breach-predicted",
            object_id,
            severity,
            summary or f"{object_id}: 70% likely to exceed 16.00 MW",
            16.25e6,
            16e6,
            "W",
            OPENED - 1000,
        )
        cleared = event is Event.CLEARED
        return Alert(
            n,
            condition,
            AlertState.CLEARED if cleared else AlertState.OPEN,
            OPENED,
            OPENED,
            cleared_at=OPENED + 60_000 if cleared else 0,
        )

    notices = tuple(
        Notice(event, alert(n, o), "Plan less load.", f"{n}-1")
        for n, o in enumerate(objects or ("taipei-1",), 1)
    )
    return Notification("taipei-1-1-abc", "taipei-1", "Taipei", ZoneInfo("Asia/Taipei"), notices, "")


class MailReceiver:
    """A real SMTP server; `answer` is what it says to DATA, `of_recipients` what to a recipient, where not "250 OK"."""

    kind = "smtp"
    id_of_the_message = "taipei-1-1-abc"
    temporary = "451 try again later"
    permanent = "550 no such mailbox"

    def __init__(self):
        self.got = []
        self.answer = "250 OK"
        self.of_recipients = {}
        self.to = []
        self.hang = None

    async def handle_RCPT(self, server, session, envelope, address, options):
        answer = self.of_recipients.get(address, "250 OK")
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server, session, envelope):
        if self.hang is not None:
            await self.hang.wait()
        if self.answer.startswith("2"):
            self.got.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
            self.to.append(list(envelope.rcpt_tos))
        return self.answer

    @contextlib.asynccontextmanager
    async def serve(self):
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SMTP(self, enable_SMTPUTF8=True, loop=loop), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            if self.hang is not None:
                self.hang.set()
            server.close()

    def settings(self):
        return {
            "kind": "smtp",
            "host": "127.0.0.1",
            "port": self.port,
            "security": "none",
            "sender": "hallwatch@site.example",
            "recipients": ["on-call@site.example"],
            "timeout": "30 s",
        }

    def texts(self):
        return [f"{m['Subject']}\n{m.get_body(('plain',)).get_content()}" for m in self.got]

    def pages(self):
        """What a mail client shows."""
        return [m.get_body(("html",)).get_content() for m in self.got]

    def ids(self):
        return [m["Message-ID"] for m in self.got]


class HookReceiver:
    """A real HTTP server; `answer` is its status."""

    kind = "webhook"
    id_of_the_message = "taipei-1-1-abc"
    temporary = 503
    permanent = 404

    def __init__(self):
        self.got = []
        self.answer = 204
        self.headers = {}
        self.methods, self.paths = [], []
        self.refused = {}  # status by path, where not `answer`
        self.hang, self.hang_on = None, b""

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if self.hang is not None and self.hang_on in body:
            await self.hang.wait()
        self.methods.append(scope["method"])
        self.paths.append(scope["path"])
        status, told = self.refused.get(scope["path"], self.answer), b""
        if 200 <= status < 300:
            status, told = self.take({k.decode(): v.decode() for k, v in scope["headers"]}, body)
        headers = [(k.encode(), v.encode()) for k, v in self.headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": told})

    def take(self, headers, body):
        self.got.append((headers, body))
        return self.answer, b""

    @contextlib.asynccontextmanager
    async def serve(self):
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(self, log_level="error", lifespan="off"))
        server.capture_signals = contextlib.nullcontext
        task = asyncio.create_task(server.serve([listening]))
        try:
            yield self
        finally:
            if self.hang is not None:
                self.hang.set()
            server.should_exit = True
            await task

    def settings(self):
        return {"kind": "webhook", "url": f"http://127.0.0.1:{self.port}/hook", "timeout": "30 s"}

    def texts(self):
        return [
            "\n".join(
                f"{a['severity'].upper()} {a['event']} {a['summary']} {a['object_id']} {a['value']} {a['limit']} "
                f"{a['opened_local']} {a['advice']}"
                for a in orjson.loads(body)["alerts"]
            )
            for _, body in self.got
        ]

    def ids(self):
        return [headers["webhook-id"] for headers, _ in self.got]


class PagerDutyReceiver(HookReceiver):
    """Plays PagerDuty's Events API v2: refuses what it would refuse, and keeps the state of its incidents."""

    kind = "pagerduty"
    id_of_the_message = "taipei-1/1"
    temporary = 429
    permanent = 400

    def __init__(self):
        super().__init__()
        self.answer = 202
        self.incidents = {}  # by key, the newest last
        self.triggered = []

    def take(self, headers, body):
        event = orjson.loads(body)
        action, key, about = event["event_action"], event["dedup_key"], event.get("payload", {})
        faults = [
            name
            for name, wrong in {
                "routing_key": len(event["routing_key"]) != 32,
                "body": len(body) > 512 * 1024,
                "dedup_key": len(key) > 255,
                "summary": action == "trigger" and not 0 < len(about["summary"]) <= 1024,
                "source": action == "trigger" and not about["source"],
                "severity": action == "trigger"
                and about["severity"] not in ("critical", "error", "warning", "info"),
            }.items()
            if wrong
        ]
        if faults:
            return 400, orjson.dumps({"status": "invalid event", "errors": [f"{f} is wrong" for f in faults]})
        self.got.append((headers, body))
        if action == "trigger":
            self.triggered.append(key)
            if self.incidents.get(key, "resolved") == "resolved":
                self.incidents[key] = "triggered"
        elif key in self.incidents:  # it drops what it has no open incident for
            self.incidents[key] = {"acknowledge": "acknowledged", "resolve": "resolved"}[action]
        return 202, orjson.dumps({"status": "success", "message": "Event processed", "dedup_key": key})

    def settings(self):
        os.environ["PAGERDUTY_KEY_OF_THE_TEST"] = "0123456789abcdef0123456789abcdef"
        return {
            "kind": "pagerduty",
            "url": f"http://127.0.0.1:{self.port}/v2/enqueue",
            "routing_key_env": "PAGERDUTY_KEY_OF_THE_TEST",
            "timeout": "30 s",
        }

    def texts(self):
        """Of all events together, each being one of its own."""
        events = [orjson.loads(body) for _, body in self.got]
        return ["\n".join(_as_shown(event) for event in events)] if events else []

    def ids(self):
        return [orjson.loads(body)["dedup_key"] for _, body in self.got]


class AlertmanagerReceiver(HookReceiver):
    """Refuses as an Alertmanager does that is told what to answer; `tests/contract/test_notify_alertmanager.py` has real ones."""

    kind = "alertmanager"
    id_of_the_message = "envelope-breach-predicted taipei-1 2026-09-21T14:13:20.000Z"
    temporary = 503
    permanent = 400

    def __init__(self):
        super().__init__()
        self.answer = 200

    def take(self, headers, body):
        for alert in orjson.loads(body):
            names, values = (
                alert["labels"].keys(),
                [*alert["labels"].values(), *alert["annotations"].values()],
            )
            if not all(re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) for name in names) or not all(values):
                return 400, b'"a label is wrong"'
        return super().take(headers, body)

    def settings(self):
        return {"kind": "alertmanager", "urls": [f"http://127.0.0.1:{self.port}"], "timeout": "30 s"}

    def alerts(self):
        return [orjson.loads(body) for _, body in self.got]

    def texts(self):
        return [
            "\n".join(
                f"{a['labels']['severity'].upper()} {a['labels']['object']} {' '.join(a['annotations'].values())}"
                for a in alerts
            )
            for alerts in self.alerts()
        ]

    def ids(self):
        return [
            f"{a['labels']['alertname']} {a['labels']['object']} {a['startsAt']}"
            for alerts in self.alerts()
            for a in alerts
        ]


class ChatReceiver(HookReceiver):
    """Plays a chat service; `service` and `path` make the address that the library is given."""

    kind = "apprise"
    id_of_the_message = None
    service, path = "json", "room"

    def __init__(self):
        super().__init__()
        self.answer = 200

    def settings(self, **more):
        """For one recipient, ops, and `more`: each a name and what the server is asked for."""
        found = {}
        for name, path in {"ops": self.path, **more}.items():
            variable = f"CHAT_{name.upper()}_OF_THE_TEST"
            os.environ[variable] = f"{self.service}://127.0.0.1:{self.port}/{path}"
            found[name] = {"url_env": variable}
        return {"kind": "apprise", "recipients": found, "timeout": "30 s"}

    def texts(self):
        return ["\n".join(str(v) for v in orjson.loads(body).values()) for _, body in self.got]


def _as_shown(event):
    if event["event_action"] != "trigger":
        return {"resolve": "cleared", "acknowledge": "acknowledged"}[event["event_action"]]
    about = event["payload"]
    return "\n".join(
        [about["severity"].upper(), about["summary"], about["component"], *about["custom_details"].values()]
    )


@contextlib.asynccontextmanager
async def channel(settings):
    yield build_notifiers(AlertSettings.model_validate({"channels": {"it": settings}}).channels)["it"]
