"""How a person wants the console: language and theme, kept in the browser and with the person's login."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, get_args

from fastapi import APIRouter, Request
from starlette.requests import HTTPConnection
from starlette.responses import Response

from dashboard.threads import reading
from dashboard.words import chosen, speaking
from domain.errors import StorageError
from domain.languages import Language

Theme = Literal["auto", "light", "dark"]
THEMES: tuple[Theme, ...] = get_args(Theme)
LANGUAGE_COOKIE, THEME_COOKIE = "hallwatch_language", "hallwatch_theme"
KEPT_S = 400 * 86_400
"""The longest that browsers keep a cookie."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """How whoever asks wants the console."""

    language: Language = "en"
    theme: Theme = "auto"


_USUAL = Preferences()
_preferred: ContextVar[Preferences] = ContextVar("preferred", default=_USUAL)


def preferred() -> Preferences:
    """Return how the person of the present request (of a websocket: when it was opened) wants the console."""
    return _preferred.get()


@contextlib.contextmanager
def as_preferred(preferences: Preferences) -> Iterator[None]:
    """Have texts and themes be as preferred for as long as the context lasts."""
    token = _preferred.set(preferences)
    try:
        with speaking(preferences.language):
            yield
    finally:
        _preferred.reset(token)


def preferences_of(connection: HTTPConnection) -> Preferences:
    """Return what a browser asks for: its cookies, else the languages that it accepts."""
    cookies = connection.cookies
    language = chosen(cookies.get(LANGUAGE_COOKIE, ""), connection.headers.get("accept-language", ""))
    return Preferences(language, known_theme(cookies.get(THEME_COOKIE, "")))


def known_theme(name: str) -> Theme:
    """Return a theme by its name, ``auto`` for any other name."""
    return next((theme for theme in THEMES if theme == name), "auto")


def keep(response: Response, preferences: Preferences, *, secure: bool) -> None:
    """Have the browser keep them."""
    for name, value in ((LANGUAGE_COOKIE, preferences.language), (THEME_COOKIE, preferences.theme)):
        response.set_cookie(
            name, value, max_age=KEPT_S, path="/", httponly=True, samesite="lax", secure=secure
        )


def preferences_router(remember: Callable[[Preferences], None], *, secure: bool) -> APIRouter:
    """Return the route by which a browser changes them; mount it behind the console's guard.

    `remember` keeps them with the person's login; it blocks.
    """
    router = APIRouter(include_in_schema=False)

    @router.post("/preferences", status_code=204)
    async def change(request: Request) -> Response:
        async with request.form(max_files=0, max_fields=4) as form:
            before = preferences_of(request)
            wanted = Preferences(
                chosen(str(form.get("language", before.language))),
                known_theme(str(form.get("theme", before.theme))),
            )
        with contextlib.suppress(StorageError):  # the browser keeps them all the same
            await reading(remember, wanted)
        response = Response(status_code=204)
        keep(response, wanted, secure=secure)
        return response

    return router
