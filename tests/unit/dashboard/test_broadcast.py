"""One look for all viewers: what each is sent, and what a slow or vanished one costs."""

import asyncio
import threading

import pytest

from dashboard.broadcast import Broadcaster


class Screen:
    """Builds sections and counts how often; `content` may be changed, an exception is raised."""

    def __init__(self) -> None:
        self.content = {"header": {"n": 0}, "floor": {"racks": 96}}
        self.built = []

    def build(self, name):
        self.built.append(name)
        found = self.content[name]
        if isinstance(found, Exception):
            raise found
        return dict(found)


@pytest.fixture
def screen():
    return Screen()


@pytest.fixture
async def broadcaster(screen):
    made = Broadcaster(screen.build, period=60)  # the tests say when the next look is due
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def look(broadcaster, *viewers_and_wanted):
    """Let viewers wait for the next snapshot and make the broadcaster look."""
    waiting = [asyncio.create_task(v.changes(w)) for v, w in viewers_and_wanted]
    await asyncio.sleep(0)
    broadcaster.refresh()
    return await asyncio.wait_for(asyncio.gather(*waiting), 60)


async def test_the_first_frame_comes_at_once_and_holds_everything_wanted(broadcaster):
    with broadcaster.viewer() as viewer:
        got = await asyncio.wait_for(viewer.changes({"header", "floor"}), 60)
    assert got == {"header": {"n": 0}, "floor": {"racks": 96}}


async def test_only_what_changed_is_sent_again(broadcaster, screen):
    with broadcaster.viewer() as viewer:
        await viewer.changes({"header", "floor"})
        screen.content["header"] = {"n": 1}
        assert await look(broadcaster, (viewer, {"header", "floor"})) == [{"header": {"n": 1}}]


async def test_many_viewers_cost_one_look(broadcaster, screen):
    with broadcaster.viewer() as one, broadcaster.viewer() as two, broadcaster.viewer() as three:
        await look(broadcaster, *((v, {"header"}) for v in (one, two, three)))
        screen.built.clear()
        await look(broadcaster, *((v, {"header"}) for v in (one, two, three)))
        assert screen.built == ["header"]


async def test_a_slow_viewer_skips_frames_and_holds_up_nobody(broadcaster, screen):
    with broadcaster.viewer() as slow, broadcaster.viewer() as quick:
        await look(broadcaster, (slow, {"header"}), (quick, {"header"}))
        for n in range(1, 6):
            screen.content["header"] = {"n": n}
            assert await look(broadcaster, (quick, {"header"})) == [{"header": {"n": n}}]
        assert await asyncio.wait_for(slow.changes({"header"}), 60) == {"header": {"n": 5}}


async def test_nothing_is_built_while_nobody_looks(broadcaster, screen):
    with broadcaster.viewer() as viewer:
        await viewer.changes({"header"})
    screen.built.clear()
    broadcaster.refresh()
    await asyncio.sleep(0.05)
    assert screen.built == []
    assert broadcaster.counters["viewers"] == 0


async def test_who_comes_after_a_pause_sees_the_present_and_not_what_the_last_viewer_saw(broadcaster, screen):
    with broadcaster.viewer() as viewer:
        await viewer.changes({"header"})
    broadcaster.refresh()
    await asyncio.sleep(0.05)
    screen.content["header"] = {"n": 9}
    with broadcaster.viewer() as viewer:
        assert await asyncio.wait_for(viewer.changes({"header"}), 60) == {"header": {"n": 9}}
        screen.content["header"] = {"n": 10}
        assert await look(broadcaster, (viewer, {"header"})) == [{"header": {"n": 10}}]


async def test_who_comes_as_the_last_viewer_left_during_a_look_goes_on_seeing(screen):
    looking, go_on = threading.Event(), threading.Event()

    def build(name):
        looking.set()
        assert go_on.wait(60)
        return screen.build(name)

    broadcaster = Broadcaster(build, period=0.1)
    task = asyncio.create_task(broadcaster.run())
    with broadcaster.viewer() as leaving:
        leaving.look_at(frozenset({"header"}))
        assert await asyncio.to_thread(looking.wait, 60)
    go_on.set()
    await asyncio.wait_for(broadcaster.after(0, frozenset()), 60)
    with broadcaster.viewer() as viewer:
        for n in range(3):
            screen.content["header"] = {"n": n}
            await asyncio.wait_for(viewer.changes({"header"}), 60)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_another_page_is_built_without_waiting_for_the_next_second(broadcaster):
    with broadcaster.viewer() as viewer:
        await viewer.changes({"header"})
        assert await asyncio.wait_for(viewer.changes({"header", "floor"}), 60) == {"floor": {"racks": 96}}


async def test_a_slow_section_is_kept_until_it_is_due(screen):
    made = Broadcaster(screen.build, period=60, slow=lambda name: 3600 if name == "floor" else 0)
    task = asyncio.create_task(made.run())
    with made.viewer() as viewer:
        await viewer.changes({"header", "floor"})
        screen.content = {"header": {"n": 1}, "floor": {"racks": 1}}
        assert await look(made, (viewer, {"header", "floor"})) == [{"header": {"n": 1}}]
    task.cancel()


async def test_one_broken_section_is_counted_and_leaves_the_others_alive(broadcaster, screen):
    with broadcaster.viewer() as viewer:
        await viewer.changes({"header", "floor"})
        screen.content["floor"] = ValueError("no floor")
        screen.content["header"] = {"n": 7}
        (got,) = await look(broadcaster, (viewer, {"header", "floor"}))
    assert got["header"] == {"n": 7}
    assert got["floor"] == {"racks": 96, "error": "ValueError: no floor"}
    assert broadcaster.counters["errors"] == 1
