"""Replay of a recorded DSX capture, onto a broker or straight into a sink.

A capture is a CSV file with the columns offset (a Go duration from its start), topic and payload, in which
``{{timestamp_ms}}`` stands for the moment of the row: start plus offset, whatever the speed, so that any speed stores
the same content.
"""

from __future__ import annotations

import asyncio
import csv
import re
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from collectors.mqtt.connection import Connection, connected
from collectors.mqtt.decoder import Decoder, Message
from collectors.mqtt.settings import BrokerSettings, MqttSettings
from domain.batch import Sink, now_ms
from domain.errors import InputError, SourceError, brief
from domain.points import PointRegistry

_PLACEHOLDER = "{{timestamp_ms}}"
_DURATION = re.compile(r"([0-9]*\.?[0-9]+)(h|ms|m|s|us|µs|ns)")
_MS = {"h": 3.6e6, "m": 6e4, "s": 1e3, "ms": 1.0, "us": 1e-3, "µs": 1e-3, "ns": 1e-6}
_STEP_S = 0.02
_IN_FLIGHT = 500


@dataclass(frozen=True, slots=True)
class Row:
    """One message of a capture; `offset` in ms from its start."""

    offset: float
    topic: str
    payload: str

    def at(self, start: int) -> tuple[bytes, bytes]:
        """Return (topic, payload) for a replay that starts at `start`, UTC ms."""
        observed = str(start + round(self.offset))
        return self.topic.encode(), self.payload.replace(_PLACEHOLDER, observed).encode()


@dataclass(frozen=True, slots=True)
class Into:
    """A sink to replay into, and the registry that its batches index."""

    registry: PointRegistry
    sink: Sink


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What was replayed; `readings` and `refused` only where it went into a sink."""

    messages: int
    topics: int
    seconds: float
    start: int
    end: int
    readings: int = 0
    refused: int = 0


def duration_ms(text: str) -> float:
    """Return a Go duration such as ``1m39.5s`` in milliseconds.

    Raises
    ------
    InputError
        If it is none.
    """
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text.lstrip("+"):
        raise InputError(f"{brief(text)} is no duration; write one such as 1.5s or 1m39.5s")
    return sum(float(number) * _MS[unit] for number, unit in parts)


def read_capture(file: Path) -> list[Row]:
    """Return the rows of a capture in the order of their offsets.

    Raises
    ------
    InputError
        If the file is no capture: says which line and why.
    """
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            missing = {"offset", "topic", "payload"} - set(reader.fieldnames or ())
            if missing:
                raise InputError(
                    f"{file}: no column {', '.join(sorted(missing))}; a capture has offset, topic, payload"
                )
            rows = []
            for line in reader:
                try:
                    rows.append(Row(duration_ms(line["offset"]), line["topic"], line["payload"]))
                except (InputError, TypeError) as error:
                    raise InputError(f"{file}:{reader.line_num}: {error}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error
    return sorted(rows, key=lambda row: row.offset)


async def replay(
    file: Path, to: str | BrokerSettings | Into, speed: float = 1.0, start: int | None = None
) -> ReplayReport:
    """Replay a capture.

    Parameters
    ----------
    file
        The capture.
    to
        A broker (every message at QoS 1, metadata retained), or a sink.
    speed
        Times real time; 0 is as fast as it goes.
    start
        Observed time of offset zero, UTC ms; now if None.

    Raises
    ------
    InputError
        If the file is no capture.
    SourceError
        If the broker cannot be reached, or does not take every message.
    """
    rows = await asyncio.to_thread(read_capture, file)
    start = now_ms() if start is None else start
    begun = time.monotonic()
    if isinstance(to, Into):
        readings, refused = await _into(to, rows, speed, start)
    else:
        settings = to if isinstance(to, BrokerSettings) else BrokerSettings(url=to)
        readings = refused = 0
        await _onto(settings, rows, speed, start)
    last = start + round(rows[-1].offset) if rows else start
    return ReplayReport(
        len(rows), len({r.topic for r in rows}), time.monotonic() - begun, start, last, readings, refused
    )


async def _due(rows: list[Row], speed: float) -> AsyncIterator[list[Row]]:
    """Yield the rows as they fall due."""
    begun = time.monotonic()
    done = 0
    while done < len(rows):
        end = done
        until = (time.monotonic() - begun) * 1000 * speed if speed else float("inf")
        while end < len(rows) and rows[end].offset <= until and end - done < _IN_FLIGHT:
            end += 1
        if end > done:
            yield rows[done:end]
        if end == done or speed:
            await asyncio.sleep(_STEP_S)
        done = end


async def _into(to: Into, rows: list[Row], speed: float, start: int) -> tuple[int, int]:
    decoder = Decoder(MqttSettings(name="replay"), to.registry)
    readings = 0
    async for due in _due(rows, speed):
        messages: list[Message] = [(*row.at(start), 0) for row in due]
        batch = decoder.decode(messages, now_ms())
        readings += len(batch)
        if len(batch):
            await to.sink(batch)
    return readings, decoder.counts["refused"]


async def _onto(settings: BrokerSettings, rows: list[Row], speed: float, start: int) -> None:
    unanswered = _Unanswered()
    connection = Connection(settings, on_answered=lambda mid, _taken: unanswered.answered(mid))
    connection.start()
    try:
        await asyncio.to_thread(connected, connection, 15.0)
        async for due in _due(rows, speed):
            for row in due:
                mid = connection.publish(row.topic, row.at(start)[1], qos=1, retain="/Metadata/" in row.topic)
                if mid is None:
                    raise SourceError(f"{settings.shown}: connection lost during the replay")
                unanswered.sent(mid)
            await asyncio.to_thread(unanswered.wait, _IN_FLIGHT, connection.state)
        await asyncio.to_thread(unanswered.wait, 0, connection.state)
    finally:
        await asyncio.to_thread(connection.stop)


class _Unanswered:
    """Messages sent and not yet taken by the broker; an answer may overtake the note of sending."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._changed = threading.Condition()

    def sent(self, mid: int) -> None:
        with self._changed:
            self._open ^= {mid}
            self._changed.notify_all()

    answered = sent

    def wait(self, most: int, state: object, timeout: float = 30.0) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._open) <= most, timeout):
                raise SourceError(f"the broker did not take {len(self._open)} messages ({state})")
