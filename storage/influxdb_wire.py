"""Talking to an InfluxDB server: writing lines, asking InfluxQL, setting up retention.

Writes go through influxdb-client, one blocking request at a time. Its batching API is not used: that one gives up
after a while and tells only a callback.
"""

from __future__ import annotations

import gzip
import logging
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
import influxdb_client
import orjson
import urllib3
from influxdb_client.rest import ApiException
from influxdb_client.service import write_service

from domain.errors import InputError, StorageError, StoreUnavailable
from storage.influxdb_answer import MESSAGEPACK, Series, series_of
from storage.influxdb_lines import identifier, quoted
from storage.settings import InfluxSettings

log = logging.getLogger(__name__)

REFUSES_LINES = {400, 422}
TOO_LARGE = 413
KEYS_REMOVED = 200
"""Series that one statement removes."""
EVER = ("1970-01-01T00:00:00Z", "2262-01-01T00:00:00Z")


class InfluxWire:
    """One server, one token.

    Raises
    ------
    StorageError
        If the token or the certificate file cannot be used.
    """

    def __init__(self, settings: InfluxSettings) -> None:
        self._settings = settings
        self.version = ""
        self._major = ""
        token = settings.token()
        verify: bool | str = settings.verify_tls
        if settings.ca_file is not None:
            if not settings.ca_file.is_file():
                raise StorageError(f"storage.influxdb.ca_file: {settings.ca_file} is not a file")
            verify = str(settings.ca_file)
        library: Any = influxdb_client  # not typed
        self._client = library.InfluxDBClient(
            url=settings.url,
            token=token,
            org=settings.org,
            timeout=int(settings.timeout_s * 1000),
            verify_ssl=settings.verify_tls,
            ssl_ca_cert=str(settings.ca_file) if settings.ca_file else None,
        )
        services: Any = write_service
        self._writes = services.WriteService(self._client.api_client)
        context: Any = ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify
        self._http = httpx.Client(
            base_url=settings.url,
            headers={"Authorization": f"Token {token}"} if token else {},
            timeout=settings.timeout_s,
            verify=context,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._http.close()

    # --- writing ---------------------------------------------------------------------------------------------

    def write(self, policy: str, lines: list[str]) -> dict[int, str]:
        """Write lines (times in ms) into a retention policy; return the refused ones, by number, with the reason.

        Raises
        ------
        StoreUnavailable
            If the server does not take them now; none needs to be assumed written.
        """
        refused: dict[int, str] = {}
        size = self._settings.lines_per_request
        for first in range(0, len(lines), size):
            refused |= {
                first + n: why for n, why in self._write_part(policy, lines[first : first + size]).items()
            }
        return refused

    def _write_part(self, policy: str, lines: list[str]) -> dict[int, str]:
        try:
            self._post(policy, lines)
        except ApiException as e:
            if e.status not in REFUSES_LINES and not (e.status == TOO_LARGE and len(lines) > 1):
                raise self._unavailable(e) from e
            if len(lines) == 1:
                return {0: _reason(e)}
            # Writing twice changes nothing: halve until the refused lines stand alone.
            half = len(lines) // 2
            left = self._write_part(policy, lines[:half])
            right = self._write_part(policy, lines[half:])
            return left | {half + n: why for n, why in right.items()}
        except (urllib3.exceptions.HTTPError, OSError) as e:
            raise StoreUnavailable(f"{self._settings.url}: {e}") from e
        return {}

    def _post(self, policy: str, lines: list[str]) -> None:
        self._writes.post_write(
            org=self._settings.org,
            bucket=f"{self._settings.database}/{policy}",
            # the fastest level: on a site network the time of higher ones is not won back
            body=gzip.compress("\n".join(lines).encode(), compresslevel=1),
            precision="ms",
            content_encoding="gzip",
            content_type="text/plain; charset=utf-8",
        )

    def _unavailable(self, e: ApiException) -> StoreUnavailable:
        hint = {
            401: "set the token (storage.influxdb.token_env or token_file)",
            403: "the token may not write here",
            404: f"the database or bucket {self._settings.database} does not exist",
        }.get(int(e.status or 0), _reason(e))
        error = StoreUnavailable(f"{self._settings.url}: {e.status}: {hint}")
        wait = str(dict(e.headers or {}).get("Retry-After", ""))
        error.retry_after = float(wait) if wait.isdigit() else None
        return error

    # --- asking ----------------------------------------------------------------------------------------------

    def query(self, text: str, policy: str = "raw") -> Iterator[Series]:
        """Ask InfluxQL (several statements separated by ``;``); yield the series of the answers.

        Raises
        ------
        StoreUnavailable
            If the server does not answer.
        StorageError
            If it refuses the question, or cuts the answer short.
        """
        # 1.x takes no list of types, and answers JSON to what it does not know; the others are asked for what is sure
        accept = MESSAGEPACK if self._major == "1" else "application/json"
        parameters = {"db": self._settings.database, "rp": policy, "epoch": "ms"}
        answer, kind = self._ask(text, parameters, accept)
        try:
            yield from series_of(answer, kind)
        except StorageError as e:
            raise StorageError(f"{self._settings.url}: {e}") from e

    def _ask(
        self, text: str, parameters: dict[str, str], accept: str = "application/json"
    ) -> tuple[bytes, str]:
        """Return the body of an answer, and its content type."""
        # uncompressed: on a site network the time that the server takes to compress is not won back
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        try:
            answer = self._http.post("/query", params=parameters, data={"q": text}, headers=headers)
            if answer.status_code == httpx.codes.METHOD_NOT_ALLOWED:  # early 3.x asks for GET
                answer = self._http.get("/query", params={**parameters, "q": text}, headers=headers)
        except httpx.HTTPError as e:
            raise StoreUnavailable(f"{self._settings.url}: {e or type(e).__name__}") from e
        if answer.status_code == 400:
            raise StorageError(f"{self._settings.url}: {_said(answer.text, answer.reason_phrase)}")
        if answer.status_code == 404 and b"not found" in answer.content:
            return b"{}", "application/json"  # 2.x and 3.x: no such database yet
        if answer.status_code >= 300:
            raise StoreUnavailable(
                f"{self._settings.url}: {answer.status_code}: {_said(answer.text, answer.reason_phrase)}"
            )
        return answer.content, answer.headers.get("Content-Type", "")

    def ping(self) -> str:
        """Return the server's version, such as ``1.6.7``; remembered in `version`.

        Raises
        ------
        StoreUnavailable
            If it does not answer.
        """
        try:
            answer = self._http.get("/ping")
        except httpx.HTTPError as e:
            raise StoreUnavailable(f"{self._settings.url}: {e or type(e).__name__}") from e
        if answer.status_code in {401, 403}:
            raise StoreUnavailable(f"{self._settings.url}: {answer.status_code}: the token is refused")
        if answer.status_code >= 300:
            raise StoreUnavailable(f"{self._settings.url}: {answer.status_code}")
        told = answer.headers.get("X-Influxdb-Version", "")
        if not told and answer.content[:1] == b"{":  # 3.x tells it in the body
            told = str(orjson.loads(answer.content).get("version", ""))
        self.version = told.lstrip("v") or "unknown"
        self._major = self.version.partition(".")[0]
        if not self._major.isdecimal():
            self._major = self._major_by_behaviour(answer)
            if self._major:
                self.version = f"{self._major}.x, which calls itself {self.version[:40]}"
        return self.version

    def _major_by_behaviour(self, pong: httpx.Response) -> str:
        """Return the main version of a server that does not name it, as one that somebody built himself; empty if unknown.

        Only 3.x answers a ping with JSON, only 2.x has a set-up call, which anybody may ask (its ``/api/v2/buckets``
        exists in late 1.x too); all of them have the header.
        """
        if pong.content[:1] == b"{":
            return "3"
        try:
            answer = self._http.get("/api/v2/setup")
        except httpx.HTTPError as e:
            raise StoreUnavailable(f"{self._settings.url}: {e or type(e).__name__}") from e
        if answer.status_code == httpx.codes.OK and b'"allowed"' in answer.content:
            return "2"
        return "1" if "X-Influxdb-Version" in pong.headers else ""

    # --- removing --------------------------------------------------------------------------------------------

    def check_removal(self) -> None:
        """Raise InputError where the server cannot remove single series."""
        if self._major not in {"1", "2"}:
            raise InputError(
                f"InfluxDB {self.version} removes readings by retention only; retire without --with-readings"
            )

    def remove(self, keys: Mapping[str, Sequence[str]], policies: Sequence[str]) -> None:
        """Remove the series of points (keys by measurement) from retention policies.

        Raises
        ------
        InputError
            If the server cannot.
        StoreUnavailable
            If it does not do so now.
        """
        self.check_removal()
        if self._major == "1":
            self._remove_1x(keys)
        else:
            self._remove_2x(keys, policies)

    def _remove_1x(self, keys: Mapping[str, Sequence[str]]) -> None:
        """Remove them from all policies at once, as 1.x does."""
        for measurement, all_keys in keys.items():
            for first in range(0, len(all_keys), KEYS_REMOVED):
                one_of = " OR ".join(f'"key" = {quoted(k)}' for k in all_keys[first : first + KEYS_REMOVED])
                statement = f"DROP SERIES FROM {identifier(measurement)} WHERE {one_of}"
                for result in orjson.loads(self._ask(statement, {"db": self._settings.database})[0]).get(
                    "results", []
                ):
                    if "error" in result:
                        raise StorageError(f"{self._settings.url}: {result['error']}")

    def _remove_2x(self, keys: Mapping[str, Sequence[str]], policies: Sequence[str]) -> None:
        """Remove them one by one: its predicates know no OR."""
        removal = self._client.delete_api()
        try:
            for policy in policies:
                bucket = f"{self._settings.database}/{policy}"
                for measurement, all_keys in keys.items():
                    for key in all_keys:
                        which = f"_measurement={_text(measurement)} AND key={_text(key)}"
                        removal.delete(*EVER, which, bucket=bucket, org=self._settings.org)
        except ApiException as e:
            raise self._unavailable(e) from e
        except (urllib3.exceptions.HTTPError, OSError) as e:
            raise StoreUnavailable(f"{self._settings.url}: {e}") from e

    # --- set-up ----------------------------------------------------------------------------------------------

    def set_up(self, keep_ms: dict[str, int | None]) -> None:
        """Create what readings are written into, with its retention: 1.x by InfluxQL, 2.x by its API.

        On 3.x, or where the token may not, `docs/how-to/influxdb.md` says what an administrator runs once.
        """
        if self._major == "1":
            self._set_up_1x(keep_ms)
        elif self._major == "2":
            self._set_up_2x(keep_ms)
        else:
            log.warning("InfluxDB %s: databases and retention are left to its administrator", self.version)

    def _set_up_1x(self, keep_ms: dict[str, int | None]) -> None:
        database = identifier(self._settings.database)
        statements = [f"CREATE DATABASE {database}"]
        for policy, keep in keep_ms.items():
            duration = "INF" if keep is None else f"{max(keep, 3_600_000) // 60_000}m"
            name = identifier(policy)
            statements.append(
                f"CREATE RETENTION POLICY {name} ON {database} DURATION {duration} REPLICATION 1"
            )
            statements.append(f"ALTER RETENTION POLICY {name} ON {database} DURATION {duration}")
        for statement in statements:
            for result in orjson.loads(self._ask(statement, {})[0]).get("results", []):
                if "error" in result and "already exists" not in result["error"]:
                    log.warning("InfluxDB: %s: %s", statement, result["error"])

    def _set_up_2x(self, keep_ms: dict[str, int | None]) -> None:
        library: Any = influxdb_client
        buckets = self._client.buckets_api()
        try:
            for policy, keep in keep_ms.items():
                name = f"{self._settings.database}/{policy}"
                rules = library.BucketRetentionRules(
                    type="expire", every_seconds=0 if keep is None else keep // 1000
                )
                there = buckets.find_bucket_by_name(name)
                if there is None:
                    buckets.create_bucket(bucket_name=name, retention_rules=rules, org=self._settings.org)
                else:
                    there.retention_rules = [rules]
                    buckets.update_bucket(there)
        except ApiException as e:
            log.warning("InfluxDB: buckets were not set up (%s); see docs/how-to/influxdb.md", _reason(e))
        except (urllib3.exceptions.HTTPError, OSError) as e:
            raise StoreUnavailable(f"{self._settings.url}: {e}") from e


def _text(value: str) -> str:
    """Return a string as a predicate of 2.x writes it."""
    escaped = value.replace(chr(92), chr(92) * 2).replace('"', chr(92) + '"')
    return f'"{escaped}"'


def _reason(e: ApiException) -> str:
    return _said(str(e.body or ""), str(e.reason))


def _said(body: str, otherwise: str) -> str:
    """Return what an answer says is wrong: its JSON error, or its text; a proxy's HTML page says nothing."""
    try:
        told = orjson.loads(body or "{}")
        return str(told.get("error") or told.get("message") or otherwise)
    except (orjson.JSONDecodeError, AttributeError):
        return otherwise if body.lstrip().startswith("<") else body[:300]
