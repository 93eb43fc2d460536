"""GET /api/v1/forecasts/power/issues: what was issued, one by one, as of any time."""

import asyncio

import jsonschema
import pyarrow.parquet as pq
import pytest

from domain.forecast import RAMP_QUANTILES, RAMP_WINDOWS_S, Ramps
from partners.forecasts import iso
from tests.unit.partners.conftest import ISSUED, Client, site_forecast
from tests.unit.partners.test_power_forecast_api import PATH, assert_problem

QUARTER = 900_000
ISSUES = f"{PATH}/issues"


@pytest.fixture
def archive(api):
    for i in range(5):
        objects = ("lab", "R001", "R002")
        api.records.save_forecasts([site_forecast(ISSUED + i * QUARTER, object_id=o) for o in objects])
    api.clock.now = ISSUED + 4 * QUARTER + 60_000
    return api


def fits(api, name, body):
    spec = Client(api.app).get("/api/v1/openapi.json").json()
    schema = {"$ref": f"#/components/schemas/{name}", "components": spec["components"]}
    jsonschema.validate(body, schema)


def test_issues_are_listed_newest_first_with_their_seals(archive):
    body = archive.get(ISSUES).json()
    fits(archive, "Issues", body)
    assert [i["issue_time"] for i in body["issues"]] == [iso(ISSUED + i * QUARTER) for i in (4, 3, 2, 1, 0)]
    assert [i["seal"]["number"] for i in body["issues"]] == [5, 4, 3, 2, 1]
    assert body["next"] is None


def test_pages_follow_each_other_without_gap_or_repetition(archive):
    seen, cursor = [], {}
    for _ in range(3):
        body = archive.get(ISSUES, limit=2, **cursor).json()
        seen += [i["seal"]["number"] for i in body["issues"]]
        cursor = {"cursor": body["next"]}
    assert (seen, body["next"]) == ([5, 4, 3, 2, 1], None)


def test_an_issue_is_read_again_as_it_was_however_late_it_is_now(archive):
    then = archive.get(as_of=iso(ISSUED + 1 * QUARTER)).json()
    archive.clock.now += 7 * 86_400_000
    one = archive.get(f"{ISSUES}/{iso(ISSUED + QUARTER)}")
    assert one.json() == then
    assert one.json()["quality"] == "good"
    assert one.headers["cache-control"] == "private, max-age=86400"
    fits(archive, "PowerForecast", one.json())
    again = archive.get(f"{ISSUES}/{iso(ISSUED + QUARTER)}", headers={"If-None-Match": one.headers["etag"]})
    assert again.status_code == 304


def test_as_of_a_time_answers_what_was_the_newest_then(archive):
    assert archive.get(as_of=iso(ISSUED + 2 * QUARTER - 1)).json()["issue_time"] == iso(ISSUED + QUARTER)
    assert archive.get(as_of="2999-01-01T00:00:00Z").json()["issue_time"] == iso(ISSUED + 4 * QUARTER)
    assert_problem(archive.get(as_of=iso(ISSUED - 1)), 404, "had been issued by then")
    assert archive.get().json()["issue_time"] == iso(ISSUED + 4 * QUARTER)


def test_nodes_have_an_archive_where_they_are_published(archive):
    assert len(archive.get(ISSUES, object_id="R001").json()["issues"]) == 5
    assert_problem(archive.get(ISSUES, object_id="R002"), 404, "'R002'")
    assert_problem(archive.get(f"{ISSUES}/{iso(ISSUED)}", object_id="R002"), 404, "'R002'")
    assert_problem(Client(archive.app).get(ISSUES), 401)


@pytest.mark.parametrize(
    ("path", "parameters", "status", "words"),
    [
        (ISSUES, {"cursor": "1; drop"}, 400, ("cursor",)),
        (ISSUES, {"limit": "0"}, 400, ("limit",)),
        (ISSUES, {"from": "2000-01-01T00:00:00Z"}, 400, ("at most 400 days",)),
        (f"{ISSUES}/yesterday", {}, 400, ("issue_time",)),
        (f"{ISSUES}/{iso(ISSUED + 1)}", {}, 404, ("no longer kept",)),
    ],
)
def test_what_is_asked_wrong_is_named(archive, path, parameters, status, words):
    assert_problem(archive.get(path, **parameters), status, *words)


def test_expected_ramps_are_part_of_a_forecast(api):
    from dataclasses import replace

    import numpy as np

    up = np.array([[1e5, 2e5, 3e5]] * 4)
    ramps = Ramps(RAMP_WINDOWS_S, RAMP_QUANTILES, up, 2 * up)
    asyncio.run(asyncio.to_thread(api.records.save_forecast, replace(site_forecast(), ramps=ramps)))
    told = api.get().json()["ramps"]
    assert (told["minutes"], told["quantiles"]) == (60, [0.05, 0.5, 0.95])
    assert told["windows"][0] == {"seconds": 2, "rise": [1e5, 2e5, 3e5], "fall": [2e5, 4e5, 6e5]}


def test_parquet_comes_by_accept_header_with_times_in_utc(archive, tmp_path):
    answer = archive.get(quantiles="0.5", headers={"Accept": "application/vnd.apache.parquet"})
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    (tmp_path / "forecast.parquet").write_bytes(answer.content)
    table = pq.read_table(tmp_path / "forecast.parquet")
    assert table.column_names == [
        *("object_id", "issue_time", "start", "interval_minutes", "unit", "q0.5", "limit"),
        "breach_probability",
    ]
    assert str(table.schema.field("start").type) == "timestamp[ms, tz=UTC]"
    rows = archive.get(quantiles="0.5").json()["intervals"]
    assert table["q0.5"].to_pylist() == [row["values"][0] for row in rows]
    assert table["limit"].to_pylist()[-1] is None
    assert b'"seal"' in table.schema.metadata[b"hallwatch"]


def test_who_takes_gzip_gets_it_under_a_tag_of_its_own(archive):
    plain = archive.get(headers={"Accept-Encoding": "identity"})
    packed = archive.get(headers={"Accept-Encoding": "gzip;q=0.5, br"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert packed.json() == plain.json()
    assert packed.headers["etag"] != plain.headers["etag"]
    for tag in (plain.headers["etag"], packed.headers["etag"]):
        for coding in ("gzip", "identity", "gzip;q=0"):
            headers = {"If-None-Match": tag, "Accept-Encoding": coding}
            assert archive.get(headers=headers).status_code == 304
    assert "Accept-Encoding" in plain.headers["vary"]


def test_head_tells_what_get_would(archive):
    for path in (PATH, ISSUES, f"{ISSUES}/{iso(ISSUED)}", f"{PATH}/accuracy"):
        whole, head = archive.client.get(path), archive.client.call("HEAD", path)
        assert (head.status_code, head.content) == (200, b"")
        for name in ("etag", "content-type", "content-length", "cache-control"):
            assert head.headers[name] == whole.headers[name]
