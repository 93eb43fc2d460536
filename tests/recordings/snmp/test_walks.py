"""Recordings of real devices, served over real UDP, against what LibreNMS reads of them."""

import json
import os
from pathlib import Path

import pytest
import yaml

from collectors.snmp.probe import probe
from collectors.snmp.profiles import shipped_profiles
from collectors.snmp.settings import Secrets
from domain.catalogue import OBJECT_TYPES, POINT_TYPES
from tests.recordings.snmp.device_table import PAGE, UNMET, page
from tests.recordings.snmp.scorecard import expected, score, verdict
from tests.servers.snmpsim import Snmpsim

FLOORS = Path(__file__).with_name("floors.json")
"""Share of the expectations met, by recording: what has been reached is never lost again."""
TOLD_OTHERWISE = {
    # 1200 with the unit "s" and the text "1200 s"; the expectation divides it by 100 and calls it a state.
    "1.3.6.1.4.1.2606.7.4.2.2.1.11.2.211": {"state"},
}
OVER_UDP = {
    "apc_ap8959eu3": "apc-rpdu2",
    "apc_smtl1000-nmc3": "apc-ups",
    "ats": "ats-smart-ii",
    "generex-ups_cs141": "ups-mib",
    "pcoweb-rittalchiller": "rittal-chiller",
    "sentry4": "servertech-sentry4",
    "vertiv-pdu_mg02e4w1": "vertiv-v5",
}
"""Recordings that are served over real UDP too, and the profile that each must have."""


def walks(folder):
    return sorted(p.stem for p in folder.glob("*.snmprec"))


@pytest.fixture(scope="session")
def scores(testdata):
    """The score of every recording in the folder, however many there are by now."""
    folder = testdata / "snmp-walks"
    return {name: score(folder, name) for name in walks(folder)}


@pytest.fixture(scope="session")
def simulated(testdata, tmp_path_factory):
    """Some recordings, one community each, on one port of loopback."""
    folder = testdata / "snmp-walks"
    devices = Snmpsim(
        tmp_path_factory.mktemp("snmpsim"), {name: folder / f"{name}.snmprec" for name in OVER_UDP}
    )
    devices.start(timeout=90)  # it makes an index of each walk first
    yield devices.port
    devices.stop()


_PROBED = {}


async def _probed(name, port):
    """Probe a device once for all tests."""
    if name not in _PROBED:
        _PROBED[name] = await probe("127.0.0.1", port, Secrets(community=name), timeout=10)
    return _PROBED[name]


def test_no_recording_reads_worse_than_it_did(scores):
    floors = json.loads(FLOORS.read_text())
    now = {name: {kind: s.share(kind) for kind in s.of} for name, s in scores.items()}
    if os.environ.get("HALLWATCH_RAISE_FLOORS"):
        for name, shares in now.items():
            old = floors.get(name, {})
            floors[name] = {kind: max(old.get(kind, 0.0), round(v - 5e-5, 4)) for kind, v in shares.items()}
        FLOORS.write_text(json.dumps(floors, indent=1, sort_keys=True) + "\n")
    fallen = {
        f"{name} {kind}": f"{now[name][kind]:.2%} < {floor:.2%}: {scores[name].unmet[:5]}"
        for name, shares in floors.items()
        if name in now
        for kind, floor in shares.items()
        if now[name][kind] < floor
    }
    assert not fallen


def test_every_expectation_that_is_not_met_has_its_reason(scores):
    reasons = yaml.safe_load(UNMET.read_text())
    fresh, needed = [], set()
    for name, score_ in scores.items():
        for row, why in score_.unmet:
            known = [o for o in reasons.get(name, {}) if f"{row['oid']}.".startswith(f"{o}.")]
            needed |= {(name, o) for o in known}
            if not known:
                fresh.append(f"{name} {row['class']} {row['descr']} {row['oid']}: {why}")
    assert not fresh
    stale = {(name, oid) for name, own in reasons.items() if name in scores for oid in own} - needed
    assert not stale


def test_a_profile_that_says_it_is_proven_is_proven_by_a_recording(scores):
    passed = {name for s in scores.values() if s.total >= 0.9 for name in s.profiles}
    standards_and_parents = {"system", "apc-inrow"}  # the InRow DX reads everything through apc-inrow
    proven = {name for name, profile in shipped_profiles().items() if profile.proven}
    assert proven - standards_and_parents <= passed


def test_no_reading_is_invented(scores, testdata):
    for name, result in scores.items():
        recorded = {
            line.split("|", 1)[0]
            for line in (testdata / "snmp-walks" / f"{name}.snmprec").read_text(errors="replace").splitlines()
        }
        found = [r.oid for r in result.readings]
        assert len(found) == len(set(found)), f"{name}: an OID was read twice"
        assert recorded.issuperset(found), name
        for reading in result.readings:
            assert reading.point.object_type in OBJECT_TYPES
            assert reading.point.point_type in POINT_TYPES
            assert bool(reading.point.unit) != reading.point.is_state


def test_an_object_tells_its_power_once(scores):
    for name, result in scores.items():
        polled = [
            (r.point.object_id, r.point.point_type, r.point.phase, r.name)
            for r in result.readings
            if r.point.point_type in {"ActivePower", "Energy"} and not r.duplicate
        ]
        assert len(polled) == len(set(polled)), name
        totals = [p[:2] for p in polled if p[1] == "ActivePower" and not p[2]]
        assert len(totals) == len(set(totals)), f"{name}: two totals of one object would be summed twice"


@pytest.mark.parametrize("name", sorted(OVER_UDP))
async def test_what_a_real_device_offers_is_found_over_udp_with_the_right_value(name, simulated, testdata):
    result = await _probed(name, simulated)

    assert result.profile == OVER_UDP[name]
    assert result.proven
    assert not result.failed
    found = {r.oid: r for r in result.readings}
    unmet = [
        (row, why)
        for row in expected(testdata / "snmp-walks", name)
        if row["class"] not in TOLD_OTHERWISE.get(row["oid"], ())
        and (why := verdict(row, found.get(row["oid"])))
    ]
    assert not unmet


async def test_a_recording_made_of_a_device_reads_like_the_device(simulated, tmp_path):
    from collectors.snmp.readings import Device
    from collectors.snmp.replay import replay
    from collectors.snmp.walk import read_snmprec

    file = tmp_path / "apc.snmprec"
    result = await probe(
        "127.0.0.1", simulated, Secrets(community="apc_smtl1000-nmc3"), timeout=10, record=file
    )

    again = await replay(read_snmprec(file), shipped_profiles(), "auto", Device("127.0.0.1"))
    assert [(r.oid, r.value) for r in again.readings] == [(r.oid, r.value) for r in result.readings]
    text = file.read_text()
    assert "AS2233161027" not in text, "the serial number is still there"
    assert "Equipment Room" not in text, "a name is still there"


async def test_an_unknown_device_yields_what_the_standards_give_and_says_that_no_profile_matched(simulated):
    from dataclasses import replace

    known = {n: p.model_copy(update={"match": []}) for n, p in shipped_profiles().items()}
    result = await probe(
        "127.0.0.1", simulated, Secrets(community="generex-ups_cs141"), timeout=10, profiles=known
    )
    assert result.profile is None
    assert json.loads(result.to_json())["profile"] is None
    assert "no profile matched" in result.to_text()
    by_symbol = {r.symbol: r.value for r in result.readings}
    assert by_symbol["upsEstimatedMinutesRemaining"] == 544 * 60
    assert replace(result, profile="ups-mib").to_text() != result.to_text()


async def test_version_1_finds_the_same_as_version_2c(simulated):
    new = await probe("127.0.0.1", simulated, Secrets(community="ats"), timeout=10)
    old = await probe("127.0.0.1", simulated, Secrets(community="ats", version="1"), timeout=10)
    assert {r.oid: r.value for r in old.readings} == {r.oid: r.value for r in new.readings}


def test_the_page_of_device_families_is_current():
    assert PAGE.read_text() == page(), "run: python -m tests.recordings.snmp.device_table"
