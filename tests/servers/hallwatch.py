"""Hallwatch itself, run as its users run it: the command."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from service.cli import app, main

SITE = {
    "id": "lab",
    "name": "Lab",
    "timezone": "Asia/Taipei",
    "country": "TW",
    "limit": "600 kW",
    "installed": "700 kW",
    "idle": "20 kW",
    "rack_limit": "145 kW",
    "pods": [{"id": "P1", "racks": "Pod1C-E01..06", "row": 1}],
    "meters": ["C-E-BUS-E1", "C-E-BUS-E2"],
}
COMMAND = [sys.executable, "-m", "service"]


def hallwatch(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command of Hallwatch to its end, in this process, which saves its start: 2 to 4 s of processor time.

    It runs in a thread, since many commands run an event loop, and the test may be on one.
    """
    with ThreadPoolExecutor(1, "command") as thread:
        done = thread.submit(_run_here, [*map(str, arguments)]).result()
    return _checked(done) if check else done


def process(
    *arguments: str | Path, timeout: float = 300, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command of Hallwatch to its end, in a process of its own, for tests of what only a process shows."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )
    return _checked(done) if check else done


def _run_here(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    printed, told, root = io.StringIO(), io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with (
        pytest.MonkeyPatch.context() as here,
        open(os.devnull) as nothing,
        redirect_stdout(printed),
        redirect_stderr(told),
    ):
        # what a command does to its process is undone
        here.setenv("PYTHONSAFEPATH", "1")
        here.setattr(sys, "excepthook", sys.excepthook)
        here.setattr(sys, "argv", ["hallwatch", *arguments])
        here.setattr(sys, "stdin", nothing)
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
    return subprocess.CompletedProcess(arguments, code, printed.getvalue(), told.getvalue())


def _checked(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    if done.returncode != 0:
        raise AssertionError(f"hallwatch {' '.join(done.args)} gave {done.returncode}:\n{done.stderr}")
    return done


def command(*arguments: object) -> str:
    """Run a command in this process, which saves its imports, and return what it printed; errors are raised."""
    ran = CliRunner().invoke(app, [*map(str, arguments)])
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return ran.stdout


def write_configuration(
    folder: Path, settings: dict[str, Any], site: dict[str, Any], alerts: dict[str, Any]
) -> Path:
    """Write a configuration folder whose data folder lies beside it; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"data": "../data", "web": {"port": 0}, **settings}
    for name, content in (("hallwatch", settings), ("site", site), ("alerts", alerts)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


class Service:
    """`hallwatch run` (or another long-running command) on a configuration folder.

    Parameters
    ----------
    config
        The folder; its data folder is ``../data``.
    command
        Which command.
    """

    def __init__(self, config: Path, command: str = "run") -> None:
        self.config = config
        self.data = (config / "../data").resolve()
        self.log = config / f"{command}.log"
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 240) -> None:
        """Start it; returns when it serves."""
        (self.data / "running.json").unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*COMMAND, self._command, "-c", str(self.config)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        deadline = time.monotonic() + timeout
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the service did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.1)

    def stop(self) -> int:
        """End it as Ctrl-C does and return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(60)

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    @property
    def url(self) -> str:
        """Where it serves."""
        return str(self._told()["url"])

    def health(self) -> dict[str, Any]:
        """Return what its parts say."""
        told = self._told()
        answer = httpx.get(
            f"{told['url']}/internal/v1/health",
            headers={"Authorization": f"Bearer {told['token']}"},
            timeout=60,
        )
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def query(self, point: str, *arguments: str) -> list[dict[str, Any]]:
        """Return what `hallwatch query --json` prints."""
        found: list[dict[str, Any]] = json.loads(
            hallwatch("query", point, "--json", "--data", self.data, *arguments).stdout
        )
        return found

    def _told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.data / "running.json").read_text())
        return told

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=10).status_code == 200
        except (OSError, httpx.HTTPError, ValueError, KeyError):
            return False

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()


def eventually(look: Any, timeout: float = 120, every: float = 0.2) -> Any:
    """Return what `look` gives once it is true (not None, not False, no AssertionError); fail after `timeout`."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            found = look()
            if found is not None and found is not False:
                return found
            problem: object = found
        except AssertionError as error:
            problem = error
        if time.monotonic() > deadline:
            raise AssertionError(f"did not come true within {timeout} s: {problem}")
        time.sleep(every)
