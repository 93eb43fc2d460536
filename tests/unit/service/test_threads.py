"""The rooms that parts share have so many threads, and who comes later is served later."""

import asyncio
import threading

from fastapi.concurrency import run_in_threadpool

from service import threads


async def crowd(run, kind, most):
    """Send many more than there is room for; return how many threads of this kind served them, and how many were served."""
    full, go_on = threading.Semaphore(0), threading.Event()

    def work():
        full.release()
        assert go_on.wait(60)
        return 1

    tasks = [asyncio.create_task(run(work)) for _ in range(most + 30)]
    for _ in range(most):
        while not full.acquire(blocking=False):  # noqa: ASYNC110 - a thread tells
            await asyncio.sleep(0.001)
    there = threads.stats()[kind]
    late = full.acquire(blocking=False)
    go_on.set()
    assert not late
    return there, sum(await asyncio.gather(*tasks))


async def test_work_in_the_background_has_so_many_threads_and_the_rest_waits():
    threads.share_few()
    there, served = await crowd(asyncio.to_thread, "background", threads.BACKGROUND)
    assert (there, served) == (threads.BACKGROUND, threads.BACKGROUND + 30)


async def test_calls_of_commands_have_so_many_threads_and_the_rest_waits():
    threads.share_few()
    there, served = await crowd(run_in_threadpool, "AnyIO worker thread", threads.CALLS)
    assert (there, served) == (threads.CALLS, threads.CALLS + 30)
