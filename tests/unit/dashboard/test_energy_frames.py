"""The energy page: what it says with a contract and a grid, without them, and of what is not known."""

import math
from dataclasses import replace

import pytest

from analytics.contract.tariff import Tariff
from analytics.flexibility.settings import FlexibilitySettings, JobClass
from analytics.outlook.quarters import QuarterWatch
from dashboard import energy_frames
from dashboard.energy import FRESH_MS, EnergyCalls, EnergyDesk
from domain.batch import now_ms
from domain.errors import InputError
from domain.grid import Part
from partners.grid.part import Grid
from partners.grid.settings import GridSettings
from service.configuration import SHIPPED, load
from service.contract import Contract
from service.web import energy_calls
from tests.system.console_plant import less_is_asked

HOUR = 3_600_000
FLEXIBLE = FlexibilitySettings(classes=(JobClass(name="batch", jobs=("*",), sheds=0.5),), unbooked="batch")


@pytest.fixture
def asked(bare, tmp_path):
    """The plant as it is now, with the example's contract, and a grid whose requests wait for consent."""
    bare.now = now_ms()
    bare.tick()
    plant = bare.data.plant
    settings = GridSettings(consent="always", flexibility=FLEXIBLE)
    bare.grid = Grid(
        settings, plant, bare.records, bare.registry, bare.ingest.accept, 60_000, lambda _a, _b: 0.0, tmp_path
    )
    bare.quarters = QuarterWatch(plant, 1000)
    bare.quarters.look(bare.now)
    tariff = load(SHIPPED / "examples" / "tariffs" / "taiwan-illustrative.yaml", Tariff)
    contract = Contract(plant, bare.records, tariff)
    calls = energy_calls(contract, lambda: bare.quarters.told, bare.grid)
    bare.data.energy = EnergyDesk(plant, lambda: bare.now, calls)
    bare.look = lambda: bare.grid.watch.look(now_ms(), {}) and energy_frames.now(bare.data)
    return bare


def texts(row):
    return [cell[0] for cell in row["cells"] if cell]


def test_without_contract_and_grid_the_page_says_so(bare):
    bare.data.energy = EnergyDesk(bare.data.plant, lambda: bare.now, EnergyCalls())
    told = energy_frames.now(bare.data)
    assert told["cells"]["energy-ends"][:2] == ["\u2014", "missing"]
    assert texts(told["nodes"][0]) == ["The site listens to no grid"]
    account = energy_frames.account(bare.data)
    assert texts(account["peaks"][0]) == texts(account["tariff"][0]) == ["No contract is configured"]
    assert account["chart"]["told"] == "nothing measured yet"
    assert texts(account["energy"][0]) == ["Nothing is known yet"]
    with pytest.raises(InputError):
        bare.data.energy.decide(1, "consent", "mei", "")


def test_a_request_waits_with_both_decisions_and_then_only_with_the_one_that_is_left(asked):
    node = asked.site.id
    request = replace(less_is_asked(node, 2e6, now_ms()), parts=(
        Part(node, now_ms() - 1, now_ms() + HOUR, 2e6), Part(node, now_ms() + HOUR, now_ms() + 2 * HOUR, math.nan)))  # fmt: skip
    asked.grid.desk.take(request, "one")
    told = asked.look()
    (row,) = told["requests"]
    assert row["may"] == ["consent", "refuse"]
    assert texts(row)[2] == f"{node} \u2264 2.000 MW, {node} limit lifted"
    assert told["cells"]["energy-waiting"][0] == "1 request waits for consent"
    asked.data.energy.decide(row["number"], "consent", "mei", "fine")
    asked.grid.desk.refresh(now_ms())
    told = asked.look()
    (row,) = told["requests"]
    assert row["may"] == ["refuse"]
    assert texts(told["nodes"][0])[:3] == [node, "2.000 MW", "in force"]
    asked.data.energy.decide(row["number"], "refuse", "mei", "no more")
    assert asked.look()["requests"][0]["may"] == []


def test_only_the_two_decisions_are_known(asked):
    with pytest.raises(InputError):
        asked.data.energy.decide(1, "execute", "mei", "")


def test_what_was_said_of_the_quarter_hour_long_ago_is_not_shown(asked):
    assert "MW" in asked.look()["cells"]["energy-ends"][0]
    asked.now += FRESH_MS + 1
    assert energy_frames.now(asked.data)["cells"]["energy-ends"][1] == "missing"


def test_the_month_the_tariff_and_who_gives_first_are_told(asked):
    account = energy_frames.account(asked.data)
    assert texts(account["peaks"][0])[:2] == ["regular", "15.20 MW"]
    assert (
        account["peaks"][0]["cells"][3][1] == "missing"
    )  # nothing is said of the month's end before a week is known
    assert texts(account["tariff"][0])[0] == "now"
    assert account["chart"]["contracted"] == 15.2
    (job,) = asked.look()["jobs"]
    assert texts(job)[1] == "not known"
    assert "class batch, gives " in texts(job)[4]


def test_so_many_requests_are_listed_and_those_that_wait_come_first(asked):
    for number in range(energy_frames.MOST_REQUESTS + 3):
        made = replace(
            less_is_asked(asked.site.id, 2e6, now_ms()), reference=f"r{number}", series=f"s{number}"
        )
        kept = asked.grid.desk.take(made, f"d{number}")
        if number > 1:
            asked.grid.desk.refuse(kept.id, "mei", "enough")
    rows = asked.look()["requests"]
    assert len(rows) == energy_frames.MOST_REQUESTS
    assert [row["number"] for row in rows[:2]] == [2, 1]
