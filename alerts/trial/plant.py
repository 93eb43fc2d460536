"""A plant whose clock and readings are set by hand, watched by the real engine with records of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np

from alerts.engine import AlertEngine
from alerts.notify.message import MOST_IN_MESSAGE, Notification
from alerts.settings import AlertSettings
from alerts.view import Issued, View
from domain.batch import Batch
from domain.points import IntArray, Point, PointRegistry, Quality, ValueArray
from domain.site import Site
from storage.latest import LatestValues
from storage.plant import PlantView
from storage.records import Records
from storage.telemetry import TelemetryStore


class Receiver:
    """A channel that keeps what it was told, as ``event rule/object``."""

    most = MOST_IN_MESSAGE
    trends = 0

    def __init__(self) -> None:
        self._told: list[str] = []

    async def send(self, notification: Notification) -> str:
        """Keep it."""
        self._told += [f"{n.event} {n.alert.condition.key}" for n in notification.notices]
        return ""

    async def reach(self) -> str:
        """Nobody is told of a trial."""
        return "on trial"

    def take(self) -> list[str]:
        """Return what was told since the last time."""
        told, self._told = self._told, []
        return told


class Trial:
    """Rules on trial; nobody is told.

    Parameters
    ----------
    settings, site
        The rules with routes and channels, and the plant that they are for.
    folder
        Where the records of the trial lie; it must be empty.
    start
        When it begins, UTC ms.
    points
        What is measured.
    issued
        Where forecasts come from; the trial's own records if not given.
    """

    def __init__(
        self,
        settings: AlertSettings,
        site: Site,
        folder: Path,
        start: int,
        points: Iterable[Point] = (),
        issued: Issued | None = None,
    ) -> None:
        self.now = start
        self.registry = PointRegistry()
        for point in points:
            self.registry.register(point)
        self.latest = LatestValues(self.registry)
        self.records = Records(f"sqlite:///{folder}/trial.sqlite")
        self.receivers = {target: Receiver() for target in settings.targets(list(settings.channels))}
        # the engine asks a store only for the quarter hour before its start (`View.seed`), of which a trial has none
        nowhere = cast(TelemetryStore, None)
        plant = PlantView(site, self.registry, self.latest, nowhere, lambda: self.now)
        self.view = View(plant, issued or self.records, int(settings.max_age * 1000))
        self.engine = AlertEngine(
            settings.model_copy(update={"heartbeat": None}),
            self.view,
            self.records,
            self.receivers,
            lambda: self.now,
        )

    def read(self, points: IntArray, values: ValueArray) -> None:
        """Hand in readings of now; NaN is none."""
        there = ~np.isnan(values)
        if there.any():
            self.latest.update(Batch.of(points[there], self.now, values[there], Quality.GOOD, self.now))

    def step(self, now: int) -> None:
        """Evaluate and deliver at a time, UTC ms."""
        self.now = now
        self.view.read()
        self.engine.keep(self.engine.look(now))
        asyncio.run(self.engine.dispatcher.deliver_all())

    def close(self) -> None:
        """Let go of the records."""
        self.records.close()
