"""The plant as a whole: one step of all its parts, and the steady state for a load."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from domain.plant.built import AsBuilt
from domain.plant.cdu import CduModel
from domain.plant.conditions import Conditions
from domain.plant.facility import FacilityModel
from domain.plant.gpu import GpuModel
from domain.plant.lag import toward
from domain.plant.layout import PlantLayout
from domain.plant.power import UpsModel, share_taps
from domain.plant.rack import COOLANT_HEAT, WATER_HEAT, RackModel
from domain.points import ValueArray


@dataclass(frozen=True, slots=True)
class PlantModel:
    """The parameters of all parts."""

    gpu: GpuModel = field(default_factory=GpuModel)
    rack: RackModel = field(default_factory=RackModel)
    cdu: CduModel = field(default_factory=CduModel)
    ups: UpsModel = field(default_factory=UpsModel)
    facility: FacilityModel = field(default_factory=FacilityModel)


@dataclass(slots=True, eq=False)
class PlantState:
    """How the plant is. Arrays have leading axes of the caller's choice, then the object's axis.

    Racks (..., R): `power`, `supply`, `ret` (return), `flow`, `dp`, `valve`, `coolant` (mean at the cold plates);
    `taps` (..., R, 2) W, `tap_live` (..., R, 2).
    CDUs (..., C): `cdu_flow`, `cdu_speed`, `cdu_dp`, `cdu_supply`, `cdu_return`, `cdu_heat`, `cdu_filter_dp`,
    `cdu_power`, `primary_valve`, `primary_flow`, `primary_in`, `primary_out`.
    Power (..., B), (..., U), (..., F): `busways`, `ups_out`, `ups_in`, `ups_charge`, `ups_on_battery`, `ups_live`,
    `feeds`; (...): `site`, `mechanical`, `it`.
    Air (..., H): `crah_heat`, `crah_speed`, `crah_rise`, `crah_supply`; (..., P): `hot_aisle`, `cold_aisle`.
    Site (...): `water` (facility water supply), `wet_bulb`.
    """

    power: ValueArray
    supply: ValueArray
    ret: ValueArray
    flow: ValueArray
    dp: ValueArray
    valve: ValueArray
    coolant: ValueArray
    taps: ValueArray
    tap_live: ValueArray
    cdu_flow: ValueArray
    cdu_speed: ValueArray
    cdu_dp: ValueArray
    cdu_supply: ValueArray
    cdu_return: ValueArray
    cdu_heat: ValueArray
    cdu_filter_dp: ValueArray
    cdu_power: ValueArray
    primary_valve: ValueArray
    primary_flow: ValueArray
    primary_in: ValueArray
    primary_out: ValueArray
    busways: ValueArray
    ups_out: ValueArray
    ups_in: ValueArray
    ups_charge: ValueArray
    ups_on_battery: ValueArray
    ups_live: ValueArray
    feeds: ValueArray
    site: ValueArray
    mechanical: ValueArray
    it: ValueArray
    crah_heat: ValueArray
    crah_speed: ValueArray
    crah_rise: ValueArray
    crah_supply: ValueArray
    hot_aisle: ValueArray
    cold_aisle: ValueArray
    water: ValueArray
    wet_bulb: ValueArray


class Plant:
    """The physics of one site.

    Parameters
    ----------
    layout
        What hangs on what.
    model
        Parameters of the parts.
    tap_share
        Share of each rack's power on tap A and B when both live, shape (R, 2); even if not given.
    dp_share
        Share of the header's pressure difference that reaches each rack, shape (R,); 0.94 if not given.
    built
        By what each object differs from the model; not at all if not given.
    """

    def __init__(
        self,
        layout: PlantLayout,
        model: PlantModel | None = None,
        tap_share: ValueArray | None = None,
        dp_share: ValueArray | None = None,
        built: AsBuilt | None = None,
    ) -> None:
        self.layout = layout
        self.model = model or PlantModel()
        self.built = built or AsBuilt.alike(layout, self.model.rack.liquid_share)
        racks = len(layout.racks)
        self.tap_share = np.full((racks, 2), 0.5) if tap_share is None else tap_share
        self.dp_share = np.full(racks, 0.94) if dp_share is None else dp_share
        behind = (layout.tap_ups[:, :, None] == np.arange(len(layout.ups))).any(1).sum(0)
        self.ups_rating = self.model.ups.rating_per_rack * behind.astype(float)
        full = self.model.rack.full(layout.gpus_per_rack, self.model.gpu.tdp)
        self.full_heat = racks * (full + self.model.facility.house_per_rack) * 1.04

    def rack_power(self, gpu_power: ValueArray) -> ValueArray:
        """Return what each rack draws, W, from the sum of its GPUs' power, shape (..., R) both."""
        rack, built = self.model.rack, self.built
        power: ValueArray = (
            rack.base * built.rack_base + (1.0 + rack.overhead * built.rack_overhead) * gpu_power
        )
        return power

    def rest(self, lead: tuple[int, ...] = (), wet_bulb: ValueArray | float = 20.0) -> PlantState:
        """Return a cold plant with charged batteries, as the start of `step` or `settle`."""
        n = self.layout
        r, c, u, h, p = len(n.racks), len(n.cdus), len(n.ups), len(n.crahs), len(n.pods)
        m = self.model

        def of(size: int | tuple[int, ...], value: float = 0.0) -> ValueArray:
            return np.full((*lead, *((size,) if isinstance(size, int) else size)), value)

        return PlantState(
            power=of(r), supply=of(r, m.cdu.setpoint), ret=of(r, m.cdu.setpoint), flow=of(r, m.rack.flow_min),
            dp=of(r, m.cdu.dp_setpoint), valve=of(r, 0.5), coolant=of(r, m.cdu.setpoint), taps=of((r, 2)),
            tap_live=of((r, 2), 1.0), cdu_flow=of(c), cdu_speed=of(c), cdu_dp=of(c), cdu_supply=of(c, m.cdu.setpoint),
            cdu_return=of(c, m.cdu.setpoint), cdu_heat=of(c), cdu_filter_dp=of(c), cdu_power=of(c),
            primary_valve=of(c, 0.2), primary_flow=of(c), primary_in=of(c, m.facility.water),
            primary_out=of(c, m.facility.water), busways=of(len(n.busways)), ups_out=of(u), ups_in=of(u),
            ups_charge=of(u, 1.0), ups_on_battery=of(u), ups_live=of(u, 1.0), feeds=of(len(n.feeds)), site=of(()),
            mechanical=of(()), it=of(()), crah_heat=of(h), crah_speed=of(h, 0.3), crah_rise=of(h),
            crah_supply=of(h, m.facility.air_supply), hot_aisle=of(p, 30.0), cold_aisle=of(p, m.facility.air_supply),
            water=of((), m.facility.water), wet_bulb=of(()) + wet_bulb,
        )  # fmt: skip

    def settle(
        self,
        rack_power: ValueArray,
        conditions: Conditions | None = None,
        wet_bulb: ValueArray | float = 20.0,
        rounds: int = 12,
    ) -> PlantState:
        """Return the steady state for a load, shape (..., R), W; times or scenarios go in the leading axes."""
        conditions = conditions or Conditions.healthy(self.layout)
        state = self.rest(rack_power.shape[:-1], wet_bulb)
        for _ in range(rounds):
            self.step(state, rack_power, conditions, np.inf)
        return state

    def step(self, state: PlantState, rack_power: ValueArray, conditions: Conditions, dt: float) -> None:
        """Move `state` on by `dt` seconds under a load, shape (..., R), W; infinite `dt` goes to the steady state.

        A rack without a live tap draws nothing, whatever `rack_power` says.
        """
        self._energise(state, rack_power, conditions, dt)
        self._racks(state, conditions, dt)
        self._cdus(state, conditions, dt)
        self._air(state, conditions, dt)
        self._meters(state, conditions)

    def _energise(self, s: PlantState, rack_power: ValueArray, c: Conditions, dt: float) -> None:
        n, ups = self.layout, self.model.ups
        utility = c.feed_available[n.ups_feed] * c.ups_input
        s.ups_on_battery = np.broadcast_to((utility < 0.5) * c.ups_available, s.ups_charge.shape)
        s.ups_charge = ups.charge(
            s.ups_charge, s.ups_out, self.ups_rating, s.ups_on_battery, c.ups_battery_health, dt
        )
        s.ups_live = c.ups_available * np.where(s.ups_on_battery > 0, s.ups_charge > 0, utility >= 0.5)
        s.tap_live = s.ups_live[..., n.tap_ups] * c.tap_available
        shares = share_taps(self.tap_share, s.tap_live)
        s.power = rack_power * c.rack_powered * (s.tap_live.sum(-1) > 0)
        s.taps = s.power[..., None] * shares
        flat = s.taps.reshape(*s.taps.shape[:-2], -1)
        s.busways = flat @ n.taps_to_busways
        # network and storage are dual-fed as well: what lives carries it
        house = self.model.facility.house_per_rack * len(n.racks)
        live = s.ups_live / np.maximum(s.ups_live.sum(-1, keepdims=True), 1.0)
        s.ups_out = s.busways @ n.busways_to_ups + house * live
        s.it = s.power.sum(-1) + house * (s.ups_live.sum(-1) > 0)

    def _racks(self, s: PlantState, c: Conditions, dt: float) -> None:
        n, rack, cdu, built = self.layout, self.model.rack, self.model.cdu, self.built
        opening = c.rack_blockage * built.rack_valve
        wanted = rack.valve_wanted(s.power * built.rack_flow, s.dp, opening)
        moved = toward(s.valve, wanted, dt, rack.valve_lag)
        s.valve = np.where(np.isnan(c.rack_valve_stuck), moved, c.rack_valve_stuck)
        conductance = rack.conductance(s.valve) * opening * (1.0 - c.rack_isolated) * ~built.air_cooled
        reach = np.sqrt(self.dp_share)
        running = c.cdu_available @ n.cdus_to_pods
        share = c.cdu_available / np.maximum(running[n.cdu_pod], 1.0)
        pod_conductance = (conductance * reach) @ n.racks_to_pods
        highest = cdu.highest_dp(
            pod_conductance[..., n.cdu_pod],
            share,
            c.cdu_pump_health * built.cdu_head,
            c.cdu_filter_clogging * built.cdu_filter,
        )
        highest = np.where(c.cdu_available > 0, highest, np.inf)
        header = np.minimum(cdu.dp_setpoint, self._least_of_pod(highest))
        header = np.where(running > 0, header, 0.0)
        s.dp = header[..., n.rack_pod] * self.dp_share
        s.flow = conductance * np.sqrt(s.dp)
        s.cdu_dp = header[..., n.cdu_pod] * (c.cdu_available > 0)
        s.cdu_flow = (s.flow @ n.racks_to_pods)[..., n.cdu_pod] * share

        cold = np.where(c.cdu_available > 0, s.cdu_supply, 0.0) @ n.cdus_to_pods / np.maximum(running, 1.0)
        cold = np.where(running > 0, cold, s.cdu_return @ n.cdus_to_pods / n.cdus_to_pods.sum(0))
        s.supply = toward(s.supply, cold[..., n.rack_pod], dt, 6.0)
        heat = built.rack_liquid * s.power
        s.ret = rack.return_temperature(s.ret, s.supply, s.flow, heat, dt)
        s.coolant = 0.5 * (s.supply + s.ret)

    def _least_of_pod(self, per_cdu: ValueArray) -> ValueArray:
        n = self.layout
        pods = [per_cdu[..., n.cdu_pod == p].min(-1) for p in range(len(n.pods))]
        return np.stack(pods, -1)

    def _cdus(self, s: PlantState, c: Conditions, dt: float) -> None:
        n, cdu, facility, built = self.layout, self.model.cdu, self.model.facility, self.built
        exchanger, clogging = (
            c.cdu_exchanger_health * built.cdu_exchanger,
            c.cdu_filter_clogging * built.cdu_filter,
        )
        s.water = facility.water_temperature(s.wet_bulb, c.water_offset[0])
        s.primary_in = np.broadcast_to(np.asarray(s.water)[..., None], s.cdu_flow.shape)
        flow = s.flow @ n.racks_to_pods
        mixed = (s.flow * s.ret) @ n.racks_to_pods / np.maximum(flow, 1e-6)
        mixed = np.where(flow > 1e-3, mixed, s.ret @ n.racks_to_pods / n.racks_to_pods.sum(0))
        s.cdu_return = toward(s.cdu_return, mixed[..., n.cdu_pod], dt, cdu.return_lag)
        setpoint = np.broadcast_to(
            cdu.setpoint + built.cdu_setpoint + c.cdu_setpoint_shift, s.cdu_return.shape
        )
        wanted = cdu.primary_wanted(s.cdu_return, s.cdu_flow, s.primary_in, setpoint, exchanger)
        moved = toward(s.primary_valve, wanted * (c.cdu_available > 0), dt, cdu.valve_lag)
        s.primary_valve = np.where(np.isnan(c.cdu_valve_stuck), moved, c.cdu_valve_stuck)
        s.primary_flow = cdu.primary_max * s.primary_valve
        leaving = cdu.supply_temperature(s.cdu_return, s.cdu_flow, s.primary_in, s.primary_flow, exchanger)
        s.cdu_supply = toward(s.cdu_supply, leaving, dt, cdu.supply_lag)
        s.cdu_heat = COOLANT_HEAT * s.cdu_flow * (s.cdu_return - s.cdu_supply)
        rise = s.cdu_heat / (WATER_HEAT * np.maximum(s.primary_flow, 5.0))
        s.primary_out = np.clip(s.primary_in + rise, None, np.maximum(s.cdu_return, s.primary_in))
        s.cdu_speed = cdu.speed(s.cdu_dp, s.cdu_flow, c.cdu_pump_health * built.cdu_head, clogging)
        s.cdu_filter_dp = cdu.filter_dp(s.cdu_flow, clogging)
        s.cdu_power = cdu.pump_power(s.cdu_dp, s.cdu_flow, clogging)

    def _air(self, s: PlantState, c: Conditions, dt: float) -> None:
        n, m = self.layout, self.model
        losses = m.ups.loss(s.ups_out, self.ups_rating).sum(-1)
        house = m.facility.house_per_rack * len(n.racks)
        per_pod = (1.0 - self.built.rack_liquid) * s.power @ n.racks_to_pods
        per_pod = per_pod + ((house + losses) / len(n.pods))[..., None]
        of_pod, health = n.crah_pod, c.crah_fan_health * self.built.crah_air
        running = np.zeros(len(n.pods))
        np.add.at(running, of_pod, c.crah_available)
        s.crah_heat = per_pod[..., of_pod] * c.crah_available / np.maximum(running[of_pod], 1.0)
        s.crah_speed = m.facility.crah_speed(s.crah_heat, health) * c.crah_available
        s.crah_rise = toward(
            s.crah_rise,
            m.facility.crah_rise(s.crah_heat, np.maximum(s.crah_speed, 0.02), health),
            dt,
            120.0,
        )
        blown = m.facility.air_supply + 0.5 * np.asarray(s.water - m.facility.water)[..., None]
        s.crah_supply = np.broadcast_to(blown, s.crah_heat.shape)
        # what the pod's units cannot move recirculates into the cold aisle
        moved = np.zeros((*s.crah_speed.shape[:-1], len(n.pods)))
        for h, pod in enumerate(of_pod.tolist()):
            moved[..., pod] += m.facility.crah_air * s.crah_speed[..., h] * health[h]
        rise = per_pod / np.maximum(moved, 0.05 * m.facility.crah_air)
        excess = np.maximum(rise - 1.05 * m.facility.air_rise, 0.0)
        s.cold_aisle = toward(s.cold_aisle, blown + 1.0 + 0.6 * excess, dt, 180.0)
        s.hot_aisle = toward(s.hot_aisle, s.cold_aisle + np.minimum(rise, 25.0), dt, 150.0)

    def _meters(self, s: PlantState, c: Conditions) -> None:
        n, m = self.layout, self.model
        losses = (
            m.ups.loss(s.ups_out, self.ups_rating)
            * c.ups_loss_factor
            * self.built.ups_losses
            * (s.ups_live > 0)
        )
        charging = np.where((s.ups_charge < 1.0) & (s.ups_on_battery < 1), 0.02 * self.ups_rating, 0.0)
        s.ups_in = np.where(s.ups_on_battery > 0, 0.0, (s.ups_out * (s.ups_live > 0) + losses + charging))
        fans = (m.facility.crah_fan * s.crah_speed**3).sum(-1)
        heat = s.it + losses.sum(-1)
        lighting = m.facility.lighting_per_rack * len(n.racks)
        rejection = m.facility.rejection_power(heat, s.wet_bulb, self.full_heat)
        s.mechanical = fans + s.cdu_power.sum(-1) + rejection + lighting
        # the mechanical boards stand on both feeds and move over when one is lost
        live = c.feed_available / max(float(c.feed_available.sum()), 1.0)
        s.feeds = s.ups_in @ n.ups_to_feeds + np.asarray(s.mechanical)[..., None] * live
        s.feeds = s.feeds * c.feed_available
        s.site = s.feeds.sum(-1)
