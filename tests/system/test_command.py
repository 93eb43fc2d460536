"""The command line as people and scripts meet it: exit codes, clear errors, JSON."""

import json
import shutil
import socket

import pytest
import typer

from domain.alert import AlertState, Condition, Severity
from service.cli import COMMANDS, app
from service.configuration import SHIPPED, load
from service.settings import AGENT_FILE, AgentFile
from storage.records import Records
from tests.servers.hallwatch import hallwatch, process

EXAMPLE = SHIPPED / "examples" / "small-site"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--version"], 0, "hallwatch"),
        (["check", "-c", "nowhere"], 2, "hallwatch.yaml: does not exist"),
        (["probe", "snmp", "127.0.0.1:1", "--timeout", "0.2", "--retries", "0"], 1, "127.0.0.1"),
    ],
)
def test_the_process_ends_with_its_exit_code_and_says_what_is_wrong(arguments, code, said):
    done = process(*arguments, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nonsense"], 2, "No such command"),
        (["query"], 2, "Missing argument"),
        (["probe", "snmp", "127.0.0.1:notaport"], 2, "is not a port"),
        (["replay", "nowhere.csv"], 2, "does not exist"),
        (["query", "x", "--data", "nowhere"], 2, "no service runs"),
        (["query", "x", "--since", "yesterday"], 2, "is not a time"),
        (["query", "x", "--agg", "average"], 2, "min, mean, max"),
        (["forecast", "--csv", "nowhere.csv", "--time", "t", "--value", "v"], 2, "does not exist"),
        (["bench", "nonsense"], 2, "there is no benchmark"),
        (["what-if", "--data", "nowhere"], 2, "no service runs"),
        (["outlook", "--data", "nowhere"], 2, "no service runs"),
    ],
)
def test_exit_codes_and_messages_tell_what_is_wrong(arguments, code, said):
    done = hallwatch(*arguments, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr


def test_the_example_site_is_fine():
    assert "4 racks" in hallwatch("check", "-c", EXAMPLE).stdout


def test_check_names_file_key_and_remedy(tmp_path):
    for file in EXAMPLE.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    site = (tmp_path / "site.yaml").read_text()
    (tmp_path / "site.yaml").write_text(site.replace("rack_limit:", "rack_limits:"))
    done = hallwatch("check", "-c", tmp_path, check=False)
    assert done.returncode == 2
    assert "site.yaml:" in done.stderr
    assert "rack_limits: is not a known key. Did you mean 'rack_limit'?" in done.stderr


def test_a_copied_example_keeps_everything_in_its_folder(tmp_path):
    copy = shutil.copytree(EXAMPLE, tmp_path / "a" / "mine")
    (tmp_path / "password").write_text("a long enough one\n")
    assert "4 racks" in hallwatch("check", "-c", copy).stdout
    hallwatch("user", "add", "ann", "--password-file", tmp_path / "password", "-c", copy)
    assert (copy / "data" / "records.sqlite").is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "password"]
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["mine"]


def test_check_finds_what_is_named_and_not_there(tmp_path):
    copy = shutil.copytree(EXAMPLE, tmp_path / "mine")
    main = copy / "hallwatch.yaml"
    main.write_text(main.read_text().replace("serves: R004}", "serves: R04, profile: apc-rpdu3}", 1))
    done = hallwatch("check", "-c", copy, check=False)
    assert done.returncode == 2
    assert "hallwatch.yaml:23: snmp.targets.6.profile: there is no profile 'apc-rpdu3'" in done.stderr
    # the broker's building system may know it
    assert "note: " in done.stdout
    assert "no file names 'R04'. Did you mean 'R004'?" in done.stdout


def test_check_understands_the_folder_of_an_agent():
    assert "tray T01 in rack R001" in hallwatch("check", "-c", EXAMPLE.parent / "tray").stdout


def test_nobody_is_added_where_no_service_looks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "password").write_text("a long enough one\n")
    done = hallwatch("user", "add", "ann", "--password-file", "password", check=False)
    assert done.returncode == 2
    assert "name the configuration with -c" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["password"]


def test_questions_to_the_service_take_the_configuration(tmp_path):
    copy = shutil.copytree(EXAMPLE, tmp_path / "mine")
    for command in ("outlook", "what-if"):
        done = hallwatch(command, "-c", copy, check=False)
        assert done.returncode == 2
        assert f"no service runs on {copy / 'data'}" in done.stderr


def test_an_export_is_taken_into_a_folder_that_is_new(tmp_path, testdata):
    capture = next((testdata / "dsx").rglob("*.csv"))
    old, moved = tmp_path / "old", tmp_path / "moved"
    hallwatch("replay", capture, "--speed", "0", "--start", "2h", "--data", old)
    hallwatch("export", moved, "--since", "4h", "--data", old)
    told = json.loads(hallwatch("import", moved, "--data", tmp_path / "new").stdout)
    assert told["points"] > 0
    found = [
        json.loads(hallwatch("query", "*/RackPower", "--since", "4h", "--json", "--data", folder).stdout)
        for folder in (old, tmp_path / "new")
    ]
    assert found[0] == found[1] != []


def test_every_command_and_option_says_what_it_does():
    silent = []
    for group, functions in COMMANDS.items():
        for name, function in functions.items():
            assert (function.__doc__ or "").strip(), name
        command = typer.main.get_command(group)
        for name, one in command.commands.items():
            for parameter in one.params:
                told = getattr(parameter, "help", None)
                if not told and parameter.name not in {"help"}:
                    silent.append(f"{name} {parameter.name}")
    assert silent == []
    assert app.info.name == "hallwatch"


def test_people_and_keys_are_made_and_taken_away_by_command(tmp_path):
    (tmp_path / "password").write_text("a long enough one\n")
    data = ["--data", tmp_path]
    hallwatch("user", "add", "ann", "--password-file", tmp_path / "password", *data)
    assert "ann" in hallwatch("user", "list", *data).stdout
    assert (
        hallwatch(
            "user", "add", "ann", "--password-file", tmp_path / "password", *data, check=False
        ).returncode
        == 2
    )
    key = hallwatch("apikey", "add", "grid partner", *data).stdout.strip()
    listed = hallwatch("apikey", "list", *data).stdout
    assert "grid partner" in listed
    assert key not in listed
    prefix = next(line.split()[0] for line in listed.splitlines() if "grid partner" in line)
    hallwatch("apikey", "revoke", prefix, *data)
    hallwatch("user", "role", "ann", "viewer", *data)
    hallwatch("user", "remove", "ann", *data)
    hallwatch("user", "restore", "ann", *data)
    told = json.loads(hallwatch("audit", "--since", "1h", "--json", *data).stdout)
    done = ["added user", "made API key", "revoked API key", "made viewer", "locked out", "let in again"]
    assert [entry["what"] for entry in reversed(told)] == done
    assert all("@" in entry["who"] for entry in told)
    assert "revoked API key" in hallwatch("audit", *data).stdout
    assert "revoked" not in hallwatch("audit", "--who", "somebody", *data).stdout


def test_what_keeps_alarms_quiet_is_made_listed_and_ended_by_command(tmp_path):
    data = ["--data", tmp_path]
    records = Records(f"sqlite:///{tmp_path}/records.sqlite")
    leak = Condition("leak", "R007", Severity.CRITICAL, "R007: Leak", 1.0, 0.0, "", 1)
    (alert,) = records.open_alerts([leak], 1)

    def alerts(*words, **more):
        return hallwatch("alerts", *words, *data, **more)

    why = ["--reason", "hose", "--who", "ann"]
    number = alerts("maintenance", "R01*", "--for", "90min", *why).stdout.split(":")[0]
    alerts("out-of-service", "P01-CDU1", "--with-below", *why)
    alerts("shelve", alert.id, "--for", "1h", *why)
    assert "12 h at most" in alerts("shelve", alert.id, "--for", "13h", *why, check=False).stderr
    told = {one["kind"]: one for one in json.loads(alerts("suppressed", "--json").stdout)}
    assert set(told) == {"maintenance", "out of service", "shelved"}
    assert (told["maintenance"]["object_id"], told["maintenance"]["who"]) == ("R01*", "ann")
    assert (told["shelved"]["rule"], told["shelved"]["object_id"]) == ("leak", "R007")
    alerts("resume", number)
    assert "R01*" not in alerts("suppressed").stdout
    assert "R01*" in alerts("suppressed", "--since", "1h").stdout
    again = alerts("resume", number, check=False)
    assert again.returncode == 2
    assert "there is no suppression" in again.stderr
    told = [entry["what"] for entry in json.loads(hallwatch("audit", "--json", *data).stdout)]
    assert {"shelved begun", "maintenance ended"} < set(told)


def test_alerts_are_taken_noted_and_retired_by_command(tmp_path):
    data = ["--data", tmp_path]
    records = Records(f"sqlite:///{tmp_path}/records.sqlite")
    conditions = [
        Condition(rule, rack, Severity.CRITICAL, f"{rack}: {rule}", 1.0, 0.0, "", 1)
        for rule, rack in (("leak", "R007"), ("hot", "R008"), ("gone-rule", "R009"))
    ]
    leak, hot, gone = (a.id for a in records.open_alerts(conditions, 1))
    records.return_alerts([hot], 2)
    assert "returned" in hallwatch("alerts", "list", *data).stdout
    assert "1 alerts that were over" in hallwatch("alerts", "acknowledge", "--returned", *data).stdout
    hallwatch("alerts", "acknowledge", leak, "--note", "going", *data)
    hallwatch("alerts", "comment", leak, "valve 3 sticks", *data)
    hallwatch("alerts", "retire", "--rule", "gone-rule", "--reason", "rule deleted", *data)
    assert records.alert(gone).state is AlertState.CLEARED
    assert [a.id for a in records.active_alerts()] == [leak]
    notes = json.loads(hallwatch("alerts", "show", leak, "--json", *data).stdout)["notes"]
    assert [n["note"] for n in notes] == ["going", "valve 3 sticks"]
    told = json.loads(hallwatch("alerts", "report", "--since", "1970-01-01", "--json", *data).stdout)
    assert (told["annunciated"], told["acknowledged"]) == (3, pytest.approx(2 / 3))
    lines = hallwatch("alerts", "report", "--since", "1970-01-01", "--csv", *data).stdout.splitlines()
    assert "annunciated alarms,3," in lines
    nothing = hallwatch("alerts", "retire", "--object", "R999", "--reason", "gone", *data, check=False)
    assert nothing.returncode == 2


def test_detect_scores_a_multivariate_series_offline(tmp_path):
    rows = [
        f"2026-01-01T00:{i // 60:02d}:{i % 60:02d},{20 + (i % 7) * 0.1:.2f},{5 + (i % 5) * 0.01:.3f}"
        for i in range(600)
    ]
    head = "time,flow,pressure"
    (tmp_path / "train.csv").write_text("\n".join([head, *rows[:400]]))
    broken = [r if i < 100 else r.rsplit(",", 2)[0] + ",2.0,9.0" for i, r in enumerate(rows[400:])]
    (tmp_path / "score.csv").write_text("\n".join([head, *broken]))
    told = json.loads(
        hallwatch(
            "detect", "--train", tmp_path / "train.csv", "--score", tmp_path / "score.csv", "--json"
        ).stdout
    )
    labels = [row["label"] for row in told["rows"]]
    assert len(labels) == 200
    assert sum(labels[130:]) > 60
    assert sum(labels[:90]) < 10
    last = told["episodes"][-1]
    assert "2026-01-01" in last["start"] < last["end"]
    assert last["signals"]
    assert last["peak"] == max(row["score"] for row in told["rows"])


def test_channels_are_tried_without_telling_anybody(tmp_path):
    shutil.copy(SHIPPED / "site.yaml", tmp_path)
    (tmp_path / "hallwatch.yaml").write_text(f"data: {tmp_path}/data\n")
    channel = "channels: {hook: {kind: webhook, url: 'http://127.0.0.1:%d/x'}}\nrules: []\n"
    with socket.create_server(("127.0.0.1", 0)) as there:
        (tmp_path / "alerts.yaml").write_text(channel % there.getsockname()[1])
        assert json.loads(hallwatch("probe", "channels", "-c", tmp_path, "--json").stdout)[0]["ok"]
    gone = hallwatch("probe", "channels", "-c", tmp_path, check=False)
    assert (gone.returncode, "hook" in gone.stdout) == (1, True)


def test_the_example_tray_is_a_valid_agent_file():
    assert load(SHIPPED / "examples" / "tray" / AGENT_FILE, AgentFile).rack == "R001"
