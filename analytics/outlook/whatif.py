"""What if: a unit is lost, a job is added or moved, the limit changes, the weather is hotter. Same forecast, same physics.

The answer starts from what is measured now. Temperatures are the measured ones plus the difference that the physics
(`domain.plant`, which the simulator runs on too) makes between the plant with the change and without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analytics.outlook.excursions import exceedance, to_shed
from domain.breaches import breach_ahead
from domain.envelope import QUARTER_MS
from domain.errors import InputError
from domain.forecast import Forecast
from domain.plant.conditions import Conditions
from domain.plant.layout import PlantLayout
from domain.plant.model import Plant, PlantModel, PlantState
from domain.points import Quality, ValueArray
from domain.site import Site
from storage.plant import PlantView

USUAL_WET_BULB = 20.0
"""Where none is measured, Cel."""
MOST_WARMER = 25.0
"""Hotter weather than this by so many kelvins is not asked about."""
STEP_S = 5.0
HORIZON_S = 3600.0
QUANTITIES = ("supply", "return", "gpu")


@dataclass(frozen=True, slots=True)
class AddedJob:
    """A job on `racks` racks from `start` on (UTC ms), for `hours`; it runs them at full load."""

    racks: int
    start: int
    hours: float = 48.0


@dataclass(frozen=True, slots=True)
class MovedJob:
    """A planned job on some racks that begins at another time: `start` and `to` are UTC ms, `power` W a rack (NaN: full load)."""

    racks: tuple[str, ...]
    start: int
    to: int
    hours: float = 48.0
    power: float = math.nan


@dataclass(frozen=True, slots=True)
class Scenario:
    """What changes.

    Parameters
    ----------
    lost
        Ids of CDUs, air units, busways, UPSes and feeds that fail now.
    jobs
        What is added.
    limit
        Another site limit, W; None leaves it.
    moved
        Planned jobs that begin earlier or later.
    warmer
        By how much the wet bulb outside is above what it is, K.
    """

    lost: tuple[str, ...] = ()
    jobs: tuple[AddedJob, ...] = ()
    limit: float | None = None
    moved: tuple[MovedJob, ...] = ()
    warmer: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Present:
    """What is measured now, per rack in the order of `Site.racks`: power W, supply, return and hottest GPU Cel.

    NaN where missing: the physics then answers alone. `nodes` is the measured power of the envelope's nodes, W; what is
    not in it is worked out from the racks. `wet_bulb` is that outside, Cel.
    """

    power: ValueArray
    supply: ValueArray
    ret: ValueArray
    gpu: ValueArray
    nodes: Mapping[str, float] = field(default_factory=dict)
    wet_bulb: float = USUAL_WET_BULB

    @classmethod
    def of(cls, plant: PlantView, newest_before: int) -> Present:
        """Return what a plant tells now; values observed before a time (UTC ms) count as missing."""

        def rack(point_type: str) -> ValueArray:
            return plant.values(plant.rack_points(point_type), newest_before)

        gpus = plant.values(plant.gpu_points("GpuTemperature"), newest_before)
        measured = {node.id: plant.power_now(node.id) for node in plant.envelope}
        outside = [i for i in plant.registry.select(None, "AirTemperature").tolist()
                   if "Outdoor" in plant.registry[i].process_area]  # fmt: skip
        wet_bulb = plant.values(np.array(outside[:1], np.int32), newest_before)
        return cls(
            power=rack("RackPower"),
            supply=rack("RackLiquidSupplyTemperature"),
            ret=rack("RackLiquidReturnTemperature"),
            gpu=np.fmax.reduce(gpus, axis=1, initial=np.nan) if gpus.shape[1] else np.full(len(gpus), np.nan),
            nodes={
                name: r.value
                for name, r in measured.items()
                if np.isfinite(r.value) and r.quality != Quality.BAD and r.observed >= newest_before
            },
            wet_bulb=float(wet_bulb[0]) if np.isfinite(wet_bulb).any() else USUAL_WET_BULB,
        )


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """A node of the envelope once the plant has settled: power before and after, limit, all W."""

    id: str
    kind: str
    before: float
    after: float
    limit: float


@dataclass(frozen=True, slots=True)
class RackHeat:
    """A rack that leaves its temperature limits within the hour.

    `quantity` is ``supply``, ``return`` or ``gpu``; `peak` its highest value (Cel), `limit` what it must not pass, and
    `seconds` how long that takes.
    """

    rack: str
    quantity: str
    peak: float
    limit: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The outputs under the scenario.

    `overloaded` and `hot` list what leaves its limits, worst first. `breach_probability`, `breached_by` (that the
    limit has been passed by then) and `shed` (W to get back under 1 %) are per interval of `forecast`, whose `start`,
    `values` and `limit` are those under the scenario; None where no forecast has been issued.
    """

    nodes: tuple[NodeLoad, ...]
    hot: tuple[RackHeat, ...]
    unpowered_racks: tuple[str, ...]
    on_battery: tuple[str, ...]
    battery_minutes: float | None
    forecast: Forecast | None
    breached_by: tuple[float, ...] = ()
    shed: tuple[float, ...] = ()
    assumptions: tuple[str, ...] = field(default=())

    @property
    def overloaded(self) -> tuple[NodeLoad, ...]:
        """The nodes above their limits, worst first."""
        over = [n for n in self.nodes if n.after > n.limit]
        return tuple(sorted(over, key=lambda n: n.limit - n.after))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        forecast = self.forecast
        return {
            "overloaded": [_plain(n) for n in self.overloaded],
            "nodes": [_plain(n) for n in self.nodes],
            "hot": [_plain(h) for h in self.hot],
            "unpowered_racks": list(self.unpowered_racks),
            "on_battery": list(self.on_battery),
            "battery_minutes": self.battery_minutes,
            "assumptions": list(self.assumptions),
            "power": None
            if forecast is None
            else {
                "issued": forecast.issued,
                "quantiles": list(forecast.quantiles),
                "intervals": [
                    {
                        "start": int(forecast.start[i]),
                        "values": forecast.values[i].tolist(),
                        "limit": float(forecast.limit[i]),
                        "breach_probability": float(forecast.breach_probability[i]),
                        "breached_by": self.breached_by[i],
                        "shed": self.shed[i],
                    }
                    for i in range(len(forecast.start))
                ],
            },
        }


def _plain(row: NodeLoad | RackHeat) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


class WhatIf:
    """Answers what-if questions about one site."""

    def __init__(self, site: Site, model: PlantModel | None = None) -> None:
        self.site = site
        self._plant = Plant(PlantLayout.of(site), model)

    def ask(self, scenario: Scenario, present: Present, forecast: Forecast | None, now: int) -> Answer:
        """Return what happens.

        Raises
        ------
        InputError
            If the scenario names what the site does not have, or more racks than there are.
        """
        plant, site = self._plant, self.site
        conditions = self._conditions(scenario.lost)
        full = plant.model.rack.full(plant.layout.gpus_per_rack, plant.model.gpu.tdp)
        power = np.nan_to_num(present.power, nan=0.0)
        loaded = self._with_jobs(power, scenario, full, now)
        if not 0 <= scenario.warmer <= MOST_WARMER:
            raise InputError(f"hotter weather is 0 to {MOST_WARMER:g} K warmer, not {scenario.warmer:g}")
        warm = present.wet_bulb + scenario.warmer
        healthy = Conditions.healthy(plant.layout)
        before = plant.settle(power, healthy, present.wet_bulb)
        hot = self._heat(before, loaded, conditions, present, warm)
        after = plant.settle(loaded, conditions, warm)
        # what a UPS on battery draws from the utility is nothing, but its load is still carried
        on_battery = tuple(
            u for u, b in zip(plant.layout.ups, after.ups_on_battery.tolist(), strict=True) if b > 0
        )
        under = None if forecast is None else self._power(forecast, scenario, before, power, full, warm)
        return Answer(
            nodes=self._nodes(before, after, scenario.limit, present.nodes),
            hot=hot,
            unpowered_racks=tuple(
                r for r, p, w in zip(site.racks, after.power, loaded, strict=True) if w > 0 and p == 0
            ),
            on_battery=on_battery,
            battery_minutes=self._battery_minutes(after) if on_battery else None,
            forecast=under,
            breached_by=() if under is None else tuple(_breached_by(under, now)),
            shed=() if under is None else tuple(to_shed(under.values, under.quantiles, under.limit).tolist()),
            assumptions=(
                "Load stays as it is now, but for what the scenario adds.",
                "A job that is added is placed on the racks that draw least, and runs them at full load.",
                "Nobody intervenes.",
            ),
        )

    def _conditions(self, lost: Sequence[str]) -> Conditions:
        layout = self._plant.layout
        conditions = Conditions.healthy(layout)
        for name in lost:
            for ids, knob in (
                (layout.cdus, conditions.cdu_available),
                (layout.ups, conditions.ups_available),
                (layout.feeds, conditions.feed_available),
                (layout.crahs, conditions.crah_available),
            ):
                if name in ids:
                    knob[ids.index(name)] = 0.0
                    break
            else:
                if name not in layout.busways:
                    raise InputError(f"{self.site.name} has no CDU, busway, UPS, feed or air unit {name!r}")
                conditions.tap_available[layout.tap_busway == layout.busways.index(name)] = 0.0
        return conditions

    def _with_jobs(self, power: ValueArray, scenario: Scenario, full: float, now: int) -> ValueArray:
        """Return the racks' power once every job runs that starts by the end of the hour, and none that was moved beyond."""
        loaded = power.copy()
        end = now + HORIZON_S * 1000
        for job in scenario.jobs:
            if not 0 < job.racks <= len(power):
                raise InputError(f"a job on {job.racks} racks: {self.site.name} has {len(power)}")
            if job.start < end:
                loaded[np.argsort(loaded, kind="stable")[: job.racks]] = full
        for moved in scenario.moved:
            rows = self._rows(moved)
            if moved.to < end:
                loaded[rows] = _job_power(moved, full)
            elif moved.start <= now < moved.start + moved.hours * 3_600_000:
                loaded[rows] = self._plant.model.rack.base
        return loaded

    def _rows(self, job: MovedJob) -> list[int]:
        strange = [rack for rack in job.racks if rack not in self.site.racks]
        if strange or not job.racks:
            raise InputError(
                f"a job on {', '.join(strange) or 'no racks'}: {self.site.name} has no such racks"
            )
        return [self.site.racks.index(rack) for rack in job.racks]

    def time_to_limit(
        self, present: Present, lost: Sequence[str] = (), without_flow: bool = False
    ) -> ValueArray:
        """Return how long each rack stays within its temperature limits, s, shape (racks,); infinite: beyond the hour.

        Parameters
        ----------
        present
            What is measured now; the load is taken to stay.
        lost
            Ids of units that fail now.
        without_flow
            Whether the coolant of every rack stops now.
        """
        conditions = self._conditions(lost)
        if without_flow:
            conditions.rack_isolated[:] = 1.0
        power = np.nan_to_num(present.power, nan=0.0)
        state = self._plant.settle(power, Conditions.healthy(self._plant.layout))
        _, first = self._hour(state, power, conditions, present, to_first=True)
        shortest: ValueArray = np.where(np.isnan(present.power), np.nan, first.min(axis=0))
        return shortest

    def _heat(
        self,
        state: PlantState,
        loaded: ValueArray,
        conditions: Conditions,
        present: Present,
        wet_bulb: float,
    ) -> tuple[RackHeat, ...]:
        """List the racks that leave a limit within the hour, soonest first."""
        peak, first = self._hour(state, loaded, conditions, present, wet_bulb=wet_bulb)
        bounds = self._bounds()
        found = [
            RackHeat(
                self.site.racks[r], QUANTITIES[q], float(peak[q, r]), float(bounds[q]), float(first[q, r])
            )
            for q, r in zip(*np.nonzero(np.isfinite(first)), strict=True)
        ]
        return tuple(sorted(found, key=lambda h: (h.seconds, -h.peak)))

    def _bounds(self) -> ValueArray:
        limits = self.site.thermal
        return np.array([limits.coolant_supply, limits.coolant_return, limits.gpu])

    def _hour(
        self,
        state: PlantState,
        loaded: ValueArray,
        conditions: Conditions,
        present: Present,
        to_first: bool = False,
        wet_bulb: float = USUAL_WET_BULB,
    ) -> tuple[ValueArray, ValueArray]:
        """Step the plant through the hour; returns peaks (Cel) and when limits are passed (s), shape (quantities, racks).

        With `to_first` only until every rack has passed one of its limits.
        """
        plant = self._plant
        bounds = self._bounds()[:, None]
        resistance = plant.model.gpu.resistance
        gpus = max(1, plant.layout.gpus_per_rack)

        def looked_at(s: PlantState) -> ValueArray:
            return np.stack([s.supply, s.ret, s.coolant + resistance * 0.85 * s.power / gpus])

        start = looked_at(state)
        measured = np.stack([present.supply, present.ret, present.gpu])
        offset = np.where(np.isnan(measured), 0.0, measured - start)
        peak = start + offset
        first = np.full(peak.shape, np.inf)
        model = plant.settle(state.power, Conditions.healthy(plant.layout), state.wet_bulb)
        model.wet_bulb = np.full_like(model.wet_bulb, wet_bulb)
        for i in range(1, int(HORIZON_S / STEP_S) + 1):
            plant.step(model, loaded, conditions, STEP_S)
            here = looked_at(model) + offset
            first = np.where((here > bounds) & np.isinf(first), i * STEP_S, first)
            peak = np.maximum(peak, here)
            if to_first and np.isfinite(first).any(axis=0).all():
                break
        return peak, first

    def _nodes(
        self, before: PlantState, after: PlantState, limit: float | None, measured: Mapping[str, float]
    ) -> tuple[NodeLoad, ...]:
        layout, site = self._plant.layout, self.site
        levels: tuple[tuple[Sequence[str], ValueArray, ValueArray], ...] = (
            ((site.id,), np.array([float(before.site)]), np.array([float(after.site)])),
            (layout.feeds, before.feeds, after.feeds),
            (layout.ups, before.ups_out, after.ups_out),
            (layout.busways, before.busways, after.busways),
            (layout.racks, before.power, after.power),
        )
        loads: dict[str, tuple[float, float]] = {}
        for ids, was, becomes in levels:
            now = np.array([measured.get(name, np.nan) for name in ids])
            now, then = _as_measured(now, was, becomes)
            loads |= {n: (a, b) for n, a, b in zip(ids, now.tolist(), then.tolist(), strict=True)}
        return tuple(
            NodeLoad(
                node.id,
                node.kind,
                *loads[node.id],
                node.limit if limit is None or node.id != site.id else limit,
            )
            for node in site.envelope()
            if node.id in loads
        )

    def _battery_minutes(self, state: PlantState) -> float:
        left = self._plant.model.ups.runtime_left(
            state.ups_charge, state.ups_out, self._plant.ups_rating, np.ones(len(self._plant.layout.ups))
        )
        return float(np.min(np.where(state.ups_on_battery > 0, left, np.inf))) / 60

    def _power(
        self,
        forecast: Forecast,
        scenario: Scenario,
        before: PlantState,
        power: ValueArray,
        full: float,
        wet_bulb: float,
    ) -> Forecast:
        """Return the site forecast under the scenario: shifted by what is lost, added and moved, against its limit."""
        conditions = self._conditions(scenario.lost)
        calm = self._plant.settle(power, conditions, wet_bulb)
        shift = np.full(len(forecast.start), float(calm.site) - float(before.site))

        def site(rows: Sequence[int], each: float) -> float:
            loaded = power.copy()
            loaded[rows] = each
            return float(self._plant.settle(loaded, conditions, wet_bulb).site)

        for job in scenario.jobs:
            rows = np.argsort(power, kind="stable")[: job.racks].tolist()
            more = site(rows, full) - float(calm.site)
            shift = shift + more * _shares(forecast, job.start, job.hours)
        for moved in scenario.moved:
            rows = self._rows(moved)
            more = site(rows, _job_power(moved, full)) - site(rows, self._plant.model.rack.base)
            there = _shares(forecast, moved.to, moved.hours) - _shares(forecast, moved.start, moved.hours)
            shift = shift + more * there
        values = np.clip(forecast.values + shift[:, None], 0.0, self.site.installed)
        limit = forecast.limit if scenario.limit is None else np.full(len(values), scenario.limit)
        as_issued = (values == forecast.values).all(axis=1) & (limit == forecast.limit)
        return Forecast(
            object_id=forecast.object_id,
            point_type=forecast.point_type,
            unit=forecast.unit,
            issued=forecast.issued,
            data_cutoff=forecast.data_cutoff,
            interval_minutes=forecast.interval_minutes,
            start=forecast.start,
            quantiles=forecast.quantiles,
            values=values,
            limit=limit,
            breach_probability=np.where(
                as_issued, forecast.breach_probability, exceedance(values, forecast.quantiles, limit)
            ),
            model=f"{forecast.model}, what if",
            quality=forecast.quality,
        )


def _job_power(job: MovedJob, full: float) -> float:
    return full if math.isnan(job.power) else job.power


def _shares(forecast: Forecast, start: int, hours: float) -> ValueArray:
    """Return what part of each interval of a forecast a job covers, shape (n,)."""
    last = np.minimum(forecast.start + QUARTER_MS, start + hours * 3_600_000)
    shares: ValueArray = np.clip((last - np.maximum(forecast.start, start)) / QUARTER_MS, 0.0, 1.0)
    return shares


def _as_measured(now: ValueArray, was: ValueArray, becomes: ValueArray) -> tuple[ValueArray, ValueArray]:
    """Return what nodes of one level draw now and then: what is measured, and what physics says that changes of it.

    Physics knows neither what else hangs on a feed nor each meter's truth. So its changes are taken in proportion to what
    of the level is measured: the others take over what one loses, not what physics thinks that it had.

    Parameters
    ----------
    now
        Measured, W, NaN where it is not, shape (nodes,).
    was, becomes
        By physics, before and after the change, W, shape (nodes,).
    """
    known = np.isfinite(now) & (was > 0)
    scale = float(now[known].sum() / was[known].sum()) if known.any() else 1.0
    then = np.maximum(now + scale * (becomes - was), 0.0)
    then = np.where(
        becomes > 0, then, 0.0
    )  # what has no power has none of what physics does not know, either
    then = np.where(becomes == was, now, then)
    return np.where(np.isfinite(now), now, was), np.where(np.isfinite(now), then, becomes)


def _breached_by(forecast: Forecast, now: int) -> list[float]:
    """Return how likely the limit has been passed by the end of each interval; 0 for those that are over."""
    reached = np.zeros(len(forecast.start))
    if (ahead := breach_ahead(forecast, now)) is not None:
        reached[ahead.coming] = ahead.reached
    return [float(p) for p in reached]
