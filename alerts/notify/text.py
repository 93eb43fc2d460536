"""Pages as plain text."""

from __future__ import annotations

from alerts.notify.message import Notification, line
from alerts.notify.sheet import Reader, Sheet, sheet

MOST_LISTED = 50
"""A message lists this many alerts and counts the rest."""


def sheets(notification: Notification, reader: Reader, listed: int = MOST_LISTED) -> list[Sheet]:
    """Return what is told of each alert, of `listed` at most."""
    return [sheet(notification, notice, reader) for notice in notification.notices[:listed]]


def body(notification: Notification, reader: Reader, listed: int = MOST_LISTED) -> str:
    """Return the message as plain text: what, where, since when and how much, of `listed` alerts at most."""
    say = reader.words
    found = sheets(notification, reader, listed)
    parts = [_paragraph(one, reader) for one in found]
    left = len(notification.notices) - len(found)
    if left > 0:
        parts.append(say("text", "more", n=left))
    if all(one.notice.over for one in found):
        parts.append(say("text", "over"))
    actions = dict.fromkeys(one.first_action for one in found if one.first_action)
    parts += [say("text", "row", label=say("label", "first_action"), text=action) for action in actions]
    if len(found) == 1:
        parts += [f"{text}\n{url}" for text, url in found[0].links]
    elif notification.console_url:
        parts.append(notification.console_url)
    parts.append(f"{line(notification.site_name, 100)} ({line(notification.site_id, 50)})")
    return "\n\n".join(parts) + "\n"


def _paragraph(one: Sheet, reader: Reader) -> str:
    say = reader.words
    return "\n".join(
        [one.headline, *("  " + say("text", "row", label=label, text=text) for label, text in one.rows)]
    )
