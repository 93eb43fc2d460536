"""What is taken of load targets, and what is refused: signatures, parties, time, audience, repeats."""

import base64
import uuid
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from domain.batch import now_ms
from domain.errors import ConfigurationError
from domain.grid import OPEN_END, Standing
from partners.grid.flex.agent import FlexAgent
from partners.grid.flex.keys import KeyRegistry
from partners.grid.flex.settings import FlexSettings, PartyKey
from partners.grid.flex.targets import MOST_A_MINUTE, TargetDoor
from partners.grid.settings import GridSettings
from tests.servers.energy_partner import iso, key_pair, load_key, signed, target, target_event

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Key files by name: acme signs with ES256 and RS256, other with ES256; thief's is not registered."""
    folder = tmp_path_factory.mktemp("keys")
    kinds = {"acme": "ES256", "acme-rsa": "RS256", "other": "ES256", "thief": "ES256", "site": "ES256"}
    return {name: (*key_pair(folder, name, kind), kind) for name, kind in kinds.items()}


@pytest.fixture
def door(hall, keys):
    """The door with its feeds, and a way to send through it."""

    def make(**settings):
        registered = [
            PartyKey(id=name, party=party, key_file=keys[name][1])
            for name, party in (("acme", "acme"), ("acme-rsa", "acme"), ("other", "other"))
        ]
        flex = FlexSettings(identifier="lab", keys=registered, sign={"key_file": keys["site"][0]}, **settings)
        made = TargetDoor(flex, {"main": "site", "east": "R1"}, hall.desk())

        def send(payload, by="acme", party="acme", kid=None, topic=None, claims=None, now=None, **envelope):
            private, _, kind = keys[by]
            data = signed(payload, load_key(private, kind), kid or by, kind, **(claims or {}))
            event = target_event(data, party, **envelope)
            return made.take(
                topic or f"grid/v1/isv/{party}/loadtarget/set", orjson.dumps(event), now or now_ms()
            )

        made.send = send
        made.reasons = lambda: {name: n for name, n in made.counts.items() if name != "taken"}
        return made

    return make


def one(watts=200e3, **others):
    return {"targets": [target(watts, -HOUR, HOUR, **others)]}


@pytest.mark.parametrize("by", ["acme", "acme-rsa"])
def test_a_signed_target_waits_for_an_operator(door, hall, by):
    request = door().send(one(), by=by)
    assert request.standing is Standing.WAITING
    assert request.party == "acme"
    assert {(p.node, p.value) for p in request.parts} == {("site", 200e3), ("R1", 200e3)}
    assert hall.records.grid_requests() == [request]


def test_a_target_names_feeds_and_without_an_end_it_holds_till_further_notice(door):
    request = door().send({"targets": [target(100e3, feed_tags=["east"])]})
    assert [(p.node, p.end) for p in request.parts] == [("R1", OPEN_END)]


def changed(signature):
    return ("A" if signature[0] != "A" else "B") + signature[1:]


def test_a_forged_signature_is_refused(door, keys):
    made = door()
    head, body, signature = signed(one(), load_key(keys["acme"][0]), "acme").split(".")
    event = target_event(f"{head}.{body}.{changed(signature)}")
    assert made.take("grid/v1/isv/acme/loadtarget/set", orjson.dumps(event), now_ms()) is None
    assert made.reasons() == {"refused_forged": 1}


def test_changed_content_under_a_good_signature_is_refused(door, keys):
    made = door()
    head, _, signature = signed(one(), load_key(keys["acme"][0]), "acme").split(".")
    other = base64.urlsafe_b64encode(orjson.dumps(one(10e3))).rstrip(b"=").decode()
    event = target_event(f"{head}.{other}.{signature}")
    assert made.take("grid/v1/isv/acme/loadtarget/set", orjson.dumps(event), now_ms()) is None
    assert made.reasons() == {"refused_forged": 1}


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"alg": "none", "kid": "acme"}, "forged"),
        ({"alg": "HS256", "kid": "acme"}, "forged"),
        ({"alg": "RS256", "kid": "acme"}, "forged"),
        ({"alg": "ES256"}, "unknown_key"),
        ({"alg": "ES256", "kid": ["acme"]}, "unknown_key"),
    ],
)
def test_the_header_does_not_choose_how_it_is_verified(door, header, reason):
    made = door()
    parts = [orjson.dumps(header), orjson.dumps(one()), b"x" * 64]
    data = ".".join(base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in parts)
    assert made.take("grid/v1/isv/acme/loadtarget/set", orjson.dumps(target_event(data)), now_ms()) is None
    assert made.reasons() == {f"refused_{reason}": 1}


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"by": "thief"}, "unknown_key"),
        ({"by": "thief", "kid": "acme"}, "forged"),
        ({"by": "other"}, "wrong_party"),
        ({"source": "//grid/v1/isv/other"}, "wrong_party"),
        ({"topic": "grid/v1/isv/other/loadtarget/set"}, "wrong_party"),
        ({"time": iso(now_ms() - 3_600_000)}, "expired"),
        ({"time": iso(now_ms() + 3_600_000)}, "from_the_future"),
        ({"claims": {"exp": now_ms() / 1000 - 1}}, "expired"),
        ({"claims": {"nbf": now_ms() / 1000 + 3600}}, "from_the_future"),
        ({"claims": {"exp": "tomorrow"}}, "malformed"),
        ({"claims": {"aud": "another-site"}}, "wrong_audience"),
        ({"claims": {"aud": ["another-site"]}}, "wrong_audience"),
        ({"type": "grid.powerstate.status.v1"}, "malformed"),
        ({"specversion": "1.0"}, "malformed"),
        ({"time": 1_790_000_000}, "malformed"),
        ({"traceparent": "none"}, "malformed"),
    ],
)
def test_what_is_not_as_it_should_be_is_refused_and_says_why(door, hall, how, reason):
    made = door()
    assert made.send(one(), **how) is None
    assert made.reasons() == {f"refused_{reason}": 1}
    assert made.refusals[0].reason == reason
    assert hall.records.grid_requests() == []


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"targets": [target(200e3, -2 * HOUR, -HOUR)]}, "expired"),
        ({"targets": [target(200e3, 2 * HOUR, HOUR)]}, "invalid_target"),
        ({"targets": [target(200e3, timedelta(days=500), timedelta(days=501))]}, "invalid_target"),
        ({"targets": [target(200e3, feed_tags=["west"])]}, "unknown_feed"),
        ({"targets": [target(0.0)]}, "invalid_target"),
        ({"targets": [target(-5e3)]}, "invalid_target"),
        ({"targets": []}, "invalid_target"),
        ({"targets": [target(1e3)] * 101}, "invalid_target"),
        ({"targets": [{"interval": {}}]}, "invalid_target"),
        ([], "invalid_target"),
    ],
)
def test_a_target_that_means_nothing_here_is_refused_though_it_is_signed(door, payload, reason):
    made = door()
    assert made.send(payload) is None
    assert made.reasons() == {f"refused_{reason}": 1}


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"\xff\xfe", b"x" * 70_000, b"[" * 50_000])
def test_a_message_that_is_none_is_refused(door, payload):
    made = door()
    assert made.take("grid/v1/isv/acme/loadtarget/set", payload, now_ms()) is None
    assert sum(made.reasons().values()) == 1


def test_the_same_target_is_taken_once_in_whatever_envelope_it_comes_again(door, keys):
    made = door()
    data = signed(one(), load_key(keys["acme"][0]), "acme")
    topic = "grid/v1/isv/acme/loadtarget/set"
    again = [orjson.dumps(target_event(data)) for _ in range(3)]
    assert made.take(topic, again[0], now_ms()) is not None
    for event in (again[0], again[1], again[2]):
        assert made.take(topic, event, now_ms()) is None
    assert made.reasons() == {"refused_replayed": 3}


def test_the_same_content_signed_anew_is_another_target_only_with_a_claim_that_differs(door):
    made = door()
    payload = one()
    assert made.send(payload, claims={"iat": 1})
    assert made.send(payload, claims={"iat": 1}) is None
    assert made.send(payload, claims={"iat": 2})
    assert made.reasons() == {"refused_replayed": 1}


def test_a_repeat_is_refused_after_a_restart_too(door, keys):
    data = signed(one(), load_key(keys["acme"][0]), "acme")
    event = orjson.dumps(target_event(data))
    assert door().take("grid/v1/isv/acme/loadtarget/set", event, now_ms()) is not None
    later = door()
    assert later.take("grid/v1/isv/acme/loadtarget/set", event, now_ms()) is None
    assert later.reasons() == {"refused_replayed": 1}


def test_audience_and_expiry_may_be_required(door):
    made = door(require_claims=True)
    assert made.send(one()) is None
    assert made.send(one(), claims={"aud": "lab"}) is None
    assert made.send(one(), claims={"aud": ["lab", "x"], "exp": now_ms() / 1000 + 60})
    assert made.reasons() == {"refused_unclaimed": 2}


def test_a_party_has_so_many_targets_a_minute_and_others_are_not_held_up(door):
    made = door()
    now = now_ms()
    for _ in range(MOST_A_MINUTE):
        assert made.send(one(), claims={"jti": str(uuid.uuid4())}, now=now)
    assert made.send(one(), claims={"jti": "x"}, now=now) is None
    assert made.reasons() == {"refused_too_often": 1}
    assert made.send(one(), by="other", party="other", now=now)


def test_refusals_that_are_shown_are_the_newest_fifty(door):
    made = door()
    for _ in range(70):
        made.take("grid/v1/isv/acme/loadtarget/set", b"{", now_ms())
    assert len(made.refusals) == 50
    assert made.reasons() == {"refused_malformed": 70}


def test_a_key_that_cannot_be_used_is_told_at_the_start(tmp_path, keys):
    (tmp_path / "bad.pub").write_text("no key")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        KeyRegistry([PartyKey(id="x", party="acme", key_file=tmp_path / "bad.pub")])
    with pytest.raises(ConfigurationError, match="cannot be used"):
        KeyRegistry([PartyKey(id="x", party="acme", key_file=tmp_path / "none.pub")])


def test_a_time_without_a_zone_is_no_time(door):
    made = door()
    payload = {"targets": [{"interval": {"start_time": "2026-07-01T14:00:00"}, "load_constraint": None}]}
    assert made.send(payload) is None
    assert made.send(one(), time=datetime.now(UTC).replace(tzinfo=None).isoformat()) is None
    assert made.reasons() == {"refused_invalid_target": 1, "refused_malformed": 1}


def test_so_many_messages_wait_and_the_rest_is_left_with_the_broker(hall, keys, tmp_path, monkeypatch):
    monkeypatch.setattr("partners.grid.flex.agent.MOST_WAITING", 3)
    flex = FlexSettings(sign={"key_file": keys["site"][0]})
    agent = FlexAgent(flex, hall.desk(), hall.plant, lambda _now: [], GridSettings(), tmp_path / "breaches")
    for number in range(5):
        agent._arrived(b"grid/v1/isv/acme/loadtarget/set", b"{", number)
    assert agent.stats()["left_with_broker"] == 2
    agent._step()
    assert agent.stats()["refused_malformed"] == 3


def test_a_site_that_is_not_measured_tells_nothing_and_breaches_that_cannot_be_read_are_begun_anew(
    hall, keys, tmp_path
):
    (tmp_path / "breaches").write_text("{")
    flex = FlexSettings(sign={"key_file": keys["site"][0]})
    agent = FlexAgent(flex, hall.desk(), hall.plant, lambda _now: [], GridSettings(), tmp_path / "breaches")
    agent._step()
    assert "statuses" not in agent.stats()
