"""GET /api/v1/forecasts/power: what a partner asks and what comes back."""

import asyncio
import csv
import io
import time

import jsonschema
import pytest
from fastapi import FastAPI
from sqlalchemy import event

from domain.errors import StoreUnavailable
from partners.answers import FRESH_S
from partners.api import router
from partners.forecast_routes import MOST_LEVELS
from partners.forecasts import LATE_MS, rendered
from storage.records import Records
from tests.servers.hallwatch import eventually
from tests.unit.partners.conftest import ISSUED, Client, site_forecast

PATH = "/api/v1/forecasts/power"


def assert_problem(answer, status, *words):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["type"]) == (status, "about:blank")
    for word in words:
        assert word in body["detail"]


def test_the_answer_has_exactly_the_fields_that_are_promised(api):
    api.records.save_forecast(site_forecast())
    answer = api.get()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {
        "object_id", "issue_time", "data_cutoff", "interval_minutes", "interval_label", "unit", "quantiles",
        "model", "quality", "intervals", "ramps", "seal",
    }  # fmt: skip
    assert body["issue_time"] == "2026-09-21T14:00:00Z"
    assert body["data_cutoff"] == "2026-09-21T13:59:00Z"
    assert (body["interval_minutes"], body["interval_label"], body["unit"]) == (15, "start", "W")
    assert body["quantiles"] == [round(0.05 * i, 2) for i in range(1, 20)]
    assert (body["model"], body["quality"]) == ("PowerForecaster 1", "good")
    first = body["intervals"][0]
    assert set(first) == {"start", "values", "limit", "breach_probability"}
    assert first["start"] == "2026-09-21T14:00:00Z"
    assert len(first["values"]) == 19
    assert first["values"] == sorted(first["values"])
    assert (first["limit"], first["breach_probability"]) == (600e3, 0.01)
    assert body["intervals"][-1]["limit"] is None
    assert body["intervals"][-1]["breach_probability"] is None


def test_the_answer_fits_the_published_schema(api):
    api.records.save_forecast(site_forecast())
    spec = Client(api.app).get("/api/v1/openapi.json").json()
    schema = {"$ref": "#/components/schemas/PowerForecast", "components": spec["components"]}
    jsonschema.validate(api.get().json(), schema)
    problem = {"$ref": "#/components/schemas/Problem", "components": spec["components"]}
    jsonschema.validate(api.get(quantiles="0.33").json(), problem)


def test_some_quantiles_and_some_hours_may_be_asked_for(api):
    api.records.save_forecast(site_forecast())
    answer = api.get(
        quantiles="0.9, 0.5,0.1",
        **{"from": "2026-09-21T22:15:00+08:00", "to": "2026-09-21T14:45:00Z"},
    )
    body = answer.json()
    assert body["quantiles"] == [0.1, 0.5, 0.9]
    assert [i["start"] for i in body["intervals"]] == ["2026-09-21T14:15:00Z", "2026-09-21T14:30:00Z"]
    assert body["intervals"][0]["values"] == [502e3, 506e3, 510e3]


def test_a_plus_that_was_not_escaped_is_understood(api):
    api.records.save_forecast(site_forecast())
    answer = api.client.get(f"{PATH}?from=2026-09-21T22:15:00+08:00")
    assert answer.json()["intervals"][0]["start"] == "2026-09-21T14:15:00Z"


@pytest.mark.parametrize(
    ("parameters", "headers"),
    [
        ({"format": "csv"}, {}),
        ({}, {"Accept": "text/csv"}),
        ({}, {"Accept": "application/json;q=0.5, text/csv"}),
    ],
)
def test_csv_comes_by_parameter_or_by_accept_header(api, parameters, headers):
    api.records.save_forecast(site_forecast())
    answer = api.get(**parameters, quantiles="0.05,0.5", headers=headers)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 8
    assert rows[0] == {
        "object_id": "lab",
        "issue_time": "2026-09-21T14:00:00Z",
        "start": "2026-09-21T14:00:00Z",
        "interval_minutes": "15",
        "unit": "W",
        "q0.05": "500500.0",
        "q0.5": "505000.0",
        "limit": "600000.0",
        "breach_probability": "0.01",
    }
    assert (rows[-1]["limit"], rows[-1]["breach_probability"]) == ("", "")


def test_the_format_parameter_overrides_the_accept_header(api):
    api.records.save_forecast(site_forecast())
    assert (
        api.get(format="json", headers={"Accept": "text/csv"}).headers["content-type"] == "application/json"
    )


def test_what_can_be_answered_neither_way_is_not_acceptable(api):
    api.records.save_forecast(site_forecast())
    assert_problem(api.get(headers={"Accept": "application/xml"}), 406, "application/xml")


def test_an_unchanged_forecast_costs_no_body(api):
    api.records.save_forecast(site_forecast())
    first = api.get()
    assert first.headers["cache-control"] == "private, max-age=60"
    again = api.get(headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    since = api.get(headers={"If-Modified-Since": first.headers["last-modified"]})
    assert since.status_code == 304
    api.records.save_forecast(site_forecast(ISSUED + 900_000))
    assert api.get(headers={"If-None-Match": first.headers["etag"]}).status_code == 200
    assert api.get(headers={"If-Modified-Since": first.headers["last-modified"]}).status_code == 200


def test_json_csv_and_other_quantiles_have_other_etags(api):
    api.records.save_forecast(site_forecast())
    tags = {api.get(**p).headers["etag"] for p in ({}, {"format": "csv"}, {"quantiles": "0.5"})}
    assert len(tags) == 3


def test_the_newest_forecast_is_answered(api):
    api.records.save_forecast(site_forecast(ISSUED + 900_000))
    api.records.save_forecast(site_forecast())
    assert api.get().json()["issue_time"] == "2026-09-21T14:15:00Z"


@pytest.mark.parametrize(("quality", "told"), [("good", "late"), ("short history", "short history; late")])
def test_a_forecast_whose_renewal_is_overdue_says_so(api, quality, told):
    api.records.save_forecast(site_forecast(quality=quality))
    assert api.get().json()["quality"] == quality
    api.clock.now = ISSUED + 46 * 60_000
    assert api.get().json()["quality"] == told


def test_before_the_first_forecast_the_service_is_not_available_and_says_when_to_ask_again(api):
    answer = api.get()
    assert_problem(answer, 503, "no forecast has been issued yet")
    assert answer.headers["retry-after"] == "60"


def test_an_object_without_forecasts_is_not_found(api):
    assert_problem(api.get(object_id="R001"), 404, "'R001'", "'lab'")


def test_a_forecast_of_another_node_is_answered_by_its_id(api):
    api.records.save_forecast(site_forecast(object_id="FEED-A"))
    assert api.get(object_id="FEED-A").json()["object_id"] == "FEED-A"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"quantiles": "0.33"}, ("0.33", "issued are 0.05")),
        ({"quantiles": "much"}, ("'much'", "0.1,0.5,0.9")),
        ({"from": "yesterday"}, ("from",)),
        ({"from": "2026-09-21T14:00:00"}, ("from", "timezone")),
        ({"from": "2026-09-21T15:00:00Z", "to": "2026-09-21T14:00:00Z"}, ("'to' must come after 'from'",)),
        ({"format": "xml"}, ("format",)),
    ],
)
def test_a_wrong_parameter_is_named(api, parameters, words):
    api.records.save_forecast(site_forecast())
    assert_problem(api.get(**parameters), 400, *words)


def test_without_a_key_or_with_a_wrong_one_nothing_is_told(api):
    api.records.save_forecast(site_forecast())
    anonymous = Client(api.app)
    answer = anonymous.get(PATH)
    assert_problem(answer, 401, "Authorization: Bearer KEY")
    assert answer.headers["www-authenticate"] == "Bearer"
    for header in ("Bearer hw_00000000_wrong", "Basic abc", "Bearer"):
        assert_problem(anonymous.get(PATH, headers={"Authorization": header}), 401)
    api.accounts.revoke_api_key(api.key.prefix)
    assert_problem(api.get(), 401, "revoked")


def test_who_has_no_key_does_not_learn_what_is_wrong_with_the_parameters(api):
    assert_problem(Client(api.app).get(PATH, params={"quantiles": "0.33"}), 401)


def test_unknown_addresses_and_methods_are_problems_too(api):
    assert_problem(api.get("/api/v1/nothing"), 404, "/api/v1/docs")
    answer = api.client.call("POST", PATH)
    assert_problem(answer, 405, "POST")
    assert answer.headers["allow"] == "GET, HEAD"


def test_records_that_are_away_are_a_503_and_no_stack_trace(api, monkeypatch):
    def away(*_):
        raise StoreUnavailable("database is locked at /secret/path")

    monkeypatch.setattr(api.records, "latest_forecast", away)
    answer = api.get()
    assert_problem(answer, 503, "records")
    assert "secret" not in answer.text


def test_every_call_is_counted_by_partner_and_status(api):
    api.get()
    api.records.save_forecast(site_forecast())
    tag = api.get().headers["etag"]
    api.get(headers={"If-None-Match": tag})
    Client(api.app).get(PATH)
    assert api.calls.stats() == {
        "calls": 4, "status_503": 1, "status_200": 1, "status_304": 1, "status_401": 1, "partner_Taipower": 3,
        "partner_unknown": 1,
    }  # fmt: skip
    assert api.accounts.api_keys()[0].last_used > 0


def test_the_specification_tells_parameters_answers_and_the_key(api):
    spec = Client(api.app).get("/api/v1/openapi.json").json()
    assert spec["openapi"].startswith("3.1")
    assert {PATH, f"{PATH}/accuracy", f"{PATH}/issues", f"{PATH}/issues/{{issue_time}}"} <= set(spec["paths"])
    operation = spec["paths"][PATH]["get"]
    assert {p["name"] for p in operation["parameters"]} == {
        *("object_id", "quantiles", "from", "to", "as_of", "format")
    }
    assert set(operation["responses"]) == {*("200", "304", "400", "401", "403", "404", "406", "429", "503")}
    assert set(operation["responses"]["200"]["content"]) == {
        *("application/json", "text/csv", "application/vnd.apache.parquet")
    }
    assert set(operation["responses"]["503"]["content"]) == {"application/problem+json"}
    assert operation["security"] == [{"API key": []}, {"OAuth 2": ["forecasts"]}]
    assert spec["components"]["securitySchemes"]["API key"]["scheme"] == "bearer"


def test_the_documentation_page_is_served_locally_and_loads_nothing(api):
    answer = Client(api.app).get("/api/v1/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = answer.text
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert "Lab &lt;1&gt;" in page
    for word in ("breach_probability", "quantiles", "issue_time", "Retry-After", "application/problem+json"):
        assert word in page


class Statements:
    """Counts what the records' database is asked."""

    def __init__(self, records):
        self.number = 0
        event.listen(records.engine, "before_cursor_execute", self._count)

    def _count(self, *_):
        self.number += 1


def test_many_calls_cost_the_database_a_look_a_second_and_rendering_once(api, monkeypatch):
    made = []
    monkeypatch.setattr("partners.answers.rendered", lambda *a: made.append(a) or rendered(*a))
    api.records.save_forecast(site_forecast())
    tag = api.get().headers["etag"]
    asked, began = Statements(api.records), time.monotonic()
    for _ in range(50):
        assert api.get().status_code == 200
        assert api.get(headers={"If-None-Match": tag}).status_code == 304
    looks = 1 + (time.monotonic() - began) / FRESH_S
    assert asked.number <= 6 * looks
    assert len(made) == 1


def test_each_selection_has_its_own_answer_and_all_of_them_are_bounded(api):
    api.records.save_forecast(site_forecast())
    told = {api.get(quantiles=q).content for q in ("0.1", "0.5", "0.9", "0.1,0.9")}
    assert len(told) == 4
    assert (
        api.get(quantiles="0.5", format="csv").text.splitlines()[0].endswith("q0.5,limit,breach_probability")
    )
    many = ",".join(["0.5"] * (MOST_LEVELS + 1))
    assert api.get(quantiles=many).status_code == 400


def test_a_forecast_that_another_process_issued_is_seen_within_a_second(api):
    api.records.save_forecast(site_forecast())
    first = api.get().headers["etag"]
    other = Records(api.records.engine.url.render_as_string(hide_password=False))
    other.save_forecast(site_forecast(ISSUED + 900_000))
    other.close()
    eventually(lambda: api.get(headers={"If-None-Match": first}).status_code == 200, every=0.05)


def seconds_of(api, queries):
    """Return the processor time that these questions take, asked one after the other without a client between."""
    said = []

    async def body():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def take(message):
        said.append(message.get("status", 200))

    async def ask():
        for query in queries:
            scope = {
                **{"type": "http", "http_version": "1.1", "method": "GET", "path": PATH, "raw_path": b""},
                **{"query_string": query, "scheme": "http", "server": ("api", 80), "root_path": ""},
                **{"client": ("192.0.2.1", 1234)},
                "headers": [(name.lower().encode(), v.encode()) for name, v in api.client.headers.items()],
            }
            await api.app(scope, body, take)

    began = time.process_time()
    asyncio.run(ask())
    assert set(said) == {200}
    return time.process_time() - began


def test_a_question_that_was_asked_before_costs_a_fraction_of_a_new_one(api):
    api.records.save_forecast(site_forecast())
    seconds_of(api, [b""] * 50)
    again = min(seconds_of(api, [b""] * 50) for _ in range(5))
    # each is new by its spelling, while forecast and rendering are the same
    new = min(seconds_of(api, [b"to=2999-01-01T00:%02d:%02dZ" % (n, k) for k in range(50)]) for n in range(5))
    assert again < new / 2


def test_who_sends_two_accept_headers_spoils_nobody_elses_answer(api):
    api.records.save_forecast(site_forecast())
    two = [*api.client.headers.items(), ("accept", "application/json"), ("accept", "text/csv")]
    client = Client(api.app)
    for _ in range(2):
        kinds = []
        for headers in (two, [*api.client.headers.items(), ("accept", "text/csv")]):
            kinds.append(client.get(PATH, headers=headers).headers["content-type"].split(";")[0])
        assert kinds == ["application/json", "text/csv"]


def test_a_revoked_key_gets_no_answer_that_was_kept(api):
    api.records.save_forecast(site_forecast())
    assert [api.get(PATH).status_code for _ in range(3)] == [200, 200, 200]
    api.accounts.revoke_api_key(api.key.prefix)
    assert api.get(PATH).status_code == 401


def test_what_became_late_is_no_longer_what_it_was(api):
    """A caller who asks by date had been told 304 although the quality had changed."""
    api.records.save_forecast(site_forecast())
    first = api.get()
    since = {"If-Modified-Since": first.headers["last-modified"]}
    assert api.get(headers=since).status_code == 304
    api.clock.now = ISSUED + LATE_MS + 1
    late = api.get(headers=since)
    assert (late.status_code, late.json()["quality"]) == (200, "late")
    since = {"If-Modified-Since": late.headers["last-modified"]}
    assert api.get(headers=since).status_code == 304


def test_a_partner_who_asks_too_often_is_told_when_to_come_again_and_others_are_answered(api):
    app = FastAPI()
    app.include_router(router(api.records, api.accounts, api.site, api.calls, per_minute=3))
    api.records.save_forecast(site_forecast())
    eager = {"Authorization": f"Bearer {api.accounts.add_api_key('Eager')[0]}"}
    other = {"Authorization": f"Bearer {api.accounts.add_api_key('Other')[0]}"}
    assert [Client(app, eager).get(PATH).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = Client(app, eager).get(PATH)
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert Client(app, other).get(PATH).status_code == 200
    assert api.calls.stats()["status_429"] == 2


@pytest.mark.parametrize(
    "since", ["", "yesterday", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT"]
)
def test_a_date_that_is_none_hides_nothing(api, since):
    api.records.save_forecast(site_forecast())
    assert api.get(headers={"If-Modified-Since": since}).status_code in (200, 304)


def test_every_published_node_that_has_a_forecast_is_served_and_no_other(api):
    api.records.save_forecasts([site_forecast(object_id=o, n=4) for o in ("lab", "R001", "R002")])
    answer = api.get(object_id="R001")
    assert (answer.status_code, answer.json()["object_id"]) == (200, "R001")
    assert len(answer.json()["intervals"]) == 4
    assert_problem(api.get(object_id="R002"), 404, "R002")
    assert api.get().json()["object_id"] == "lab"
