"""Each collector explains itself: its sample loads, and its README shows that sample."""

from pathlib import Path

import pytest
import yaml

from collectors.mqtt.settings import MqttSettings
from collectors.nvml.settings import AgentSettings
from collectors.prometheus.settings import PrometheusSettings
from collectors.schedule.settings import ScheduleSettings

ROOT = Path(__file__).parents[3] / "collectors"


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mqtt", MqttSettings),
        ("nvml", AgentSettings),
        ("prometheus", PrometheusSettings),
        ("schedule", ScheduleSettings),
    ],
)
def test_the_sample_loads_and_is_the_one_in_the_readme(name, settings):
    sample = (ROOT / name / "sample.yaml").read_text()
    settings.model_validate(yaml.safe_load(sample))
    assert f"```yaml\n{sample}```" in (ROOT / name / "README.md").read_text()
