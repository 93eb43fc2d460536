"""Token throughput of the inference servers on a tray, from their Prometheus counters."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence

import httpx
import structlog

from collectors.fetch import fetch, without_secrets
from collectors.nvml.settings import InferenceSettings
from collectors.text_format import Sample, samples
from domain.errors import SourceError, SourceProtocolError

log = structlog.get_logger(__name__)

MOST_LINES = 50_000
"""Lines of an inference server's page that are looked at."""
MAX_BYTES = 4 << 20


class TokenCounter:
    """Sums the generated tokens of several servers over their restarts.

    Parameters
    ----------
    servers
        Where the counters are; a server that does not answer adds nothing meanwhile.
    clock
        Monotonic seconds.
    """

    def __init__(
        self, servers: Sequence[InferenceSettings], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._servers = servers
        self._clock = clock
        self._last: dict[str, float] = {}
        self._read: tuple[float, float] | None = None
        self._faults: dict[str, str] = {}
        self.total: float | None = None
        self.rate: float | None = None
        self.errors = 0

    async def scrape(self, client: httpx.AsyncClient) -> None:
        """Read every server once; update `total` (tokens since the agent started) and `rate` (tokens a second)."""
        told = await asyncio.gather(*(self._told(client, server) for server in self._servers))
        if all(count is None for count in told):
            self.rate = None
            self._read = None
            return
        for server, count in zip(self._servers, told, strict=True):
            if count is not None:
                self._add(server.url, count)
        now, total = self._clock(), self.total or 0.0
        if self._read is not None and now > self._read[0]:
            self.rate = (total - self._read[1]) / (now - self._read[0])
        self._read = now, total

    async def _told(self, client: httpx.AsyncClient, server: InferenceSettings) -> float | None:
        try:
            body = await fetch(client, server.url, deadline=server.timeout, max_bytes=MAX_BYTES)
            count = generated(body.decode("utf-8", "replace"), server.counters)
            self._faults.pop(server.url, None)
            return count
        except SourceError as error:
            self.errors += 1
            if self._faults.get(server.url) != str(error):  # once, not every second
                self._faults[server.url] = str(error)
                log.warning(
                    "inference server cannot be read", url=without_secrets(server.url), error=str(error)
                )
            return None

    def _add(self, url: str, told: float) -> None:
        before = self._last.get(url)
        self._last[url] = told
        if before is None:
            self.total = self.total or 0.0
        else:  # a counter that fell was reset: all that it shows is new
            self.total = (self.total or 0.0) + (told - before if told >= before else told)


def generated(text: str, counters: Sequence[str]) -> float | None:
    """Return the sum of the named counters in a Prometheus text, None where none is there.

    Raises
    ------
    SourceProtocolError
        If one of them cannot be read: the sum would fall, and look like a restart.
    """
    found: list[float] = []
    for sample in samples(text, frozenset(counters), MOST_LINES):
        if isinstance(sample, Sample):
            if not 0 <= sample.value < math.inf:
                raise SourceProtocolError(f"{sample.name} is {sample.value}")
            found.append(sample.value)
        elif sample.cut_off or sample.name in counters:
            raise SourceProtocolError(f"a line cannot be read: {sample.line}")
    return sum(found) if found else None
