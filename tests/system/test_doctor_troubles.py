"""What stands in the way of a configuration, each on a real server: `hallwatch doctor` names it, and what to do."""

import asyncio
import contextlib
import hashlib
import importlib.util
import json
import os
import sqlite3
import subprocess
import time
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import paho.mqtt.client as mqtt
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from benchmarks._server_process import free_port, listening
from collectors.snmp.probe import HR_SYSTEM_DATE
from service.doctor import examine
from service.settings import read_configuration
from tests.servers.hallwatch import SITE, eventually, hallwatch, write_configuration
from tests.servers.mosquitto import Mosquitto
from tests.servers.snmpd import Snmpd
from tests.system.snmp_agent import V2C, agent, target, values

pytestmark = [
    pytest.mark.server("mosquitto"),
    pytest.mark.server("snmpd"),
    pytest.mark.xdist_group("doctor"),
]
ALERTS = {"rules": [], "routes": []}
VERSIONS = ("user_version", "application_id", "schema_version", "journal_mode")
PLUGIN = "/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so"


def rights(**granted):
    """Return the file of mosquitto's dynamic security plugin: users, each with what it may subscribe to."""
    salt, iterations = b"twelve bytes", 101
    key = hashlib.pbkdf2_hmac("sha512", b"s3cret", salt, iterations)
    encoded = {
        "password": b64encode(key).decode(),
        "salt": b64encode(salt).decode(),
        "iterations": iterations,
    }
    access = dict.fromkeys(("publishClientSend", "subscribe"), False)
    return {
        "defaultACLAccess": access | dict.fromkeys(("publishClientReceive", "unsubscribe"), True),
        "clients": [{"username": name, **encoded, "roles": [{"rolename": name}]} for name in granted],
        "roles": [
            {
                "rolename": name,
                "acls": [{"acltype": "subscribePattern", "topic": topic, "allow": True} for topic in topics],
            }
            for name, topics in granted.items()
        ],
    }


def made(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def looks(tmp_path_factory):
    """Everything that can be refused, in one configuration; what doctor finds of each, by its name."""
    folder = tmp_path_factory.mktemp("troubles")
    config = folder / "config"
    config.mkdir()
    (config / "wrong").write_text("not the secret")
    (config / "right").write_text("s3cret")
    (config / "auth").write_text("authpass1")
    (folder / "rights.json").write_text(json.dumps(rights(half=["BMS/v1/+/Metadata/#"], none=[])))
    (folder / "acl").write_text("user somebody\ntopic read BMS/#\n")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    made(folder, "req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=CA")
    made(folder, "req", *new, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=broker")
    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
    sign = ["x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    for name, days in (("valid", "2"), ("expired", "-1")):
        made(folder, *sign, "-extfile", "ext", "-days", days, "-out", f"{name}.pem")

    def tls(name):
        port = free_port()
        lines = f"cafile {folder}/ca.pem\ncertfile {folder}/{name}.pem\nkeyfile {folder}/server.key"
        return port, Mosquitto(folder / name, f"listener {port} 127.0.0.1\n{lines}")

    def broker(name, url, **more):
        return {"name": name, "broker": {"url": url, **more}}

    def login(name, user, secret):
        return broker(name, guarded.url, username=user, password_file=secret)

    guard = f"allow_anonymous false\nplugin {PLUGIN}\nplugin_opt_config_file {folder / 'rights.json'}"
    valid_port, valid = tls("valid")
    expired_port, expired = tls("expired")
    mail = Controller(
        object(),
        hostname="127.0.0.1",
        port=free_port(),
        authenticator=lambda *_: AuthResult(success=False, handled=False),
        auth_require_tls=False,
    )
    users = ("watch SHA authpass1 AES privpass1",)
    database = free_port()
    with (
        Mosquitto(folder / "guarded", guard) as guarded,
        Mosquitto(folder / "silent", f"acl_file {folder / 'acl'}") as silent,
        valid,
        expired,
        Snmpd(folder / "snmpd", users=users) as snmpd,
    ):
        mail.start()
        eventually(lambda: listening(valid_port) and listening(expired_port), every=0.05)
        here = {"host": snmpd.host, "port": snmpd.port}
        v3 = {"version": "3", "user": "watch", "auth": "SHA", "priv": "AES"}
        settings = {
            "records": f"postgresql+psycopg://hallwatch:s3cret@127.0.0.1:{database}/hallwatch",
            "mqtt": [
                login("wrong-password", "half", "wrong"),
                login("no-rights", "none", "right"),
                login("half-rights", "half", "right"),
                broker("no-login", guarded.url),
                broker("silent", silent.url),
                broker("unknown-ca", f"mqtts://127.0.0.1:{valid_port}"),
                broker("expired", f"mqtts://127.0.0.1:{expired_port}", ca_file=str(folder / "ca.pem")),
                broker("other-name", f"mqtts://localhost:{valid_port}", ca_file=str(folder / "ca.pem")),
                broker("nothing-there", f"mqtt://127.0.0.1:{database}"),
                broker("no-such-name", "mqtt://broker.invalid:1883"),
            ],
            "snmp": {
                "polling": {"timeout": 2.0, "retries": 0},
                "targets": [
                    {**here, "object_id": "community", "credentials": {"community_file": "wrong"}},
                    {
                        **here,
                        "object_id": "key",
                        "credentials": {**v3, "auth_file": "wrong", "priv_file": "wrong"},
                    },
                    {
                        **here,
                        "object_id": "user",
                        "credentials": {**v3, "user": "nobody", "auth_file": "wrong", "priv_file": "wrong"},
                    },
                    {
                        **here,
                        "object_id": "privacy",
                        "credentials": {**v3, "auth_file": "auth", "priv_file": "wrong"},
                    },
                ],
            },
        }
        channel = {
            "kind": "smtp",
            "host": "127.0.0.1",
            "port": mail.port,
            "security": "none",
            "username": "hallwatch",
            "password_file": "wrong",
            "sender": "hallwatch@example.org",
            "recipients": ["oncall@example.org"],
        }
        write_configuration(config, settings, SITE, {**ALERTS, "channels": {"mail": channel}})
        done = hallwatch("doctor", "-c", config, "--for", "1", "--json", check=False)
        mail.stop()
    assert done.returncode == 1, done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    assert "not the secret" not in done.stdout + done.stderr
    return {look["source"].split(": ")[0]: look for look in json.loads(done.stdout)["sources"]}


@pytest.mark.parametrize(
    ("source", "about", "said"),
    [
        ("mqtt wrong-password", "credentials", "are username and password right?"),
        ("mqtt no-login", "credentials", "it wants username, and password_file or password_env"),
        ("mqtt no-rights", "rights", "give this user the right to read it"),
        ("mqtt half-rights", "rights", "the broker refuses BMS/v1/+/Value/# (Not authorized)"),
        ("mqtt unknown-ca", "reachability", "name its CA in ca_file"),
        ("mqtt expired", "reachability", "(certificate has expired): it must be renewed at the broker"),
        ("mqtt other-name", "reachability", "write the host as the certificate names it"),
        ("mqtt nothing-there", "reachability", "is the broker running, and is this its port?"),
        ("mqtt no-such-name", "reachability", "is the name right?"),
        ("snmp community", "reachability", "a wrong community"),
        ("snmp key", "credentials", "does the device know this user, with these protocols and keys?"),
        ("snmp user", "credentials", "does the device know this user, with these protocols and keys?"),
        ("channel mail", "credentials", "are username and password right?"),
    ],
)
def test_what_is_refused_is_told_with_what_to_do(looks, source, about, said):
    problems = [(f["about"], f["text"]) for f in looks[source]["findings"] if f["level"] == "problem"]
    assert any(named == about and said in text for named, text in problems), problems
    assert not looks[source]["ok"]


def test_a_broker_that_grants_some_subscriptions_names_the_others(looks):
    refused = [f["text"] for f in looks["mqtt half-rights"]["findings"] if f["about"] == "rights"]
    assert not any("Metadata" in text for text in refused)
    assert len(refused) == 3


def test_a_broker_that_grants_all_and_hands_on_nothing_is_a_reason_to_look_at_its_rights(looks):
    (note,) = [f for f in looks["mqtt silent"]["findings"] if f["level"] == "note"]
    assert "whether this user may read" in note["text"]


def test_a_database_of_the_records_that_is_away_is_told(looks):
    (problem,) = [f["text"] for f in looks["records"]["findings"] if f["level"] == "problem"]
    driver = importlib.util.find_spec("psycopg")
    assert ("is the database running" if driver else "install its driver") in problem


def test_looking_at_the_records_changes_nothing_in_them(tmp_path):
    config = write_configuration(tmp_path / "config", {}, SITE, ALERTS)
    hallwatch("alerts", "maintenance", "R01*", "--for", "1h", "--reason", "hoses", "-c", config)
    file = tmp_path / "data" / "records.sqlite"
    before = content(file)
    assert any("hoses" in line for line in before)
    (fine,) = asyncio.run(findings(config, "records"))
    assert (fine.level, fine.text) == ("fine", "reached")
    assert content(file) == before


def content(file):
    """Return all that a database says; its bytes change too when its log is moved into it, whenever that may be."""
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        versions = [f"{name} {db.execute(f'PRAGMA {name}').fetchone()}" for name in VERSIONS]
        return [*versions, *db.iterdump()]


async def findings(config, name):
    looks = await examine(read_configuration(config), 2)
    return next(look for look in looks if look.source.startswith(name)).findings


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted, which root alone may do")
def test_a_disk_that_is_nearly_full_is_told(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(small)]
    if subprocess.run(mounted, capture_output=True).returncode:
        pytest.skip("nothing may be mounted here")
    try:
        config = write_configuration(tmp_path / "config", {"data": str(small / "data")}, SITE, ALERTS)
        (problem,) = [f for f in asyncio.run(findings(config, "this machine")) if f.level == "problem"]
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert problem.about == "disk"
    assert "0.1 GiB are free" in problem.text
    assert "make room" in problem.text


class Building:
    """A building system whose clock is `ahead` of ours, s."""

    def __init__(self, port, ahead):
        self.ahead = ahead
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    async def tell(self):
        tag = "PowerMeter/ActivePower/meter"
        told = {"objectType": "PowerMeter", "pointType": "ActivePower", "engUnit": "kW", "objectId": "M"}
        self.client.publish(f"BMS/v1/PUB/Metadata/{tag}", json.dumps(told), qos=1, retain=True)
        while True:
            at = int((time.time() + self.ahead) * 1000)
            value = json.dumps({"value": 20.0, "timestamp": at, "quality": 1})
            self.client.publish(f"BMS/v1/PUB/Value/{tag}", value, qos=1)
            await asyncio.sleep(0.2)


def date_and_time(at):
    """Return a time as SNMPv2-TC's DateAndTime."""
    return V2C.OctetString(
        at.year.to_bytes(2, "big") + bytes([at.month, at.day, at.hour, at.minute, at.second, 0]) + b"+\0\0"
    )


@pytest.mark.parametrize(
    ("theirs", "device", "ours"),
    [(420, 420, "ahead of this machine's"), (-420, -420, "behind this machine's"), (420, 0, "")],
    ids=["ours behind", "ours ahead", "theirs ahead"],
)
async def test_where_all_clocks_differ_alike_it_is_our_own(tmp_path, mosquitto, theirs, device, ours):
    clock = date_and_time(datetime.now(UTC) + timedelta(seconds=device))
    building = Building(mosquitto.port, theirs)
    telling = asyncio.create_task(building.tell())
    async with agent(values(**{HR_SYSTEM_DATE: clock})) as a:
        config = write_configuration(
            tmp_path / "config",
            {
                "mqtt": [{"name": "bms", "broker": {"url": mosquitto.url}}],
                "snmp": {"targets": [target(a)]},
            },
            SITE,
            ALERTS,
        )
        looks = {look.source.split(": ")[0]: look for look in await examine(read_configuration(config), 2)}
    telling.cancel()
    building.client.disconnect()
    building.client.loop_stop()
    own = [f for f in looks["this machine"].findings if f.about == "clock"]
    assert [ours in f.text and f.level == "problem" for f in own] == ([True] if ours else [])
    off = [f.text for f in looks["mqtt bms"].findings if f.about in ("clock_off", "absurd_time")]
    assert any(f"{abs(theirs) - 1}" in text or f"{abs(theirs)}" in text for text in off)
