"""What alerts say, in English and in Chinese, from the reading to the records."""

from alerts.rules.settings import SharedCause

RULES = [
    {
        "name": "consent",
        "kind": "limit",
        "points": ["GridRequestsWaiting"],
        "above": 0.5,
        "severity": "high",
    },
    {"name": "worn", "kind": "limit", "points": ["TimeToLimit"], "below": "30 d", "severity": "info"},
    {
        "name": "leak",
        "kind": "state",
        "points": ["RackLeakDetect"],
        "normal": ["NoLeak"],
        "severity": "critical",
    },
    {"name": "odd", "kind": "state", "points": ["SensorVerdict"], "normal": ["Good"], "severity": "info"},
]


def test_a_sentence_comes_back_from_the_records_in_either_language(lab):
    plant = lab(*RULES)
    part = {"unit": "s", "process_area": ("filter resistance over a clean one",)}
    verdict = {"states": ((0, "Good"), (2, "Drifting")), "process_area": ("RackLiquidFlow",)}
    plant.read(plant.point("Service", "GridRequestsWaiting", "hallwatch", unit="count"), 2)
    plant.read(plant.point("CDU", "TimeToLimit", "CDU1", **part), 12 * 86_400.0)
    plant.read(plant.point("Rack", "RackLeakDetect", "R002", states=((0, "NoLeak"), (1, "Leak"))), 1)
    plant.read(plant.point("Rack", "SensorVerdict", "R003", **verdict), 2)
    plant.step()
    told = {key: (a.condition.summary, a.condition.told("zh-Hant")) for key, a in plant.active.items()}
    assert told == {
        "consent/hallwatch": (
            "hallwatch: requests of the grid that wait for an operator's consent: 2",
            "hallwatch：等待操作員同意的電網要求：2",
        ),
        "worn/CDU1": (
            "CDU1: time until a part that wears reaches its limit (filter resistance over a clean one) is 12 d, limit 30 d",
            "CDU1：濾網阻力（相對於乾淨時）距極限的時間 12 天，低於下限 30 天",
        ),
        "leak/R002": ("R002: leak at a rack", "R002：機櫃漏液"),
        "odd/R003": (
            "R003: coolant flow through a rack: Drifting",
            "R003：冷卻液流量：漂移",
        ),
    }


def test_what_a_rule_says_is_told_in_english_where_it_says_nothing_in_a_language():
    cause = {"name": "c", "kind": "shared_cause", "of": ["leak"], "roots": ["Feed"], "severity": "high"}
    assert SharedCause.model_validate({**cause, "says": "{found} leak"}).says == {"en": "{found} leak"}
    both = {"en": "{found} leak", "zh-Hant": "{found} 處漏液"}
    assert SharedCause.model_validate({**cause, "says": both}).says == both
