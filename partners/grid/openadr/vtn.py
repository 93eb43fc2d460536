"""Calls of a VTN: OAuth client credentials, bounded answers, attempts that are worth it."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Generator
from typing import Any

import httpx
import orjson
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from collectors.fetch import without_secrets
from domain.errors import SourceError, SourceProtocolError, SourceRefused
from domain.secret import read_secret
from partners.grid.openadr.settings import VenSettings

ATTEMPTS = 3
PAGE = 50
MOST_PAGES = 40
"""Pages of one list: 2,000 objects."""
LARGEST = 4 << 20
"""Bytes of an answer."""
EARLY_S = 30.0
"""So long before its end a token is renewed."""
LIFETIME_S = 3600.0
"""Of a token that does not say how long it is good."""


class Unreachable(SourceError):
    """The VTN did not answer, or not now; the same call may succeed later."""

    retryable = True


class _Token(httpx.Auth):
    """Bearer tokens by client credentials (RFC 6749, 4.4), renewed before they end and when one is refused."""

    def __init__(self, settings: VenSettings, url: str) -> None:
        self.url = url
        secret = read_secret(
            settings.client_secret_env, settings.client_secret_file, "grid.openadr", "client_secret"
        )
        self._form = {
            "grant_type": "client_credentials",
            "client_id": settings.client_id,
            "client_secret": secret,
            **({"scope": settings.scope} if settings.scope else {}),
        }
        self._token = ""
        self._until = 0.0

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Refuse: there are no blocking calls."""
        raise RuntimeError("the VTN is called from the event loop")

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add the token to a request, getting one where there is none that holds."""
        for last in (False, True):
            if not self._token or time.monotonic() >= self._until:
                answer = yield httpx.Request("POST", self.url, data=self._form)
                await answer.aread()
                self._take(answer)
            request.headers["Authorization"] = f"Bearer {self._token}"
            answer = yield request
            if answer.status_code != 401 or last:
                return
            self._token = ""

    def _take(self, answer: httpx.Response) -> None:
        if not answer.is_success:
            raise _failed(answer.status_code, f"{without_secrets(self.url)} gives no token")
        try:
            told = orjson.loads(answer.content)
            self._token = str(told["access_token"])
            lifetime = float(told.get("expires_in") or LIFETIME_S)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SourceProtocolError(f"{without_secrets(self.url)} answers no token") from error
        self._until = time.monotonic() + max(lifetime - EARLY_S, lifetime / 2)


class Vtn:
    """One VTN. Every call raises `SourceError` where it fails: `Unreachable` where it may succeed later.

    Parameters
    ----------
    settings
        Where it is, and as whom it is called.

    Raises
    ------
    ConfigurationError
        If the secret is not there.
    """

    def __init__(self, settings: VenSettings) -> None:
        self._settings = settings
        self._token = _Token(settings, settings.token_url)
        self._client: httpx.AsyncClient | None = None
        self._retrying = AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            retry=retry_if_exception_type(Unreachable),
            reraise=True,
        )

    async def __aenter__(self) -> Vtn:
        authority = self._settings.ca_file
        try:
            trusted = await asyncio.to_thread(
                ssl.create_default_context, cafile=None if authority is None else str(authority)
            )
        except (OSError, ssl.SSLError) as error:
            raise SourceError(f"ca_file {authority} cannot be used ({error})") from error
        self._client = httpx.AsyncClient(timeout=self._settings.timeout, verify=trusted)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def all(self, path: str, **parameters: str) -> list[Any]:
        """Return a whole list, page by page."""
        found: list[Any] = []
        for page in range(MOST_PAGES):
            told = await self.call("GET", path, params={**parameters, "skip": page * PAGE, "limit": PAGE})
            if not isinstance(told, list):
                raise SourceProtocolError(f"{self._shown(path)} answers no list")
            found += told
            if len(told) < PAGE:
                return found
        raise SourceProtocolError(f"{self._shown(path)} has more than {MOST_PAGES * PAGE:,} objects")

    async def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Make a call, again where that is worth it, and return the answer's JSON."""
        async for attempt in self._retrying:
            with attempt:
                return await self._call(method, path, **arguments)

    async def _call(self, method: str, path: str, **arguments: Any) -> Any:
        assert self._client is not None
        try:
            async with asyncio.timeout(self._settings.timeout):
                if not self._token.url:
                    self._token.url = await self._token_url()
                url = f"{self._settings.url}/{path}"
                async with self._client.stream(method, url, auth=self._token, **arguments) as answer:
                    body = await _body(answer, self._shown(path))
        except (TimeoutError, httpx.TransportError) as error:
            raise Unreachable(
                f"{self._shown(path)}: {type(error).__name__} {str(error)[:200]}".strip()
            ) from error
        except httpx.InvalidURL as error:
            raise SourceError(f"{self._shown(path)} cannot be asked ({error})") from error
        if not answer.is_success:
            raise _failed(answer.status_code, f"{self._shown(path)} {_detail(body)}".strip())
        try:
            return orjson.loads(body) if body else None
        except orjson.JSONDecodeError as error:
            raise SourceProtocolError(f"{self._shown(path)} answers no JSON") from error

    async def _token_url(self) -> str:
        """Return where the VTN says that tokens are had (3.1: ``auth/server``); else its own endpoint."""
        assert self._client is not None
        answer = await self._client.get(f"{self._settings.url}/auth/server")
        try:
            return str(orjson.loads(answer.content)["tokenURL"]) if answer.is_success else self._own
        except (ValueError, KeyError, TypeError):
            return self._own

    @property
    def _own(self) -> str:
        return f"{self._settings.url}/auth/token"

    def _shown(self, path: str) -> str:
        return without_secrets(f"{self._settings.url}/{path}")


def _failed(status: int, what: str) -> SourceError:
    said = f"{what}: {status}"
    if status == 429 or status >= 500:
        return Unreachable(said)
    return Conflict(said) if status == 409 else SourceRefused(said)


class Conflict(SourceRefused):
    """What was to be made is there already."""


def _detail(body: bytes) -> str:
    try:
        told = orjson.loads(body)
        return str(told.get("detail") or told.get("title") or "")[:200]
    except (ValueError, AttributeError):
        return ""


async def _body(answer: httpx.Response, where: str) -> bytes:
    parts: list[bytes] = []
    room = LARGEST
    async for part in answer.aiter_bytes(65_536):
        room -= len(part)
        if room < 0:
            raise SourceProtocolError(f"{where} answers with more than {LARGEST:,} bytes")
        parts.append(part)
    return b"".join(parts)
