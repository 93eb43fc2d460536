"""A page as a mail client shows it: HTML for a phone first, light or dark, with its pictures inside the mail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import structlog
from jinja2 import Environment, PackageLoader, StrictUndefined

from alerts.notify.message import Notification, figure, line
from alerts.notify.picture import draw
from alerts.notify.sheet import Reader, Sheet
from alerts.notify.text import MOST_LISTED, sheets

log = structlog.get_logger(__name__)

# every field is text to the template: what a device wrote cannot become mark-up
_PAGES = Environment(loader=PackageLoader("alerts.notify", "."), autoescape=True, undefined=StrictUndefined)
_COLOURS = {
    "critical": "#c0271a",
    "high": "#d9620b",
    "warning": "#f2b632",
    "info": "#4b7ba6",
    "over": "#2e8b57",
}
_INKS = {"critical": "#ffffff", "high": "#ffffff", "warning": "#2b2000", "info": "#ffffff", "over": "#ffffff"}
_FONTS = {
    "en": "-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif",
    "zh-Hant": "-apple-system,'PingFang TC','Microsoft JhengHei','Noto Sans CJK TC','Noto Sans TC',sans-serif",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in a mail: its id there, the PNG, what stands over, in place of and under it."""

    cid: str
    png: bytes
    title: str
    alt: str
    legend: str


def pictures(notification: Notification, reader: Reader) -> dict[int, Picture]:
    """Return the pictures of the alerts that have a trend, by their place in the message. Takes its time: use a thread."""
    found: dict[int, Picture] = {}
    for i, notice in enumerate(notification.notices[:MOST_LISTED]):
        try:
            picture = (
                _picture(notification, i, reader)
                if notice.facts.trend is not None and not notice.over
                else None
            )
        except Exception:  # a page without a picture is a page
            log.exception("a picture cannot be drawn", alert=notice.alert.id)
            continue
        if picture is not None:
            found[i] = picture
    return found


def page(notification: Notification, reader: Reader, subject: str, shown: Mapping[int, Picture]) -> str:
    """Return the message as HTML."""
    found: Sequence[Sheet] = sheets(notification, reader)
    return _PAGES.get_template("mail.html").render(
        language=reader.language,
        say=reader.words,
        subject=subject,
        sheets=found,
        more=len(notification.notices) - len(found),
        pictures=shown,
        colours=_COLOURS,
        inks=_INKS,
        fonts=_FONTS[reader.language],
        foot=reader.words(
            "text", "sent_by", site=f"{line(notification.site_name, 100)} ({notification.site_id})"
        ),
    )


def _picture(notification: Notification, place: int, reader: Reader) -> Picture | None:
    trend, say = notification.notices[place].facts.trend, reader.words
    png = draw(trend, reader.zone or notification.zone) if trend is not None else None
    if trend is None or png is None:
        return None
    measured = trend.values[~np.isnan(trend.values)]
    limit = figure(trend.limit, trend.unit)
    ahead = "_ahead" if len(trend.ahead) else ""
    unlimited = "" if limit else "_no_limit"
    title = say(
        "text", f"trend{ahead}", point=say("point", trend.point_type), object=line(trend.object_id, 100)
    )
    first, last = (figure(float(v), trend.unit) for v in measured[[0, -1]])
    return Picture(
        f"trend-{place}.{notification.id}",
        png,
        title,
        say("text", f"picture{unlimited}", trend=title, first=first, last=last, limit=limit),
        say("text", f"legend{ahead}{unlimited}", limit=limit),
    )
