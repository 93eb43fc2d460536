"""A discovery file as the scraper reads it."""

from collectors.prometheus.discovery import file_targets
from domain.documents import parse_document
from domain.errors import HallwatchError


def fuzz(data: bytes) -> None:
    try:
        document = parse_document(data.decode("utf-8", "replace"), "targets.yaml").data
        found, faults = file_targets(document)
    except HallwatchError:
        return
    assert all(len(target.url) <= 500 for target in found)
    assert all(len(fault) <= 300 for fault in faults.values())
    if isinstance(document, list):
        good = {"targets": ["good:9400"], "labels": {"rack": "R001", "tray": "T01"}}
        assert file_targets([*document, good])[0][-1].url == "http://good:9400/metrics"
