"""The shipped rules on GPU health: what is found becomes an alert that says what it is and what to do."""

import yaml

from analytics.live.gpus import finding_point
from service.configuration import SHIPPED, load_gpu_health
from tests.unit.alerts.conftest import CHANNELS, ROUTES, Lab

CATALOGUE = load_gpu_health()
RULES = [
    rule
    for rule in yaml.safe_load((SHIPPED / "alerts.yaml").read_text())["rules"]
    if rule["name"].startswith("gpu-") and rule["name"] != "gpu-too-hot"
]


def lab_with(tmp_path):
    return Lab(tmp_path, {"rules": RULES, "routes": ROUTES, "channels": CHANNELS})


def found(lab, name, entry, gpu="R001-T01-G2"):
    return lab.registry.register(finding_point(gpu, name, entry, CATALOGUE, "R001"))


def test_an_xid_pages_with_its_meaning_and_remedy_and_is_over_when_it_no_longer_stands(tmp_path):
    lab = lab_with(tmp_path)
    lost = found(lab, "XID 79", CATALOGUE.xid(79))
    lab.at(0).read(lost, 1.0)
    assert lab.step() == [("opened", "gpu-fault/R001-T01-G2")]
    alert = lab.active["gpu-fault/R001-T01-G2"]
    assert alert.condition.severity.value == "high"
    assert "XID 79: the GPU has fallen off the bus. Drain and restart the node." in alert.condition.summary
    for second in range(2, 140, 2):
        lab.at(second).read(lost, float(second < 60))
        lab.look()
    assert ("cleared", "gpu-fault/R001-T01-G2") in lab.mail.take()
    lab.close()


def test_each_grade_has_its_severity(tmp_path):
    lab = lab_with(tmp_path)
    points = [
        found(lab, "lost", CATALOGUE.condition("lost")),
        found(lab, "rows_pending", CATALOGUE.condition("rows_pending")),
        found(lab, "XID 31", CATALOGUE.xid(31)),
    ]
    for second in range(0, 70, 2):
        lab.at(second).read(points, 1.0)
        lab.look()
    severities = {key: alert.condition.severity.value for key, alert in lab.active.items()}
    assert severities == {
        "gpu-fault/R001-T01-G2": "high",
        "gpu-degraded/R001-T01-G2": "warning",
        "gpu-notice/R001-T01-G2": "info",
    }
    lab.close()
