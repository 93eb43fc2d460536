import numpy as np
import pytest

from domain.errors import InputError
from simulator import traces as module
from simulator.courses import FINE_TUNING, KINDS, PRETRAINING, VISION, course
from simulator.factory import Factory
from simulator.traces import IDLE, Course, Traces
from simulator.workload import WEEK
from tests.unit.simulator.factories import NOW, SMALL

OF = {PRETRAINING: "gpt3", FINE_TUNING: "llama2_70b", VISION: ("resnet", "ssd", "unet3d")}


def written(folder, name="one.csv", power=(300.0, 900.0, 900.0, 500.0), header="seconds,power_w"):
    lines = [header, *(f"{2 * i},{p}" for i, p in enumerate(power * 5))]
    (folder / name).write_text("\n".join(lines))
    return folder


def test_the_energy_of_a_course_is_the_integral_of_its_power():
    course = Course(np.array([0.0, 1.0, 0.5], np.float32))
    assert course.energy(np.array([0.0, 0.5, 1.0, 2.0, 3.0])) == pytest.approx([0, 0.125, 0.5, 1.25, 1.75])
    assert course.at(np.array([0.5, 1.5, 9.0])) == pytest.approx([0.5, 0.75, 0.5])


def test_who_reads_every_two_seconds_meets_each_reading_of_a_trace_whenever_one_begins():
    readings = np.array([0.4, 0.9, 1.0, 0.5], np.float32)
    course = Course.of_readings(readings)
    assert course.at(np.array([0.0, 2.0, 4.0, 6.0])) == pytest.approx(readings)
    assert course.at(np.array([1.0, 3.0, 5.0, 7.0])) == pytest.approx(readings)


def test_a_factory_replays_the_traces_of_a_folder(tmp_path):
    written(tmp_path)
    (tmp_path / "summary.csv").write_text("run,mean\none,1\n")
    found = Traces.read(tmp_path)
    assert [t.name for t in found.traces] == ["one"]
    factory = Factory(SMALL, 1, NOW, traces=found)
    job = max(factory.workload.jobs(NOW - WEEK, NOW), key=lambda job: job.end - job.start)
    seconds = np.arange(0, 40, 2)
    rack = factory.rack_power(factory.workload.activity(job.start + 1000 * seconds))[:, job.first]
    full = factory.rack_power(np.ones(factory.workload.racks))[job.first]
    wanted = np.resize([1 / 3, 1.0, 1.0, 5 / 9], len(seconds))
    assert rack / full == pytest.approx(IDLE + job.intensity * (wanted - IDLE), abs=0.005)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"header": "time,watt"}, "no CSV file with the columns"),
        ({"power": (1.0, -3.0, 2.0, 2.0)}, "is no power"),
        ({"power": (1.0, "x", 2.0, 2.0)}, "no trace of power"),
        ({"power": (1.0,)}, "ten readings or more"),
    ],
)
def test_a_folder_without_a_whole_trace_is_refused_with_the_reason(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        Traces.read(written(tmp_path, **change))


def test_traces_are_of_so_many_files_and_readings_at_most(tmp_path, monkeypatch):
    for i in range(4):
        written(tmp_path, f"{i}.csv")
    monkeypatch.setattr(module, "MOST_READINGS", 60)
    with pytest.raises(InputError, match="more than 60 readings"):
        Traces.read(tmp_path)
    monkeypatch.setattr(module, "MOST_FILES", 3)
    with pytest.raises(InputError, match="4 files; at most 3"):
        Traces.read(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [0.5, 30.0, 5000.0])
def test_a_course_of_any_length_lies_between_idle_and_full(kind, seconds):
    share = course(kind, np.random.default_rng(3), seconds).share
    assert share.min() >= np.float32(IDLE)
    assert share.max() < 1.03
    assert share[-1] <= 0.6


def steps(power):
    return np.abs(np.diff(power)) / power.mean()


@pytest.mark.parametrize("kind", KINDS)
def test_jobs_move_within_two_seconds_as_measured_ones_do(testdata, kind):
    measured = [
        t.share
        for t in Traces.read(testdata / "datasets" / "gpu_training_2s").traces
        if t.name.startswith(OF[kind])
    ]
    rng = np.random.default_rng(20)
    made = []
    for _ in range(10):
        for share in measured:
            whole = course(kind, rng, 4 * 3600.0).share[200:-20:2]
            first = rng.integers(0, len(whole) - len(share))
            made.append(whole[first : first + len(share)])
    ours, theirs = (np.concatenate([steps(share) for share in some]) for some in (made, measured))
    assert np.quantile(ours, 0.5) == pytest.approx(np.quantile(theirs, 0.5), rel=0.25)
    assert np.quantile(ours, 0.99) == pytest.approx(np.quantile(theirs, 0.99), rel=0.25)
    largest = np.median([max(steps(s).max() for s in made[i::10]) for i in range(10)])
    assert largest == pytest.approx(theirs.max(), rel=0.25)
