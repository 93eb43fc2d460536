"""What was issued stays as it was issued; whoever changes, removes, swaps or adds something leaves a trace."""

import json
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from domain.forecast import RAMP_QUANTILES, RAMP_WINDOWS_S, Ramps
from service.cli import app
from storage.forecast_seals import verify
from storage.record_upkeep import RecordUpkeep
from storage.records import Records
from storage.settings import DAY, RecordRetention
from tests.unit.records.test_records import NOW, forecast

QUARTER = 900_000
SITE, RACK = "taipei-1", "R001"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "records.sqlite"


@pytest.fixture
def kept(file):
    """Ten issues of the site and of a rack, issued together."""
    records = Records(f"sqlite:///{file}")
    for i in range(10):
        records.save_forecasts([forecast(NOW + i * QUARTER), forecast(NOW + i * QUARTER, object_id=RACK)])
    yield records
    records.close()


def change(file, *statements):
    """Do what somebody does who has the file and no Hallwatch."""
    with sqlite3.connect(file) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def ids(file, object_id=SITE):
    with sqlite3.connect(file) as db:
        found = db.execute("SELECT id FROM forecasts WHERE object_id = ? ORDER BY id", [object_id]).fetchall()
    db.close()
    return [row[0] for row in found]


def faults(records, object_id=SITE):
    (report,) = verify(records, object_id)
    return [(f.number, f.what.split(":")[0]) for f in report.faults]


def test_what_was_issued_is_numbered_and_each_hash_follows_from_the_one_before(kept):
    issues = kept.issues(SITE, 0, NOW * 2, 100)
    assert [i.seal.number for i in issues] == list(range(10, 0, -1))
    assert [i.seal.previous for i in issues[:-1]] == [i.seal.hash for i in issues[1:]]
    assert issues[-1].seal.previous == "0" * 64
    assert kept.latest_forecast(SITE).seal == issues[0].seal
    reports = list(verify(kept))
    assert [(r.object_id, r.first, r.last, r.looked_at, r.faults) for r in reports] == [
        (RACK, 1, 10, 10, []),
        (SITE, 1, 10, 10, []),
    ]


@pytest.mark.parametrize(
    "field",
    [
        "issued = issued + 1",
        "data_cutoff = 0",
        "model = 'another'",
        "quality = 'good!'",
        "unit = 'kW'",
        "interval_minutes = 60",
        "quantiles = '[0.5]'",
        "arrays = zeroblob(100)",
    ],
)
def test_a_changed_forecast_is_found_and_said_which(kept, file, field):
    change(file, f"UPDATE forecasts SET {field} WHERE id = {ids(file)[3]}")
    assert faults(kept) == [(4, "changed")]
    assert faults(kept, RACK) == []


def test_changed_ramps_are_found(kept, file):
    change(file, f"UPDATE forecast_seals SET ramps = x'00' WHERE forecast_id = {ids(file)[3]}")
    assert faults(kept) == [(4, "changed")]


def test_who_seals_a_changed_forecast_anew_is_found_at_the_next(kept, file):
    change(file, f"UPDATE forecast_seals SET hash = zeroblob(32) WHERE forecast_id = {ids(file)[3]}")
    assert faults(kept) == [(4, "changed"), (5, "changed")]


def test_missing_forecasts_are_found_at_the_beginning_within_and_at_the_end(kept, file):
    first, fifth, last = (ids(file)[i] for i in (0, 4, 9))
    change(file, f"DELETE FROM forecasts WHERE id = {fifth}")
    assert faults(kept) == [(5, "missing")]
    for number in (first, fifth, last):
        change(
            file,
            f"DELETE FROM forecast_seals WHERE forecast_id = {number}",
            f"DELETE FROM forecasts WHERE id = {number}",
        )
    assert faults(kept) == [(1, "missing"), (5, "missing"), (10, "missing")]


def test_swapped_forecasts_are_found(kept, file):
    third, sixth = ids(file)[2], ids(file)[5]
    change(
        file,
        f"UPDATE forecast_seals SET number = 99 WHERE forecast_id = {third}",
        f"UPDATE forecast_seals SET number = 3 WHERE forecast_id = {sixth}",
        f"UPDATE forecast_seals SET number = 6 WHERE forecast_id = {third}",
    )
    found = faults(kept)
    assert found[0] == (3, "changed")
    assert (6, "out of order") in found


def test_a_forecast_that_was_put_in_or_made_anothers_is_found(kept, file):
    columns = (
        "object_id, point_type, unit, issued, data_cutoff, interval_minutes, quantiles, intervals, "
        "arrays, model, quality"
    )
    fourth = ids(file)[3]
    change(file, f"INSERT INTO forecasts ({columns}) SELECT {columns} FROM forecasts WHERE id = {fourth}")
    assert faults(kept) == [(0, "put in")]
    change(file, f"UPDATE forecasts SET object_id = 'R999' WHERE id = {fourth}")
    assert (4, "changed") in faults(kept)


def test_what_was_kept_before_there_were_seals_is_told_apart(kept, file):
    older = ids(file)[:4]
    numbers = ", ".join(map(str, older))
    change(
        file,
        f"DELETE FROM forecast_seals WHERE forecast_id IN ({numbers})",
        f"UPDATE forecast_chains SET first = 5, before = (SELECT hash FROM forecast_seals WHERE number = 4) "
        f"WHERE object_id = '{RACK}'",
    )
    (report,) = verify(kept, SITE)
    assert report.unsealed == 4
    assert kept.forecast_at(SITE, NOW).seal is None


def test_what_is_removed_by_age_leaves_a_chain_that_holds(kept):
    upkeep = RecordUpkeep(kept, RecordRetention(forecasts_days=2, node_forecasts_days=1), SITE)
    upkeep.once(NOW + 4 * QUARTER + 1 * DAY)
    (rack,) = verify(kept, RACK)
    assert (rack.first, rack.last, rack.looked_at, rack.faults) == (5, 10, 6, [])
    oldest = kept.issues(RACK, 0, NOW * 2, 100)[-1]
    assert oldest.seal.number == 5
    assert oldest.seal.previous != "0" * 64
    upkeep.once(NOW + 90 * DAY)
    kept.save_forecast(forecast(NOW + 90 * DAY, object_id=RACK))
    (rack,) = verify(kept, RACK)
    assert (rack.first, rack.last, rack.looked_at, rack.faults) == (11, 11, 1, [])


def test_a_hash_that_was_told_is_looked_for(kept):
    told = kept.issues(SITE, 0, NOW * 2, 100)[4].seal.hash
    assert next(verify(kept, SITE, told)).faults == []
    (fault,) = next(verify(kept, SITE, "ab" * 32)).faults
    assert fault.what == "the hash that was told is not in this chain"


def test_faults_that_are_told_are_bounded(kept, file, monkeypatch):
    monkeypatch.setattr("storage.forecast_seals.MOST_FAULTS", 3)
    change(file, "UPDATE forecasts SET model = 'another'")
    assert len(faults(kept)) >= 3
    columns = "object_id, point_type, unit, issued, data_cutoff, interval_minutes, quantiles, intervals"
    columns += ", arrays, model, quality"
    change(file, f"INSERT INTO forecasts ({columns}) SELECT {columns} FROM forecasts")
    assert "put in" not in [what for _, what in faults(kept)]


def test_an_issue_is_found_by_its_moment_and_as_of_any_other(kept):
    assert kept.forecast_at(SITE, NOW + QUARTER, exact=True).issued == NOW + QUARTER
    assert kept.forecast_at(SITE, NOW + QUARTER + 1, exact=True) is None
    assert kept.forecast_at(SITE, NOW + 2 * QUARTER - 1).issued == NOW + QUARTER
    assert kept.forecast_at(SITE, NOW - 1) is None


def test_the_archive_is_read_page_by_page(kept):
    whole = kept.issues(SITE, NOW, NOW + 9 * QUARTER, 100)
    assert len(whole) == 9
    pages, before = [], None
    while page := kept.issues(SITE, NOW, NOW + 9 * QUARTER, 4, before):
        pages += page
        before = (page[-1].issued, page[-1].key)
    assert pages == whole


def test_ramps_are_kept_with_the_forecast(tmp_path):
    records = Records(f"sqlite:///{tmp_path}/records.sqlite")
    up = np.arange(12.0).reshape(len(RAMP_WINDOWS_S), len(RAMP_QUANTILES)) * 1e5
    issued = replace(forecast(NOW), ramps=Ramps(RAMP_WINDOWS_S, RAMP_QUANTILES, up, up + 1e5))
    records.save_forecast(issued)
    told = Records(f"sqlite:///{tmp_path}/records.sqlite").latest_forecast(SITE).ramps
    assert (told.windows_s, told.quantiles, told.minutes) == (RAMP_WINDOWS_S, RAMP_QUANTILES, 60)
    np.testing.assert_allclose(told.up, up, rtol=1e-6)
    np.testing.assert_allclose(told.down, up + 1e5, rtol=1e-6)
    records.close()


def test_the_command_tells_what_was_changed_and_fails_then(kept, file):
    runner, options = CliRunner(), ["--data", str(file.parent)]
    sound = runner.invoke(app, ["forecasts", "verify", *options])
    assert (sound.exit_code, "20 forecasts looked at, 0 faults." in sound.output) == (0, True)
    change(file, f"UPDATE forecasts SET quality = 'better' WHERE id = {ids(file)[3]}")
    found = runner.invoke(app, ["forecasts", "verify", "--object", SITE, *options])
    assert found.exit_code == 1
    assert "changed: it is not what was sealed after number 3" in found.output
    told = runner.invoke(app, ["forecasts", "verify", "--json", *options])
    assert [len(chain["faults"]) for chain in json.loads(told.stdout)] == [0, 1]
