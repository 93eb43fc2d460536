from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from simulator.workload import COURSES, HOUR, WEEK, Workload
from tests.unit.simulator.factories import NOW

TAIPEI = ZoneInfo("Asia/Taipei")


@pytest.fixture(scope="module")
def workload():
    return Workload(96, TAIPEI, "TW", seed=1)


def test_the_same_seed_gives_the_same_calendar_and_another_seed_another(workload):
    times = np.arange(NOW, NOW + HOUR, 60_000)
    again = Workload(96, TAIPEI, "TW", seed=1)
    assert np.array_equal(workload.activity(times), again.activity(times))
    assert not np.array_equal(workload.activity(times), Workload(96, TAIPEI, "TW", seed=2).activity(times))


def test_activity_does_not_depend_on_which_times_are_asked_for_together(workload):
    times = np.arange(NOW, NOW + HOUR, 60_000)
    alone = np.concatenate([workload.activity(times[i : i + 1]) for i in range(len(times))])
    assert workload.activity(times) == pytest.approx(alone)


def test_a_job_moves_all_its_racks_in_lock_step_within_seconds(workload):
    job = next(j for j in workload.jobs(NOW - WEEK, NOW) if j.last - j.first == 32)
    times = job.start + np.arange(0, 120_000, 1000)
    racks = workload.activity(times)[:, job.first : job.last]
    assert (racks == racks[:, :1]).all()
    assert racks[5, 0] < 0.3
    assert racks[-1, 0] > 0.7
    loaded = np.flatnonzero(racks[:, 0] > 0.3)[0]
    assert racks[loaded + 8, 0] > 0.7


def test_so_many_courses_are_kept():
    workload = Workload(96, TAIPEI, "", seed=4)
    for hour in range(0, 12 * 168, 3):
        workload.activity(np.array([NOW - hour * HOUR]))
    assert len(workload.jobs(NOW - 12 * WEEK, NOW)) > 2 * COURSES
    assert workload.course.cache_info().currsize == COURSES


def test_no_activity_outlives_its_job(workload):
    job = next(j for j in workload.jobs(NOW - WEEK, NOW) if j.last - j.first == 32)
    after = workload.activity(np.array([job.end - 60_000, job.end + 1000]))[:, job.first]
    assert after[0] > 0.5
    assert after[1] == 0


def test_means_over_quarter_hours_are_those_of_every_second(workload):
    start = NOW - NOW % 900_000
    mean = workload.mean_activity(start + 900_000 * np.arange(8), 900_000)[:, : workload.training]
    seconds = workload.activity(start + np.arange(0, 8 * 900_000, 1000))[:, : workload.training]
    assert mean == pytest.approx(seconds.reshape(8, 900, -1).mean(axis=1), abs=2e-3)


def test_jobs_of_one_partition_never_overlap(workload):
    by_slot = {}
    for job in workload.jobs(NOW - 4 * WEEK, NOW):
        by_slot.setdefault(job.first, []).append(job)
    assert len(by_slot) == 3
    for jobs in by_slot.values():
        assert all(a.end <= b.start for a, b in pairwise(jobs))


def test_most_jobs_are_known_in_advance_and_some_surprise(workload):
    jobs = workload.jobs(NOW - 8 * WEEK, NOW)
    known = sum(j.known_since < j.start for j in jobs) / len(jobs)
    assert 0.55 < known < 0.85
    assert any(j.end < j.planned_end for j in jobs)
    surprise = next(j for j in jobs if j.known_since >= j.start)
    assert surprise not in workload.known_jobs(surprise.start - 1, surprise.end)
    assert surprise in workload.known_jobs(surprise.start, surprise.end)


def test_inference_follows_the_day_and_rests_at_weekends_and_on_holidays(workload):
    local_midnight = NOW - (NOW + 8 * HOUR) % (24 * HOUR)
    days = [local_midnight - d * 24 * HOUR for d in range(28)]
    night = np.mean([workload.demand(np.array([d + 4 * HOUR]))[0] for d in days])
    evening = np.mean([workload.demand(np.array([d + 21 * HOUR]))[0] for d in days])
    assert evening > night + 0.2
    new_year = 1_798_732_800_000  # 2027-01-01 00:00 in Taipei, a Friday
    hours = np.arange(0, 24 * HOUR, HOUR // 4)
    holiday = workload.demand(new_year + hours).mean()
    fridays = np.mean([workload.demand(new_year - w * WEEK + hours).mean() for w in (1, 2, 3)])
    assert holiday < fridays - 0.02


def test_only_inference_makes_tokens_about_two_million_a_second(workload):
    activity = workload.activity(np.arange(NOW - WEEK, NOW, HOUR))
    tokens = workload.tokens(activity)
    assert tokens[:, : workload.training].sum() == 0
    assert 1.5e6 < tokens.sum(1).mean() < 2.5e6


@pytest.mark.parametrize("racks", [1, 2, 4, 8, 20, 96])
def test_a_factory_of_any_size_has_work(racks):
    small = Workload(racks, TAIPEI, "", seed=3)
    activity = small.activity(np.arange(NOW - WEEK, NOW, HOUR))
    assert activity.shape == (168, racks)
    assert (activity.max(0) > 0.5).all()
    assert ((activity >= 0) & (activity <= 1)).all()


def test_no_announcement_gives_away_that_a_job_will_fail(workload):
    by_slot = {}
    for job in workload.jobs(NOW - 8 * WEEK, NOW):
        by_slot.setdefault(job.first, []).append(job)
    for jobs in by_slot.values():
        for before, after in pairwise(jobs):
            assert after.known_since >= before.end or after.start > before.planned_end
