"""A small picture of how a quantity went: the last hour, its limit, its forecast. No word in it: figures and clock times only."""

from __future__ import annotations

import io
import itertools
import math
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from alerts.notify.facts import Trend
from alerts.notify.message import figure

WIDTH, HEIGHT = 480, 180
"""Pixels as shown; drawn at twice the size, for sharp screens."""
_SCALE = 2
_LEFT, _RIGHT, _TOP, _BOTTOM = 82, 12, 12, 30
_GROUND, _GRID, _SOFT = "#ffffff", "#e3e7ec", "#5d6b79"
_LINE, _BAND, _LIMIT = "#1f6fb5", "#bcd8f0", "#c8371b"
_QUARTER_MS = 900_000


def draw(trend: Trend, zone: ZoneInfo) -> bytes | None:
    """Return a PNG of a trend, times as `zone` shows them; None where there are fewer than two values to draw."""
    measured = ~np.isnan(trend.values)
    if int(measured.sum()) < 2:
        return None
    frame = _Frame(trend)
    image = Image.new("RGB", (WIDTH * _SCALE, HEIGHT * _SCALE), _GROUND)
    pen = ImageDraw.Draw(image)
    _axes(pen, frame, trend, zone)
    if len(trend.ahead):
        upper = frame.points(trend.ahead, trend.high)
        lower = frame.points(trend.ahead, trend.low)
        pen.polygon([*upper, *reversed(lower)], fill=_BAND)
        _dashed(pen, frame.points(trend.ahead, trend.middle), _LINE)
    if not math.isnan(trend.limit):
        left, right = _LEFT * _SCALE, (WIDTH - _RIGHT) * _SCALE
        y = frame.y(trend.limit)
        _dashed(pen, [(left, y), (right, y)], _LIMIT)
    for run in _runs(measured):
        points = frame.points(trend.times[run], trend.values[run])
        if len(points) > 1:
            pen.line(points, fill=_LINE, width=2 * _SCALE, joint="curve")
        else:
            _dot(pen, points[0], _LINE)
    last = int(np.flatnonzero(measured)[-1])
    _dot(pen, frame.points(trend.times[last : last + 1], trend.values[last : last + 1])[0], _LINE)
    kept = io.BytesIO()
    image.quantize(64).save(kept, "PNG", optimize=True)
    return kept.getvalue()


class _Frame:
    """From times and values to pixels."""

    def __init__(self, trend: Trend) -> None:
        times = np.concatenate([trend.times, trend.ahead])
        self.first, self.last = int(times[0]), max(int(times[-1]), int(times[0]) + 1)
        values = np.concatenate([trend.values, trend.low, trend.high, [trend.limit]])
        values = values[np.isfinite(values)]
        low, high = float(values.min()), float(values.max())
        room = max((high - low) * 0.08, abs(high) * 0.005, 1e-9)
        self.low, self.high = low - room, high + room

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return (HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)) * _SCALE

    def x(self, time: float) -> float:
        share = (time - self.first) / (self.last - self.first)
        return (_LEFT + share * (WIDTH - _LEFT - _RIGHT)) * _SCALE

    def points(self, times: np.ndarray, values: np.ndarray) -> list[tuple[float, float]]:
        return [(self.x(float(t)), self.y(float(v))) for t, v in zip(times, values, strict=True)]


def _axes(pen: ImageDraw.ImageDraw, frame: _Frame, trend: Trend, zone: ZoneInfo) -> None:
    font = ImageFont.load_default(14 * _SCALE)
    right = (WIDTH - _RIGHT) * _SCALE
    limit = trend.limit
    for value in _round_values(frame.low, frame.high):
        y = frame.y(value)
        pen.line([(_LEFT * _SCALE, y), (right, y)], fill=_GRID, width=_SCALE)
        near = not math.isnan(limit) and abs(y - frame.y(limit)) < 16 * _SCALE
        if not near:
            pen.text(((_LEFT - 6) * _SCALE, y), _figure(value, trend.unit), _SOFT, font, anchor="rm")
    if not math.isnan(limit):
        pen.text(
            ((_LEFT - 6) * _SCALE, frame.y(limit)), _figure(limit, trend.unit), _LIMIT, font, anchor="rm"
        )
    step = _QUARTER_MS * max(1, math.ceil((frame.last - frame.first) / _QUARTER_MS / 5))
    moment = frame.first - frame.first % step + step
    while moment <= frame.last:
        x = frame.x(moment)
        pen.line([(x, _TOP * _SCALE), (x, (HEIGHT - _BOTTOM) * _SCALE)], fill=_GRID, width=_SCALE)
        shown = datetime.fromtimestamp(moment / 1000, zone).strftime("%H:%M")
        pen.text(
            (x, (HEIGHT - _BOTTOM + 6) * _SCALE), shown, _SOFT, font, anchor="mt" if x < right - 30 else "rt"
        )
        moment += step


def _round_values(low: float, high: float) -> list[float]:
    """Return three to six values between two, in steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _figure(value: float, unit: str) -> str:
    return figure(value, unit) if unit else f"{value:.3g}"


def _runs(measured: np.ndarray) -> list[slice]:
    """Return where values follow each other without one missing: no line is drawn over a gap."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], measured.astype(np.int8), [0]])))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _dashed(pen: ImageDraw.ImageDraw, points: list[tuple[float, float]], colour: str) -> None:
    dash, gap = 7.0 * _SCALE, 5.0 * _SCALE
    left, drawing = dash, True
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        length, at = math.hypot(x1 - x0, y1 - y0), 0.0
        while at < length:
            step = min(left, length - at)
            if drawing:
                ends = [(x0 + (x1 - x0) * p / length, y0 + (y1 - y0) * p / length) for p in (at, at + step)]
                pen.line(ends, fill=colour, width=2 * _SCALE)
            at, left = at + step, left - step
            if left <= 0:
                drawing = not drawing
                left = dash if drawing else gap


def _dot(pen: ImageDraw.ImageDraw, at: tuple[float, float], colour: str) -> None:
    r = 4 * _SCALE
    pen.ellipse([at[0] - r, at[1] - r, at[0] + r, at[1] + r], fill=colour)
