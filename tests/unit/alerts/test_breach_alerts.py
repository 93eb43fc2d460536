"""What the benchmark of excursions counts: alerts as the shipped rule tells them, breaches as the shipped rule finds them."""

import numpy as np
import pytest

from benchmarks._breach_alerts import NEVER, Told, shipped_rules, told
from domain.forecast import QUANTILES
from domain.site import Site
from service.configuration import SHIPPED, load

LIMIT = 10e6


@pytest.fixture(scope="module")
def site():
    return load(SHIPPED / "site.yaml", Site)


def counted(site, chances, power):
    """Let a chance be foretold of each forecast's second quarter hour only."""
    probability = np.zeros((len(chances), 4))
    probability[:, 1] = chances
    values = np.full((len(chances), 4, len(QUANTILES)), 9e6)
    return told(site, values, probability, np.array(power) * 1e6, LIMIT, *shipped_rules())


def test_an_alert_counts_from_when_it_is_told_until_the_quarter_hour_has_ended_too_high(site):
    #               now:  0    1    2    3    4    5
    found = counted(site, [0, 0.9, 0.9, 0.9, 0.0, 0.0], [9, 9, 9, 10.1, 9, 9])
    assert (found.ahead, found.false) == ([3], 0)
    assert (found.share(3), found.share(4)) == (1.0, 0.0)


def test_an_alert_that_clears_without_a_breach_is_false_and_the_breach_that_follows_was_not_told(site):
    found = counted(site, [0, 0.9, 0.0, 0.0, 0.0, 0.0], [9, 9, 9, 10.1, 9, 9])
    assert (found.ahead, found.false) == ([NEVER], 1)


def test_an_alert_that_stays_up_while_the_chance_sinks_a_little_is_one(site):
    predicted, _ = shipped_rules()
    between = (predicted.probability + predicted.clear_probability) / 2
    found = counted(site, [0.99, between, 0.99, between, 0.0, 0.0], [9] * 6)
    assert (found.ahead, found.false) == ([], 1)


def test_a_breach_is_one_until_a_quarter_hour_stays_clearly_under_the_limit(site):
    found = counted(site, [0] * 7, [9, 10.1, 9.9, 10.1, 9.7, 10.1, 9])
    assert found.ahead == [NEVER, NEVER]


def test_what_is_foretold_while_a_breach_lasts_is_told_if_it_is_as_likely_when_that_is_over(site):
    found = counted(site, [0, 0, 0.99, 0.99, 0.99, 0.99, 0], [9, 10.1, 10.1, 9, 9, 10.1, 9])
    assert found.ahead == [NEVER, 2]
    assert np.isnan(Told().share(1))
