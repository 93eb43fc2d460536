"""Slow callbacks of the event loop are found, told apart from those that were merely not let run, and named."""

import asyncio
import threading
import time

import structlog
from structlog.testing import capture_logs

from service import loop_watch
from service.loop_watch import LoopWatch


def compute(seconds):
    """Keep the processor for so long, by the thread's own clock."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def wait_in_a_call(seconds):
    time.sleep(seconds)  # as a database or a disk would


async def watched(*calls):
    watch = LoopWatch()
    with watch.watching():
        loop = asyncio.get_running_loop()
        for call, *arguments in calls:
            done = asyncio.Event()
            loop.call_soon(call, *arguments)
            loop.call_soon(done.set)
            await done.wait()
    return watch.stats()


async def test_who_computes_too_long_is_counted_and_named(monkeypatch):
    # a command that ran in this process may have tied the module's own logger to where its log went
    monkeypatch.setattr(loop_watch, "log", structlog.get_logger())
    with capture_logs() as logged:
        told = await watched((compute, 0.2))
    assert told["slow"] == 1
    assert told["last_slow"]["what"] == "compute"
    assert 0.2 <= told["last_slow"]["computing_s"] <= told["longest_busy_s"] + 0.001
    assert [line["what"] for line in logged] == ["compute"]


async def test_who_waits_in_a_call_is_counted_with_its_place():
    # the thread that looks where it waits must be let run meanwhile
    for seconds in (0.5, 1, 2, 4, 8):
        told = await watched((wait_in_a_call, seconds))
        if told["slow"]:
            break
    assert told["slow"] == 1
    assert told["longest_blocked_s"] > 0.1
    assert told["last_slow"]["computing_s"] < 0.1
    assert "wait_in_a_call tests/unit/service/test_loop_watch.py:" in told["last_slow"]["where"]


async def test_a_coroutine_is_named_by_its_function():
    async def computes_too_long():
        compute(0.2)

    watch = LoopWatch()
    with watch.watching():
        await asyncio.create_task(computes_too_long())
    assert watch.stats()["last_slow"]["what"].endswith("computes_too_long")


async def test_who_is_not_let_run_is_not_blamed():
    ended = threading.Event()

    def hog():
        while not ended.is_set():
            sum(range(1000))

    hogs = [threading.Thread(target=hog) for _ in range(4)]
    for one in hogs:
        one.start()
    try:
        told = await watched(*[(compute, 0.06)] * 5)
    finally:
        ended.set()
        for one in hogs:
            one.join()
    assert told["held_up"] >= 1
    assert told["slow"] == 0
    assert told["longest_took_s"] > 0.1


async def test_loops_of_other_threads_are_left_alone():
    async def other():
        asyncio.get_running_loop().call_soon(compute, 0.15)
        await asyncio.sleep(0.01)

    watch = LoopWatch()
    with watch.watching():
        await asyncio.to_thread(asyncio.run, other())
    assert watch.stats()["slow"] == 0


async def test_after_the_watch_the_loop_is_as_before():
    before = asyncio.Handle._run
    with LoopWatch().watching():
        assert asyncio.Handle._run is not before
    assert asyncio.Handle._run is before
