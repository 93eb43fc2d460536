"""What the watch has learnt, kept over a restart: plain arrays in one npz file, nothing is unpickled.

Kept is what took hours to learn (lines through the fleet, each object's own offset and usual size, habits of the instruments)
and the incidents, open and lately closed. What follows the present (lags, smoothed residuals) is kept only for as long as it holds.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from analytics.anomaly.air import AirScorer
from analytics.anomaly.cdus import CduScorer
from analytics.anomaly.gpus import GpuWatch
from analytics.anomaly.incidents import Cause, Incident
from analytics.anomaly.instruments import InstrumentWatch
from analytics.anomaly.racks import RackScorer
from analytics.anomaly.residuals import FleetLine, Lagged, ResidualTrack, Standstill, Steps, Stopped
from analytics.anomaly.sensors import SensorHabits, Verdict
from analytics.anomaly.taps import TapScorer
from analytics.anomaly.upses import LossCurve, UpsScorer
from analytics.anomaly.watch import FactoryWatch
from domain.errors import InputError
from domain.said import of_plain, plain

VERSION = 8
"""Changes whenever what is kept changes its meaning."""
PRESENT_MS = 60_000
"""After a longer pause lags and smoothed residuals begin anew."""
OLDEST_MS = 7 * 86_400_000
"""After a longer pause everything is learnt anew."""

_LEARNT: dict[type, tuple[str, ...]] = {
    FactoryWatch: ("racks", "cdus", "taps", "upses", "air", "gpus", "water", "instruments", "_usual_water"),
    RackScorer: ("lines", "track", "resting", "rise", "load", "die", "pod_load", "valve", "most", "passing"),
    CduScorer: ("track", "water", "resting", "filled", "top", "filter_steps", "load", "valve"),
    TapScorer: ("track", "own", "shared", "steps"),
    UpsScorer: ("track", "losses", "full"),
    AirScorer: ("track", "resting"),
    GpuWatch: ("score", "seen", "errors", "still", "run", "heat", "own", "known"),
    InstrumentWatch: (
        "verdict",
        "_habits",
        "_known",
        "_run",
        "_longest",
        "_heard",
        "_moves",
        "_steps",
        "_low",
        "_high",
        "_through",
        "_values",
        "_expected",
        "_rows",
    ),
    SensorHabits: ("noise", "resolution", "tolerance"),
    ResidualTrack: ("age", "known", "met", "offset", "reference", "usual", "smooth", "last"),
    LossCurve: ("top", "parts", "covariance", "weight", "gram", "sums"),
    FleetLine: ("slope", "offset", "moments"),
    Lagged: ("now", "cause", "slack"),
    Stopped: ("rested",),
    Standstill: ("rested", "held", "low", "high", "through", "moves", "top", "steps"),
    Steps: ("step", "last"),
}
"""What is kept of each kind of thing."""
_PRESENT = frozenset(
    {"smooth", "last", "rise", "load", "die", "pod_load", "errors", "_values", "_expected", "_rows"}
)
"""Of these, what only holds for a moment."""
_MADE: dict[str, type] = {"rise": Lagged, "load": Lagged, "_habits": SensorHabits}
"""What is not there before the first reading."""


def save(watch: FactoryWatch, now: int, file: Path) -> None:
    """Write what a watch has learnt; a file that was not written whole is never left behind.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    kept = dict(arrays(watch))
    header = {
        "version": VERSION,
        "plant": _plant(watch),
        "saved": now,
        "count": watch.book.count,
        "since": watch.book.since,
        "incidents": [_incident(i) for i in watch.book.open],
        "over": [[at, _incident(i)] for at, i in watch.book.closed.values()],
        "faulty": [[*key, int(verdict)] for key, verdict in watch.faulty.items()],
    }
    kept["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **kept)  # type: ignore[arg-type]  # numpy takes names for flags
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_bytes(buffer.getvalue())
    unfinished.replace(file)


def load(watch: FactoryWatch, now: int, file: Path) -> int:
    """Let a watch that is wired to its plant go on from a file; returns how old that is, ms.

    Raises
    ------
    InputError
        If the file is of another version or another plant, too old, or damaged; the watch is as it was.
    """
    try:
        with np.load(file, allow_pickle=False) as kept:
            found = {name: kept[name] for name in kept.files}
        header = json.loads(found.pop("header").tobytes())
        age = now - int(header["saved"])
        if header["version"] != VERSION or header["plant"] != _plant(watch):
            raise InputError(f"{file} is of another version or another plant; the watch learns anew")
        if not 0 <= age <= OLDEST_MS:
            raise InputError(f"{file} is {age / 86_400_000:.1f} days old; the watch learns anew")
        _check(watch, "", found)
        incidents = [_restored(i) for i in header["incidents"]]
        # a file of before incidents were opened again has none
        over = [(int(at), _restored(told)) for at, told in header.get("over", ())]
        faulty = {(name, quantity): Verdict(number) for name, quantity, number in header["faulty"]}
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} cannot be used ({error}); the watch learns anew") from error
    _restore(watch, "", found, present=age <= PRESENT_MS)
    watch.book.count, watch.book.since = int(header["count"]), dict(header["since"])
    watch.book.open, watch.faulty = incidents, faulty
    watch.book.closed = {incident.number: (at, incident) for at, incident in over}
    return age


def arrays(watch: FactoryWatch) -> Iterator[tuple[str, np.ndarray]]:
    """Return everything that is kept of a watch, by name."""
    return _walk(watch, "")


def _plant(watch: FactoryWatch) -> str:
    """Return what identifies the plant: the order of everything that arrays are about."""
    names = [
        *watch.site.racks,
        "",
        *watch.site.cdus,
        "",
        *watch.taps.taps,
        "",
        *watch.upses.upses,
        "",
        *watch.air.units,
    ]
    names += ["", *(gpu for row in watch.gpu_ids for gpu in row)]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _parts(thing: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """Return name, path and value of everything that is kept of a thing, containers unrolled."""
    for name in _LEARNT[type(thing)]:
        value = getattr(thing, name, None)  # what comes with the first reading may not be there yet
        if isinstance(value, dict):
            yield from ((name, f"{path}{name}.{key}", each) for key, each in value.items())
        elif isinstance(value, tuple):
            yield from ((name, f"{path}{name}.{i}", each) for i, each in enumerate(value))
        else:
            yield name, f"{path}{name}", value


def _walk(thing: Any, path: str) -> Iterator[tuple[str, np.ndarray]]:
    for _, where, value in _parts(thing, path):
        if type(value) in _LEARNT:
            yield from _walk(value, f"{where}.")
        elif value is not None:
            yield where, np.asarray(value)


def _check(thing: Any, path: str, arrays: dict[str, np.ndarray]) -> None:
    """Raise ValueError where a kept array has not the shape of what it is to replace."""
    for _, where, value in _parts(thing, path):
        if type(value) in _LEARNT:
            _check(value, f"{where}.", arrays)
        elif value is not None and arrays[where].shape != np.shape(value):
            raise ValueError(f"{where} has shape {arrays[where].shape}, not {np.shape(value)}")


def _restore(thing: Any, path: str, arrays: dict[str, np.ndarray], present: bool) -> None:
    for name, where, value in _parts(thing, path):
        if name in _PRESENT and not present:
            continue
        if type(value) in _LEARNT and not isinstance(value, Lagged | SensorHabits):
            _restore(value, f"{where}.", arrays, present)
        elif value is None or isinstance(value, Lagged | SensorHabits):
            kind = _MADE.get(name, Lagged)
            fields = {field: arrays.get(f"{where}.{field}") for field in _LEARNT[kind]}
            if all(each is not None for each in fields.values()):
                setattr(thing, name, kind(**fields))
        else:
            found = arrays[where]
            setattr(thing, name, found if isinstance(value, np.ndarray) else type(value)(found))


def _incident(incident: Incident) -> dict[str, Any]:
    told = asdict(incident)
    told["cause"]["members"] = sorted(incident.cause.members)
    told["cause"]["evidence"] = [plain(said) for said in incident.cause.evidence]
    return told | {"members": sorted(incident.members), "signals": sorted(incident.signals)}


def _restored(told: dict[str, Any]) -> Incident:
    cause = told["cause"]
    return Incident(
        int(told["number"]),
        Cause(
            cause["root"], cause["fault"], frozenset(cause["members"]), tuple(said for kept in cause["evidence"] if (said := of_plain(kept))), float(cause["weight"]),
            tuple(cause["alternatives"]),
        ),
        int(told["opened"]),
        int(told["seen"]),
        int(told["quiet"]),
        set(told["members"]),
        set(told.get("signals", ())),
        [int(at) for at in told.get("returned", ())],
    )  # fmt: skip
