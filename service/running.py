"""Finding the running service: its address and token lie in the data folder, readable by its user only."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from domain.errors import HallwatchError, InputError

if TYPE_CHECKING:
    import httpx

FILE = "running.json"
DEFAULT_DATA = Path("data")


def data_folder(given: Path | None) -> Path:
    """Return the data folder: the one given, else HALLWATCH_DATA, else ``data`` here."""
    return given or Path(os.environ.get("HALLWATCH_DATA", DEFAULT_DATA))


@dataclass(frozen=True, slots=True)
class RunningService:
    """A service that runs on this machine: `url` of its web server, `token` for its internal calls, its `pid`."""

    url: str
    token: str
    pid: int

    def call(self, method: str, path: str, timeout: float | None = 300, **arguments: Any) -> httpx.Response:
        """Make an internal call and return the answer; `timeout` in seconds, None to wait as long as it takes.

        Raises
        ------
        InputError
            If the service says that the request is wrong.
        HallwatchError
            If it cannot be reached or fails.
        """
        import httpx  # weighs as much as the rest of a short command

        try:
            answer = httpx.request(
                method,
                f"{self.url}/internal/v1/{path}",
                headers={"Authorization": f"Bearer {self.token}"},
                timeout=timeout,
                **arguments,
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise HallwatchError(f"the service at {self.url} does not answer: {error}") from error
        if answer.status_code in (400, 404, 422):
            raise InputError(_detail(answer))
        if answer.is_error:
            raise HallwatchError(f"the service at {self.url} says {answer.status_code}: {_detail(answer)}")
        return answer


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:500]


def announce(folder: Path, url: str) -> RunningService:
    """Write down where this process's service is, and return it."""
    service = RunningService(url, secrets.token_urlsafe(32), os.getpid())
    path = folder / FILE
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(orjson.dumps({"url": service.url, "token": service.token, "pid": service.pid}))
    return service


def withdraw(folder: Path) -> None:
    """Remove what `announce` wrote."""
    (folder / FILE).unlink(missing_ok=True)


def required(folder: Path, why: str) -> RunningService:
    """Return the service that runs on a data folder.

    Raises
    ------
    InputError
        If none does; `why` says what it is needed for.
    """
    service = find(folder)
    if service is None:
        raise InputError(f"no service runs on {folder}; {why}")
    return service


def find(folder: Path) -> RunningService | None:
    """Return the service that runs on a data folder, or None."""
    try:
        told = orjson.loads((folder / FILE).read_bytes())
        service = RunningService(told["url"], told["token"], told["pid"])
        os.kill(service.pid, 0)
    except (FileNotFoundError, ProcessLookupError, ValueError, KeyError):
        return None
    except PermissionError:
        return service
    return service
