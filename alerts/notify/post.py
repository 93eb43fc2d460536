"""One HTTP POST to a receiver of pages, with what its answer means."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from domain.errors import NotificationError, printable

TRY_AGAIN = frozenset({408, 425, 429})
"""Client errors that pass by themselves; every other 4xx needs somebody to change something."""
OF_CONTENT = frozenset({400, 413, 422})
"""What is wrong is what was sent."""
MOST_OF_REASON = 300
"""Bytes that are read of a refusal's body. That of an answer which is none is nobody's business: it may be of any length."""


async def post(
    who: str,
    url: str,
    content: bytes,
    headers: Mapping[str, str],
    timeout: float,
    tls: ssl.SSLContext,
    method: str = "POST",
) -> None:
    """Send `content`; any 2xx answer within `timeout` seconds counts as delivered. Redirects are not followed.

    Raises
    ------
    NotificationError
        If it was not delivered: it names `who`, and says whether, and after how long, trying again makes sense.
    """
    reason = b""
    try:
        async with (
            asyncio.timeout(timeout),
            httpx.AsyncClient(timeout=timeout, verify=tls) as client,
            client.stream(method, url, content=content, headers=dict(headers)) as response,
        ):
            if not response.is_success:
                with contextlib.suppress(httpx.HTTPError, TimeoutError):
                    async with asyncio.timeout(timeout / 4):
                        reason = await _beginning(response)
    except Exception as error:
        # what is no HTTPError (httpx.InvalidURL, UnicodeError of a host's name) comes of the address, as some of these do
        passes = isinstance(error, (httpx.HTTPError, TimeoutError, OSError))
        broken = isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
        told = f"{type(error).__name__} {str(error)[:300]}".strip()
        raise NotificationError(f"{who}: {told}", retryable=passes and not broken) from error
    if response.is_success:
        return
    told = printable(" ".join(reason.decode(errors="replace").split()))
    raise NotificationError(
        f"{who}: the receiver answered {response.status_code}" + (f" ({told})" if told else ""),
        retryable=response.is_server_error or response.status_code in TRY_AGAIN,
        retry_after=_seconds(response.headers.get("retry-after", "")),
        content=response.status_code in OF_CONTENT,
    )


async def reach(who: str, url: str, timeout: float, tls: ssl.SSLContext) -> str:
    """Open a connection to a receiver, with TLS where the address says so; nothing is sent.

    Raises
    ------
    NotificationError
        If it cannot be reached.
    """
    try:
        address = httpx.URL(url)
        port = address.port or (443 if address.scheme == "https" else 80)
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(
                address.host, port, ssl=tls if address.scheme == "https" else None
            )
        writer.close()
    except Exception as error:  # of the resolver, TLS, or an address that is none
        told = str(error) or f"no answer within {timeout:g} s"
        raise NotificationError(f"{who}: {type(error).__name__} {told}", retryable=True) from error
    return "the receiver takes connections; whether it takes pages, only a page tells"


async def _beginning(response: httpx.Response) -> bytes:
    read = b""
    async for part in response.aiter_raw(MOST_OF_REASON):
        read += part
        if len(read) >= MOST_OF_REASON:
            break
    return read[:MOST_OF_REASON]


def _seconds(retry_after: str) -> float | None:
    """Return how long a receiver asks to be left alone, as it says in seconds or as a time."""
    if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 7:
        return float(retry_after)
    try:
        when = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max((when - datetime.now(UTC)).total_seconds(), 0.0)
