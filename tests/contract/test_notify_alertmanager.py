"""Prometheus Alertmanager in particular: real ones, as Debian ships them."""

import asyncio
import json
import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from alerts.notify import Notification
from alerts.notify.alertmanager import MOST_OF_LABEL
from alerts.notify.facts import Facts, Place
from domain.alert import AlertState, Severity
from domain.errors import NotificationError
from storage.delivery_records import Event
from tests.contract.notify_receivers import AlertmanagerReceiver, channel, notification
from tests.contract.test_notify_pages import FORBIDDEN, HOSTILE
from tests.servers import AlertmanagerServer

pytestmark = pytest.mark.server("prometheus-alertmanager")
NOW = int(time.time() * 1000)
PLACE = Place("Rack", (("pod", "P03"), ("row", "2"), ("position", "1")), 1, 72)


def told(*objects, event=Event.OPENED, opened=NOW, severity=Severity.CRITICAL, **more):
    page = notification(*objects, event=event)
    notices = []
    for notice in page.notices:
        condition = replace(notice.alert.condition, severity=severity)
        over = {"cleared_at": opened + 1000} if event is Event.CLEARED else {}
        alert = replace(notice.alert, condition=condition, opened=opened, **over, **more)
        notices.append(replace(notice, alert=alert, facts=Facts(PLACE)))
    return replace(page, notices=tuple(notices), console_url="https://console.example")


def to(*servers, **more):
    return {"kind": "alertmanager", "urls": [server.url for server in servers], **more}


async def test_an_alert_has_the_labels_and_annotations_that_prometheus_people_look_for(alertmanager):
    async with channel(to(alertmanager, labels={"team": "facility"})) as notifier:
        assert await notifier.send(told("R017")) == ""
    (alert,) = alertmanager.alerts()
    assert alert["labels"] == {
        "alertname": "envelope-breach-predicted",
        "severity": "critical",
        "object": "R017",
        "object_type": "Rack",
        "area": "P03",
        "site": "taipei-1",
        "team": "facility",
    }
    notes = alert["annotations"]
    assert notes["summary"] == "R017: 70% likely to exceed 16.00 MW"
    assert notes["runbook_url"] == "https://console.example/runbooks/envelope-breach-predicted"
    assert (notes["value"], notes["limit"], notes["state"]) == ("16.25 MW", "16.00 MW", "open")
    assert (notes["racks"], notes["gpus"], notes["first_action"]) == ("1", "72", "Plan less load.")
    assert alert["generatorURL"].startswith("https://console.example/rack/R017?alert=1&at=")
    assert alert["status"]["state"] in ("active", "unprocessed")


async def test_an_alert_that_cleared_ends_there(alertmanager):
    async with channel(to(alertmanager)) as notifier:
        await notifier.send(told("R001", "R002"))
        assert len(alertmanager.alerts()) == 2
        await notifier.send(told("R001", event=Event.CLEARED))
        assert [a["labels"]["object"] for a in alertmanager.alerts()] == ["R002"]


async def test_every_one_of_a_cluster_is_told_and_one_that_takes_it_is_enough(alertmanager, tmp_path):
    with AlertmanagerServer(tmp_path / "second") as second:
        async with channel(to(alertmanager, second)) as notifier:
            assert await notifier.send(told("R001")) == ""
            assert len(alertmanager.alerts()) == len(second.alerts()) == 1
            second.stop()
            remark = await notifier.send(told("R002"))
            assert second.url in remark
            assert len(alertmanager.alerts()) == 2
            alertmanager.stop()
            with pytest.raises(NotificationError) as error:
                await notifier.send(told("R003"))
            assert error.value.retryable


async def test_what_holds_is_told_again_to_one_that_was_started_anew_and_what_ended_is_not(alertmanager):
    async with channel(to(alertmanager)) as notifier:
        await notifier.send(told("R001", "R002"))
        await notifier.send(told("R001", event=Event.CLEARED))
        alertmanager.kill()
        alertmanager.start()
        assert alertmanager.alerts() == []
        # as it was looked up before the end was told
        assert await notifier.remind(told("R001", "R002")) == ""
    assert [a["labels"]["object"] for a in alertmanager.alerts()] == ["R002"]


async def test_the_end_of_an_alert_is_told_again_to_one_that_missed_it(alertmanager, tmp_path):
    with AlertmanagerServer(tmp_path / "second") as second:
        async with channel(to(alertmanager, second)) as notifier:
            await notifier.send(told("R001"))
            urls = notifier._settings.urls
            notifier._settings = notifier._settings.model_copy(
                update={"urls": urls[:1]}
            )  # cut off, not stopped
            await notifier.send(told("R001", event=Event.CLEARED))
            assert len(second.alerts()) == 1
            notifier._settings = notifier._settings.model_copy(update={"urls": urls})
            await notifier.remind(replace(told(), notices=()))
        assert second.alerts() == alertmanager.alerts() == []


async def test_an_alert_that_opens_again_after_its_end_holds_again(alertmanager):
    async with channel(to(alertmanager)) as notifier:
        await notifier.send(told("R001"))
        await notifier.send(told("R001", event=Event.CLEARED))
        again = told("R001", opened=NOW + 2000)
        await notifier.send(again)
        await notifier.remind(again)
    (alert,) = alertmanager.alerts()
    assert alert["labels"]["object"] == "R001"


async def test_a_severity_that_rises_is_one_alert_there_not_two(alertmanager):
    async with channel(to(alertmanager)) as notifier:
        await notifier.send(told("R001", severity=Severity.WARNING))
        await notifier.send(told("R001", event=Event.WORSENED))
    (alert,) = alertmanager.alerts()
    assert alert["labels"]["severity"] == "critical"


async def test_one_that_was_taken_and_one_that_is_silenced_can_be_told_from_others(alertmanager):
    taken = told("R001", event=Event.ACKNOWLEDGED, state=AlertState.ACKNOWLEDGED, acknowledged_by="mei")
    silenced = told("R002")
    (notice,) = silenced.notices
    facts = Facts(PLACE, silenced_until=NOW + 3_600_000, silenced_by="ops")
    async with channel(to(alertmanager)) as notifier:
        await notifier.send(taken)
        await notifier.send(replace(silenced, notices=(replace(notice, facts=facts),)))
        await notifier.send(told("R003"))
    first, second, third = (a["annotations"] for a in alertmanager.alerts())
    assert (first["state"], first["acknowledged_by"]) == ("acknowledged", "mei")
    assert second["silenced_by"] == "ops"
    assert second["silenced_until"].endswith("Z")
    assert "acknowledged_by" not in third
    assert "silenced_by" not in third


async def test_an_alert_ends_there_by_itself_when_hallwatch_is_not_heard_any_more(alertmanager):
    async with channel(to(alertmanager, resend="1 s", expire="6 s")) as notifier:
        await notifier.send(told("R001"))
    assert len(alertmanager.alerts()) == 1
    async with asyncio.timeout(60):
        while alertmanager.alerts():  # noqa: ASYNC110 - it tells nobody when an alert ends
            await asyncio.sleep(0.1)


async def test_names_that_are_cut_stay_apart(alertmanager):
    long = "R" * 10_000
    async with channel(to(alertmanager)) as notifier:
        await notifier.send(told(long + "1", long + "2"))
    objects = {a["labels"]["object"] for a in alertmanager.alerts()}
    assert len(objects) == 2
    assert max(map(len, objects)) <= MOST_OF_LABEL


@pytest.mark.server("amtool")
def test_the_routing_in_the_manual_is_one_that_alertmanager_takes(tmp_path):
    text = (Path(__file__).parents[2] / "docs/how-to/alerts.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"```yml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "alertmanager.yml").write_text(sample)
    checked = subprocess.run(
        ["amtool", "check-config", tmp_path / "alertmanager.yml"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


async def test_no_text_of_a_device_is_refused(alertmanager):
    pages = []
    for hostile in HOSTILE.values():
        (notice,) = told(hostile or "nothing").notices
        condition = replace(notice.alert.condition, said=hostile)
        alert = replace(notice.alert, condition=condition, note=hostile, acknowledged_by=hostile)
        facts = Facts(replace(PLACE, parts=(("pod", hostile),)), silenced_by=hostile, silenced_until=NOW)
        pages.append(replace(notice, alert=alert, facts=facts))
    async with channel(to(alertmanager, timeout="30 s")) as notifier:
        assert await notifier.send(replace(told(), notices=tuple(pages))) == ""
    kept = alertmanager.alerts()
    assert len(kept) == len({page.alert.condition.object_id for page in pages})
    texts = "".join(text for a in kept for part in ("labels", "annotations") for text in a[part].values())
    assert not FORBIDDEN & set(texts)


async def test_a_password_and_a_token_are_handed_over(monkeypatch):
    monkeypatch.setenv("ALERTMANAGER_OF_THE_TEST", "s3cret")
    async with AlertmanagerReceiver().serve() as receiver:
        for more in (
            {"username": "hallwatch", "password_env": "ALERTMANAGER_OF_THE_TEST"},
            {"token_env": "ALERTMANAGER_OF_THE_TEST"},
        ):
            async with channel(receiver.settings() | more) as notifier:
                await notifier.send(told("R001"))
    sent = [headers["authorization"] for headers, _ in receiver.got]
    assert sent == ["Basic aGFsbHdhdGNoOnMzY3JldA==", "Bearer s3cret"]


async def test_so_many_label_sets_are_remembered(monkeypatch):
    monkeypatch.setattr("alerts.notify.alertmanager.MOST_KEPT", 10)
    async with AlertmanagerReceiver().serve() as receiver, channel(receiver.settings()) as notifier:
        await notifier.send(told(*(f"R{i:03d}" for i in range(50))))
        await notifier.send(told(*(f"R{i:03d}" for i in range(50)), event=Event.CLEARED))
        await notifier.remind(Notification("x", "lab", "Lab", told().zone, ()))
    assert len(json.loads(receiver.got[-1][1])) == 10
