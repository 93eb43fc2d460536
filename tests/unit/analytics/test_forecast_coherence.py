"""Forecasts of a site, its pods and its racks add up."""

import time

import numpy as np
import pytest

from analytics.forecast.coherence import reconcile
from domain.errors import InputError

LEVELS = (0.05, 0.5, 0.95)
TREE = {"site": ["pod 1", "pod 2"], "pod 1": ["rack 1", "rack 2"], "pod 2": ["rack 3"]}


def forecast(median: float, width: float, steps: int = 4) -> np.ndarray:
    return np.tile([median - width / 2, median, median + width / 2], (steps, 1))


def six_nodes() -> dict[str, np.ndarray]:
    return {
        "site": forecast(320, 20),
        "pod 1": forecast(190, 20),
        "pod 2": forecast(110, 20),
        "rack 1": forecast(100, 20),
        "rack 2": forecast(100, 20),
        "rack 3": forecast(100, 20),
    }


def test_every_whole_becomes_the_sum_of_its_parts() -> None:
    result = reconcile(six_nodes(), TREE, LEVELS)
    for whole, parts in TREE.items():
        np.testing.assert_allclose(result[whole][:, 1], sum(result[part][:, 1] for part in parts))


def test_what_adds_up_already_stays() -> None:
    nodes = {**six_nodes(), "site": forecast(300, 20), "pod 1": forecast(200, 20), "pod 2": forecast(100, 20)}
    for name, values in reconcile(nodes, TREE, LEVELS).items():
        np.testing.assert_allclose(values, nodes[name])


def test_each_forecast_keeps_its_width() -> None:
    result = reconcile(six_nodes(), TREE, LEVELS)
    for name, values in six_nodes().items():
        np.testing.assert_allclose(np.diff(result[name], axis=1), np.diff(values, axis=1))


def test_the_surer_forecast_moves_less() -> None:
    nodes = {**six_nodes(), "site": forecast(320, 2)}
    result = reconcile(nodes, TREE, LEVELS)
    assert abs(result["site"][0, 1] - 320) < 1
    assert result["rack 1"][0, 1] > 102


def test_forecasts_without_width_do_no_harm() -> None:
    nodes = {name: forecast(float(values[0, 1]), 0.0) for name, values in six_nodes().items()}
    result = reconcile(nodes, TREE, LEVELS)
    assert all(np.isfinite(values).all() for values in result.values())
    np.testing.assert_allclose(result["site"][:, 1], result["pod 1"][:, 1] + result["pod 2"][:, 1])


def test_a_whole_site_takes_well_under_a_second() -> None:
    racks = [f"rack {i}" for i in range(96)]
    tree = {
        "site": [f"pod {p}" for p in range(12)],
        **{f"pod {p}": racks[8 * p : 8 * p + 8] for p in range(12)},
    }
    nodes = {name: forecast(1e5, 1e4, steps=192) for name in [*tree, *racks]}
    began = time.thread_time()
    reconcile(nodes, tree, LEVELS)
    assert time.thread_time() - began < 5


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"site": ["pod 1", "nowhere"]}, "nowhere.* has no forecast"),
        ({"site": ["rack 1"], "pod 1": ["rack 1"]}, "more than one whole"),
        ({"site": ["pod 1"], "pod 1": ["site"]}, "part of itself"),
    ],
)
def test_a_tree_that_makes_no_sense_is_refused(tree: dict[str, list[str]], says: str) -> None:
    with pytest.raises(InputError, match=says):
        reconcile(six_nodes(), tree, LEVELS)


def test_the_median_is_needed() -> None:
    with pytest.raises(InputError, match="median"):
        reconcile(six_nodes(), TREE, (0.1, 0.4, 0.9))
