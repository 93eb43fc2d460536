"""One answer of an HTTP server that may be slow, huge, broken or hostile: bounded in time and in bytes.

A timeout for each read, which is what a client library offers, does not bound an answer that drips; and a library that
unpacks for its caller has the whole of a compressed answer in memory before anybody can look at its size.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping

import httpx

from domain.errors import SourceError, SourceProtocolError, SourceRefused, SourceTimeout
from domain.redaction import redacted

CONNECTIONS = httpx.Limits(max_connections=None, max_keepalive_connections=256, keepalive_expiry=60.0)
"""For a client of many servers: who fetches bounds how many are asked at a time."""
_STEP = 1 << 20
"""Bytes unpacked at a time, between which others have their turn on the event loop."""


async def fetch(
    client: httpx.AsyncClient,
    url: str,
    *,
    deadline: float,
    max_bytes: int,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Return the body of the answer to a GET.

    Parameters
    ----------
    client
        Sends it.
    url
        Where to; it may be malformed.
    deadline
        Seconds for all of it: connecting, the header, the last byte.
    max_bytes
        Of the body, unpacked.
    headers
        Sent along.

    Raises
    ------
    SourceError
        Whatever went wrong; the message names the server without its password. `SourceTimeout` at the deadline,
        `SourceRefused` for an answer of 400 to 499, `SourceProtocolError` for one that breaks HTTP or is too large.
    """
    where = without_secrets(url)
    try:
        async with asyncio.timeout(deadline):
            asked = {"accept-encoding": "gzip", **(headers or {})}
            async with client.stream("GET", url, headers=asked, timeout=deadline) as answer:
                if not answer.is_success:
                    said = f"{where} answers {answer.status_code} {answer.reason_phrase[:80]}".rstrip()
                    raise SourceRefused(said) if 400 <= answer.status_code < 500 else SourceError(said)
                return await _body(answer, where, max_bytes)
    except (TimeoutError, httpx.TimeoutException) as error:
        raise SourceTimeout(f"{where}: no whole answer within {deadline:g} s") from error
    except httpx.ProtocolError as error:
        raise SourceProtocolError(f"{where}: {_told(error)}") from error
    except SourceError:
        raise
    except httpx.ConnectError as error:
        raise SourceError(f"{where}: {_unreached(str(error))}") from error
    except httpx.TransportError as error:
        raise SourceError(f"{where}: {_told(error)}") from error
    except Exception as error:
        # httpx.InvalidURL is no HTTPError, idna and the resolver raise UnicodeError, a header may be no ASCII, ...
        raise SourceError(f"{where} cannot be asked: {_told(error)}") from error


def without_secrets(url: str) -> str:
    """Return an address as logs, pages and keys of points may show it: without a secret, and not longer than a line."""
    scheme, separator, rest = url[:2000].partition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    if separator and at and ":" in user and "@" not in path:
        return f"{scheme}://{user.partition(':')[0]}:***@{host}{redacted(slash + path)}"[:600]
    # a token without a password, one in the query, a password that holds a slash
    return redacted(url[:2000])[:600]


async def _body(answer: httpx.Response, where: str, max_bytes: int) -> bytes:
    coding = answer.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip", "x-gzip"):
        raise SourceProtocolError(f"{where} answers in the coding {coding[:40]!r}, which was not asked for")
    unpack = None if coding == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 16)
    parts: list[bytes] = []
    room = max_bytes
    async for raw in answer.aiter_raw():
        while raw:
            part = raw if unpack is None else unpack.decompress(raw, min(_STEP, room + 1))
            raw = b"" if unpack is None else unpack.unconsumed_tail
            room -= len(part)
            if room < 0:
                raise SourceProtocolError(f"{where} answers with more than {max_bytes:,} bytes")
            parts.append(part)
            if raw:
                await asyncio.sleep(0)
    if unpack is not None and not unpack.eof:
        raise SourceProtocolError(f"{where}: the packed answer is cut off")
    return b"".join(parts)


def _unreached(why: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in why:
        return f"its certificate is not trusted, name its CA in ca_file ({why[:200]})"
    if "[SSL" in why:
        return f"no TLS at this port, write http:// in place of https:// if so ({why[:200]})"
    return f"nothing answers there, is the address right and does it run? ({why[:200]})"


def _told(error: BaseException) -> str:
    return f"{type(error).__name__} {str(error)[:200]}".strip()
