"""A test page: a real message over a channel, about nothing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alerts.notify.message import Notice, Notification, Notifier
from alerts.runbooks import Runbook
from domain.alert import Alert, AlertState, Condition, Severity
from domain.errors import NotificationError
from domain.languages import LANGUAGES, words
from domain.site import Site
from storage.delivery_records import Event

LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a test page was taken, by whom (a channel, or channel/recipient), and what was remarked or is wrong."""

    target: str
    delivered: bool
    remark: str


async def send_test(
    notifiers: Mapping[str, Notifier],
    targets: Sequence[str],
    site: Site,
    now: int,
    event: Event = Event.OPENED,
    severity: Severity = Severity.CRITICAL,
    console_url: str = "",
) -> list[Outcome]:
    """Send a page that says that it is a test to each of `targets`, and return what became of it.

    Parameters
    ----------
    notifiers, targets
        Channels and recipients by name, and which of them are told.
    site, now
        Whose test it is, and when, UTC ms.
    event
        OPENED, or CLEARED to end what an earlier test opened.
    severity, console_url
        Of the page.
    """
    cleared = event is Event.CLEARED
    condition = Condition("test", site.id, severity, words("en")("text", "test"), math.nan, math.nan, "", now)
    state = AlertState.CLEARED if cleared else AlertState.OPEN
    alert = Alert(0, condition, state, now, now, cleared_at=now if cleared else 0)
    said = {language: words(language) for language in LANGUAGES}
    guides = {
        language: Runbook(say("text", "test"), "", say("text", "test_action"), (), "")
        for language, say in said.items()
    }
    notice = Notice(event, alert, runbooks=guides)
    page = Notification(f"{site.id}-test-{now}", site.id, site.name, site.zone, (notice,), console_url)

    async def tell(target: str) -> Outcome:
        try:
            async with asyncio.timeout(LONGEST_S):
                return Outcome(target, True, await notifiers[target].send(page))
        except NotificationError as error:
            return Outcome(target, False, str(error))
        except TimeoutError:
            return Outcome(target, False, f"not delivered within {LONGEST_S:g} s")

    return list(await asyncio.gather(*map(tell, targets)))
