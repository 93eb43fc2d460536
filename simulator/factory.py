"""The factory in motion: calendar, faults, GPUs and plant, one step after another.

Deterministic: the same site, seed, start and step length give the same factory, to the last bit.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from domain.errors import InputError
from domain.plant.conditions import Conditions
from domain.plant.layout import PlantLayout
from domain.plant.model import Plant, PlantModel, PlantState
from domain.points import ValueArray
from domain.site import Site
from simulator.faults import Catalogue, Fault, FaultBook
from simulator.gpus import TRAY_GPUS, GpuFleet
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

    Raises
    ------
    InputError
        If the site cannot be simulated: a busway without a UPS, a UPS without a feed, GPUs that fill no trays.
    """

    def __init__(
        self,
        site: Site,
        seed: int,
        start_ms: int,
        model: PlantModel | None = None,
        catalogue: Catalogue | None = None,
    ) -> None:
        if not site.rack_gpus or site.rack_gpus % TRAY_GPUS:
            raise InputError(f"rack_gpus is {site.rack_gpus}; simulated trays have {TRAY_GPUS} GPUs each")
        self.site = site
        self.seed = seed
        self.start_ms = start_ms
        self.time_ms = start_ms
        self.layout = PlantLayout.of(site)
        racks = len(self.layout.racks)
        rng = np.random.default_rng([seed, 307])
        share = np.clip(0.5 + 0.05 * rng.standard_normal(racks), 0.38, 0.62)
        self.plant = Plant(
            self.layout,
            model,
            tap_share=np.stack([share, 1.0 - share], -1),
            dp_share=np.clip(0.94 + 0.015 * rng.standard_normal(racks), 0.88, 0.98),
        )
        self.workload = Workload(racks, site.zone, site.country, seed)
        self.gpus = GpuFleet(self.plant.model.gpu, racks, self.layout.gpus_per_rack, seed)
        self.conditions = Conditions.healthy(self.layout)
        self.faults = FaultBook(self, catalogue or Catalogue.shipped())
        self.rng = np.random.default_rng([seed, 401, start_ms // 1000])
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

    def _settled(self) -> PlantState:
        times = np.array([self.start_ms])
        power = self.rack_power(self.activity)
        state = self.plant.settle(power, self.conditions, float(self.workload.wet_bulb(times)[0]))
        self.gpus.warm_up(self.activity, state.supply, state.ret)
        self.tokens = self.workload.tokens(self.activity)
        return state

    def rack_power(self, activity: ValueArray) -> ValueArray:
        """Return what racks draw in the mean at an activity, W, shape (..., racks), individual differences included."""
        silicon = self.gpus.silicon.reshape(len(self.layout.racks), -1)
        model = self.plant.model
        return model.rack.power(model.gpu.power(activity) * silicon.sum(-1))

    def step(self, dt_s: float = 1.0) -> None:
        """Move on by `dt_s` seconds."""
        dt_ms = round(dt_s * 1000)
        self.time_ms += dt_ms
        self.faults.apply(self.time_ms)
        state, c = self.state, self.conditions
        self.activity = self._activity_at(self.time_ms, dt_ms) * c.load_factor
        powered = (state.tap_live.sum(-1) > 0) & (c.rack_powered > 0)
        self.gpus.step(self.activity, state.supply, state.ret, c, powered, dt_s, self.rng)
        self.plant.step(state, self.plant.model.rack.power(self.gpus.rack_power()), c, dt_s)
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
