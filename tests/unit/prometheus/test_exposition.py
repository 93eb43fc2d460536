"""From an exporter's text to readings; every folder of tests/recordings/prometheus is a case."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from collectors.prometheus.collector import load_mapping
from collectors.prometheus.exposition import Exposition, Memory
from collectors.prometheus.settings import ExporterMapping, MetricMapping, Target
from domain.errors import ConfigurationError, SourceProtocolError

ROOT = Path(__file__).parents[3]
CASES = sorted(p.parent for p in (ROOT / "tests/recordings/prometheus").glob("*/expected.yaml"))
MAPPING = ROOT / "config/prometheus/dcgm-exporter.yaml"
PLACE = r"(?P<rack>R\d+)-(?P<tray>T\d+)"


@pytest.fixture
def exposition():
    return Exposition(load_mapping(MAPPING), PLACE)


@pytest.mark.parametrize("case", CASES, ids=lambda p: p.name)
def test_case(case, exposition):
    expected = yaml.safe_load((case / "expected.yaml").read_text())
    target = Target(**expected.get("target", {"url": "http://x"}))
    memory, readings = Memory(), []
    for number, scrape in enumerate(sorted(case.glob("*.prom"))):
        exposition.counts.clear()
        readings = exposition.readings(scrape.read_text(), target, memory, at=10.0 * number)
    told = {f"{r.rack} {r.tray} {r.gpu} {r.point_type}": r.value for r in readings}
    assert told == pytest.approx(expected["readings"])
    assert dict(exposition.counts) == expected["counts"]


def test_a_text_that_is_no_exposition_is_a_protocol_error(exposition):
    with pytest.raises(SourceProtocolError):
        exposition.readings("<html>not here</html>", Target(url="x"), Memory(), 0.0)


def test_a_mapping_with_the_wrong_unit_is_refused():
    with pytest.raises(ValidationError, match="GpuTemperature is in Cel"):
        MetricMapping(point="GpuTemperature", unit="W")


def test_a_mapping_onto_an_unknown_point_is_refused():
    with pytest.raises(ValidationError, match="no point type"):
        ExporterMapping(
            name="x", host_labels=("h",), gpu_label="g", metrics={"A": {"point": "GpuMood", "unit": "count"}}
        )


def test_an_unreadable_mapping_names_the_file(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none\.yaml"):
        load_mapping(tmp_path / "none.yaml")
