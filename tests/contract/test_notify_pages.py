"""What a page says: in the reader's language and time, what it shows of a trend, what it says of what is over."""

import email.policy
import time
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest
import yaml
from PIL import Image

from alerts.notify.build import build_notifiers
from alerts.notify.facts import Facts, Place, Trend
from alerts.notify.sheet import ENGLISH, Reader, duration, subject
from alerts.notify.text import body
from alerts.oncall.addressing import Addressing
from alerts.runbooks import Runbooks
from alerts.settings import AlertSettings
from domain.alert import Alert, AlertState, Condition, Severity
from domain.languages import FOLDER, LANGUAGES
from domain.said import Quantity, Said, Term
from storage.delivery_records import Event
from tests.contract.notify_receivers import (
    OPENED,
    AlertmanagerReceiver,
    ChatReceiver,
    HookReceiver,
    MailReceiver,
    PagerDutyReceiver,
    channel,
    notification,
)

PLACE = Place(
    "Rack",
    (
        ("pod", "P03"),
        ("row", "2"),
        ("position", "1"),
        ("loop", "P03-CDU1, P03-CDU2"),
        ("feed", "FEED-A, FEED-B"),
    ),
    1,
    72,
)
PATIENT = {"timeout": "30 s"}


@pytest.fixture(autouse=True)
def _a_busy_machine_may_draw(monkeypatch):
    monkeypatch.setattr("alerts.notify.smtp.DRAWING_S", 60.0)


CHINESE = Reader("zh-Hant")
RUNBOOKS = Runbooks()


def trend(values=(34.0, 35.0, 41.0), limit=40.0, ahead=2):
    times = OPENED + 60_000 * np.arange(len(values), dtype=np.int64)
    coming = times[-1] + 900_000 * np.arange(1, ahead + 1, dtype=np.int64)
    middle = np.linspace(42, 44, ahead)
    measured = np.array(values, float)
    return Trend(
        "R017",
        "RackLiquidSupplyTemperature",
        "Cel",
        times,
        measured,
        limit,
        coming,
        middle - 1,
        middle,
        middle + 1,
    )


def page(event=Event.OPENED, rule="coolant-supply-too-warm", facts=None, unit="Cel", value=41.2, limit=40.0):
    summary = "R017: coolant temperature into a rack is 41.2 °C, limit 40.0 °C"
    condition = Condition(rule, "R017", Severity.CRITICAL, summary, value, limit, unit, OPENED - 1000)
    over = {"state": AlertState.CLEARED, "cleared_at": OPENED + 754_000} if event is Event.CLEARED else {}
    alert = replace(Alert(17, condition, AlertState.OPEN, OPENED, OPENED), **over)
    facts = facts or Facts(
        PLACE, {"without_flow": 95.0, "highest": 43.1}, ("P03-CDU1", "PumpWear"), trend=trend()
    )
    guides = {language: RUNBOOKS.find(rule, language) for language in LANGUAGES}
    told = notification()
    notice = replace(told.notices[0], event=event, alert=alert, facts=facts, advice="", runbooks=guides)
    return replace(told, notices=(notice,), console_url="https://console.example")


def test_a_page_says_where_since_when_how_much_what_is_expected_what_hangs_on_it_and_why():
    text = body(page(), ENGLISH)
    for row in (
        "  Object: rack R017",
        "  Where: pod P03, row 2, position 1",
        "  Supplied by: loop P03-CDU1, P03-CDU2, feed FEED-A, FEED-B",
        "  Value: 41.20 °C",
        "  Limit: 40.00 °C",
        "  Expected: if coolant stops, a limit is passed in 95 s; up to 43.10 °C within the hour",
        "  Since: 2026-09-21 22:13:20 CST",
        "  Behind it: 1 rack, 72 GPUs",
        "  Likely cause: P03-CDU1: PumpWear",
        "What to do first: Check the pod's CDUs and their facility water; lower the pod's load if the temperature still rises.",
        "https://console.example/runbooks/coolant-supply-too-warm",
        "https://console.example/rack/R017?alert=17&at=2026-09-21T14%3A13%3A20.000Z",
    ):
        assert row in text.splitlines(), f"{row}\n\n{text}"


def test_the_same_in_chinese():
    text = body(page(), CHINESE)
    assert (
        subject(page(), CHINESE)
        == "【緊急 發生】機櫃 R017：冷卻液供液溫度過高，41.20 °C（限值 40.00 °C）（taipei-1）"
    )
    for row in (
        "  位置：機櫃群 P03、第 2 排、第 1 位",
        "  供應來源：冷卻液迴路 P03-CDU1, P03-CDU2、市電饋線 FEED-A, FEED-B",
        "  影響範圍：1 台機櫃、72 顆 GPU",
        "  預測：若冷卻液停止，95 秒後超過限值；一小時內最高 43.10 °C",
        "首要處置：檢查該機櫃群的冷卻液分配裝置與廠務冷卻水；若溫度仍上升，降低該機櫃群的負載。",
        "https://console.example/runbooks/coolant-supply-too-warm?lang=zh-Hant",
    ):
        assert row in text.splitlines(), f"{row}\n\n{text}"


def test_a_sentence_of_ours_is_the_headline_in_the_readers_language_and_what_somebody_wrote_is_told_as_it_is():
    said = Said.of(
        "above",
        object="R017",
        what=Term("measured", "coolant temperature into a rack"),
        value=Quantity(41.2, "Cel"),
        limit=Quantity(40.0, "Cel"),
    )
    notice = page().notices[0]
    alert = replace(notice.alert, condition=replace(notice.alert.condition, said=said))
    told = replace(page(), notices=(replace(notice, alert=alert),))
    assert subject(told, ENGLISH) == (
        "[CRITICAL opened] R017: coolant temperature into a rack is 41.2 °C, limit 40.0 °C (taipei-1)"
    )
    assert subject(told, CHINESE) == (
        "【緊急 發生】R017：冷卻液供液溫度 41.2 °C，超出上限 40.0 °C（taipei-1）"
    )
    assert "系統原文" not in body(told, CHINESE)
    assert "  系統原文：R017: coolant temperature into a rack is 41.2 °C, limit 40.0 °C" in body(
        page(), CHINESE
    )


def test_a_limit_that_says_nothing_to_people_is_not_told():
    told = body(
        page(rule="grid-consent-needed", unit="count", value=2.0, limit=0.5, facts=Facts(PLACE)), ENGLISH
    )
    assert "  Value: 2" in told
    assert "Limit" not in told


def test_a_reader_elsewhere_has_the_time_of_both_clocks():
    text = body(page(), Reader("en", ZoneInfo("Europe/Berlin")))
    assert "  Since: 2026-09-21 22:13:20 CST" in text
    assert "  Your time: 2026-09-21 16:13:20 CEST" in text
    assert "Your time" not in body(page(), Reader("en", ZoneInfo("Asia/Taipei")))


@pytest.mark.parametrize("reader", [ENGLISH, CHINESE], ids=lambda reader: reader.language)
def test_of_what_is_over_nothing_is_said_as_if_it_held(reader):
    told = page(Event.CLEARED)
    text = subject(told, reader) + body(told, reader)
    say = reader.words
    assert say("text", "over") in text
    assert duration(754, say) in text
    for gone in ("41.2", "40.0", "43.1", say("label", "first_action"), say("label", "cause"), "PumpWear"):
        assert gone not in text


def test_where_the_watch_has_found_no_cause_the_usual_one_is_told():
    assert "  Likely cause: often: A CDU stopped, or its pump lost flow" in body(
        page(facts=Facts(PLACE)), ENGLISH
    )


def test_every_event_severity_and_part_has_a_word_in_every_language():
    for language in LANGUAGES:
        texts = yaml.safe_load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
        assert set(texts["event"]) == {e.value for e in Event}
        assert set(texts["severity"]) == {s.value for s in Severity}
        assert {"pod", "row", "position", "loop", "busway", "ups", "feed", "rack"} == set(texts["part"])


class Looked(HTMLParser):
    """What a browser makes of a page: its elements, attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.text, self.alts = [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs
        if tag == "img":
            self.alts.append(dict(attrs)["alt"])

    def handle_data(self, data):
        self.text += data


ELEMENTS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "table",
    "tr",
    "td",
    "p",
    "span",
    "h1",
    "div",
    "img",
    "a",
}


async def test_a_mail_is_text_and_html_and_its_picture_is_inside_it():
    async with MailReceiver().serve() as box, channel(box.settings()) as notifier:
        await notifier.send(page())
    (mail,) = box.got
    assert mail.get_content_type() == "multipart/alternative"
    shown = Looked(mail.get_body(("html",)).get_content())
    assert set(shown.elements) <= ELEMENTS
    (picture,) = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    (source,) = [value for name, value in shown.attributes if name == "src"]
    assert source == f"cid:{picture['Content-ID'].strip('<>')}"
    assert Image.open(BytesIO(picture.get_content())).size == (960, 360)
    assert len(picture.get_content()) < 30_000
    assert shown.alts == [
        "Picture of Coolant supply temperature of R017, last hour and forecast: from 34.00 °C to 41.00 °C, limit 40.00 °C"
    ]
    addresses = [value for name, value in shown.attributes if name in ("href", "background")]
    assert all(address.startswith("https://console.example/") for address in addresses)


async def test_a_mail_about_many_alerts_has_a_few_pictures_and_stays_small():
    told = page()
    (notice,) = told.notices
    told = replace(told, notices=tuple([notice] * 3 + [replace(notice, facts=Facts(PLACE))] * 497))
    async with MailReceiver().serve() as box, channel(box.settings()) as notifier:
        await notifier.send(told)
    (mail,) = box.got
    assert [part.get_content_type() for part in mail.walk()].count("image/png") == 3
    assert len(mail.as_bytes(policy=email.policy.SMTP)) < 600_000
    assert "... and 450 more." in mail.get_body(("plain",)).get_content()
    assert "... and 450 more." in mail.get_body(("html",)).get_content()


@pytest.mark.parametrize(
    "odd",
    [
        trend([np.nan] * 5),
        trend([34.0]),
        trend([5.0, 5.0], 5.0, 0),
        trend([0.0, 0.0], np.nan, 0),
        trend([1e300, -1e300]),
        trend([1.0, np.nan, 2.0, np.inf]),
    ],
)
async def test_a_trend_that_is_odd_keeps_no_page_back(odd):
    async with MailReceiver().serve() as box, channel(box.settings()) as notifier:
        await notifier.send(page(facts=Facts(PLACE, trend=odd)))
    assert len(box.got) == 1


async def test_one_alert_that_cannot_be_rendered_is_told_as_such_and_blocks_no_other():
    broken = replace(
        page().notices[0],
        alert=Alert(
            3, Condition("leak", None, Severity.CRITICAL, None, 1, 0, "", 0), AlertState.OPEN, 1e30, 0
        ),
    )
    told = page()
    told = replace(told, notices=(broken, told.notices[0]))
    for make in (MailReceiver, ChatReceiver):
        async with make().serve() as receiver, channel(receiver.settings() | PATIENT) as notifier:
            await notifier.send(told)
            (text,) = receiver.texts()
        assert "Alert 3 (leak) cannot be shown here" in text
        assert "R017: coolant temperature into a rack" in text


async def test_each_person_is_told_in_their_language_and_with_their_time():
    async with MailReceiver().serve() as box:
        mail = box.settings() | {"recipients": ["mei@site.example", "jo@site.example", "x@site.example"]}
        settings = AlertSettings.model_validate(
            {
                "channels": {"mail": mail | {"language": "zh-Hant", "timezone": "Asia/Tokyo"}},
                "on_call": {
                    "people": {
                        "mei": {"language": "zh-Hant", "reach": ["mail/mei@site.example"]},
                        "jo": {"timezone": "Europe/Berlin", "reach": ["mail/jo@site.example"]},
                    }
                },
            }
        )
        notifiers = build_notifiers(settings.channels)
        addressed = Addressing(
            settings, lambda number, person: f"https://console.example/answer/{person}{number}"
        ).addressed
        for target in ("mail/mei@site.example", "mail/jo@site.example", "mail/x@site.example"):
            await notifiers[target].send(addressed(target, page()))
        shown = box.pages()
    mei, jo, nobody = box.texts()
    assert "冷卻液供液溫度過高" in mei
    assert "https://console.example/answer/mei17" in mei
    assert "What to do first" in jo
    assert "Your time: 2026-09-21 16:13:20 CEST" in jo
    assert 'class="button" href="https://console.example/answer/jo17"' in shown[1]
    assert shown[1].count('class="button"') == 1
    assert "首要處置" in nobody
    assert "您的時間：2026-09-21 23:13:20 JST" in nobody
    assert "/answer/" not in nobody + shown[2]


HOSTILE = {
    "newlines": "R001\r\nBcc: x@y.example\n\n.\r\nDATA",
    "quotes": "R001 \"'`´’ \\ {{x}} {0} {tag} %s ${x} #{x}",
    "mark-up": "<script>alert(1)</script><img src=x onerror=y><a href='http://evil.example'>R001</a><!-- ",
    "slack and markdown": "*R001* _x_ ~y~ `z` <!channel> <@U1> @everyone [a](http://evil.example) |t|",
    "control characters": "R001\x00\x07\x08\x0b\x1b[31m\x1b]0;t\x07\x7f\x85\x9b2J",
    "bidi and invisible": "R001\u202e\u2066evil\u2069\u200b\u200f\ufeff\u2028\u2029\u00ad",
    "emoji": "R001 🔥👩‍🚒🇹🇼 機架 é é",
    "lone surrogate": "R001 \ud83d\udc00 x",
    "long": "R" * 10_000,
    "long without a break in Chinese": "機" * 10_000,
    "nothing": "",
    "blank": " \t\n ",
}
FORBIDDEN = set("\x00\x07\x08\x0b\x1b\x7f\x85\x9b\u202e\u2066\u2069\u200b\u200f\ufeff\u2028\u2029")
LONGEST = {
    "smtp": 40_000,
    "webhook": 40_000,
    "pagerduty": 512 * 1024,
    "apprise": 7800,
    "alertmanager": 20_000,
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("event", [Event.OPENED, Event.CLEARED])
@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize(
    "make",
    [MailReceiver, HookReceiver, PagerDutyReceiver, ChatReceiver, AlertmanagerReceiver],
    ids=lambda receiver: receiver.kind,
)
async def test_no_text_of_a_device_breaks_a_page(make, hostile, event, language):
    async with make().serve() as receiver:
        if make is ChatReceiver:
            receiver.service = "ntfy"
        told = page(event)
        (notice,) = told.notices
        condition = replace(notice.alert.condition, object_id=hostile, said=hostile)
        alert = replace(notice.alert, condition=condition, acknowledged_by=hostile, note=hostile)
        place = replace(PLACE, parts=tuple((kind, hostile) for kind, _ in PLACE.parts))
        seen = replace(trend(), object_id=hostile)
        facts = replace(
            notice.facts,
            place=place,
            cause=(hostile, hostile),
            silenced_by=hostile,
            silenced_until=OPENED,
            trend=seen,
        )
        told = replace(told, notices=(replace(notice, alert=alert, facts=facts),))
        async with channel(receiver.settings() | PATIENT | {"language": language}) as notifier:
            assert await notifier.send(told) == ""
        (got,) = receiver.got
        if make is MailReceiver:
            _check_mail(got)
            return
        content = got[1]
        assert len(content) <= LONGEST[make.kind] * 4
        assert not FORBIDDEN & set("".join(_strings(orjson.loads(content))))


def _check_mail(mail):
    assert set(mail.keys()) <= {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "References", "Importance", "MIME-Version", "Content-Type",
    }  # fmt: skip
    assert len(mail["Subject"]) < 400
    plain, page_ = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))
    assert not FORBIDDEN & set(mail["Subject"] + plain + page_)
    shown = Looked(page_)
    assert set(shown.elements) <= ELEMENTS
    assert {name for name, _ in shown.attributes} <= {
        "lang", "charset", "name", "content", "class", "style", "role", "width", "cellpadding", "cellspacing", "align", "valign",
        "src", "alt", "href",
    }  # fmt: skip
    links = [value for name, value in shown.attributes if name in ("href", "src")]
    assert all(link.startswith(("https://console.example/", "cid:")) for link in links)
    assert max(map(len, mail.as_bytes(policy=email.policy.SMTP).split(b"\r\n"))) <= 998  # RFC 5322
    assert len(plain) + len(page_) < LONGEST["smtp"]


def _strings(data):
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for value in data.values():
            yield from _strings(value)
    elif isinstance(data, list):
        for value in data:
            yield from _strings(value)


def test_a_picture_takes_little_time():
    from alerts.notify.picture import draw

    hour = trend(np.linspace(30, 41, 61))
    draw(hour, ZoneInfo("UTC"))
    begun = time.thread_time()
    draw(hour, ZoneInfo("UTC"))
    assert time.thread_time() - begun < 1.0
