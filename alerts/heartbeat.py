"""A sign of life for an outside watcher (dead man's switch): it pages somebody when the signs stop.

A sign is given only while alerts are evaluated and told in time, so that what the watcher misses is alerting, whatever
took it: the process, the machine, the network, or a part that hangs.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog

from alerts.notify.post import post, reach
from alerts.settings import HeartbeatSettings
from domain.errors import ConfigurationError, NotificationError, Problem
from domain.redaction import keep_secret
from domain.secret import read_secret
from domain.trust import trusted

log = structlog.get_logger(__name__)

AGAIN_S = 5.0
"""How soon a sign that could not be given is tried again, at most `interval`."""
LOOK_S = 1.0
"""How often it is looked whether alerting works again."""


class Heartbeat:
    """Calls a URL once in an interval.

    Parameters
    ----------
    settings
        Where, and how often.
    unwell
        Says why alerting does not work; an empty text where it does.

    Raises
    ------
    ConfigurationError
        If the address that the settings name is not there.
    """

    def __init__(self, settings: HeartbeatSettings, unwell: Callable[[], str] = str) -> None:
        self._settings = settings
        self._unwell = unwell
        named = read_secret(settings.url_env, settings.url_file, "alerts.yaml", "heartbeat.url")
        self._url = settings.url or named
        if not self._url.startswith(("https://", "http://")):
            raise ConfigurationError(
                Problem("alerts.yaml", "heartbeat.url", "is no http address", "The watcher's page has it.")
            )
        keep_secret(self._url)  # who knows it can keep the watcher quiet
        self._tls = trusted(settings.ca_file, "alerts.yaml")
        self._counters: Counter[str] = Counter()
        self._withheld = ""
        self._beaten = 0.0

    async def run(self) -> None:
        """Give signs until cancelled."""
        while True:
            began = time.monotonic()
            pause = await self._beat()
            await asyncio.sleep(max(began + pause - time.monotonic(), 0.0))

    async def _beat(self) -> float:
        """Give a sign, if there is reason to; return seconds until the next."""
        interval = self._settings.interval
        reason = self._unwell()
        if reason != self._withheld:
            self._withheld = reason
            if reason:
                self._counters["withheld"] += 1
                log.error("no sign of life is given to the watcher", reason=reason)
            else:
                log.info("signs of life are given again")
        if reason:
            return min(LOOK_S, interval)
        try:
            await self.give()
        except NotificationError as error:
            self._counters["failed"] += 1
            log.error("a sign of life was not taken", error=str(error))
            return min(AGAIN_S, interval)
        self._counters["given"] += 1
        self._beaten = time.monotonic()
        return interval

    async def give(self) -> None:
        """Give one sign now.

        Raises
        ------
        NotificationError
            If the watcher does not take it.
        """
        s = self._settings
        headers = {"user-agent": "hallwatch"}
        await post("heartbeat", self._url, b"", headers, s.timeout, self._tls, method=s.method)

    async def reach(self) -> str:
        """Open a connection to the watcher; no sign is given.

        Raises
        ------
        NotificationError
            If it cannot be reached.
        """
        return await reach("heartbeat", self._url, self._settings.timeout, self._tls)

    def stats(self) -> dict[str, Any]:
        """Return counters for the health page, and why no sign is given where none is."""
        ago = round(time.monotonic() - self._beaten, 1) if self._beaten else None
        return {"given": 0, "failed": 0, **self._counters, "reason": self._withheld, "last_s_ago": ago}
