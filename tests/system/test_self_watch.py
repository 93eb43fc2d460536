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

        def active():
            told = hallwatch("alerts", "list", "--json", "-c", config).stdout
            return [a["condition"]["object_id"] for a in json.loads(told)]

        deadline = time.monotonic() + 90
        while not hallwatch("query", "hallwatch/*", "--json", "--data", service.data, check=False).stdout:
            assert time.monotonic() < deadline, "nothing is told of the service itself"
            time.sleep(0.5)
        assert active() == []
        capture = testdata / "dsx" / "exemplar.csv"
        hallwatch("replay", capture, "--speed", "0", "--start", "2020-01-01T00:00Z", "--data", service.data)
        while active() != ["hallwatch"]:
            assert time.monotonic() < deadline, f"no alert: {service.health()['ingest']}"
            time.sleep(0.5)
