"""Internal calls of a real service: the token comes first, bodies are bounded, what is no question gets an answer."""

import asyncio
import json
import math
import shutil

import httpx
import pytest

from domain.alert import Condition, Severity
from domain.batch import now_ms
from domain.errors import InputError
from domain.points import Point, PointRegistry
from service import web
from service.bodies import LARGEST, largest
from service.commands import incidents
from service.configuration import SHIPPED
from service.query import run_query
from service.server import Gate, Limits
from service.settings import read_configuration
from service.system import System

TOKEN = {"authorization": "Bearer of the data folder"}


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    (folder / "config").mkdir()
    shutil.copy(SHIPPED / "site.yaml", folder / "config" / "site.yaml")
    (folder / "config" / "alerts.yaml").write_text("rules: []\n")
    (folder / "config" / "hallwatch.yaml").write_text("data: ../data\n")
    made = System(read_configuration(folder / "config"))
    yield made
    asyncio.run(made.close())


@pytest.fixture(scope="module")
def app(system):
    return web.build(system, TOKEN["authorization"].removeprefix("Bearer "), Gate(Limits()))[0]


@pytest.fixture
async def client(app):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hall") as made:
        yield made


class Body:
    """A body that tells how much of it was asked for."""

    def __init__(self, parts: int, part: bytes = b"x" * 65536) -> None:
        self._parts = parts
        self._part = part
        self.taken = 0

    async def __aiter__(self):
        for _ in range(self._parts):
            self.taken += len(self._part)
            yield self._part


@pytest.mark.parametrize("path", ["what-if", "replay", "store/export", "store/nothing"])
async def test_nothing_of_a_body_is_read_before_the_token_is_seen(client, path):
    body = Body(500)
    answer = await client.post(f"/internal/v1/{path}", content=body)
    assert answer.status_code == 401
    assert body.taken == 0


@pytest.mark.parametrize(
    "path", ["/internal/v1/what-if", "/internal/v1/store/export", "/login", "/api/v1/nothing"]
)
async def test_a_body_ends_where_its_bound_is(client, path):
    body = Body(500)
    answer = await client.post(path, content=body, headers=TOKEN)
    assert answer.status_code in (401, 404, 413)
    assert body.taken <= 2 * largest(path) + 65536
    told = await client.post(path, content=b"x", headers=TOKEN | {"content-length": str(3 * 1024**3)})
    assert told.status_code == 413


async def test_a_negative_or_endless_length_is_refused(client):
    for length in ("-1", "9" * 5000, "1e3", "0x10"):
        answer = await client.post("/login", content=b"x", headers={"content-length": length})
        assert answer.status_code == 413


def test_every_path_has_a_bound():
    assert LARGEST[-1][0] == "/"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"lost":' + b"[" * 100_000,
        b"",
        b"null",
        b"\xff\xfe",
        b'{"jobs": [{"racks": 1, "start": 1e300}]}',
        b'{"limit": NaN, "x": 1}',
        json.dumps({"lost": ["x"] * 20_000}).encode(),
        json.dumps({"jobs": [{}] * 20_000}).encode(),
    ],
)
async def test_what_is_no_question_is_told_so_in_few_words(client, body):
    for path in ("what-if", "store/export"):
        answer = await client.post(f"/internal/v1/{path}", content=body, headers=TOKEN)
        assert answer.status_code == 400
        assert 5 < len(answer.json()["detail"]) < 3000


async def test_the_state_after_work_is_accepted_and_who_said_so_is_kept(client, system):
    told = {"object": "R001", "who": "ann", "note": "valve replaced"}
    assert (await client.post("/internal/v1/accept", json=told, headers=TOKEN)).status_code == 200
    for wrong in (
        told | {"object": "R999"},
        told | {"x": 1},
        {"object": "R001"},
        told | {"note": "x" * 3000},
    ):
        assert (await client.post("/internal/v1/accept", json=wrong, headers=TOKEN)).status_code == 400
    noted = [(e.who, e.detail) for e in system.records.audit_trail() if e.what == "accepted present state"]
    assert noted == [("ann", "R001 valve replaced")]


async def test_a_store_job_takes_its_own_arguments_only(client):
    wrong = [{"folder": "x"}, {"store": 1}, {"folder": 1, "start": 0, "end": 1, "form": "csv"}]
    for arguments in wrong:
        answer = await client.post("/internal/v1/store/export", json=arguments, headers=TOKEN)
        assert answer.status_code == 400


async def test_a_capture_is_replayed_as_it_comes(client, testdata):
    answer = await client.post(
        "/internal/v1/replay",
        params={"speed": 0},
        content=Body(1, b"offset,topic,payload\n0s,nowhere,{}\n"),
        headers=TOKEN,
    )
    assert answer.status_code == 200
    assert answer.json()["topics"] == 1


async def test_the_health_tells_of_the_web_server(client):
    told = (await client.get("/internal/v1/health", headers=TOKEN)).json()
    assert told["web"]["connections"] == 0


def test_a_query_of_too_many_points_is_refused():
    registry = PointRegistry(Point(f"a/b/{n}", "Rack", "RackPower", f"R{n}", unit="W") for n in range(501))
    with pytest.raises(InputError, match="501 points; narrow it to at most 500"):
        run_query(registry, None, "a/*", 0, 1)


async def test_incidents_are_told_with_what_they_explain(client, system, capsys):
    lead, member = system.records.open_alerts(
        [Condition(rule, "FEED-A", Severity.CRITICAL, rule, math.nan, 0, "", 1) for rule in ("lost", "warm")],
        now_ms(),
    )
    system.records.keep_incidents([lead.id], {member.id: lead.id}, now_ms())
    assert (await client.get("/internal/v1/incidents")).status_code == 401
    (told,) = (await client.get("/internal/v1/incidents", headers=TOKEN)).json()["incidents"]
    assert (told["lead"]["condition"]["rule"], told["members"], told["active"]) == ("lost", {"warm": 1}, 1)

    folder = system.configuration.folder
    incidents.list_(json=True, config=folder)
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["members"] == {"warm": 1}
    incidents.list_(config=folder)
    assert "1 warm" in capsys.readouterr().out
    incidents.show(lead.id, json=True, config=folder)
    assert json.loads(capsys.readouterr().out)["alerts"][0]["id"] == member.id
    with pytest.raises(InputError, match="leads no incident"):
        incidents.show(member.id, config=folder)


async def test_alarms_are_listed_and_kept_quiet_by_internal_calls_and_who_did_it_is_kept(client, system):
    leak = Condition("leak", "R001", Severity.CRITICAL, "R001: Leak", 1.0, 0.0, "", 1)
    (alert,) = system.records.open_alerts([leak], now_ms())

    async def do(act, **body):
        return await client.post(f"/internal/v1/alerts/{act}", json={"who": "mei", **body}, headers=TOKEN)

    assert (await client.post("/internal/v1/alerts/shelve", json={"who": "mei"})).status_code == 401
    assert (await do("shelve", id=alert.id, hours=1)).json() == {
        "detail": "say why: whoever looks next wants to know"
    }
    assert (await do("shelve", id=alert.id, hours=1, reason="hoses")).status_code == 200
    done = await do("out-of-service", object="P01-CDU1", reason="pump is away")
    assert done.json() == {"done": "* on P01-CDU1: out of service"}
    told = (await client.get("/internal/v1/alerts/suppressed", headers=TOKEN)).json()
    assert [(s["kind"], s["who"], s["reason"]) for s in told] == [
        ("shelved", "mei", "hoses"),
        ("out of service", "mei", "pump is away"),
    ]
    assert (await do("resume", id=told[1]["id"])).status_code == 200
    assert (await do("acknowledge", id=alert.id, reason="going")).status_code == 200
    told = (await client.get("/internal/v1/alerts", headers=TOKEN)).json()
    (listed,) = [one for one in told if one["id"] == alert.id]
    assert (listed["acknowledged_by"], listed["note"]) == ("mei", "going")
    assert (await do("retire", id=alert.id, reason="rack sold")).status_code == 200
    assert (await do("dance", id=alert.id)).status_code == 400
    assert (await do("shelve", hours=1e9)).status_code == 422
    assert {e.who for e in system.records.audit_trail()} >= {"mei"}
