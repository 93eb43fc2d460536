"""Bounds on browser windows: how many there are, how many a person has, and what one may send."""

from __future__ import annotations

import contextlib
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.errors import brief
from domain.pace import Pace

log = structlog.get_logger(__name__)

MOST_WINDOWS = 300
MOST_OF_A_PERSON = 20
MESSAGES = (50.0, 200.0)
"""Messages a second, and at once, of one websocket; a window sends one or two a second, and a browser's windows share one."""
POLICY = 1008
"""Websocket close code: what came is not what may come."""


@dataclass(slots=True, eq=False)
class Window:
    """One live window; `ended` once a newer one took its place."""

    user: str
    ended: bool = False


class Windows:
    """The windows that are sent figures. Where there are too many the oldest of them ends, of that person first."""

    def __init__(self, most: int = MOST_WINDOWS, of_a_person: int = MOST_OF_A_PERSON) -> None:
        self._most = most
        self._of_a_person = of_a_person
        self._open: OrderedDict[int, Window] = OrderedDict()
        self.counters: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    @contextlib.contextmanager
    def opened(self, user: str) -> Iterator[Window]:
        """Count a window for as long as the context lasts."""
        own = [w for w in self._open.values() if w.user == user]
        if len(own) >= self._of_a_person:
            self._end(own[0])
        elif len(self._open) >= self._most:
            self._end(next(iter(self._open.values())))
        window = Window(user)
        self._open[id(window)] = window
        try:
            yield window
        finally:
            self._open.pop(id(window), None)

    def _end(self, window: Window) -> None:
        window.ended = True
        self._open.pop(id(window), None)
        self.counters["windows_ended_for_newer"] += 1

    async def talk(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, user: str) -> None:
        """Run a websocket; one that sends too much, or what cannot be read, is closed and no other is touched."""
        pace = Pace(*MESSAGES, most=1)
        opened = closed = False

        async def paced() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive" and pace.take(""):
                raise ValueError("too many messages a second")
            return message

        async def noted(message: Message) -> None:
            nonlocal opened, closed
            opened |= message["type"] == "websocket.accept"
            closed |= message["type"] == "websocket.close"
            await send(message)

        try:
            await app(scope, paced, noted)
        except Exception as error:
            self.counters["windows_closed_for_what_they_sent"] += 1
            log.warning("a console window was closed for what it sent", user=user, error=brief(error, 200))
            if opened and not closed:
                with contextlib.suppress(Exception):  # it may be gone already
                    await send({"type": "websocket.close", "code": POLICY})
