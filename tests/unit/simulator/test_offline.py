import numpy as np
import pytest

from simulator.offline import record
from tests.unit.simulator.factories import NOW, SMALL


@pytest.fixture(scope="module")
def day():
    return record(
        SMALL,
        seed=3,
        start_ms=NOW,
        duration_s=4 * 3600,
        step_s=30,
        every_s=120,
        faults=[
            ("cdu-trip", "P01-CDU1", NOW + 3_600_000, 1.0),
            ("gpu-lost", "R001-T01-G0", NOW + 600_000, 1.0),
        ],
        gpu_fields=["GpuTemperature", "GpuAvailable"],
    )


def test_a_recording_has_a_row_every_so_often_and_a_column_a_point(day):
    assert day.values.shape == (121, len(day.points))
    assert (np.diff(day.times) == 120_000).all()
    assert np.isfinite(day.values).all()
    assert day.gpus["GpuTemperature"].shape == (121, 576)


def test_faults_are_there_with_their_truth(day):
    tripped = (day.times > NOW + 3_660_000) & (day.times < NOW + 3_600_000 + 24 * 60_000)
    speed = day.column("P01-CDU1", "PumpSpeed")
    assert (speed[tripped] < 0.01).all()
    assert (speed[day.times < NOW + 3_600_000] > 0.4).all()
    assert [f.kind.name for f in day.faults] == ["cdu-trip", "gpu-lost"]
    assert [x.xid for x in day.xids] == [79]
    lost = day.gpus["GpuAvailable"][:, 0] == 0
    assert lost[day.times > NOW + 630_000].all()
    assert np.isnan(day.gpus["GpuTemperature"][lost, 0]).all()


def test_columns_and_matrices_are_found_by_object_and_type(day):
    racks, power = day.matrix("RackPower", "Rack")
    assert racks == list(SMALL.racks)
    assert power.shape == (121, 8)
    supply = day.column("P01-CDU2", "LiquidTemperature", "Supply")
    ret = day.column("P01-CDU2", "LiquidTemperature", "Return")
    assert (ret > supply + 5).all()
    with pytest.raises(KeyError, match="R001/ActivePower"):
        day.column("R001", "ActivePower")


def test_the_same_seed_records_the_same(day):
    again = record(SMALL, 3, NOW, 1200, step_s=30, every_s=120)
    assert np.array_equal(again.values[:5], day.values[:5])
