"""Bodies of internal calls: a what-if question, and the arguments of a store job."""

import contextlib
from functools import partial

from domain.errors import InputError
from domain.points import PointRegistry
from service import store_jobs
from service.internal import Accepted, Question, job_arguments, read
from storage.latest import LatestValues


def fuzz(data: bytes) -> None:
    with contextlib.suppress(InputError):
        read(data, Question).scenario()
    with contextlib.suppress(InputError):
        read(data, Accepted)
    for job in store_jobs.jobs(None, PointRegistry(), LatestValues()).values():
        assert isinstance(job, partial)
        with contextlib.suppress(InputError):
            assert all(isinstance(name, str) for name in job_arguments(data, job))
