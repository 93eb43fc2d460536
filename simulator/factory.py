"""The factory in motion: calendar, faults, GPUs and plant, one step after another.

Deterministic: the same site, seed, start and step length give the same factory, to the last bit.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.errors import InputError
from domain.plant.conditions import Conditions
from domain.plant.layout import PlantLayout
from domain.plant.model import Plant, PlantModel, PlantState
from domain.points import ValueArray
from domain.site import Site
from simulator.faults import Catalogue, Fault, FaultBook
from simulator.gpus import TRAY_GPUS, GpuFleet
from simulator.roughness import FAULT_OF, LEVELS, Roughness
from simulator.traces import Traces
from simulator.workload import Workload

_BLOCK = 32  # steps of activity that are computed in one go


@dataclass(frozen=True, slots=True)
class Xid:
    """A GPU error event as the driver reports it: GPU index, XID number, UTC ms."""

    gpu: int
    xid: int
    observed: int


class Factory:
    """A simulated AI factory.

    Parameters
    ----------
    site
        What is built where.
    seed
        Drives calendar, weather, individual differences and noise.
    start_ms
        Where time begins, UTC ms; everything has settled then.
    model
        Parameters of the plant.
    catalogue
        Faults that can be raised; the one in `config/simulator/` if not given.
    roughness
        How unlike the model the plant is: 0, 1 or 2 (`simulator.roughness`).
    began_ms
        When it was first started, UTC ms, from which commissioning and works are counted; `start_ms` if not given.
    traces
        Measured traces that training jobs replay.

    Raises
    ------
    InputError
        If there is no such roughness, or the site cannot be simulated: a busway without a UPS, a UPS without a feed, GPUs that fill no trays.
    """

    def __init__(
        self,
        site: Site,
        seed: int,
        start_ms: int,
        model: PlantModel | None = None,
        catalogue: Catalogue | None = None,
        roughness: int = 0,
        began_ms: int | None = None,
        traces: Traces | None = None,
    ) -> None:
        if roughness not in LEVELS:
            raise InputError(f"roughness is {roughness}; choose from {', '.join(map(str, LEVELS))}")
        if not site.rack_gpus or site.rack_gpus % TRAY_GPUS:
            raise InputError(f"rack_gpus is {site.rack_gpus}; simulated trays have {TRAY_GPUS} GPUs each")
        self.site = site
        self.seed = seed
        self.start_ms = start_ms
        self.time_ms = start_ms
        self.layout = PlantLayout.of(site)
        racks = len(self.layout.racks)
        model = model or PlantModel()
        began = start_ms if began_ms is None else began_ms
        self.roughness = Roughness.of(roughness, self.layout, model, seed, began)
        rng = np.random.default_rng([seed, 307])
        share = np.clip(0.5 + 0.05 * rng.standard_normal(racks), 0.38, 0.62)
        self.plant = Plant(
            self.layout,
            model,
            tap_share=np.stack([share, 1.0 - share], -1),
            dp_share=np.clip(0.94 + 0.015 * rng.standard_normal(racks), 0.88, 0.98),
            built=self.roughness.built,
        )
        self.workload = Workload(racks, site.zone, site.country, seed, traces)
        self.gpus = GpuFleet(
            model.gpu, racks, self.layout.gpus_per_rack, seed,
            1.0 + 0.5 * roughness, self.roughness.generation, self.roughness.resistance,
        )  # fmt: skip
        self.conditions = Conditions.healthy(self.layout)
        self.faults = FaultBook(self, catalogue or Catalogue.shipped())
        self.rng = np.random.default_rng([seed, 401, start_ms // 1000])
        self.works_done = 0
        self._plan_works()
        self.xids: deque[Xid] = deque(maxlen=10_000)
        self.tokens: ValueArray = np.zeros(racks)
        self.tokens_total: ValueArray = np.zeros(racks)
        self.loop_pressure: ValueArray = np.ones(len(self.layout.pods))
        self.frequency = 60.0
        self._block: ValueArray = np.zeros((0, racks))
        self._wet_bulbs: ValueArray = np.zeros(0)
        self._block_at = (-1, -1)
        self.activity = self._activity_at(start_ms, 1000)
        self.state: PlantState = self._settled()

    @property
    def live(self) -> NDArray[np.bool_]:
        """Which racks are in service by now, shape (racks,): a plant is commissioned pod by pod."""
        return np.asarray(self.roughness.live_from <= self.time_ms)

    def _plan_works(self) -> None:
        """Enter what people will do into the book of faults, and catch up with what they have done before the start."""
        for work in self.roughness.works:
            if work.end > self.start_ms and work.what in FAULT_OF:
                duration = (work.end - work.start) / 1000.0
                self.raise_fault(FAULT_OF[work.what], work.target, work.start, 1.0, duration)
        self._finish_works()

    def _finish_works(self) -> None:
        works = self.roughness.works
        while self.works_done < len(works) and works[self.works_done].end <= self.time_ms:
            work = works[self.works_done]
            if work.what == "valve":
                self.roughness.change_valve(self.layout.racks.index(work.target), self.works_done)
            self.works_done += 1

    def _settled(self) -> PlantState:
        times = np.array([self.start_ms])
        power = self.rack_power(self.activity)
        state = self.plant.settle(power * self.live, self.conditions, float(self.workload.wet_bulb(times)[0]))
        self.gpus.warm_up(self.activity, *self._around_gpus(state))
        self.tokens = self.workload.tokens(self.activity)
        return state

    def rack_power(self, activity: ValueArray) -> ValueArray:
        """Return what racks draw in the mean at an activity, W, shape (..., racks), individual differences included."""
        silicon = self.gpus.silicon.reshape(len(self.layout.racks), -1)
        return self.plant.rack_power(self.plant.model.gpu.power(activity) * silicon.sum(-1))

    def _around_gpus(self, state: PlantState) -> tuple[ValueArray, ValueArray]:
        """Return what flows to and from each rack's GPUs, Cel: coolant, or the air of its aisle."""
        air = self.plant.built.air_cooled
        if not air.any():
            return state.supply, state.ret
        pod = self.layout.rack_pod
        return np.where(air, state.cold_aisle[pod], state.supply), np.where(
            air, state.hot_aisle[pod], state.ret
        )

    def step(self, dt_s: float = 1.0) -> None:
        """Move on by `dt_s` seconds."""
        dt_ms = round(dt_s * 1000)
        self.time_ms += dt_ms
        self.faults.apply(self.time_ms)
        state, c = self.state, self.conditions
        self.activity = self._activity_at(self.time_ms, dt_ms) * c.load_factor
        live = self.live
        powered = (state.tap_live.sum(-1) > 0) & (c.rack_powered > 0) & live
        self.gpus.step(self.activity, *self._around_gpus(state), c, powered, dt_s, self.rng)
        self.plant.step(state, self.plant.rack_power(self.gpus.rack_power()) * live, c, dt_s)
        self._finish_works()
        state.wet_bulb = np.asarray(self._wet_bulbs[self._block_row(self.time_ms)])
        served = self.gpus.activity.reshape(len(self.layout.racks), -1).mean(-1)
        self.tokens = self.workload.tokens(served)
        self.tokens_total += self.tokens * dt_s
        self._leaks(dt_s)
        pull = 0.02 * (60.0 - self.frequency) * min(dt_s, 20.0)
        self.frequency += pull + 0.0025 * np.sqrt(min(dt_s, 20.0)) * float(self.rng.standard_normal())

    def advance_to(self, time_ms: int, dt_s: float = 1.0) -> None:
        """Step until `time_ms` is reached; does nothing for a time that has passed."""
        for _ in range((time_ms - self.time_ms) // round(dt_s * 1000)):
            self.step(dt_s)

    def raise_fault(
        self,
        name: str,
        target: str,
        onset_ms: int | None = None,
        severity: float = 1.0,
        duration_s: float | None = None,
    ) -> Fault:
        """Let a fault of the catalogue happen to an object, now or at `onset_ms`.

        Raises
        ------
        InputError
            If the catalogue has no such fault, or the site no such object.
        """
        onset = self.time_ms if onset_ms is None else onset_ms
        return self.faults.plan(name, target, onset, severity, duration_s)

    def gpu_name(self, gpu: int) -> tuple[str, str, int]:
        """Return (rack, tray, GPU of the tray) of a GPU index: ``("R001", "T01", 0)``."""
        rack, within = divmod(gpu, self.layout.gpus_per_rack)
        return self.layout.racks[rack], f"T{within // TRAY_GPUS + 1:02d}", within % TRAY_GPUS

    def _leaks(self, dt_s: float) -> None:
        leak = self.conditions.rack_leak @ self.layout.racks_to_pods
        # 200 L of make-up volume; the fill pump restores a loop that no longer leaks
        change = np.where(leak > 0, -leak / 60.0 / 200.0, 1.0 / 900.0) * dt_s
        self.loop_pressure = np.clip(self.loop_pressure + change, 0.35, 1.0)

    def _activity_at(self, time_ms: int, dt_ms: int) -> ValueArray:
        first, step = self._block_at
        if step != dt_ms or not first <= time_ms < first + _BLOCK * step or (time_ms - first) % step:
            times = time_ms + dt_ms * np.arange(_BLOCK, dtype=np.int64)
            self._block = self.workload.activity(times)
            self._wet_bulbs = self.workload.wet_bulb(times)
            self._block_at = (time_ms, dt_ms)
        row: ValueArray = self._block[self._block_row(time_ms)]
        return row

    def _block_row(self, time_ms: int) -> int:
        return (time_ms - self._block_at[0]) // self._block_at[1]
