"""Browser windows: how many, and what becomes of one that sends too much or what cannot be read."""

import contextlib
import threading

import pytest

from dashboard.threads import reading
from dashboard.windows import POLICY, Windows

SCOPE = {"type": "websocket"}


def test_the_oldest_window_gives_way_of_that_person_first():
    windows = Windows(most=4, of_a_person=2)
    with contextlib.ExitStack() as screens:
        a, b, c, _ = (screens.enter_context(windows.opened(u)) for u in ("anna", "ben", "ben", "ben"))
        assert (a.ended, b.ended, c.ended) == (False, True, False)
        d, _ = (screens.enter_context(windows.opened(u)) for u in ("carl", "dora"))
        assert (a.ended, d.ended) == (True, False)
        assert len(windows) == 4
    assert len(windows) == 0
    assert windows.counters["windows_ended_for_newer"] == 2


class Socket:
    """What a websocket sends, and what it is sent."""

    def __init__(self, *messages):
        self._messages = [{"type": "websocket.connect"}, *messages]
        self.sent = []

    async def receive(self):
        return self._messages.pop(0) if self._messages else {"type": "websocket.disconnect", "code": 1000}

    async def send(self, message):
        self.sent.append(message)


def text(content):
    return {"type": "websocket.receive", "text": content}


async def echo(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def test_who_sends_too_much_is_closed_and_no_other():
    windows = Windows()
    flood, other = Socket(*[text("x")] * 1000), Socket(*[text("x")] * 10)
    await windows.talk(echo, SCOPE, flood.receive, flood.send, "mallory")
    await windows.talk(echo, SCOPE, other.receive, other.send, "anna")
    assert flood.sent[-1] == {"type": "websocket.close", "code": POLICY}
    assert len(flood.sent) < 400
    assert len(other.sent) == 11
    assert windows.counters["windows_closed_for_what_they_sent"] == 1


async def test_what_cannot_be_read_closes_its_window_only():
    async def broken(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        raise ValueError("[" * 100_000)

    windows, socket = Windows(), Socket()
    await windows.talk(broken, SCOPE, socket.receive, socket.send, "mallory")
    assert socket.sent[-1]["code"] == POLICY


async def test_the_console_reads_in_threads_of_its_own():
    names = [await reading(lambda: threading.current_thread().name) for _ in range(6)]
    assert all(name.startswith("console") for name in names)
    with pytest.raises(ZeroDivisionError):
        await reading(lambda: 1 / 0)
