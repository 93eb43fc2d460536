import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import UnitError
from domain.units import _BACNET, CANONICAL, UNITS, parse_quantity, parse_unit, shown


@pytest.mark.parametrize(
    ("text", "canonical", "value"),
    [
        ("16 MW", "W", 16e6),
        ("132 kW", "W", 132e3),
        ("45 Cel", "Cel", 45.0),
        ("113 F", "Cel", 45.0),
        ("80 kPa", "Pa", 80e3),
        ("5 %", "1", 0.05),
        (12.5, "W", 12.5),
        ("12.5", "W", 12.5),
        ("1 kWh", "J", 3.6e6),
        ("10 GPM", "L/min", 37.85411784),
    ],
)
def test_a_quantity_with_a_unit_becomes_canonical(text, canonical, value):
    assert parse_quantity(text, canonical) == pytest.approx(value)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("degrees-Celsius", "Cel"),
        ("Degrees Fahrenheit", "degF"),
        ("KILOWATTS", "kW"),
        ("percent-relative-humidity", "%RH"),
        ("cubic_feet_per_minute", "CFM"),
    ],
)
def test_units_may_be_named_as_bacnet_names_them(name, unit):
    assert parse_unit(name) == UNITS[unit]


def test_every_bacnet_name_means_a_unit_that_is_known():
    assert {name for name, spelling in _BACNET.items() if spelling not in UNITS} == set()


def test_milliwatt_is_not_megawatt():
    assert parse_unit("mW").to_canonical(1) == pytest.approx(1e-3)
    assert parse_unit("MW").to_canonical(1) == pytest.approx(1e6)


@pytest.mark.parametrize("text", ["16 furlongs", "sixteen MW", "16MW", ""])
def test_a_quantity_that_cannot_be_read_is_an_error_that_quotes_it(text):
    with pytest.raises(UnitError, match=r"unknown unit|is not a quantity"):
        parse_quantity(text, "W")


def test_a_quantity_of_the_wrong_kind_is_an_error():
    with pytest.raises(UnitError, match="a quantity in W is wanted"):
        parse_quantity("45 Cel", "W")


def test_every_canonical_unit_is_spelled_by_its_own_name():
    for name in CANONICAL:
        assert UNITS[name].to_canonical(7.0) == 7.0


@given(st.floats(-1e9, 1e9), st.sampled_from(sorted(UNITS)))
def test_conversion_keeps_order(value, spelling):
    unit = parse_unit(spelling)
    assert unit.to_canonical(value) < unit.to_canonical(value + max(1.0, abs(value)))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (13.42e6, "W", "13.4 MW"),
        (131_500, "W", "132 kW"),
        (-2e6, "W", "-2.00 MW"),
        (0.0, "W", "0 W"),
        (45.25, "Cel", "45.2 °C"),
        (0.955, "1", "95.5 %"),
        (80_000, "Pa", "80.0 kPa"),
    ],
)
def test_people_see_prefixes(value, unit, text):
    assert shown(value, unit) == text
