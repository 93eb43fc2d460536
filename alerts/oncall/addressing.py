"""A message as the person has it who gets it: their clocks, their language, links that only they may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from zoneinfo import ZoneInfo

import structlog

from alerts.notify.message import Notice, Notification
from alerts.settings import AlertSettings
from domain.alert import AlertState
from storage.delivery_records import Event

log = structlog.get_logger(__name__)

Link = Callable[[int, str], str]
"""Returns the address by which a person (by key) answers for an alert (by number)."""


class Addressing:
    """Knows whose a delivery is.

    Parameters
    ----------
    settings
        The alerting configuration.
    link
        Makes links; None where nobody told the console's address.
    """

    def __init__(self, settings: AlertSettings, link: Link | None) -> None:
        self._people = settings.people()
        self._link = link

    def addressed(self, target: str, page: Notification) -> Notification:
        """Return a message as the one has it whose delivery it is; one that is nobody's own stays as it is."""
        if target not in self._people:
            return page
        key, person = self._people[target]
        notices = tuple(replace(notice, link=self._link_of(notice, key)) for notice in page.notices)
        zone = ZoneInfo(person.timezone) if person.timezone else None
        return replace(page, notices=notices, reader_zone=zone, language=person.language)

    def _link_of(self, notice: Notice, key: str) -> str:
        """Return a link where there is something to answer, and the records know the alert."""
        alert = notice.alert
        over = notice.event is Event.CLEARED or alert.state is AlertState.CLEARED
        if self._link is None or over or alert.id <= 0:
            return ""
        try:
            return self._link(alert.id, key)
        except OSError as error:  # a page without a link is better than none
            log.error("no link can be made", error=str(error))
            return ""
