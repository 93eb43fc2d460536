"""Hallwatch tells of its own trouble by the rules that everything else has."""

import json
import time

from tests.servers.hallwatch import SITE, Service, hallwatch, write_configuration

REFUSED = {
    "name": "readings-refused",
    "kind": "limit",
    "points": ["ServiceReadingsRefused"],
    "above": "5 %",
    "severity": "warning",
}


def test_readings_that_are_refused_are_an_alert_on_the_service_itself(tmp_path, testdata):
    config = write_configuration(tmp_path / "config", {}, SITE, {"rules": [REFUSED]})
    with Service(config) as service:
        deadline = time.monotonic() + 240
        while "hallwatch" not in service.health()["points_by_source"]:
            assert time.monotonic() < deadline, "nothing is told of the service itself"
            time.sleep(0.2)
        assert service.health()["alerts"]["opened"] == 0
        capture = testdata / "dsx" / "exemplar.csv"
        hallwatch("replay", capture, "--speed", "0", "--start", "2020-01-01T00:00Z", "--data", service.data)
        while service.health()["alerts"]["opened"] == 0:
            assert time.monotonic() < deadline, f"no alert: {service.health()['ingest']}"
            time.sleep(0.2)
        (told,) = json.loads(hallwatch("alerts", "list", "--json", "-c", config).stdout)
    assert told["condition"]["object_id"] == "hallwatch"
    assert "quarantined" in told["condition"]["summary"]
