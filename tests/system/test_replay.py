"""A real capture of an AI factory's building system, into the service and through a real broker."""

import json

import pytest

from tests.servers.hallwatch import SITE, Service, eventually, hallwatch, write_configuration

START = "2026-07-01T00:00:00+00:00"
BUSWAYS = ("C-E-BUS-E1", "C-E-BUS-E2")


def means(service, pattern):
    """Return the time-weighted mean of each matching point over the capture, by object."""
    found = service.query(
        pattern, "--since", START, "--until", "2026-07-01T00:01:40+00:00", "--every", "100s"
    )
    return {entry["objectId"]: entry["value"][0] for entry in found if entry["unit"] == "W"}


def check_content(service):
    racks = means(service, "*/RackPower")
    meters = means(service, "*/ActivePower")
    assert len(racks) == 6
    assert sum(meters[name] for name in BUSWAYS) == pytest.approx(214.1e3, rel=2e-3)
    assert sum(racks.values()) == pytest.approx(214.1e3, rel=2e-3)
    taps = sum(value for name, value in meters.items() if name.startswith("C-E05-TAP"))
    assert taps == pytest.approx(racks["Pod1C-E05"], rel=5e-3)
    assert racks["Pod1C-E05"] == pytest.approx(47.8e3, rel=5e-3)


def test_the_capture_replayed_into_the_running_service_is_all_there(testdata, tmp_path):
    config = write_configuration(tmp_path / "config", {}, SITE, {})
    with Service(config) as service:
        told = json.loads(
            hallwatch(
                *("replay", testdata / "dsx" / "exemplar.csv", "--speed", "0", "--start", START),
                *("--json", "--data", service.data),
            ).stdout
        )
        assert (told["messages"], told["topics"], told["refused"]) == (4711, 311, 0)
        assert told["readings"] == 4545
        counters = service.health()["ingest"]
        assert counters["received"] == counters["stored"] + counters["duplicate"]
        assert counters["quarantined"] == counters["dropped"] == 0
        assert service.health()["points"] >= 166
        check_content(service)
        again = hallwatch(
            *("replay", testdata / "dsx" / "exemplar.csv", "--speed", "0", "--start", START),
            *("--json", "--data", service.data),
        )
        assert json.loads(again.stdout)["readings"] == 4545
        after = service.health()["ingest"]
        assert after["duplicate"] - counters["duplicate"] == 4545, "the same capture again adds nothing"


def test_a_replay_without_a_service_goes_into_the_store_itself(testdata, tmp_path):
    hallwatch(
        *(
            "replay",
            testdata / "dsx" / "exemplar.csv",
            "--speed",
            "0",
            "--start",
            START,
            "--data",
            tmp_path / "d",
        )
    )
    out = hallwatch(
        *("query", "Pod1C-E05/RackPower", "--since", START, "--until", "2026-07-01T00:02+00:00"),
        *("--csv", "--data", tmp_path / "d"),
    ).stdout.splitlines()
    assert out[0] == "time,key,object_id,point_type,value,unit,quality"
    assert len(out) > 10


@pytest.mark.server("mosquitto")
def test_the_capture_through_a_real_broker_gives_the_same_content(testdata, tmp_path, mosquitto):
    url = f"mqtt://127.0.0.1:{mosquitto.port}"
    config = write_configuration(
        tmp_path / "config", {"mqtt": [{"name": "bms", "broker": {"url": url}}]}, SITE, {}
    )
    with Service(config) as service:
        eventually(lambda: service.health()["collectors"]["mqtt bms"]["connected"])
        told = json.loads(
            hallwatch(
                *("replay", testdata / "dsx" / "exemplar.csv", "--to", url, "--speed", "0", "--start", START),
                "--json",
            ).stdout
        )
        assert told["messages"] == 4711

        def all_there():
            counters = service.health()["collectors"]["mqtt bms"]
            return counters["messages"] >= 4711

        eventually(all_there)
        eventually(lambda: check_content(service) is None)
        health = service.health()
        assert health["ingest"]["quarantined"] == 0
        assert health["ingest"]["stored"] >= 4545
