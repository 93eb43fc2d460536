"""Recorded captures: reading them, and replaying them into a sink."""

import pytest

from collectors.mqtt.replay import Into, duration_ms, read_capture, replay
from domain.errors import InputError
from domain.points import PointRegistry


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0s", 0),
        ("1.5s", 1500),
        ("3.4731ms", 3.4731),
        ("1m39.5s", 99_500),
        ("250µs", 0.25),
        ("2h3m4s", 7_384_000),
    ],
)
def test_go_durations_are_read(text, ms):
    assert duration_ms(text) == pytest.approx(ms)


@pytest.mark.parametrize("text", ["", "5", "x", "5 s", "1s2"])
def test_other_texts_are_no_durations(text):
    with pytest.raises(InputError, match="no duration"):
        duration_ms(text)


def test_a_file_without_the_columns_says_which_are_missing(tmp_path):
    file = tmp_path / "c.csv"
    file.write_text("time,topic\n0s,a\n")
    with pytest.raises(InputError, match="offset, payload"):
        read_capture(file)


def test_a_bad_row_is_named_by_its_line(tmp_path):
    file = tmp_path / "c.csv"
    file.write_text("offset,topic,payload\n0s,a,{}\nsoon,a,{}\n")
    with pytest.raises(InputError, match=r"c\.csv:3"):
        read_capture(file)


def test_a_file_that_is_not_there_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_capture(tmp_path / "none.csv")


async def stored(file, speed, start):
    registry, rows = PointRegistry(), []

    async def sink(batch):
        keys = [registry[int(p)].key for p in batch.point]
        rows.extend(
            zip(keys, batch.observed.tolist(), batch.value.tolist(), batch.quality.tolist(), strict=True)
        )

    report = await replay(file, Into(registry, sink), speed=speed, start=start)
    return report, rows, registry


async def test_the_exemplar_is_the_same_at_any_speed(testdata):
    file = testdata / "dsx" / "exemplar.csv"
    at_once, rows, registry = await stored(file, 0, 1_700_000_000_000)
    _, faster, _ = await stored(file, 400, 1_700_000_000_000)
    assert sorted(rows) == sorted(faster)
    assert (at_once.messages, at_once.topics, at_once.readings, at_once.refused) == (4711, 311, 4545, 0)
    assert len(registry) == 166


async def test_in_the_exemplar_the_busways_carry_what_the_racks_draw(testdata):
    _, rows, registry = await stored(testdata / "dsx" / "exemplar.csv", 0, 1_700_000_000_000)
    last = {key: value for key, _, value, _ in sorted(rows, key=lambda r: r[1])}
    power = {
        p.object_id: last[p.key]
        for p in registry
        if p.point_type in ("ActivePower", "RackPower") and p.key in last
    }
    racks = [f"Pod1C-E0{n}" for n in range(1, 7)]
    assert power["C-E-BUS-E1"] + power["C-E-BUS-E2"] == pytest.approx(sum(power[r] for r in racks), rel=0.01)
    assert power["C-E05-TAP-E1"] + power["C-E05-TAP-E2"] == pytest.approx(power["Pod1C-E05"], rel=0.01)
