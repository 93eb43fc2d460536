"""A source that is not heard: one alert a source, and one for the broker when it takes its sources with it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from alerts.rules.condition import condition, unknown
from alerts.rules.settings import SharedPath, StaleSource
from alerts.view import View
from domain.alert import Condition
from domain.points import IntArray, ValueArray
from domain.said import Field, Said, Span

HEARTBEAT = "HeartbeatTimestampBms"
ANSWERS = ("DeviceUp", "TrayOnline")
"""Points by which a collector or a broker tells that a device does not answer as it should (anything but 1)."""

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True, eq=False)
class _Watched:
    """What is watched of the s sources that are not ignored; arrays have shape (s,) unless told otherwise.

    `objects` are what alerts are raised on, `after` the silence that each may keep in ms, `row` the place of each in
    the view's sources; `beats` and `answers` are (source row, point index) pairs, shape (2, k); `behind` the sources
    behind each shared path; `ignored` what an alert may have been raised on before its source was ignored.
    """

    names: tuple[str, ...]
    objects: tuple[str, ...]
    after: ValueArray
    row: IntArray
    beats: IntArray
    answers: IntArray
    behind: tuple[Mask, ...]
    ignored: frozenset[str]


class StaleSourceRule:
    """Nothing was heard of a source, its heartbeat stopped, or its device does not answer."""

    def __init__(self, settings: StaleSource) -> None:
        self.settings = settings

    def evaluate(self, now: int, view: View, active: Set[str] = frozenset()) -> list[Condition]:
        """Return one condition per silent source, or one for the path that most of them share."""
        rule = self.settings
        watched = view.kept((rule.name, "watched"), lambda: self._watch(view))
        if not watched.names:
            return self._unregistered(watched, active)
        heard, after, any_heard = self._last_heard(view, watched)
        is_active = np.array([o in active for o in watched.objects])
        # a process that has just started has heard nobody yet; what was silent before stays silent until heard
        silent = now - np.maximum(heard, view.started) > after
        silent |= is_active & (heard < np.maximum(view.started, now - after))
        since = np.where(heard > 0, heard, view.started)
        refused = self._refused(view, watched)
        stale = silent | refused
        found, excused, blamed = [], np.zeros(len(stale), bool), np.zeros(len(stale), bool)
        paths = zip(rule.shared, watched.behind, strict=True)
        for path, behind in sorted(paths, key=lambda pair: -int(pair[1].sum())):
            # many at once need no patience; who was not heard since our start is given all of it
            quiet = stale | (
                (any_heard >= view.started) & (now - any_heard > (path.after or math.inf) * 1000)
            )
            share = float(quiet[behind].mean()) if behind.any() else 0.0
            to_blame = share >= (path.share / 2 if path.name in active else path.share)
            within = not (behind & ~blamed).any() and path.name not in active  # what is wider is to blame
            if to_blame and behind.sum() > 1 and not within:
                found.append(
                    self._path(path, int(quiet[behind].sum()), int(behind.sum()), since[behind], now)
                )
                excused |= behind & ~is_active
                blamed |= behind
        found += [
            self._source(watched, int(i), now, int(since[i]), float(after[i]), bool(refused[i]))
            for i in np.flatnonzero(stale & ~excused)
        ]
        return found + self._unregistered(watched, active)

    def _unregistered(self, watched: _Watched, active: Set[str]) -> list[Condition]:
        """Return what holds on: alerts on sources of which no point has been announced since the start."""
        known = {*watched.objects, *watched.ignored, *(path.name for path in self.settings.shared)}
        return [unknown(self.settings, o) for o in active if o not in known]

    def behind(self, view: View) -> dict[str, frozenset[str]]:
        """Return what alerts on the sources behind each shared path are raised on."""
        watched = view.kept((self.settings.name, "watched"), lambda: self._watch(view))
        return {
            path.name: frozenset(watched.objects[i] for i in np.flatnonzero(behind))
            for path, behind in zip(self.settings.shared, watched.behind, strict=True)
        }

    def _last_heard(self, view: View, watched: _Watched) -> tuple[ValueArray, ValueArray, ValueArray]:
        """Return when each source was last heard, how long it may be silent, and when anything of it was heard, in ms."""
        sources = view.sources()
        heard = np.maximum.reduceat(view.received(sources.order), sources.offsets)[watched.row].astype(
            np.float64
        )
        any_heard, after = heard, watched.after.copy()
        rows, points = watched.beats
        if len(rows):
            beat = np.zeros(len(heard))
            np.maximum.at(beat, rows, view.received(points))
            beating = beat > 0  # a BMS that never sent a heartbeat is judged by its readings
            heard = np.where(beating, beat, heard)
            after = np.where(beating, self.settings.heartbeat_after * 1000, after)
        return heard, after, any_heard

    @staticmethod
    def _refused(view: View, watched: _Watched) -> Mask:
        rows, points = watched.answers
        refused = np.zeros(len(watched.names), bool)
        if len(rows):
            answer = view.values(points)
            refused[rows[~np.isnan(answer) & (answer != 1)]] = True
        return refused

    def _source(
        self, watched: _Watched, i: int, now: int, since: int, after: float, refused: bool
    ) -> Condition:
        rule, name, on = self.settings, watched.names[i], watched.objects[i]
        source: Field = on if on == name else Said.of("object_by", object=on, source=name)
        if refused:
            return condition(rule, on, Said.of("no_answer", source=source), 0.0, 1.0, "", now)
        beats = i in watched.beats[0] and after == rule.heartbeat_after * 1000
        age = (now - since) / 1000
        said = Said.of(
            "no_heartbeat" if beats else "nothing_heard",
            source=source,
            age=Span(float(round(age)), counted=age >= 120),
            limit=Span(after / 1000),
        )
        return condition(rule, on, said, age, after / 1000, "s", since)

    def _path(self, path: SharedPath, silent: int, behind: int, since: ValueArray, now: int) -> Condition:
        rule = self.settings
        said = Said.of("path_silent", path=path.name, n=silent, all=behind)
        newest = int(since.max())
        return condition(
            rule, path.name, said, float(silent), float(behind), "count", min(newest, now), path.severity
        )

    def _watch(self, view: View) -> _Watched:
        rule, sources = self.settings, view.sources()
        told = view.points(ANSWERS)
        rows = [i for i, name in enumerate(sources.names) if not _matches(name, rule.ignore)]
        names = tuple(sources.names[i] for i in rows)
        place = {name: row for row, name in enumerate(names)}
        beats = _pairs(view, view.points([HEARTBEAT]), place)
        answers = _pairs(view, told, place)
        ignored = [view.registry[int(i)] for i in told if view.registry[int(i)].source not in place]
        return _Watched(
            names,
            _objects(view, names, answers),
            np.array([self._after(name) for name in names]) * 1000.0,
            np.array(rows, np.int32),
            beats,
            answers,
            tuple(np.array([_matches(name, path.sources) for name in names], bool) for path in rule.shared),
            frozenset(sources.names).difference(names) | {point.object_id for point in ignored},
        )

    def _after(self, source: str) -> float:
        fitting = (o.after for o in self.settings.overrides if fnmatchcase(source, o.sources))
        return next(fitting, self.settings.after)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _pairs(view: View, points: IntArray, place: dict[str, int]) -> IntArray:
    pairs = [(place[s], int(i)) for i in points if (s := view.registry[int(i)].source) in place]
    return np.array(pairs, np.int32).reshape(-1, 2).T


def _objects(view: View, names: Sequence[str], answers: IntArray) -> tuple[str, ...]:
    """Return what to raise alerts on: the device where the source is exactly one, else the source itself."""
    devices: dict[int, set[str]] = defaultdict(set)
    for row, point in answers.T:
        devices[int(row)].add(view.registry[int(point)].object_id)
    return tuple(
        next(iter(devices[row])) if len(devices[row]) == 1 else name for row, name in enumerate(names)
    )
