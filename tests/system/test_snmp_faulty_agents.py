"""Whole agents with faults of others' making: that of the test data, snmpd that starts anew, agents of version 3."""

import asyncio
import socket
import subprocess
import sys

import pytest

from benchmarks._server_process import free_port
from collectors.snmp.client import PatientClient
from collectors.snmp.probe import probe
from collectors.snmp.settings import Secrets
from domain.errors import SourceRefused, SourceTimeout
from tests.servers import Snmpd
from tests.system.snmp_agent import POWER_OID, UPTIME, oids, values
from tests.system.snmp_v3_agent import USER, v3_agent

ENERGY_OID = "1.3.6.1.4.1.318.1.1.26.4.3.1.9.1"
FAKES = ("nobulk", "emptybulk", "silentbulk", "generr", "null", "nosuch", "reorder", "dropvb", "dup", "more", "cut",
         "eomerr", "toobig10", "toobig2", "othercom", "lossy", "twice")  # fmt: skip
"""Faults of the agent in the test data of which all that is there must come through nonetheless."""


@pytest.fixture(scope="session")
def fakes(testdata):
    """The faulty agent of the test data; yields its port."""
    port = free_port(socket.SOCK_DGRAM)
    script = testdata / "cases" / "snmp" / "fakeagent.py"
    process = subprocess.Popen([sys.executable, str(script), str(port), str(testdata / "snmp-walks")])
    try:
        for _ in range(100):
            try:
                asyncio.run(_fake(port, "well"))
                break
            except SourceTimeout:
                assert process.poll() is None
        yield port
    finally:
        process.kill()
        process.wait(10)


async def _fake(port, fault, **more):
    return await probe(
        "127.0.0.1",
        port,
        Secrets(community=f"apc_ap8959eu3+{fault}"),
        **{"timeout": 0.2, "retries": 2, **more},
    )


@pytest.mark.parametrize("fault", FAKES)
async def test_a_faulty_agent_gives_all_that_it_can(fakes, fault):
    well = await _fake(fakes, "well")
    result = await _fake(fakes, fault)
    assert result.ok
    assert result.profile == well.profile

    def told(r):
        apart = {remark.oid for remark in r.set_aside}
        return {
            x.oid: x.value for x in r.readings if x.oid not in apart and x.point.point_type != "DeviceUptime"
        }

    lost = {oid for oid in told(well) if oid not in told(result)}
    assert lost == ({POWER_OID} if fault in ("generr", "null", "nosuch") else set())


async def test_a_column_that_hangs_costs_itself(fakes):
    well, sick = await _fake(fakes, "well"), await _fake(fakes, "hang")
    lost = {r.oid for r in well.readings} - {r.oid for r in sick.readings}
    assert all(oid.startswith("1.3.6.1.4.1.318.1.1.4.4.2.1.3.") for oid in lost)
    assert any(r.oid == "1.3.6.1.4.1.318.1.1.4.4.2.1.3" and "no answer" in r.reason for r in sick.set_aside)


@pytest.mark.parametrize("fault", ["noninc", "endless"])
async def test_tables_that_have_no_end_are_named(fakes, fault):
    result = await _fake(fakes, fault)
    assert any(r.reason.startswith(("OIDs do not increase", "5000 objects")) for r in result.set_aside)


@pytest.mark.parametrize("fault", ["otherip", "otherport"])
async def test_a_faulty_agent_that_answers_from_elsewhere_is_told_and_read_on_request(fakes, fault):
    with pytest.raises(SourceTimeout, match="an answer came from"):
        await _fake(fakes, fault)
    assert (await _fake(fakes, fault, any_address=True)).ok


async def test_a_faulty_agent_of_version_1_is_told_to_be_one(fakes):
    with pytest.raises(SourceRefused, match="use version 1"):
        await _fake(fakes, "v1only", timeout=1.0, retries=0)


@pytest.mark.server("snmpd")
async def test_an_engine_that_starts_anew_is_known_again_at_once(tmp_path):
    """Version 3: boots and time of the engine change, so that what was agreed on before is refused."""
    users = ("watch SHA-256 authsecret1 AES privsecret1",)
    keys = {
        "user": "watch",
        "auth": "SHA256",
        "auth_key": "authsecret1",
        "priv": "AES",
        "priv_key": "privsecret1",
    }
    secrets = Secrets.model_validate({"version": "3", **keys})
    with Snmpd(tmp_path / "snmpd", users=users) as server:
        s = PatientClient("127.0.0.1", server.port, secrets, timeout=1.0, retries=1)
        before = (await s.get([UPTIME]))[UPTIME]
        server.stop()
        server.start()
        assert (await s.get([UPTIME]))[UPTIME] < before + 1000
        server.stop()
        for boots in (tmp_path / "snmpd" / "state").glob("snmpd.conf"):
            boots.unlink()  # as after a factory reset: engine id and boots begin anew
        server.start()
        assert UPTIME in await s.get([UPTIME])
        assert len(await s.walk("1.3.6.1.2.1.1", count=5)) > 5


def v3_session(a, **more):
    return PatientClient(
        "127.0.0.1", a.port, Secrets.model_validate(USER), **{"timeout": 3.0, "retries": 0, **more}
    )


@pytest.mark.parametrize("bulk", [True, False])
async def test_an_agent_of_version_3_is_walked_with_and_without_getbulk(bulk):
    async with v3_agent(values(), bulk=bulk) as a:
        s = v3_session(a)
        assert {o for o, _ in await s.walk("1.3.6.1.4.1.318", count=10)} == set(oids())
        assert await s.walk("1.3.6.1.4.1.99999") == []
        assert s.troubles == {}
        assert s.traffic.timeouts == 0


async def test_the_object_with_an_error_is_found_under_version_3_though_the_library_does_not_tell():
    async with v3_agent(values()) as a:
        a.bad = {POWER_OID}
        s = v3_session(a)
        assert set(await s.get(oids())) == set(oids()) - {POWER_OID}
        assert list(s.troubles) == [POWER_OID]
        del a.objects[ENERGY_OID]
        a.requests = 0
        assert set(await s.get(oids())) == set(oids()) - {POWER_OID, ENERGY_OID}
        assert a.requests == 1, "what is missing is no error"
