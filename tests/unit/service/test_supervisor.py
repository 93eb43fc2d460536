import asyncio

from service import supervisor
from service.supervisor import Supervisor


async def test_a_part_that_fails_starts_again_and_the_failure_is_kept(monkeypatch):
    monkeypatch.setattr(supervisor, "LONGEST_WAIT_S", 0.01)
    attempts = []

    async def flaky():
        attempts.append(1)
        if len(attempts) < 3:
            raise ValueError("not yet")

    watched = Supervisor({"flaky": flaky})
    await asyncio.wait_for(watched.run(), 5)
    assert len(attempts) == 3
    assert watched.states["flaky"].failures == 2
    assert watched.states["flaky"].error == "ValueError: not yet"


async def test_one_part_failing_leaves_the_others_alone(monkeypatch):
    monkeypatch.setattr(supervisor, "LONGEST_WAIT_S", 0.01)
    enough = asyncio.Event()
    attempts = []

    async def steady():
        await asyncio.Event().wait()

    async def broken():
        attempts.append(1)
        if len(attempts) == 3:
            enough.set()
        raise RuntimeError("always")

    watched = Supervisor({"steady": steady, "broken": broken})
    task = asyncio.create_task(watched.run())
    await asyncio.wait_for(enough.wait(), 5)
    assert watched.states["steady"].failures == 0
    assert watched.states["steady"].running
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
