import yaml

from domain.catalogue import ANY, CONTRACT, OBJECT_TYPES, POINT_TYPES, STATE
from domain.units import CANONICAL


def test_every_point_type_has_a_canonical_unit_or_is_a_state():
    for name, kind in POINT_TYPES.items():
        assert kind.unit in CANONICAL | {ANY, STATE}, name
        assert kind.description, name


def test_the_contract_speaks_of_known_types_only():
    for object_type, point_types in CONTRACT.items():
        assert object_type in OBJECT_TYPES
        assert not OBJECT_TYPES[object_type].ours
        for point_type in point_types:
            assert not POINT_TYPES[point_type].ours, point_type


def test_the_contract_is_that_of_dsx_exchange_to_the_letter(testdata):
    document = yaml.safe_load((testdata / "dsx" / "bms.asyncapi.yaml").read_text())
    published = {}
    for channel in document["channels"].values():
        parts = channel["address"].split("/")
        if parts[3] == "Metadata":
            published[parts[4]] = frozenset(channel["parameters"]["pointType"]["enum"])
    assert published == dict(CONTRACT)
