"""The tray message."""

import re
from pathlib import Path

import orjson
import pytest
import yaml

from domain import tray
from domain.catalogue import POINT_TYPES
from domain.errors import ContractViolation
from domain.tray import GPU_FIELDS, TRAY_FIELDS, Sweep, XidEvent, decode, encode, tray_points

DOCUMENT = Path(__file__).parents[3] / "docs" / "tray-bus.asyncapi.yaml"


def sweep(gpus=2, **changes):
    return Sweep(
        **(
            {
                "run": 1,
                "sequence": 5,
                "observed": 9,
                "gpu_count": gpus,
                "values": [0.5] * tray.value_count(gpus),
            }
            | changes
        )
    )


def test_a_sweep_comes_back_as_it_went():
    told = sweep(events=(XidEvent(1, 79, 8),))
    assert decode(orjson.loads(orjson.dumps(encode(told)))) == told


def test_topics_are_made_and_read():
    assert tray.parse_topic(tray.sweep_topic("R001", "T01")) == ("R001", "T01", "sweep")
    assert tray.parse_topic(tray.presence_topic("R001", "T01")) == ("R001", "T01", "presence")
    with pytest.raises(ContractViolation, match="bad_topic"):
        tray.parse_topic("hallwatch/v1/trays/R001/sweep")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"seq": None}, "wrong_type"),
        ({"seq": -1}, "wrong_type"),
        ({"gpus": True}, "wrong_type"),
        ({"values": [1.0]}, "wrong_length"),
        ({"gpus": 10**6}, "wrong_length"),
        ({"format": 99}, "unknown_format"),
        ({"events": [[0, 1]]}, "wrong_type"),
        ({"events": [[7, 79, 1]]}, "wrong_type"),
        ({"events": 5}, "wrong_type"),
    ],
)
def test_a_malformed_sweep_is_refused_with_its_reason(changes, reason):
    with pytest.raises(ContractViolation) as refused:
        decode(encode(sweep()) | changes)
    assert refused.value.reason == reason


def test_a_sweep_without_a_field_is_refused():
    message = encode(sweep())
    del message["seq"]
    with pytest.raises(ContractViolation, match="missing_field"):
        decode(message)


def test_a_sweep_of_an_older_agent_is_understood():
    """Format 1: 30 fields of a GPU and 6 of the tray; what it did not know is not told."""
    old = encode(sweep()) | {"format": 1, "gpus": 2, "values": [*range(30), *range(100, 130), *range(6)]}
    values = decode(old).values
    width = len(GPU_FIELDS)
    assert values[:30] == [*range(30)]
    assert values[width : width + 30] == [*range(100, 130)]
    assert values[30:width] == [None] * (width - 30)
    assert values[2 * width : 2 * width + 6] == [*range(6)]
    assert values[2 * width + 6 :] == [None] * (len(TRAY_FIELDS) - 6)


def test_a_sweep_of_a_format_of_later_is_refused():
    with pytest.raises(ContractViolation, match="unknown_format"):
        decode(encode(sweep()) | {"format": 3})


def test_points_follow_the_order_of_the_values():
    points = tray_points("R001", "T01", 2)
    names = [p.point_type for p in points]
    assert names[: 2 * len(GPU_FIELDS)] == [*GPU_FIELDS, *GPU_FIELDS]
    assert names[2 * len(GPU_FIELDS) : tray.value_count(2)] == list(TRAY_FIELDS)
    assert names[tray.value_count(2) :] == ["GpuXid", "GpuXid", "TrayOnline"]
    assert points[0].key == "GPU/GpuPower/nvml/R001/T01/G0"
    assert points[0].object_id == "R001-T01-G0"
    assert {p.associate for p in points} == {"R001"}
    assert len({p.key for p in points}) == len(points)


def test_every_field_is_in_the_catalogue_in_canonical_units():
    for name in (*GPU_FIELDS, *TRAY_FIELDS):
        assert name in POINT_TYPES


def test_the_published_description_lists_the_fields_in_their_order():
    text = yaml.safe_load(DOCUMENT.read_text())["components"]["schemas"]["Sweep"]["properties"]["values"][
        "description"
    ]
    gpu, trays = re.search(r"GPU fields: (.*?)\.\s+Tray fields: (.*?)\.", text, re.DOTALL).groups()
    assert tuple(re.findall(r"\w+", gpu)) == GPU_FIELDS
    assert tuple(re.findall(r"\w+", trays)) == TRAY_FIELDS


def test_a_sweep_fits_the_published_description():
    import jsonschema

    schema = yaml.safe_load(DOCUMENT.read_text())["components"]["schemas"]["Sweep"]
    jsonschema.Draft202012Validator(schema).validate(
        encode(sweep(events=(XidEvent(1, 79, 8),))) | {"values": [None]}
    )
