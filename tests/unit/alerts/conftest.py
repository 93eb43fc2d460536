"""A small plant whose clock and readings a test sets by hand, watched by the real engine and real records."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from alerts.actions import acknowledge
from alerts.engine import AlertEngine
from alerts.notify.message import MOST_IN_MESSAGE
from alerts.settings import AlertSettings
from alerts.view import View
from domain.batch import Batch
from domain.errors import NotificationError
from domain.forecast import QUANTILES, Forecast
from domain.points import Point, PointRegistry, Quality
from domain.site import Site
from service.configuration import load
from storage.latest import LatestValues
from storage.plant import PlantView
from storage.records import Records

ROOT = Path(__file__).parents[3]
MIDNIGHT = 1_790_006_400_000 - 1_790_006_400_000 % 86_400_000
"""A midnight, UTC: quarter hours begin with it."""

SITE = {
    "id": "lab",
    "name": "Lab",
    "timezone": "Asia/Taipei",
    "limit": "600 kW",
    "installed": "700 kW",
    "rack_limit": "150 kW",
    "thermal": {"gpu": 87, "coolant_supply": 40, "coolant_return": 52},
    "pods": [{"id": "P1", "racks": "R001..004", "cdus": ["CDU1"], "row": 1}],
    "meters": ["FEED-A", "FEED-B"],
    "schedule": [
        {
            "start": "2026-09-21T10:00:00+00:00",
            "end": "2026-09-21T12:00:00+00:00",
            "limit": "500 kW",
            "reason": "demand response",
        }
    ],
}


class Outbox:
    """A channel that keeps what it was given; `broken` makes it fail, retryable or not."""

    most = MOST_IN_MESSAGE
    trends = 0

    def __init__(self):
        self.sent, self.tried = [], []
        self.broken = self.breaks_on = self.refuses = None

    async def send(self, notification):
        self.tried.append(notification)
        if self.breaks_on in [n.alert.condition.key for n in notification.notices]:
            raise KeyError("cannot be rendered")
        if self.refuses in [n.alert.condition.key for n in notification.notices]:
            raise NotificationError("400", retryable=False, content=True)
        if self.broken is not None:
            raise NotificationError("out of order", retryable=self.broken)
        self.sent += [(n.event.value, n.alert.condition.key) for n in notification.notices]
        return ""

    def take(self):
        taken, self.sent = self.sent, []
        return taken


class Lab:
    """`at(seconds)` sets the clock, `read(...)` hands in readings, `step()` evaluates and delivers."""

    def __init__(self, folder, rules, site=None):
        self.site = Site.model_validate(SITE if site is None else site)
        self.registry = PointRegistry()
        self.latest = LatestValues(self.registry)
        self.url = f"sqlite:///{folder}/records.sqlite"
        self.settings = AlertSettings.model_validate(rules)
        targets = self.settings.targets(list(self.settings.channels))
        self.outboxes = {target: Outbox() for target in ("mail", "hook", *targets)}
        self.now = MIDNIGHT
        self.link = None
        self.set_back = 0
        """How much the wall clock was set back, ms; what goes by the monotonic clock does not see it."""
        self.start()

    def start(self):
        self.runner = asyncio.Runner()
        self.records = Records(self.url)
        self.plant = PlantView(self.site, self.registry, self.latest, None)
        self.view = View(self.plant, self.records, int(self.settings.max_age * 1000))
        self.engine = AlertEngine(
            self.settings,
            self.view,
            self.records,
            self.outboxes,
            lambda: self.now,
            monotonic=lambda: (self.now + self.set_back) / 1000,
            link=self.link,
        )

    def restart(self, **changes):
        """End the process without notice and start another one on the same records, having heard nothing yet."""
        self.close()
        self.settings = self.settings.model_copy(update=changes)
        self.latest = LatestValues(self.registry)
        self.start()

    def close(self):
        self.runner.close()
        self.records.close()

    def point(self, object_type, point_type, object_id, **more):
        states = more.pop("states", ())
        unit = more.pop("unit", "" if states else "W")
        key = more.pop("key", f"{object_type}/{point_type}/{object_id}")
        return self.registry.register(
            Point(key, object_type, point_type, object_id, unit=unit, state_text=states, **more)
        )

    def read(self, point, value, quality=Quality.GOOD):
        points = np.atleast_1d(np.asarray(point, np.int32))
        self.latest.update(
            Batch.of(points, self.now, np.broadcast_to(value, points.shape), quality, self.now)
        )

    def at(self, seconds):
        self.now = MIDNIGHT + int(seconds * 1000)
        return self

    def step(self):
        self.look()
        return self.mail.take()

    def look(self):
        """Evaluate and deliver; what was told stays in the outboxes."""
        self.view.read()  # what was forecast, as after the look before
        self.engine.keep(self.engine.look(self.now))
        hand_overs = self.engine.hand_overs
        hand_overs.tell(hand_overs.due(self.now))
        self.runner.run(self.deliver())
        hand_overs.note(self.now)

    async def deliver(self):
        await self.engine.dispatcher.deliver_all()

    def acknowledge(self, key, note=""):
        return acknowledge(self.records, self.active[key].id, "mei", note, self.now)

    @property
    def mail(self):
        return self.outboxes["mail"]

    @property
    def active(self):
        return {a.condition.key: a for a in self.records.active_alerts()}

    def forecast(self, breach, median=590e3, issued=None, object_id="lab"):
        n = len(breach)
        issued = self.now if issued is None else issued
        start = issued - issued % 900_000 + 900_000 * np.arange(n, dtype=np.int64)
        spread = np.array(QUANTILES)[None, :] * 20e3 - 10e3
        self.records.save_forecast(
            Forecast(
                object_id,
                "ActivePower",
                "W",
                issued,
                issued,
                15,
                start,
                QUANTILES,
                np.broadcast_to(median, (n, 1)) + spread,
                np.full(n, 600e3),
                np.array(breach, float),
                "test 1",
            )
        )


ROUTES = [{"severities": ["critical", "high", "warning", "info"], "channels": ["mail"]}]
CHANNELS = {
    "mail": {"kind": "smtp", "host": "127.0.0.1", "sender": "a@b.example", "recipients": ["c@d.example"]},
    "hook": {"kind": "webhook", "url": "http://127.0.0.1/"},
}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    labs = []
    # a machine that is busy is not what these timelines are about
    monkeypatch.setattr("alerts.dispatch.PATIENCE_S", 60.0)

    def make(*rules, routes=ROUTES, site=None, **more):
        made = Lab(tmp_path, {"rules": list(rules), "routes": routes, "channels": CHANNELS, **more}, site)
        labs.append(made)
        return made

    yield make
    for made in labs:
        made.close()


@pytest.fixture(scope="session")
def shipped():
    """The configuration that comes with Hallwatch."""
    return load(ROOT / "config" / "alerts.yaml", AlertSettings)
