"""`hallwatch doctor` on what a configuration names of the grid: brokers, keys, VTNs."""

import pytest

from benchmarks._server_process import free_port
from partners.grid.probe import examine
from partners.grid.settings import GridSettings
from tests.servers.energy_partner import key_pair
from tests.servers.vtn import CLIENT, SECRET, VtnServer

pytestmark = [pytest.mark.server("mosquitto"), pytest.mark.xdist_group("mosquitto")]


async def test_what_works_is_fine_and_what_does_not_is_told_with_the_reason(mosquitto, testdata, tmp_path):
    site, acme = key_pair(tmp_path, "site"), key_pair(tmp_path, "acme")
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "wrong").write_text("wrong-secret")
    flex = {"broker": {"url": mosquitto.url}, "sign": {"key_file": site[0]}}
    flex["keys"] = [{"id": "a", "party": "acme", "key_file": acme[1]}]
    with VtnServer(testdata / "openadr") as vtn:
        good = {"name": "good", "url": vtn.url, "client_id": CLIENT, "ven_name": "v", "program": "Capacity"}
        good |= {"client_secret_file": tmp_path / "secret"}
        vens = [
            good,
            good | {"name": "no program", "program": "Price"},
            good | {"name": "wrong", "client_secret_file": tmp_path / "wrong"},
            good | {"name": "away", "url": f"http://127.0.0.1:{free_port()}"},
        ]
        looks = await examine(GridSettings(flex=flex, openadr=vens))
    told = {look.source.partition(":")[0]: look.findings[0] for look in looks}
    assert {name: (f.level, f.about) for name, f in told.items()} == {
        "grid flex": ("fine", "keys"),
        "grid good": ("fine", "reachability"),
        "grid no program": ("problem", "program"),
        "grid wrong": ("problem", "credentials"),
        "grid away": ("problem", "reachability"),
    }
    assert "targets are believed of acme" in told["grid flex"].text
    assert "it shows no program 'Price'; it shows Capacity" in told["grid no program"].text
    assert "gives no token: 401" in told["grid wrong"].text
    assert vtn.faults == []


async def test_a_broker_that_is_away_and_a_key_that_is_none_are_told(tmp_path):
    (tmp_path / "bad.key").write_text("no key")
    flex = {"broker": {"url": f"mqtt://127.0.0.1:{free_port()}"}, "sign": {"key_file": tmp_path / "bad.key"}}
    (look,) = await examine(GridSettings(flex=flex))
    assert {f.about for f in look.findings if f.level == "problem"} == {"keys", "reachability"}
