"""OpenADR along the way that users take: a VTN that checks every message, the running service, an operator's commands."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest

from benchmarks._server_process import free_port
from domain.batch import Batch, now_ms
from domain.errors import InputError
from domain.points import Point, Quality
from service.system import open_ingest
from tests.servers.hallwatch import SITE, Service, command, write_configuration
from tests.servers.vtn import CLIENT, SECRET, VtnServer

KW = [{"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "IMPORT_CAPACITY_LIMIT", "units": "KW"}]


async def fill(config, data):
    """Store the power of the last two hours: 200 kW on each of two feeds."""
    async with open_ingest(config, data) as (registry, ingest):
        feeds = [
            registry.register(
                Point(
                    f"PowerMeter/ActivePower/{m}", "PowerMeter", "ActivePower", m, unit="W", source="dsx:bms"
                )
            )
            for m in SITE["meters"]
        ]
        times = np.arange(now_ms() - 7_200_000, now_ms() + 30_000, 10_000, dtype=np.int64)
        for feed in feeds:
            values = np.full(len(times), 200e3)
            await ingest.accept(Batch.of(np.full(len(times), feed), times, values, Quality.GOOD, now_ms()))


@pytest.fixture(scope="module")
def site(tmp_path_factory, testdata):
    """The running service, one VTN that it polls, and one that tells it of changes."""
    folder = tmp_path_factory.mktemp("openadr")
    port = free_port()
    (folder / "secret").write_text(SECRET)
    with VtnServer(testdata / "openadr") as polled, VtnServer(testdata / "openadr") as telling:

        def ven(name, vtn, **others):
            told = {
                "name": name,
                "url": vtn.url,
                "client_id": CLIENT,
                "client_secret_file": str(folder / "secret"),
            }
            return told | {"program": "Capacity", "ven_name": "lab-ven", **others}

        grid = {
            "openadr": [
                ven("polled", polled, interval=1, simple={"2": "300 kW"}),
                ven("telling", telling, interval=3600, callback_url=f"http://127.0.0.1:{port}"),
            ]
        }
        settings = {"grid": grid, "web": {"port": port}}
        config = write_configuration(folder / "config", settings, SITE, {"rules": []})
        asyncio.run(fill(config, folder / "data"))
        service = Service(config)
        service.start(timeout=240)
        yield type(
            "Site",
            (),
            {"config": config, "service": service, "polled": polled, "telling": telling, "port": port},
        )
        service.stop()


def grid(site, *arguments):
    return json.loads(command("grid", *arguments, "-c", site.config, "--json"))


def requests(site, reference):
    return [r for r in grid(site, "events")[::-1] if r["reference"] == reference]


def until(found, why, timeout=120):
    deadline = time.monotonic() + timeout
    while not (what := found()):
        assert time.monotonic() < deadline, why
        time.sleep(0.1)
    return what


def at(**shift):
    return (datetime.now(UTC) + timedelta(**shift)).isoformat().replace("+00:00", "Z")


def limit_event(kw, start, duration, **others):
    payloads = [{"type": "IMPORT_CAPACITY_LIMIT", "values": [kw]}]
    period = {"start": start, "duration": duration}
    return {
        "intervalPeriod": period,
        "payloadDescriptors": KW,
        "intervals": [{"id": 0, "payloads": payloads}],
        **others,
    }


def link(site, name="polled"):
    return site.service.health()["grid"][name]


def test_an_event_waits_is_agreed_to_changed_and_called_off(site):
    vtn = site.polled
    event = vtn.publish(**limit_event(380.0, at(minutes=-1), "PT2H", eventName="Evening peak"))
    (waiting,) = until(lambda: requests(site, event), "the event never came")
    assert (waiting["standing"], waiting["text"]) == ("waiting", "Evening peak: at most 380.0 kW")
    command("grid", "consent", waiting["id"], "-c", site.config)
    held = until(lambda: grid(site, "status")["limits"], "it does not hold")
    assert [h["limit"] for h in held] == [380e3]

    vtn.modify(event, **limit_event(360.0, at(minutes=-1), "PT1H"))
    until(lambda: len(requests(site, event)) == 2, "the change never came")
    assert [r["standing"] for r in requests(site, event)] == ["agreed", "waiting"]
    command("grid", "consent", requests(site, event)[1]["id"], "-c", site.config)
    until(lambda: [h["limit"] for h in grid(site, "status")["limits"]] == [360e3], "the change does not hold")
    assert [(r["standing"], r["version"]) for r in requests(site, event)] == [("replaced", 0), ("agreed", 1)]

    polls = link(site)["polls"]
    until(lambda: link(site)["polls"] > polls + 2, "it is not polled")
    assert len(requests(site, event)) == 2, "what is listed again is no new request"

    vtn.delete(event)
    until(lambda: requests(site, event)[1]["standing"] == "cancelled", "it was not called off")
    until(lambda: not grid(site, "status")["limits"], "it still holds")
    assert (len(vtn.vens), len(vtn.resources)) == (1, 1)
    assert vtn.resources[0]["resourceName"] == "lab"
    assert vtn.faults == []


def test_an_outage_of_the_vtn_leaves_what_was_agreed_and_what_was_missed_is_caught_up(site):
    vtn = site.polled
    event = vtn.publish(**limit_event(390.0, at(minutes=-1), "PT2H"))
    (waiting,) = until(lambda: requests(site, event), "the event never came")
    command("grid", "consent", waiting["id"], "-c", site.config)
    vtn.outage = True
    until(lambda: not link(site)["connected"], "the outage is not seen")
    assert "503" in link(site)["error"]
    missed = vtn.publish(**limit_event(350.0, at(hours=3), "PT1H"))
    over = vtn.publish(**limit_event(350.0, at(hours=-3), "PT1H"))
    assert [h["limit"] for h in grid(site, "status")["limits"]] == [390e3]
    vtn.tokens.clear()  # its tokens did not outlive it
    vtn.outage = False
    until(lambda: requests(site, missed), "what was missed is not caught up")
    until(lambda: link(site)["connected"], "the end of the outage is not seen")
    assert requests(site, over) == []
    assert link(site)["late"] >= 1
    vtn.delete(event)
    vtn.delete(missed)
    vtn.delete(over)
    until(lambda: requests(site, event)[0]["standing"] == "cancelled", "it was not called off")
    assert vtn.faults == []


def test_reports_are_sent_as_asked_for_and_again_after_an_outage(site):
    vtn = site.polled
    wanted = [
        {"payloadType": "USAGE", "units": "KWH"},
        {"payloadType": "DEMAND", "readingType": "PEAK", "units": "KW"},
        {"payloadType": "BASELINE", "units": "KW"},
        {"payloadType": "LOAD_SHED_DELTA_AVAILABLE", "startInterval": 0, "historical": False},
        {"payloadType": "USAGE_FORECAST", "startInterval": 0, "historical": False},
        {"payloadType": "STORAGE_CHARGE_LEVEL"},
    ]
    event = vtn.publish(**limit_event(500.0, at(minutes=-20), "PT1215S", reportDescriptors=wanted))
    until(lambda: requests(site, event), "the event never came")

    def reports():
        return {r["payloadDescriptors"][0]["payloadType"]: r for r in vtn.reports if r["eventID"] == event}

    vtn.wait_for(lambda: "LOAD_SHED_DELTA_AVAILABLE" in reports() and "USAGE_FORECAST" in reports())
    vtn.outage = True
    until(lambda: link(site)["reports_waiting"] or not link(site)["connected"], "the outage is not seen")
    until(lambda: requests(site, event)[0]["end"] < now_ms(), "the event does not end")
    vtn.outage = False
    vtn.wait_for(lambda: {"USAGE", "DEMAND", "BASELINE"} <= reports().keys())

    def values(kind):
        (resource,) = reports()[kind]["resources"]
        assert resource["resourceName"] == "lab"
        return {p["type"]: p["values"][0] for p in resource["intervals"][0]["payloads"]}

    usage = values("USAGE")
    assert usage["USAGE"] == pytest.approx(400 * 1215 / 3600, rel=0.01)
    assert usage["DATA_QUALITY"] in ("OK", "ESTIMATED")
    assert values("DEMAND")["DEMAND"] == pytest.approx(400, rel=0.01)
    assert values("BASELINE") == {"DATA_QUALITY": "MISSING"}
    assert values("USAGE_FORECAST") == {"DATA_QUALITY": "MISSING"}
    assert len([r for r in vtn.reports if r["eventID"] == event]) == 5
    assert vtn.faults == []


def test_prices_levels_and_alerts_are_taken_and_what_is_not_understood_is_shown(site):
    vtn = site.polled
    period = {"start": at(minutes=-1), "duration": "PT1H"}

    def one(kind, value, **others):
        return vtn.publish(
            intervalPeriod=period,
            intervals=[{"id": 0, "payloads": [{"type": kind, "values": [value]}]}],
            **others,
        )

    price = [
        {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "PRICE", "units": "KWH", "currency": "TWD"}
    ]
    power = [
        {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "DISPATCH_SETPOINT_RELATIVE", "units": "KW"}
    ]
    events = {
        "price": one("PRICE", 4.2, payloadDescriptors=price),
        "level": one("SIMPLE", 2),
        "alert": one("ALERT_GRID_EMERGENCY", "reserve is short"),
        "less": one("DISPATCH_SETPOINT_RELATIVE", 50.0, payloadDescriptors=power),
        "odd": one("IMPORT_CAPACITY_LIMIT", 300.0),
    }
    until(lambda: link(site).get("refused_not_understood"), "the odd one is not refused")
    found = {name: requests(site, event) for name, event in events.items()}
    assert [found[name][0]["kind"] for name in ("price", "level", "alert")] == ["price", "limit", "notice"]
    assert found["odd"] == []
    assert found["less"][0]["kind"] == "notice"
    assert "less than the baseline, which is not known: there is no contract" in found["less"][0]["text"]
    assert [r["standing"] for r in found["price"] + found["alert"]] == ["agreed", "agreed"]
    shown = command("grid", "status", "-c", site.config)
    assert "no unit that is told" in shown
    assert "alert grid emergency reserve is short" in shown

    def prices():
        try:
            told = command("query", "Site/GridPrice/*", "--since", "5m", "--json", "-c", site.config)
        except InputError:  # there is no such point before the first price
            return []
        return [point for point in json.loads(told) if point["value"]]

    (price,) = until(prices, "no price is read")
    assert price["value"][-1] == 4.2
    for event in events.values():
        vtn.delete(event)


def test_a_vtn_that_offers_it_tells_of_changes_at_once(site):
    vtn = site.telling
    (subscription,) = vtn.wait_for(lambda: vtn.subscriptions)
    (wanted,) = subscription["objectOperations"]
    event = vtn.publish(**limit_event(370.0, at(hours=1), "PT1H"))
    until(lambda: requests(site, event), "the VTN's word was not heeded")
    vtn.delete(event)
    until(lambda: requests(site, event)[0]["standing"] == "cancelled", "the VTN's word was not heeded")
    assert vtn.faults == []
    answers = [
        httpx.post(
            f"http://127.0.0.1:{site.port}/grid/openadr/{name}/notify", headers=headers, json={}, timeout=60
        )
        for name, headers in (
            ("telling", {}),
            ("nobody", {"authorization": f"Bearer {wanted['bearerToken']}"}),
        )
    ]
    assert [answer.status_code for answer in answers] == [401, 401]


def test_a_restart_forgets_nothing_and_sends_no_report_twice(site):
    vtn = site.polled
    sent = len(vtn.reports)
    wanted = [{"payloadType": "READING", "startInterval": 0, "historical": False}]
    event = vtn.publish(**limit_event(340.0, at(minutes=-1), "PT3H", reportDescriptors=wanted))
    vtn.wait_for(lambda: len(vtn.reports) == sent + 1)
    command("grid", "consent", requests(site, event)[0]["id"], "-c", site.config)
    site.service.stop()
    site.service.start(timeout=240)
    until(lambda: link(site).get("polls", 0) > 1, "it is not polled")
    assert [r["standing"] for r in requests(site, event)] == ["agreed"]
    assert [h["limit"] for h in grid(site, "status")["limits"]] == [340e3]
    assert len(vtn.reports) == sent + 1
    assert vtn.faults == []
