"""Webhooks: events as signed messages (Standard Webhooks), tried again until they are taken or a day has passed."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog
from standardwebhooks.webhooks import Webhook

from alerts.notify.post import post
from alerts.notify.retry import GIVE_UP_MS, pause_ms
from domain.envelope import Envelope
from domain.errors import ConfigurationError, NotificationError, Problem, StorageError
from domain.secret import read_secret
from domain.trust import trusted
from partners.settings import ForecastEvent, PartnerSettings, Shows, WebhookSettings, visible
from storage.push_records import DELIVERED, FAILED, PENDING, Push, PushRecords, WaitingPush

log = structlog.get_logger(__name__)

LOOK_S = 1.0
AT_ONCE = 100
"""Messages that are looked up at a time; of one webhook one is under way, in their order."""
MOST_WAITING = 1000
"""Messages that wait for one webhook; the oldest gives way."""
WHERE = "hallwatch.yaml"
SHORTEST_KEY, LONGEST_KEY = 24, 64
"""Bytes of a signing secret, as Standard Webhooks wants them."""


class Hook:
    """One webhook of a partner.

    Raises
    ------
    ConfigurationError
        If its secret or its certificates cannot be had.
    """

    def __init__(self, partner: str, settings: WebhookSettings, objects: frozenset[str]) -> None:
        self.name = f"{partner} {settings.url}"[:400]
        self.settings = settings
        self.objects = objects
        secret = read_secret(settings.secret_env, settings.secret_file, WHERE, "secret")
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            key = b""
        if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
            remedy = "Make one: echo whsec_$(openssl rand -base64 32)"
            told = f"the secret of {partner}'s webhook is not base64 of {SHORTEST_KEY} to {LONGEST_KEY} bytes"
            raise ConfigurationError(Problem(WHERE, "partners.contracts.webhooks", told, remedy))
        self._signer = Webhook(key)
        self._tls = trusted(settings.ca_file, WHERE)

    async def send(self, event: str, body: str) -> None:
        """Post a message; any 2xx answer counts as delivered.

        Raises
        ------
        NotificationError
            If it was not delivered.
        """
        moment = datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "user-agent": "hallwatch",
            "webhook-id": event,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": self._signer.sign(event, moment, body),
        }
        await post("webhook", self.settings.url, body.encode(), headers, self.settings.timeout, self._tls)


def hooks(settings: PartnerSettings, envelope: Envelope) -> list[Hook]:
    """Return the webhooks of partners whose contract shows forecasts.

    Raises
    ------
    ConfigurationError
        As of `Hook`.
    """
    contracts = [(c.name, settings.contract(c.name)) for c in settings.contracts]
    return [
        Hook(name, webhook, visible(contract.published or (), envelope))
        for name, contract in contracts
        for webhook in contract.webhooks
        if Shows.FORECASTS in (contract.shows or ())
    ]


class Webhooks:
    """All webhooks of all partners.

    Raises
    ------
    ConfigurationError
        As of `Hook`.
    """

    def __init__(
        self, records: PushRecords, settings: PartnerSettings, envelope: Envelope, clock: Callable[[], int]
    ) -> None:
        self._records = records
        self._clock = clock
        self._hooks = {hook.name: hook for hook in hooks(settings, envelope)}
        self.counters: Counter[str] = Counter()

    def queue(self, events: Sequence[tuple[str, ForecastEvent, str, str]]) -> None:
        """Queue events (object, kind, id, body) for who wants them; blocks."""
        now = self._clock()
        wanted = [
            Push(hook.name, f"msg_{key}", body, now)
            for object_id, kind, key, body in events
            for hook in self._hooks.values()
            if kind in hook.settings.events and object_id in hook.objects
        ]
        if wanted:
            self.counters["webhooks_dropped"] += self._records.queue_pushes(wanted, MOST_WAITING)

    async def run(self) -> None:
        """Deliver until cancelled."""
        if not self._hooks:
            return
        while True:
            try:
                due = await asyncio.to_thread(self._records.due_pushes, self._clock(), AT_ONCE)
            except StorageError as error:
                log.warning("webhooks wait for the records", error=str(error))
                due = []
            by_hook: dict[str, list[WaitingPush]] = defaultdict(list)
            for push in due:
                by_hook[push.hook].append(push)
            await asyncio.gather(*(self._deliver(pushes) for pushes in by_hook.values()))
            await asyncio.sleep(LOOK_S)

    async def _deliver(self, pushes: list[WaitingPush]) -> None:
        """Deliver one after the other; where one is not taken the others wait."""
        for push in pushes:
            try:
                if not await self._try(push):
                    return
            except StorageError as error:
                log.warning("a webhook's delivery could not be noted", error=str(error))
                return

    async def _try(self, push: WaitingPush) -> bool:
        hook = self._hooks.get(push.hook)
        now = self._clock()
        if hook is None:
            await self._settle(push, FAILED, "this webhook is no longer configured")
            return True
        try:
            await hook.send(push.event, push.body)
        except NotificationError as error:
            over = not error.retryable or now - push.created > GIVE_UP_MS
            log.warning("webhook not delivered", hook=push.hook, error=str(error), given_up=over)
            pause = pause_ms(push.attempts + 1, error.retry_after)
            await self._settle(push, FAILED if over else PENDING, str(error), now + pause)
            return over
        await self._settle(push, DELIVERED)
        return True

    async def _settle(self, push: WaitingPush, status: str, detail: str = "", not_before: int = 0) -> None:
        self.counters[f"webhooks_{'postponed' if status == PENDING else status}"] += 1
        await asyncio.to_thread(self._records.settle_push, push.id, status, detail, not_before)
