import asyncio

import pytest

from service import supervisor
from service.supervisor import Supervisor


class Watched:
    """A supervisor whose clock and waits a test sets; ends after so many runs of its part."""

    def __init__(self, runs, part):
        self.now, self.waits, self.left = 0.0, [], runs
        self.part = part
        self.supervisor = Supervisor({"part": self._run}, clock=lambda: self.now, pause=self._pause)

    async def _run(self):
        if not self.left:
            await asyncio.Event().wait()
        self.left -= 1
        await self.part(self)

    async def _pause(self, seconds):
        self.waits.append(seconds)

    async def until_done(self):
        task = asyncio.create_task(self.supervisor.run())
        while self.left or not self.state.running:  # noqa: ASYNC110 - on a clock of its own
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return self

    @property
    def state(self):
        return self.supervisor.states["part"]


async def fails(watched):
    raise ValueError("not yet")


async def test_a_part_that_fails_starts_again_and_the_failure_is_kept():
    watched = await Watched(2, fails).until_done()
    assert watched.state.failures == 2
    assert watched.state.error == "ValueError: not yet"
    assert watched.state.failed > 0


async def test_the_wait_grows_from_failure_to_failure_up_to_a_bound():
    watched = await Watched(12, fails).until_done()
    assert watched.waits[0] <= supervisor.FIRST_WAIT_S
    assert all(wait <= supervisor.LONGEST_WAIT_S for wait in watched.waits)
    assert min(watched.waits[7:]) >= supervisor.LONGEST_WAIT_S / 2


async def test_after_a_time_of_health_it_is_short_again():
    async def fails_after_days_of_health(watched):
        if watched.left == 1:
            watched.now += supervisor.HEALTHY_S
        raise ValueError("now")

    watched = await Watched(12, fails_after_days_of_health).until_done()
    assert watched.waits[-3] >= supervisor.LONGEST_WAIT_S / 2
    assert watched.waits[-2] <= supervisor.FIRST_WAIT_S
    assert watched.waits[-1] <= 2 * supervisor.FIRST_WAIT_S


async def test_a_part_that_returns_is_told_and_started_again():
    async def returns(watched):
        return

    watched = await Watched(3, returns).until_done()
    assert watched.state.failures == 3
    assert "it returned" in watched.state.error


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), BaseExceptionGroup("two", [ValueError("a"), KeyError("b")])]
)
async def test_a_part_that_is_ended_from_within_is_started_again_too(error):
    async def ends(watched):
        raise error

    assert (await Watched(2, ends).until_done()).state.failures == 2


async def test_its_error_is_short_and_shows_no_secret():
    async def tells_too_much(watched):
        raise ValueError("mqtt://user:password@broker " + "x" * 5_000)

    watched = await Watched(1, tells_too_much).until_done()
    assert len(watched.state.error) < 1000
    assert "password" not in watched.state.error


async def test_one_part_failing_leaves_the_others_alone():
    enough = asyncio.Event()
    attempts = []

    async def steady():
        await asyncio.Event().wait()

    async def broken():
        attempts.append(1)
        if len(attempts) == 3:
            enough.set()
        raise RuntimeError("always")

    async def pause(seconds):
        await asyncio.sleep(0)

    watched = Supervisor({"steady": steady, "broken": broken}, pause=pause)
    task = asyncio.create_task(watched.run())
    await asyncio.wait_for(enough.wait(), 60)
    assert watched.states["steady"].failures == 0
    assert watched.states["steady"].running
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
