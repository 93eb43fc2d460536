"""`hallwatch forecasts`: what is issued of a node, and what forecasts were worth, asked of the records."""

import json

import numpy as np
import pytest

from analytics.scoring.score import Due, added, empty_slot
from domain.batch import now_ms
from domain.forecast import QUANTILES
from domain.scores import SLOT_MS
from storage.records import Records
from tests.servers.hallwatch import hallwatch
from tests.unit.partners.conftest import site_forecast

LEVELS = np.array(QUANTILES)


@pytest.fixture
def data(tmp_path):
    """A data folder with scores of the last two days, and a forecast issued just now of two nodes."""
    records = Records(f"sqlite:///{tmp_path}/records.sqlite")
    now = now_ms()
    values = np.tile(100e3 + 20e3 * (LEVELS - 0.5) / 0.9, (2, 1))
    due = Due(
        np.array(["lab", "R001"]), np.full(2, 60, np.int32), LEVELS, values, values + 10e3, values + 5e3,
        np.full(2, 105e3), np.full(2, 0.3), np.zeros(2),
    )  # fmt: skip
    for back in range(8):
        start = now // SLOT_MS * SLOT_MS - back * SLOT_MS
        slot = added(empty_slot("ActivePower", "W", start), start, due, np.array([99e3, 120e3]))
        records.save_scores([slot], now)
    records.save_forecasts([site_forecast(now - 60_000, object_id=name) for name in ("lab", "R001")])
    records.close()
    return tmp_path


def test_scores_are_told_by_lead_time_for_people_and_for_programs(data):
    told = hallwatch("forecasts", "scores", "--data", data).stdout.splitlines()
    assert told[0].split()[:3] == ["forecast", "ahead", "scored"]
    assert told[1].split()[:4] == ["power", "1", "h", "16"]
    assert "50.0%" in told[1]
    (rack,) = json.loads(
        hallwatch("forecasts", "scores", "--object", "R001", "--json", "--data", data).stdout
    )
    assert (rack["forecast"], rack["object"], rack["lead"], rack["scored"]) == ("ActivePower", "R001", 60, 8)
    assert (rack["coverage"], rack["breaches"], rack["brier"]) == (0.0, 8, pytest.approx(0.49))
    assert rack["reliability"][0]["happened"] == 1.0
    day = hallwatch(
        "forecasts", "scores", "--object", "R001", "--since", "1h", "--json", "--data", data
    ).stdout
    assert json.loads(day)[0]["scored"] <= 2


def test_the_newest_forecast_of_a_node_is_shown(data):
    listed = json.loads(hallwatch("forecasts", "show", "--json", "--data", data).stdout)
    assert set(listed) == {"lab", "R001"}
    shown = hallwatch("forecasts", "show", "R001", "--data", data).stdout.splitlines()
    assert shown[0].startswith("R001, issued ")
    assert len(shown) == 10
    assert (
        len(json.loads(hallwatch("forecasts", "show", "R001", "--json", "--data", data).stdout)["start"]) == 8
    )


def test_what_is_not_there_is_told_so(data):
    done = hallwatch("forecasts", "scores", "--object", "R999", "--data", data, check=False)
    assert (done.returncode, "no forecast of 'R999' has been scored" in done.stderr) == (2, True)
    done = hallwatch("forecasts", "show", "R999", "--data", data, check=False)
    assert (done.returncode, "no forecast of 'R999' has been issued" in done.stderr) == (2, True)
