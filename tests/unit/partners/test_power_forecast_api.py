"""GET /api/v1/forecasts/power: what a partner asks and what comes back."""

import csv
import io

import jsonschema
import pytest

from domain.errors import StoreUnavailable
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
        "model", "quality", "intervals",
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
    assert answer.headers["allow"] == "GET"


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
    assert list(spec["paths"]) == [PATH]
    operation = spec["paths"][PATH]["get"]
    assert {p["name"] for p in operation["parameters"]} == {"object_id", "quantiles", "from", "to", "format"}
    assert set(operation["responses"]) == {"200", "304", "400", "401", "404", "406", "503"}
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "text/csv"}
    assert set(operation["responses"]["503"]["content"]) == {"application/problem+json"}
    assert operation["security"] == [{"API key": []}]
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
