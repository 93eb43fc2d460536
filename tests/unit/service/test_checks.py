"""What `hallwatch check` finds without the network: each thing that a configuration names and that is not there."""

import json
import shutil

import pytest
import yaml

from domain.errors import ConfigurationError
from service.checks import check_agent, check_configuration
from service.configuration import SHIPPED
from service.settings import read_configuration

EXAMPLES = SHIPPED / "examples"


@pytest.fixture
def folder(tmp_path):
    """Return a copy of the example, as somebody makes it who begins."""
    return shutil.copytree(EXAMPLES / "small-site", tmp_path / "mine")


def change(folder, **settings):
    file = folder / "hallwatch.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **settings}, sort_keys=False))
    return check_configuration(read_configuration(folder))


def told(checked):
    return [str(problem) for problem in checked.problems]


def device(**settings):
    return {"targets": [{"host": "10.0.0.1", "object_id": "PDU-1", "serves": "R001", **settings}]}


def test_the_examples_are_fine(folder):
    checked = check_configuration(read_configuration(folder))
    assert (checked.problems, checked.doubts) == ([], [])
    assert check_agent(EXAMPLES / "tray")[1] == []


def test_the_data_of_a_copied_example_lies_in_the_copy(folder):
    assert folder in read_configuration(folder).data.parents


def test_the_example_of_demand_response_is_fine_but_for_keys_that_are_not_there_yet(folder):
    grid = yaml.safe_load((EXAMPLES / "grid" / "hallwatch.yaml").read_text())["grid"]
    grid["flex"]["feeds"] = {"main": read_configuration(folder).site.id}
    missing = {problem.split(":")[2].strip() for problem in told(change(folder, grid=grid))}
    assert missing == {
        "grid.flex.broker.password_file",
        "grid.flex.keys.0.key_file",
        "grid.flex.sign.key_file",
    }


FAULTS = {
    "a webhook of a partner without its secret": (
        {
            "partners": {
                "contracts": [
                    {
                        "name": "Grid",
                        "webhooks": [{"url": "http://grid/hook", "secret_env": "NO_SUCH_SECRET"}],
                    }
                ]
            }
        },
        "partners.contracts.0.webhooks.0.secret_env",
        "NO_SUCH_SECRET",
    ),
    "what the grid may bound": (
        {
            "grid": {
                "openadr": [
                    {"url": "http://vtn", "client_id": "c", "ven_name": "v", "nodes": {"east": "FEED-X"}}
                ]
            }
        },
        "grid.openadr.0.nodes.east: the site has no node 'FEED-X'",
        "Did you mean 'FEED-B'?",
    ),
    "what partners may see": (
        {"partners": {"published": ["R00*", "FEED-X"]}},
        "partners.published.1: 'FEED-X' names no node of the site",
        "FEED-*",
    ),
    "profile": (
        {"snmp": device(profile="apc-rdpu2")},
        "snmp.targets.0.profile: there is no profile",
        "apc-rpdu2",
    ),
    "a port in the host": (
        {"snmp": device(host="10.0.0.1:1161")},
        "snmp.targets.0.host: '10.0.0.1:1161' is no host",
        "Write host: 10.0.0.1, port: 1161.",
    ),
    "community": (
        {"snmp": device(credentials={"community_file": "secrets/community"})},
        "snmp.targets.0.credentials.community_file:",
        "mine/secrets/community does not exist",
    ),
    "v3 secrets": (
        {"snmp": {"credentials": {"version": "3", "user": "u", "auth": "SHA", "auth_env": "HW_NOT_THERE"}}},
        "snmp.credentials.auth_env: the environment has no HW_NOT_THERE",
        "auth_file",
    ),
    "broker's password": (
        {"mqtt": [{"broker": {"url": "mqtt://u@h", "password_file": "broker-password"}}]},
        "mqtt.0.broker.password_file:",
        "does not exist",
    ),
    "password without user": (
        {"mqtt": [{"broker": {"url": "mqtt://h", "password_file": "site.yaml"}}]},
        "mqtt.0.broker: names a password but no user",
        "Add username",
    ),
    "CA": (
        {"mqtt": [{"broker": {"url": "mqtts://h", "ca_file": "site.yaml"}}]},
        "mqtt.0.broker.ca_file:",
        "is no certificate",
    ),
    "key": (
        {"mqtt": [{"broker": {"url": "mqtts://h", "cert_file": "site.yaml", "key_file": "alerts.yaml"}}]},
        "mqtt.0.broker.cert_file:",
        "do not go together",
    ),
    "two sessions": (
        {
            "mqtt": [{"broker": {"url": "mqtt://h", "client_id": "hw"}}],
            "publish": {"broker": {"url": "mqtt://h:1883", "client_id": "hw"}},
        },
        "publish.broker.client_id: 'hw' is used twice",
        "Give each its own",
    ),
    "mapping": (
        {"prometheus": [{"mapping": "dcgm-exportr"}]},
        "prometheus.0.mapping: there is no mapping",
        "'dcgm-exporter'",
    ),
    "rack of an exporter": (
        {"prometheus": [{"targets": [{"url": "http://n1:9400/metrics", "rack": "R01", "tray": "T1"}]}]},
        "prometheus.0.targets.0.rack: there is no rack 'R01'",
        "Did you mean 'R001'",
    ),
    "discovery": (
        {"prometheus": [{"files": ["nodes.json"]}]},
        "prometheus.0.files:",
        "mine/nodes.json does not exist",
    ),
    "schedule": (
        {"schedule": [{"name": "plan", "file": "plan.yaml"}]},
        "schedule.0.file:",
        "mine/plan.yaml does not exist",
    ),
    "devices": ({"devices": "profiles"}, "devices:", "mine/profiles is no folder"),
    "InfluxDB": (
        {"storage": {"kind": "influxdb", "influxdb": {"token_file": "token"}}},
        "storage.influxdb.token_file:",
        "mine/token does not exist",
    ),
}


@pytest.mark.parametrize(("settings", "where", "said"), FAULTS.values(), ids=FAULTS)
def test_what_is_named_and_not_there_is_told_with_file_line_key_and_remedy(folder, settings, where, said):
    (problem,) = told(change(folder, **settings))
    assert problem.startswith(f"{folder / 'hallwatch.yaml'}:")
    assert problem.split(":")[1].isdigit()
    assert where in problem
    assert said in problem


def test_what_a_device_serves_must_be_named_somewhere(folder):
    checked = change(folder, mqtt=[], snmp=device(serves="R0001", associate="P1"))
    serves, associate = told(checked)
    assert "snmp.targets.0.serves: no file names 'R0001'. Did you mean 'R001'?" in serves
    assert "snmp.targets.0.associate: no file names 'P1'. Did you mean 'P01'?" in associate


def test_with_a_building_system_it_may_be_that_which_names_it(folder):
    checked = change(folder, snmp=device(serves="BUSWAY-7"))
    assert checked.problems == []
    assert ["no file names 'BUSWAY-7'" in str(doubt) for doubt in checked.doubts] == [True]


def test_a_power_without_its_unit_is_doubtful(folder):
    file = folder / "site.yaml"
    text = file.read_text()
    file.write_text(text.replace("limit: 600 kW", "limit: 600", 1).replace("limit: 650 kW", "limit: 650", 1))
    checked = check_configuration(read_configuration(folder))
    assert checked.problems == []
    assert [str(doubt) for doubt in checked.doubts] == [
        f"{file}:7: limit: 600 W is little. If its unit is missing, write '600 kW'.",
        f"{file}:26: nodes.0.limit: 650 W is little. If its unit is missing, write '650 kW'.",
    ]


def test_a_configuration_without_any_source_is_doubtful(folder):
    checked = change(folder, mqtt=[], snmp=None)
    assert checked.problems == []
    assert ["names no source of readings" in str(doubt) for doubt in checked.doubts] == [True]


def test_everything_that_is_wrong_is_told_at_once(folder):
    settings = {}
    for key in ("profile", "mapping", "schedule"):
        settings |= FAULTS[key][0]
    assert len(told(change(folder, **settings))) == 3


def test_channels_are_looked_at_in_their_own_file(folder):
    file = folder / "alerts.yaml"
    alerts = yaml.safe_load(file.read_text())
    mail = {"kind": "smtp", "host": "h", "sender": "a@b", "recipients": ["c@d"], "username": "u"}
    alerts["channels"] = {"mail": {**mail, "password_file": "mail-password", "ca_file": "nowhere.pem"}}
    file.write_text(yaml.safe_dump(alerts))
    ca, password = told(check_configuration(read_configuration(folder)))
    assert "alerts.yaml:" in ca
    assert "channels.mail.ca_file" in ca
    assert "mine/mail-password does not exist" in password


def test_an_entry_of_a_schedule_that_would_be_left_out_is_told(folder):
    work = {
        "name": "a",
        "racks": ["R1"],
        "start": "2026-07-01T00:00Z",
        "end": "2026-07-02T00:00Z",
        "power": 1,
    }
    (folder / "plan.yaml").write_text(json.dumps([work]))
    (problem,) = told(change(folder, schedule=[{"name": "plan", "file": "plan.yaml"}]))
    assert "plan.yaml: a: " in problem


def test_files_are_those_beside_the_configuration_wherever_it_is_called_from(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (folder / "community").write_text("secret")
    (folder / "profiles").mkdir()
    settings = {
        "devices": "profiles",
        "snmp": device(credentials={"community_file": "community"}),
        "mqtt": [{"data": "parked"}],
        "storage": {"path": "store"},
    }
    checked = change(folder, **settings)
    assert checked.problems == []
    read = read_configuration(folder)
    assert read.settings.snmp.targets[0].credentials.secrets().community == "secret"
    assert read.settings.mqtt[0].data == folder / "parked"
    assert read.storage.path == folder / "store"


def test_records_beside_the_configuration_are_named_so(folder):
    change(folder, records="sqlite:///people.sqlite")
    assert read_configuration(folder).records_url == f"sqlite:///{folder / 'people.sqlite'}"


def test_an_agent_s_folder_is_understood(folder, tmp_path):
    agent = {
        "rack": "R001",
        "tray": "T01",
        "broker": {"url": "mqtts://u@h", "password_file": "p"},
        "spool": "spool",
    }
    (tmp_path / "agent.yaml").write_text(yaml.safe_dump(agent))
    settings, (problem,) = check_agent(tmp_path)
    assert settings.spool == tmp_path / "spool"
    assert "broker.password_file" in str(problem)
    shutil.copy(tmp_path / "agent.yaml", folder)
    assert "agent.yaml:" in told(check_configuration(read_configuration(folder)))[0]


def test_two_sources_of_one_name_would_take_each_other_s_place(folder):
    with pytest.raises(ConfigurationError, match="2 are called 'bms': give each a name of its own"):
        change(folder, mqtt=[{}, {}])


def test_hours_in_which_nobody_is_on_call_are_named(folder):
    office = {
        "people": ["mei"],
        "start": "2026-01-05",
        "only": [{"days": "mon-fri", "from": "09:00", "to": "18:00"}],
    }
    on_call = {
        "people": {"mei": {"reach": ["mail"]}},
        "schedules": {"primary": {"timezone": "Europe/Berlin", "layers": [office]}},
    }
    mail = {"kind": "smtp", "host": "127.0.0.1", "sender": "a@b.example", "recipients": ["mei@b.example"]}
    alerts = folder / "alerts.yaml"
    whole = yaml.safe_load(alerts.read_text()) | {"channels": {"mail": mail}}

    def check(**more):
        alerts.write_text(yaml.safe_dump(whole | {"on_call": on_call | more}))
        return check_configuration(read_configuration(folder))

    (problem,) = told(check())
    assert "on_call.schedules.primary: nobody is on call by primary from " in problem
    assert "within 92 days" in problem
    assert "CE" in problem  # by the clocks of the schedule
    assert "fallback" in problem
    stood_in_for = check(fallback=["mail"])
    assert stood_in_for.problems == []
    assert any("meanwhile mail is told" in str(doubt) for doubt in stood_in_for.doubts)
    del office["only"]
    assert not any("on_call" in str(doubt) for doubt in check().doubts)
