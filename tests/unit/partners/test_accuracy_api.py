"""GET /api/v1/forecasts/power/accuracy: what partners learn of what forecasts were worth."""

import jsonschema
import numpy as np
import pytest

from analytics.scoring.score import Due, added, empty_slot
from domain.forecast import QUANTILES
from domain.scores import SLOT_MS
from storage.records import Records
from tests.unit.partners.conftest import ISSUED, Client
from tests.unit.partners.test_power_forecast_api import assert_problem

PATH = "/api/v1/forecasts/power/accuracy"
SLOT = ISSUED // SLOT_MS * SLOT_MS
LEVELS = np.array(QUANTILES)


def scored(start, actual, objects=("lab", "R001", "R002")):
    """A slot whose forecasts said 100 kW, 90 to 110, limit 105; each value in `actual` came in one quarter hour."""
    n = len(objects)
    values = np.tile(100e3 + 20e3 * (LEVELS - 0.5) / 0.9, (n, 1))
    due = Due(
        np.array(objects), np.full(n, 60, np.int32), LEVELS, values, values + 10e3, np.full((n, 19), np.nan),
        np.full(n, 105e3), np.full(n, 0.3), np.zeros(n),
    )  # fmt: skip
    slot = empty_slot("ActivePower", "W", start)
    for i, value in enumerate(actual):
        slot = added(slot, start + 900_000 * i, due, np.full(n, value))
    return slot


def test_scores_are_told_by_lead_time_and_fit_the_published_schema(api):
    api.records.save_scores([scored(SLOT, [95e3, 99e3, 104e3, 112e3, np.nan])], ISSUED)
    answer = api.get(PATH)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["object_id"], body["unit"]) == ("lab", "W")
    (lead,) = body["leads"]
    assert (lead["lead_minutes"], lead["scored"], lead["missing"]) == (60, 4, 1)
    assert (lead["coverage_90"], lead["above"], lead["breaches"], lead["limited"]) == (0.75, 0.25, 1, 4)
    assert lead["brier"] == pytest.approx((3 * 0.09 + 0.49) / 4)
    assert lead["brier_persistence"] == 0.25
    assert lead["pinball_to_persistence"] < 1
    assert lead["pinball_to_naive"] is None
    assert lead["reliability"] == [
        {"low": 0.2, "high": 0.4, "forecasts": 4, "mean_probability": 0.3, "happened": 0.25}
    ]
    spec = Client(api.app).get("/api/v1/openapi.json").json()
    schema = {"$ref": "#/components/schemas/ForecastAccuracy", "components": spec["components"]}
    jsonschema.validate(body, schema)


def test_only_the_slots_that_were_asked_for_are_summed(api):
    api.records.save_scores([scored(SLOT - i * SLOT_MS, [100e3]) for i in range(40)], ISSUED)
    assert api.get(PATH).json()["leads"][0]["scored"] == 29  # a week, and the running six hours
    day = api.get(PATH, **{"from": "2026-09-20T12:00:00Z", "to": "2026-09-21T12:00:00Z"}).json()
    assert (day["start"], day["end"]) == ("2026-09-20T12:00:00Z", "2026-09-21T12:00:00Z")
    assert day["leads"][0]["scored"] == 4
    assert (
        api.get(PATH, **{"from": "2020-09-20T12:00:00Z", "to": "2020-09-21T12:00:00Z"}).json()["leads"] == []
    )


def test_partners_see_what_is_published_and_nothing_else(api):
    api.records.save_scores([scored(SLOT, [100e3])], ISSUED)
    assert api.get(PATH, object_id="R001").json()["leads"][0]["scored"] == 1
    assert_problem(api.get(PATH, object_id="R002"), 404, "'R002'")
    assert_problem(Client(api.app).get(PATH), 401, "Authorization: Bearer KEY")


def test_an_unchanged_answer_costs_no_body_and_a_new_score_is_seen_within_a_minute(api, monkeypatch):
    api.records.save_scores([scored(SLOT, [100e3])], ISSUED)
    tag = api.get(PATH).headers["etag"]
    assert api.get(PATH, headers={"If-None-Match": tag}).status_code == 304
    asked = []
    ask = Records.scores
    monkeypatch.setattr(Records, "scores", lambda *a: asked.append(a) or ask(*a))
    api.records.save_scores([scored(SLOT, [100e3, 101e3])], ISSUED)
    assert api.get(PATH).json()["leads"][0]["scored"] == 1
    assert asked == []
    api.clock.now += 61_000
    assert api.get(PATH, headers={"If-None-Match": tag}).json()["leads"][0]["scored"] == 2


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"from": "2026-09-21T15:00:00Z", "to": "2026-09-21T14:00:00Z"}, ("'to' must come after 'from'",)),
        ({"from": "2020-01-01T00:00:00Z"}, ("at most 400 days",)),
        ({"from": "soon"}, ("from",)),
    ],
)
def test_a_wrong_parameter_is_named(api, parameters, words):
    assert_problem(api.get(PATH, **parameters), 400, *words)
