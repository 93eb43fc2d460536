"""The arrays of issued forecasts: small, and as they were."""

import zlib

import numpy as np
import pytest

from analytics.issuing.nodes import node_forecasts
from analytics.outlook.excursions import exceedance
from domain.forecast import PERSISTENCE, QUANTILES
from storage.forecast_arrays import ForecastArrays, pack, unpack

START = 1_790_000_000_000 // 900_000 * 900_000 + 900_000 * np.arange(24, dtype=np.int64)


@pytest.fixture(scope="module")
def racks():
    """Issued forecasts of eight racks with two weeks of jobs that last for hours."""
    rng = np.random.default_rng(3)
    history = {
        f"R{i}": 110e3 + 15e3 * np.repeat(rng.normal(size=112), 12) + rng.normal(0, 2e3, 14 * 96)
        for i in range(8)
    }
    limit = np.full(24, 142e3)
    limit[5] = np.nan
    return [
        ForecastArrays(START, values, limit, exceedance(values, QUANTILES, limit))
        for values in node_forecasts(history, {}, {}, 24).values()
    ]


def test_what_is_kept_is_what_was_issued_to_a_millionth(racks):
    for issued in racks:
        kept = unpack(pack(issued), 24, len(QUANTILES))
        assert (kept.start == issued.start).all()
        assert kept.values == pytest.approx(issued.values, rel=2e-6)
        assert (np.diff(kept.values, axis=1) >= 0).all()
        assert kept.limit == pytest.approx(issued.limit, nan_ok=True, rel=1e-15)
        assert kept.breach == pytest.approx(issued.breach, nan_ok=True, abs=1e-5)


def test_a_racks_six_hours_take_less_than_a_kilobyte(racks):
    assert np.mean([len(pack(issued)) for issued in racks]) < 800


def test_values_of_any_sign_and_size_and_none_at_all_are_kept():
    rng = np.random.default_rng(0)
    for scale in (1e-9, 1.0, 1e12):
        values = np.sort(rng.normal(0, scale, (5, 3)), axis=1)
        some = ForecastArrays(START[:5], values, np.full(5, np.inf), np.full(5, np.nan))
        assert unpack(pack(some), 5, 3).values == pytest.approx(values, abs=2e-6 * np.abs(values).max())
    zeros = ForecastArrays(START[:2], np.zeros((2, 3)), np.zeros(2), np.zeros(2))
    assert (unpack(pack(zeros), 2, 3).values == 0).all()
    none = ForecastArrays(START[:0], np.zeros((0, 3)), np.zeros(0), np.zeros(0))
    assert unpack(pack(none), 0, 3).values.shape == (0, 3)
    unknown = zeros._replace(values=np.array([[np.nan, 1.0, 2.0], [1.0, 2.0, np.inf]]))
    assert unpack(pack(unknown), 2, 3).values == pytest.approx(unknown.values, nan_ok=True)


def test_how_neighbours_depend_on_each_other_is_kept(racks):
    some = racks[0]._replace(persistence=0.97)
    assert unpack(pack(some), 24, len(QUANTILES)).persistence == 0.97
    whole = some._replace(values=np.full_like(some.values, np.nan))
    assert unpack(pack(whole), 24, len(QUANTILES)).persistence == 0.97


def test_what_earlier_releases_kept_is_still_read(racks):
    start, values, limit, breach, _ = racks[0]
    rounded = pack(racks[0])
    without = rounded[:1] + zlib.compress(zlib.decompress(rounded[1:])[:-8])
    assert unpack(without, 24, len(QUANTILES)).persistence == PERSISTENCE
    before = zlib.compress(
        start.astype("<i8").tobytes() + b"".join(a.astype("<f8").tobytes() for a in (values, limit, breach))
    )
    assert unpack(before, 24, len(QUANTILES)).values.tolist() == values.tolist()
