"""DSX Flex along the way that users take: a partner on a real broker, the running service, an operator's commands."""

import json
import time
from datetime import timedelta

import pytest

from domain.batch import now_ms
from domain.errors import InputError
from storage.records import Records
from tests.servers.bms_meters import Meters
from tests.servers.energy_partner import (
    EnergyPartner,
    FlexContract,
    iso,
    key_pair,
    load_key,
    signed,
    target,
    target_event,
)
from tests.servers.hallwatch import SITE, Service, command, write_configuration
from tests.servers.mosquitto import Mosquitto

pytestmark = [pytest.mark.server("mosquitto"), pytest.mark.xdist_group("mosquitto")]

HOUR = timedelta(hours=1)
RULES = [
    {
        "name": "grid-consent-needed",
        "kind": "limit",
        "points": ["GridRequestsWaiting"],
        "above": 0.5,
        "severity": "high",
    },
    {
        "name": "grid-limit-begins",
        "kind": "state",
        "points": ["GridLimitPhase"],
        "abnormal": ["In force"],
        "severity": "warning",
    },
    {
        "name": "grid-limit-exceeded",
        "kind": "state",
        "points": ["GridLimitKept"],
        "abnormal": ["No"],
        "severity": "critical",
    },
]


@pytest.fixture(scope="module")
def site(tmp_path_factory, testdata):
    """The running service beside a broker with its meters on it, and a partner."""
    folder = tmp_path_factory.mktemp("flex")
    keys = {name: key_pair(folder, name) for name in ("acme", "thief", "site")}
    with Mosquitto(folder / "mosquitto") as broker:
        flex = {
            "identifier": "lab",
            "broker": {"url": broker.url, "retry_max": 0.5},
            "keys": [{"id": "acme-1", "party": "acme", "key_file": str(keys["acme"][1])}],
            "sign": {"id": "lab-1", "key_file": str(keys["site"][0])},
            "heartbeat": 1,
            "breach_after": 1,
            "escalate_after": 3,
        }
        classes = [{"name": "flexible", "jobs": ["batch-*"], "sheds": 0.25}]
        grid = {
            "settle": 0,
            "mean": 2,
            "flex": flex,
            "flexibility": {"classes": classes, "unbooked": "flexible"},
        }
        settings = {"mqtt": [{"broker": {"url": broker.url}}], "grid": grid}
        config = write_configuration(folder / "config", settings, SITE, {"interval": "1 s", "rules": RULES})
        service = Service(config)
        service.start(timeout=240)
        meters = Meters(broker.url, SITE["meters"], [f"Pod1C-E0{n}" for n in range(1, 7)])
        contract = FlexContract(testdata / "dsx" / "dsx-flex.asyncapi.yaml")
        with EnergyPartner(broker.url, "acme", contract, keys["site"][1]) as partner:
            yield type(
                "Site",
                (),
                {"config": config, "service": service, "meters": meters, "partner": partner, "keys": keys},
            )
        meters.connection.stop()
        service.stop()


def until(found, why, timeout=120):
    deadline = time.monotonic() + timeout
    while not (what := found()):
        assert time.monotonic() < deadline, why
        time.sleep(0.2)
    return what


def grid(site, *arguments):
    return json.loads(command("grid", *arguments, "-c", site.config, "--json"))


def feed(site, found):
    """Wait for a status of the feed `main` that is as looked for."""
    return site.partner.wait_for(
        lambda: next((s for s in site.partner.statuses[::-1] if found(s["data"]["feeds"]["main"])), None)
    )


def steady(site, each_kw, condition):
    """Keep telling the meters' power until something has come to pass."""

    def look():
        site.meters.say(each_kw)
        return condition()

    return until(look, f"not come to pass at {each_kw} kW")


def alerts(site):
    records = Records(f"sqlite:///{site.service.data / 'records.sqlite'}")
    try:
        return {a.condition.rule for a in records.active_alerts()}
    finally:
        records.close()


def test_a_target_is_agreed_to_begins_is_breached_and_ends_and_the_partner_hears_of_each(site):
    partner, key = site.partner, load_key(site.keys["acme"][0])
    steady(site, 200, lambda: partner.statuses)
    first = feed(site, lambda f: f["event"] == "periodic")["data"]["feeds"]["main"]
    assert (first["compliant"], first["targets"], first["in_flight"]) == (True, [], False)

    body = {"targets": [target(360e3, -HOUR, HOUR, strategy={"best_effort": True})]}
    event = target_event(signed(body, key, "acme-1"))
    partner.publish(event)
    (waiting,) = until(lambda: grid(site, "status")["waiting"], "the target never came to the desk")
    assert (waiting["party"], waiting["reference"]) == ("acme", event["correlationid"])
    steady(site, 200, lambda: "grid-consent-needed" in alerts(site))
    assert "waits for consent: request 1 of acme: 360.0 kW at most" in command(
        "grid", "status", "-c", site.config
    )
    assert "is agreed" in command(
        "grid", "consent", "1", "--who", "mei", "--note", "by phone", "-c", site.config
    )

    set_ = feed(site, lambda f: f["event"] == "target_set")
    assert set_["correlationid"] == event["correlationid"]
    assert set_["traceparent"].split("-")[1] == event["traceparent"].split("-")[1]
    (told,) = set_["data"]["feeds"]["main"]["targets"]
    assert (told["active"], told["load_constraint"], told["correlation_id"]) == (
        True,
        {"value": 360e3, "unit": "watt"},
        event["correlationid"],
    )
    assert told["strategy"] == {"best_effort": True}
    down = feed(site, lambda f: f["event"] == "start_ramp_down")["data"]["feeds"]["main"]
    assert (down["in_flight"], down["compliant"]) == (True, False)
    steady(site, 200, lambda: {"grid-limit-begins", "grid-limit-exceeded"} <= alerts(site))

    active, escalated = (
        steady(
            site, 200, lambda s=s: next((a["data"] for a in partner.alerts if a["data"]["status"] == s), None)
        )
        for s in ("active", "escalated")
    )
    assert active["breach"]["breach_id"] == escalated["breach"]["breach_id"]
    assert active["severity"] == "warning"
    assert active["infrastructure_actions"] == []
    assert active["target"]["correlation_id"] == event["correlationid"]
    hint = active["shed_hints"][0]
    assert (hint["resource_type"], hint["action"], hint["priority"]) == ("chassis", "power_cap", 1)
    assert hint["target_power"]["value"] == pytest.approx(200e3 / 3 * 0.75, rel=1e-3)

    steady(site, 150, lambda: next((a for a in partner.alerts if a["data"]["status"] == "resolved"), None))
    feed(site, lambda f: f["event"] == "end_ramp_down")
    feed(site, lambda f: f["compliant"] and not f["in_flight"] and f["targets"])
    (node,) = grid(site, "status")["nodes"]
    assert (node["limit"], node["phase"], node["request"]) == (360e3, "In force", 1)

    partner.publish(target_event(signed({"targets": [target(None)]}, key, "acme-1")))
    until(lambda: len(grid(site, "events")) == 2, "lifting it never came to the desk")
    command("grid", "consent", "2", "-c", site.config)
    steady(
        site,
        150,
        lambda: any(s["data"]["feeds"]["main"]["event"] == "start_ramp_up" for s in partner.statuses),
    )
    steady(site, 150, lambda: not {"grid-limit-begins", "grid-limit-exceeded"} & alerts(site))
    assert partner.faults == []


def test_forged_replayed_expired_and_strange_targets_are_refused_counted_and_shown(site):
    key = load_key(site.keys["acme"][0])
    body = {"targets": [target(100e3, -HOUR, HOUR)]}
    thief = load_key(site.keys["thief"][0])
    good = target_event(signed(body, key, "acme-1"))
    before = site.service.health()["grid"]["flex"]
    events = len(grid(site, "events"))
    site.partner.publish(good)
    site.partner.publish(good)
    site.partner.publish(target_event(good["data"]))
    site.partner.publish(target_event(signed(body, thief, "acme-1")))
    site.partner.publish(target_event(signed(body, thief, "thief")))
    site.partner.publish(target_event(signed(body, key, "acme-1", iat=1), time=iso(now_ms() - 3_600_000)))
    site.partner.publish(target_event(signed(body, key, "acme-1", exp=now_ms() / 1000 - 5)))
    site.partner.publish(target_event(signed(body, key, "acme-1", aud="another-site")))
    site.partner.publish(target_event(signed(body, key, "acme-1", iat=2)), party="other")
    site.partner.publish(b"{")
    wanted = {
        "replayed": 2,
        "forged": 1,
        "unknown_key": 1,
        "expired": 2,
        "wrong_audience": 1,
        "wrong_party": 1,
    }
    wanted |= {"malformed": 1}

    def refused():
        now = site.service.health()["grid"]["flex"]
        return {
            name: now.get(f"refused_{name}", 0) - before.get(f"refused_{name}", 0) for name in wanted
        } == wanted

    until(refused, "not all were refused")
    assert len(grid(site, "events")) == events + 1
    shown = command("grid", "status", "-c", site.config)
    assert "10 refused" in shown or "9 refused" in shown
    assert "sent as acme: wrong_audience: it is for 'another-site'" in shown
    command("grid", "refuse", grid(site, "events")[0]["id"], "--note", "not today", "-c", site.config)
    assert grid(site, "events")[0]["standing"] == "refused"
    with pytest.raises(InputError, match="refused already"):
        command("grid", "consent", grid(site, "events")[0]["id"], "-c", site.config)


def test_what_could_be_shed_and_a_plan_are_told_by_command(site):
    steady(site, 200, lambda: json.loads(command("flexibility", "-c", site.config, "--json"))["shed"] > 0)
    told = json.loads(command("flexibility", "--target", "350 kW", "-c", site.config, "--json"))
    assert told["power"] == pytest.approx(400e3)
    assert told["shed"] == pytest.approx(6 * 200e3 / 3 * 0.25, rel=1e-3)
    assert told["headroom"] == pytest.approx(200e3)
    assert (told["plan"]["basis"], told["plan"]["short"]) == ("present power", 0)
    assert len(told["plan"]["steps"][0]["caps"]) == 3
    printed = command("flexibility", "--target", "100 kW", "-c", site.config)
    assert "are missing: the classes of jobs give no more" in printed
    assert "no job is known on these racks: of class flexible, number 1 to give" in printed
    with pytest.raises(InputError, match="no node 'nowhere'"):
        command("flexibility", "nowhere", "-c", site.config)


def test_what_came_while_the_service_was_away_is_taken_when_it_is_back(site):
    key = load_key(site.keys["acme"][0])
    events = len(grid(site, "events"))
    site.service.stop()
    site.partner.publish(target_event(signed({"targets": [target(300e3, HOUR, 2 * HOUR)]}, key, "acme-1")))
    site.service.start(timeout=240)
    until(lambda: len(grid(site, "events")) == events + 1, "the broker did not keep it")
