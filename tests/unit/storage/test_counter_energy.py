import numpy as np
import pytest

from domain.batch import Batch, now_ms
from storage.energy import counter_demand, counter_energy
from storage.settings import HOUR, MINUTE, QUARTER

START = now_ms() // HOUR * HOUR - 4 * HOUR
METER = np.array([0], np.int32)


def write_counter(store, times, values):
    store.write(Batch.of(np.zeros(len(times), np.int32), times, values))
    store.maintain(now_ms())


def test_quarters_add_up_to_the_counters_own_difference(store):
    times = np.arange(START - 10_000, START + 2 * HOUR + 10_000, 10_000)
    power = 8e6 + 1e6 * np.sin(np.arange(len(times)))
    counter = 5e13 + np.round(np.cumsum(power * 10))
    write_counter(store, times, counter)
    energy = counter_energy(store, METER, START, START + 2 * HOUR)
    assert energy.start.tolist() == [START + i * QUARTER for i in range(8)]
    before, last = counter[times < START][-1], counter[times < START + 2 * HOUR][-1]
    assert energy.values.sum() == last - before
    demand = counter_demand(store, METER, START, START + 2 * HOUR)
    assert demand.values[0] == pytest.approx(8e6, rel=0.02)


def test_after_a_gap_the_first_step_holds_what_flowed_since(store):
    write_counter(store, np.array([START - MINUTE, START + 40 * MINUTE]), [100.0, 190.0])
    energy = counter_energy(store, METER, START, START + HOUR)
    assert energy.values[0] == pytest.approx([np.nan, np.nan, 90, np.nan], nan_ok=True)


def test_a_counter_that_was_reset_counts_from_zero(store):
    write_counter(store, START + np.array([-MINUTE, MINUTE, QUARTER + MINUTE]), [1000.0, 1010.0, 4.0])
    energy = counter_energy(store, METER, START, START + 2 * QUARTER)
    assert energy.values[0].tolist() == [10, 4]


def test_without_a_counter_before_there_is_no_energy(store):
    write_counter(store, np.array([START + MINUTE]), [1000.0])
    assert np.isnan(counter_energy(store, METER, START, START + QUARTER).values).all()
