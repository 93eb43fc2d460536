"""Token throughput of the inference servers on a tray, from their Prometheus counters."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import httpx
from prometheus_client.parser import text_string_to_metric_families

from collectors.nvml.settings import InferenceSettings


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
        self.total: float | None = None
        self.rate: float | None = None
        self.errors = 0

    async def scrape(self, client: httpx.AsyncClient) -> None:
        """Read every server once; update `total` (tokens since the agent started) and `rate` (tokens a second)."""
        answered = False
        for server in self._servers:
            try:
                answer = await client.get(server.url, timeout=server.timeout)
                answer.raise_for_status()
                told = generated(answer.text, server.counters)
            except (httpx.HTTPError, ValueError):
                self.errors += 1
                continue
            if told is not None:
                answered = True
                self._add(server.url, told)
        if not answered:
            self.rate = None
            self._read = None
            return
        now, total = self._clock(), self.total or 0.0
        if self._read is not None and now > self._read[0]:
            self.rate = (total - self._read[1]) / (now - self._read[0])
        self._read = now, total

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
    ValueError
        If the text cannot be parsed.
    """
    wanted = {*counters}
    found = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in wanted
    ]
    return sum(found) if found else None
