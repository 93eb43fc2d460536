"""Recordings of real devices, served over real UDP, against what LibreNMS reads of them."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collectors.snmp.client import GufoClient
from collectors.snmp.discovery import SYS_OBJECT_ID
from collectors.snmp.probe import probe
from collectors.snmp.profiles import shipped_profiles
from collectors.snmp.settings import Secrets
from domain.catalogue import OBJECT_TYPES, POINT_TYPES

PROFILE_OF = {
    "apc-netbotz_netbotz750": "netbotz",
    "apc_ap8959eu3": "apc-rpdu2",
    "apc_inrow-dx": "apc-inrow-dx",
    "apc_smtl1000-nmc3": "apc-ups",
    "ats": "ats-smart-ii",
    "generex-ups_cs141": "ups-mib",
    "hwg-poseidon": "hwg-poseidon",
    "liebert_mph2rg": "liebert-pdu",
    "pcoweb-rittalchiller": "rittal-chiller",
    "raritan-pdu_px3": "raritan-pdu2",
    "rittal-lcp_cmciii-pu-lcp": "rittal-cmc3",
    "sentry3_switched": "servertech-sentry3",
    "sentry4": "servertech-sentry4",
    "stulz_wib8000": "stulz-wib8000",
    "vertiv-pdu_mg02e4w1": "vertiv-v5",
}
UNITS = {"kWh": 3.6e6, "%": 0.01, "kPa": 1e3, "min": 60.0, "cfm": 28.316846592}
"""Units of the expectations to canonical ones; the others are canonical."""
TOLD_OTHERWISE = {
    # 1200 with the unit "s" and the text "1200 s"; the expectation divides it by 100 and calls it a state.
    "1.3.6.1.4.1.2606.7.4.2.2.1.11.2.211": {"state"},
    # A valve opening in percent; the expectation lists it as percent and, unscaled, as a state as well.
    **{
        f"1.3.6.1.4.1.29462.10.2.1.1.2.1.2.5.1.2238.{i}": {"state"}
        for i in ("1.5.1", "1.6.1", "1.8.1", "2.1.1")
    },
}


@pytest.fixture(scope="session")
def simulated(testdata, tmp_path_factory):
    """All recordings, one community each, on one port of loopback."""
    cache = tmp_path_factory.mktemp("snmpsim")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [
        str(Path(sys.executable).parent / "snmpsim-command-responder"),
        f"--data-dir={testdata / 'snmp-walks'}",
        f"--cache-dir={cache}",
        f"--agent-udpv4-endpoint=127.0.0.1:{port}",
        "--logging-method=null",
    ]
    if os.getuid() == 0:
        command += ["--process-user=root", "--process-group=root"]
    process = subprocess.Popen(command, cwd=cache, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(port, process)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _wait(port, process, patience=90.0):
    async def answers():
        client = GufoClient("127.0.0.1", port, Secrets(community="ats"), timeout=1.0, retries=0)
        return await client.get([SYS_OBJECT_ID])

    until = time.monotonic() + patience
    while time.monotonic() < until:
        assert process.poll() is None, "the SNMP simulator has stopped"
        try:
            if asyncio.run(answers()):
                return
        except Exception:
            continue
    raise TimeoutError(f"the SNMP simulator did not answer within {patience:g} s")


_PROBED = {}


async def _probed(name, port):
    """Probe a device once for all tests."""
    if name not in _PROBED:
        _PROBED[name] = await probe("127.0.0.1", port, Secrets(community=name), timeout=10)
    return _PROBED[name]


def _expected(testdata, name):
    rows = json.loads((testdata / "snmp-walks" / f"{name}.expected.json").read_text())
    return [r for r in rows if not r.get("suspect")]


def test_every_recording_has_an_expectation_and_a_profile_here(testdata):
    walks = {p.stem for p in (testdata / "snmp-walks").glob("*.snmprec")}
    assert walks == set(PROFILE_OF)


def test_every_profile_that_says_it_is_proven_is_proven_by_a_recording():
    standards = {"system"}
    proven = {name for name, profile in shipped_profiles().items() if profile.proven} - standards
    assert proven == {*PROFILE_OF.values(), "apc-inrow"}  # the InRow DX reads everything through apc-inrow


@pytest.mark.parametrize("name", sorted(PROFILE_OF))
async def test_what_a_real_device_offers_is_found_with_the_right_value(name, simulated, testdata):
    result = await _probed(name, simulated)

    assert result.profile == PROFILE_OF[name]
    assert result.proven
    assert not result.failed
    found = {r.oid: r for r in result.readings}
    assert len(found) == len(result.readings), "an OID was read twice"
    missing, wrong = [], []
    for row in _expected(testdata, name):
        reading = found.get(row["oid"])
        if reading is None:
            missing.append(row)
            continue
        if row["class"] in TOLD_OTHERWISE.get(row["oid"], ()):
            continue
        value = row["value"] * UNITS.get(row["unit"], 1.0)
        if reading.value is None or abs(reading.value - value) > 1e-6 * max(1.0, abs(value)):
            wrong.append((row, reading.value, reading.point.unit))
    assert not missing
    assert not wrong


@pytest.mark.parametrize("name", sorted(PROFILE_OF))
async def test_no_reading_is_invented(name, simulated, testdata):
    result = await _probed(name, simulated)
    recorded = {
        line.split("|", 1)[0]
        for line in (testdata / "snmp-walks" / f"{name}.snmprec").read_text(errors="replace").splitlines()
    }
    for reading in result.readings:
        assert reading.oid in recorded
        assert reading.point.object_type in OBJECT_TYPES
        assert reading.point.point_type in POINT_TYPES
        assert bool(reading.point.unit) != reading.point.is_state
        if reading.point.point_type in {"AirTemperature", "LiquidTemperature", "BatteryTemperature"}:
            assert reading.value is None or -30 < reading.value < 90, reading


@pytest.mark.parametrize("name", sorted(PROFILE_OF))
async def test_an_object_tells_its_power_once(name, simulated, testdata):
    result = await _probed(name, simulated)
    polled = [
        (r.point.object_id, r.point.point_type, r.point.phase, r.name)
        for r in result.readings
        if r.point.point_type in {"ActivePower", "Energy"} and not r.duplicate
    ]
    assert len(polled) == len(set(polled))
    totals = [p[:2] for p in polled if p[1] == "ActivePower" and not p[2]]
    assert len(totals) == len(set(totals)), "two totals of one object would be summed twice"


async def test_a_recording_made_of_a_device_reads_like_the_device(simulated, tmp_path):
    from collectors.snmp.discovery import profiles_to_read
    from collectors.snmp.readings import Device, read
    from collectors.snmp.walk import read_snmprec

    file = tmp_path / "apc.snmprec"
    result = await probe(
        "127.0.0.1", simulated, Secrets(community="apc_smtl1000-nmc3"), timeout=10, record=file
    )

    profiles = shipped_profiles()
    walk = read_snmprec(file)
    taken = set()
    again = [
        r
        for part in profiles_to_read(profiles[result.profile], profiles)
        for r in read(part, walk, Device("127.0.0.1"), taken)
    ]
    assert [(r.oid, r.value) for r in again] == [(r.oid, r.value) for r in result.readings]
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
