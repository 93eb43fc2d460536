"""Logs hold no secret, no flood, and no line without end, whoever writes them."""

import asyncio
import io
import json
import logging
import subprocess
import sys
import time

import pytest
import structlog

from collectors.mqtt.settings import BrokerSettings
from collectors.prometheus.settings import Target
from collectors.schedule.settings import ScheduleSettings
from domain.errors import HallwatchError
from domain.secret import read_secret
from service import logs

PASSWORD = "hunter2-and-more"
URLS = [
    f"mqtt://hallwatch:{PASSWORD}@broker:1883",
    f"https://u:{PASSWORD}/with@signs@scheduler/jobs",
    f"https://{PASSWORD}@host/path",
    f"http://influx:8086/write?u=x&p=1&token={PASSWORD}",
    f"postgresql+psycopg://u:{PASSWORD}@db/hallwatch",
    f"Authorization: Bearer {PASSWORD}",
]


@pytest.fixture(params=["json", "text"])
def written(request, monkeypatch):
    """The log as it is written, set up as a process does."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure("info", request.param)
    yield out
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()
    sys.excepthook = sys.__excepthook__


def _raise(text):
    local = text  # noqa: F841 - a traceback with local variables would show it
    raise ValueError(f"cannot reach {text}")


@pytest.mark.parametrize("url", URLS)
def test_a_secret_planted_anywhere_in_a_line_is_not_written(written, url):
    ours, theirs = structlog.get_logger("collectors.x"), logging.getLogger("paho.x")
    ours.warning("no connection", broker=url, nested={"a": [url]}, error=HallwatchError(url))
    ours.warning(f"no connection to {url}")
    theirs.warning("connecting to %s", url)
    theirs.error("failed", extra={"url": url})
    try:
        _raise(url)
    except ValueError:
        ours.exception("it broke", url=url)
        theirs.exception("it broke")
    assert written.getvalue().count("\n") >= 6
    assert PASSWORD not in written.getvalue()
    assert "***" in written.getvalue()


@pytest.mark.parametrize("url", URLS)
def test_no_error_nor_the_text_of_any_settings_shows_it(url):
    error = HallwatchError(f"{url} does not answer")
    assert PASSWORD not in f"{error} {error!r}"
    settings = [Target(url=url)]
    if url.startswith("http"):
        settings.append(ScheduleSettings(url=url))
    if url.startswith("mqtt"):
        settings.append(BrokerSettings(url=url))
    assert PASSWORD not in f"{settings} {settings[-1]}"
    assert settings[-1].url == url, "what connects has it still"


def test_a_secret_that_was_read_is_not_written_in_any_form_of_words(written, monkeypatch):
    monkeypatch.setenv("HALLWATCH_TEST_PASSWORD", "correct horse (battery) staple")
    read_secret("HALLWATCH_TEST_PASSWORD", None, "x.yaml", "password")
    structlog.get_logger("x").warning("login as correct horse (battery) staple refused")
    assert "refused" in written.getvalue()
    assert "battery" not in written.getvalue()


def test_what_ends_the_process_shows_none_either():
    program = "import sys; from service import logs; logs.configure(); raise ValueError('at ' + sys.argv[1])"
    ended = subprocess.run([sys.executable, "-c", program, URLS[0]], capture_output=True, text=True)
    assert "ValueError: at mqtt://***@broker:1883" in ended.stderr
    assert PASSWORD not in ended.stderr


def test_lines_of_one_kind_are_limited_and_another_kind_still_comes_through(written):
    began = time.monotonic()
    log = logging.getLogger("asyncio")
    for n in range(5_000):
        log.error("socket.accept() out of system resource %d", n)
    structlog.get_logger("alerts.engine").warning("alert opened", id=1)
    lines = written.getvalue().splitlines()
    recovered = logs.KIND.per_minute * (time.monotonic() - began) / 60
    assert len(lines) <= logs.KIND.burst + recovered + 1
    assert "alert opened" in lines[-1]
    assert logs.stats() == {"lines": len(lines), "held_back": 5_001 - len(lines)}


def test_a_library_that_writes_its_values_into_its_words_is_limited_too(written):
    began = time.monotonic()
    for n in range(2_000):
        logging.getLogger("uvicorn.error").error(f"invalid request number {n}")
    for n in range(2_000):
        structlog.get_logger("x").error("the rest", n=n)
    lines = written.getvalue().splitlines()
    recovered = logs.LOGGER.per_minute * (time.monotonic() - began) / 60
    assert sum("invalid request" in line for line in lines) <= logs.LOGGER.burst + recovered + 1
    assert any("the rest" in line for line in lines)


def test_all_lines_together_are_limited(written):
    began = time.monotonic()
    for n in range(100):
        for m in range(40):
            logging.getLogger(f"library{n}").error(f"words {m}")
    recovered = logs.TOTAL.per_minute * (time.monotonic() - began) / 60
    assert len(written.getvalue().splitlines()) <= logs.TOTAL.burst + recovered + 1


def test_what_was_held_back_is_told_once_a_minute_and_the_rate_recovers():
    now, told = [0.0], []
    limiter = logs.Limiter(lambda: now[0], told.append)

    def write(words):
        return limiter.filter(logging.LogRecord("x", 30, "", 0, words, (), None))

    assert sum(write("again") for _ in range(100)) == logs.KIND.burst
    assert told == []
    now[0] = 61
    assert write("something else")
    assert told == [{"x: again": 100 - logs.KIND.burst}]
    assert sum(write("again") for _ in range(100)) == int(61 / 60 * logs.KIND.per_minute)


def test_kinds_are_bounded_in_memory():
    limiter = logs.Limiter()
    for n in range(3 * logs.MOST_KINDS):
        limiter.filter(logging.LogRecord(f"x{n}", 30, "", 0, f"words {n}", (), None))
    assert len(limiter._buckets) <= logs.MOST_KINDS


def test_no_line_is_without_end_and_none_commands_a_terminal(written, monkeypatch):
    # not to those of the test runner, which would fail on the depth
    monkeypatch.setattr(
        logging.getLogger(), "handlers", [h for h in logging.getLogger().handlers if h.filters]
    )
    deep = []
    for _ in range(3_000):
        deep = [deep]
    structlog.get_logger("x").warning(
        "read \x1b[31m", name="rack\n\x1b]0;title\x07", deep=deep, large="x" * 10**6, number=10**5000
    )
    logging.getLogger("y").warning("x" * 10**6)
    (first, second) = written.getvalue().splitlines()
    assert len(first) < 3 * logs.VALUE_CHARACTERS
    assert len(second) < 2 * logs.VALUE_CHARACTERS
    assert "\x1b" not in first.replace("\x1b[0m", "")
    if first.startswith("{"):
        assert json.loads(first)["event"] == "read \\x1b[31m"


async def test_what_asyncio_says_of_a_task_that_failed_goes_the_same_way(written):
    async def fail():
        _raise(URLS[0])

    task = asyncio.ensure_future(fail())
    await asyncio.wait({task})
    del task
    import gc

    gc.collect()
    assert "cannot reach" in written.getvalue()
    assert PASSWORD not in written.getvalue()


def test_a_line_that_a_library_cannot_format_is_told_in_short(written, monkeypatch):
    monkeypatch.setattr(
        logging.getLogger(), "handlers", [h for h in logging.getLogger().handlers if h.filters]
    )
    logging.getLogger("library").error("%d of %d", "three")
    assert written.getvalue() == "a line of library cannot be written: '%d of %d'\n"
