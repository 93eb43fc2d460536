"""A tray agent's way to the broker: at QoS 1, with a Will that tells when the agent vanishes."""

from __future__ import annotations

import threading
from collections.abc import Callable

import orjson

from collectors.mqtt.connection import Connection, Will
from collectors.mqtt.settings import BrokerSettings
from domain.tray import presence_topic

_OFFLINE = orjson.dumps({"online": False})


class TrayLink:
    """Implements the tray agent's `Link`.

    Parameters
    ----------
    settings
        The broker; the client id becomes the tray's where none is given.
    rack, tray
        Which tray.
    """

    def __init__(self, settings: BrokerSettings, rack: str, tray: str) -> None:
        if not settings.client_id:
            settings = settings.model_copy(update={"client_id": f"hallwatch-{rack}-{tray}"})
        self._presence = presence_topic(rack, tray)
        self._waiting: dict[tuple[int, int], Callable[[bool], None]] = {}
        self._early: dict[tuple[int, int], bool] = {}
        self._lock = threading.Lock()
        self.connection = Connection(
            settings,
            will=Will(self._presence, _OFFLINE),
            on_connect=self._connected,
            on_answered=self._answered,
        )

    def start(self) -> None:
        """Begin connecting; returns at once."""
        self.connection.start()

    def stop(self) -> None:
        """Say goodbye and disconnect."""
        self.connection.publish(self._presence, _OFFLINE, qos=1, retain=True)
        self.connection.stop()

    @property
    def number(self) -> int:
        """Which connection stands, from 1; 0 while there is none."""
        return self.connection.state.connects if self.connection.state.connected else 0

    def send(self, topic: str, payload: bytes, retain: bool, answered: Callable[[bool], None]) -> bool:
        """Send a message; `answered` is called in the network thread: whether the broker took it."""
        number = self.number
        mid = self.connection.publish(topic, payload, qos=1, retain=retain) if number else None
        if mid is None:
            return False
        with self._lock:
            if (number, mid) not in self._early:
                self._waiting[number, mid] = answered
                return True
            taken = self._early.pop((number, mid))
        answered(taken)
        return True

    def _connected(self) -> None:
        with self._lock:  # what an earlier connection sent is sent again by the agent
            self._waiting.clear()
            self._early.clear()

    def _answered(self, mid: int, taken: bool) -> None:
        key = (self.connection.state.connects, mid)
        with self._lock:
            answered = self._waiting.pop(key, None)
            if answered is None:  # the broker was faster than `send`
                self._early[key] = taken
        if answered is not None:
            answered(taken)
