"""The kinds of devices that speak SNMP: which objects each has, at the OIDs of the real ones, and where from.

Layouts follow PowerNet-MIB (rPDU2 and coolingUnit branches) and UPS-MIB (RFC 1628).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from domain.plant.rack import WATER_HEAT
from domain.points import ValueArray
from simulator.channels import Meters
from simulator.snmp import ber
from simulator.snmp.responder import Content, Live, OidTable, Text

IntTable = np.ndarray[tuple[int, int], np.dtype[np.int64]]
Values = Callable[[Meters], IntTable]

APC = "1.3.6.1.4.1.318"
PDU_DEVICE, PDU_PHASE = f"{APC}.1.1.26.4.3.1", f"{APC}.1.1.26.6.3.1"
COOLING = f"{APC}.1.1.27.1.4"
UPS = "1.3.6.1.2.1.33.1"
PHASE_VOLTS = 415.0 / np.sqrt(3.0)
UPTIME = 0
"""First column of every device: sysUpTime, hundredths of a second."""


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """Devices that share a table.

    Parameters
    ----------
    profile
        The profile in `config/devices` that reads them.
    table
        Their objects.
    values
        Gives one row of integers a device, columns as `table` refers to them; the first is left for the up-time.
    """

    profile: str
    table: OidTable
    values: Values


def rack_pdu() -> DeviceKind:
    """Return the metered rack PDU: APC rPDU2, three phases, no metered outlets."""
    rows = _system(
        "APC Web/SNMP Management Card (MB:v4.1.0 PF:v7.1.2 AN1:rpdu2g MN:APDU10450SM)", f"{APC}.1.3.4.6"
    )
    columns = _Columns()
    constants = {1: 1, 2: 1, 11: 2, 12: 1, 13: 1, 14: 1, 18: 1}
    rows |= {f"{PDU_DEVICE}.{at}.1": ber.integer(value) for at, value in constants.items()}
    rows[f"{PDU_DEVICE}.3.1"] = Text(0)
    rows |= {f"{PDU_DEVICE}.{at}.1": columns.next() for at in (4, 5, 6, 9, 16, 17)}
    for phase in (1, 2, 3):
        rows |= {f"{PDU_PHASE}.{at}.{phase}": ber.integer(v) for at, v in {1: phase, 2: 1, 3: phase}.items()}
        rows |= {f"{PDU_PHASE}.{at}.{phase}": columns.next() for at in (4, 5, 6, 7, 8, 9, 10)}
    return DeviceKind("apc-rpdu2", OidTable(rows), _PduValues())


class _PduValues:
    """Readings of all rack PDUs; remembers peaks and integrates energy."""

    def __init__(self) -> None:
        self._peak_power: ValueArray = np.zeros(0)
        self._peak_current: ValueArray = np.zeros((0, 3))
        self._energy: ValueArray = np.zeros(0)
        self._since = 0

    def __call__(self, m: Meters) -> IntTable:
        power = m.state.taps.reshape(-1)
        factor = m.tap_pf.reshape(-1)
        currents = m.tap_phases.reshape(-1, 3)
        volts = m.tap_volts.reshape(-1) / np.sqrt(3.0)
        now = m.factory.time_ms
        if not self._since:
            self._peak_power, self._peak_current = power.copy(), currents.copy()
            self._energy = 3.6e6 * (2.0e5 + np.arange(len(power), dtype=float))  # installed long ago
            self._since = now
        self._peak_power = np.maximum(self._peak_power, power)
        self._peak_current = np.maximum(self._peak_current, currents)
        self._energy = self._energy + power * (now - self._since) / 1000.0
        self._since = now
        load = np.where(power < 1.0, 1, 2)
        table = [
            load, power / 10, self._peak_power / 10, self._energy / 3.6e5,
            power / factor / 10, factor * 100,
        ]  # fmt: skip
        for i in range(3):
            apparent = currents[:, i] * volts
            table += [
                load, currents[:, i] * 10, volts, apparent * factor / 10, apparent / 10, factor * 100,
                self._peak_current[:, i] * 10,
            ]  # fmt: skip
        return _integers(table)


def ups() -> DeviceKind:
    """Return the UPS: the standard UPS-MIB, three phases in and out."""
    rows = _system("UPS network card, UPS-MIB (RFC 1628)", "1.3.6.1.2.1.33")
    columns = _Columns()
    rows[f"{UPS}.1.1.0"] = _text("Simulated")
    rows[f"{UPS}.1.2.0"] = _text("Double conversion, 2400 kW")
    rows[f"{UPS}.1.5.0"] = Text(0)
    rows |= {f"{UPS}.2.{at}.0": columns.next() for at in range(1, 8)}
    rows[f"{UPS}.3.1.0"] = columns.next(ber.COUNTER32)
    rows[f"{UPS}.3.2.0"] = ber.integer(3)
    rows |= {f"{UPS}.3.3.1.{at}.{line}": columns.next() for line in (1, 2, 3) for at in (2, 3, 4, 5)}
    rows |= {f"{UPS}.4.1.0": columns.next(), f"{UPS}.4.2.0": columns.next(), f"{UPS}.4.3.0": ber.integer(3)}
    rows |= {f"{UPS}.4.4.1.{at}.{line}": columns.next() for line in (1, 2, 3) for at in (2, 3, 4, 5)}
    rows |= {f"{UPS}.5.1.0": columns.next(), f"{UPS}.5.2.0": ber.integer(3)}
    rows |= {f"{UPS}.5.3.1.2.{line}": columns.next() for line in (1, 2, 3)}
    rows[f"{UPS}.6.1.0"] = columns.next(ber.GAUGE32)
    rows[f"{UPS}.7.3.0"] = ber.integer(1)
    return DeviceKind("ups-mib", OidTable(rows), _UpsValues())


class _UpsValues:
    """Readings of all UPSes; remembers how long each has been on battery."""

    def __init__(self) -> None:
        self._began: ValueArray = np.zeros(0)
        self._bads: ValueArray = np.zeros(0)

    def __call__(self, m: Meters) -> IntTable:
        s, model, c = m.state, m.factory.plant.model.ups, m.conditions
        rating = m.factory.plant.ups_rating
        now = m.factory.time_ms / 1000.0
        on_battery = s.ups_on_battery > 0
        if not len(self._began):
            self._began, self._bads = np.full(len(on_battery), np.nan), np.zeros(len(on_battery))
        self._bads = self._bads + (on_battery & np.isnan(self._began))
        self._began = np.where(on_battery, np.where(np.isnan(self._began), now, self._began), np.nan)
        seconds = np.where(on_battery, now - np.nan_to_num(self._began), 0.0)
        runtime = model.runtime_left(s.ups_charge, s.ups_out, rating, c.ups_battery_health) / 60.0
        status = np.where(s.ups_charge <= 0.0, 4, np.where(s.ups_charge < 0.3, 3, 2))
        volts = 480.0 + 60.0 * s.ups_charge
        amps = np.where(on_battery, -s.ups_out / volts, np.where(s.ups_charge < 1.0, 40.0, 0.0))
        hertz = np.full(len(on_battery), m.factory.frequency * 10.0)
        supply = PHASE_VOLTS * c.feed_voltage[m.layout.ups_feed] * np.where(on_battery, 0.0, 1.0)
        output = PHASE_VOLTS * s.ups_live
        table = [
            status,
            seconds,
            runtime,
            s.ups_charge * 100,
            volts * 10,
            amps * 10,
            np.full_like(volts, 25.0),
        ]
        table.append(self._bads)
        for _ in range(3):
            into = s.ups_in * m.ups_input_gain / 3.0
            table += [np.where(on_battery, 0.0, hertz), supply, _ratio(into, supply * 0.99) * 10, into]
        table += [np.where(s.ups_live < 1, 2, np.where(on_battery, 5, 3)), hertz * s.ups_live]
        for share in (1.01, 0.99, 1.0):
            out = s.ups_out * s.ups_live * share / 3.0
            table += [output, _ratio(out, output * 0.98) * 10, out, 300.0 * out / rating]
        table += [hertz, *[supply] * 3, on_battery + 2.0 * (s.ups_live < 1)]
        return _integers(table)


def cooling_unit() -> DeviceKind:
    """Return the cooling unit: APC InRow on chilled water, self-describing (coolingUnitStatus tables)."""
    rows = _system("APC InRow RC 600mm (MB:v4.1.0 PF:v6.8.8 AN1:rc600)", f"{APC}.1.3.14.11")
    columns = _Columns()
    rows[f"{APC}.1.1.27.1.1.0"] = ber.integer(1)
    for row, (label, unit, divisor) in enumerate(_ANALOG, 1):
        rows[f"{COOLING}.1.2.1.1.1.{row}"] = ber.integer(row)
        rows[f"{COOLING}.1.2.1.2.1.{row}"] = _text(label)
        rows[f"{COOLING}.1.2.1.3.1.{row}"] = columns.next()
        rows[f"{COOLING}.1.2.1.4.1.{row}"] = _text(unit)
        rows[f"{COOLING}.1.2.1.5.1.{row}"] = ber.integer(divisor)
    rows[f"{COOLING}.2.2.1.1.1.1"] = ber.integer(1)
    rows[f"{COOLING}.2.2.1.2.1.1"] = _text("Mode")
    rows[f"{COOLING}.2.2.1.3.1.1"] = _text("On")
    rows[f"{COOLING}.2.2.1.4.1.1"] = columns.next()
    rows[f"{COOLING}.2.2.1.5.1.1"] = _text("Unknown(0),Initializing(1),Off(2),Standby(3),Idle(4),Active(6)")
    return DeviceKind("apc-inrow", OidTable(rows), _cooling_values)


_ANALOG = (
    ("Rack Inlet Temperature 1", "C", 10),
    ("Supply Temperature", "C", 10),
    ("Return Temperature", "C", 10),
    ("Humidity", "%RH", 10),
    ("Airflow", "L/s", 1),
    ("Fan Speed", "%", 10),
    ("Air Filter Pressure", "Pa", 1),
    ("Cool Output", "kW", 100),
    ("Entering Fluid Temperature", "C", 10),
    ("Leaving Fluid Temperature", "C", 10),
    ("Fluid Flow", "L/s", 100),
    ("Fluid Valve Position", "%", 10),
    ("Unit Power Consumption", "kW", 100),
)


def _cooling_values(m: Meters) -> IntTable:
    s, c, facility = m.state, m.conditions, m.factory.plant.model.facility
    pod, health = m.layout.crah_pod, c.crah_fan_health * m.factory.plant.built.crah_air
    supply, rise, speed = s.crah_supply, s.crah_rise, s.crah_speed
    airflow = facility.crah_air / 1.2 * speed * health  # 1.2 kJ/(m3 K): L/s
    filter_drop = 60.0 * speed**2 / np.maximum(health, 0.1) ** 2
    water = _ratio(s.crah_heat, np.full_like(s.crah_heat, WATER_HEAT * 7.0))  # 7 K over the coil, L/min
    power = facility.crah_fan * speed**3 + 80.0
    running = c.crah_available > 0
    return _integers(
        [
            s.cold_aisle[pod] * 10, supply * 10, (supply + rise) * 10, np.full_like(supply, 450.0), airflow,
            speed * 1000, filter_drop, s.crah_heat / 10, np.full_like(supply, 120.0), np.full_like(supply, 190.0),
            water / 60 * 100, np.clip(s.crah_heat / 130e3, 0, 1) * 1000, power / 10, np.where(running, 6, 2),
        ]
    )  # fmt: skip


class _Columns:
    """Hands out columns of the device's row in order; the first is the up-time's."""

    def __init__(self) -> None:
        self._next = UPTIME

    def next(self, tag: int = ber.INTEGER) -> Live:
        self._next += 1
        return Live(self._next, tag)


def _system(description: str, object_id: str) -> dict[str, Content]:
    system = "1.3.6.1.2.1.1"
    return {
        f"{system}.1.0": _text(description),
        f"{system}.2.0": ber.tlv(ber.OID, ber.oid(tuple(map(int, object_id.split("."))))),
        f"{system}.3.0": Live(UPTIME, ber.TIMETICKS),
        f"{system}.4.0": _text("operations"),
        f"{system}.5.0": Text(0),
        f"{system}.6.0": Text(1),
    }


def _text(text: str) -> bytes:
    return ber.tlv(ber.STRING, text.encode())


def _ratio(above: ValueArray, below: ValueArray) -> ValueArray:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 1e-9)


def _integers(columns: Sequence[ValueArray]) -> IntTable:
    table: IntTable = np.round(np.stack([np.asarray(c, float) for c in columns], axis=1)).astype(np.int64)
    return np.concatenate([np.zeros((len(table), 1), np.int64), table], axis=1)
