"""A chart that is zoomed into: as fine as its pixels, with the extremes."""

import numpy as np
import pytest

from dashboard.views import Series
from dashboard.zoomed import extremes, zoomed
from domain.batch import Batch
from domain.errors import InputError


def test_a_peak_of_one_reading_survives_however_few_points_are_shown():
    values = np.full(10_000, 3.0)
    values[4_321] = 9.0
    values[7_000] = np.nan
    line = extremes(Series(np.arange(10_000), values), 100)
    assert len(line.time) <= 102
    assert line.time[np.nanargmax(line.value)] == 4_321
    assert 7_000 in line.time[np.isnan(line.value)]
    assert (np.diff(line.time) > 0).all()


def test_a_short_stretch_is_told_reading_by_reading_and_a_long_one_in_longer_steps(hall):
    times = hall.now - 2_000 * np.arange(900, 0, -1)
    for side, power in (("A", 1.0e6), ("B", 1.2e6)):
        index = hall.registry.index(f"PowerMeter/ActivePower/FEED-{side}")
        values = np.full(900, power)
        values[450] += 0.3e6
        hall.accept(Batch.of(np.full(900, index), times, values))
    near = zoomed(hall.data, hall.site.id, int(times[440]), int(times[460]), 400)
    assert near["step"] == 2_000
    assert len(near["power"]) >= 18
    assert max(near["power"]) == pytest.approx(2.8e6)
    far = zoomed(hall.data, hall.site.id, hall.now - 6 * 3_600_000, hall.now, 400)
    assert far["step"] > 2_000
    assert len(far["power"]) <= 402


@pytest.mark.parametrize(("node", "length"), [("nowhere", 60_000), ("taipei-1", 0), ("taipei-1", 10**12)])
def test_what_cannot_be_shown_is_refused_with_the_reason(hall, node, length):
    with pytest.raises(InputError):
        zoomed(hall.data, node, hall.now - length, hall.now, 400)
