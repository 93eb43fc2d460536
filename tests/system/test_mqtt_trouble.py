"""What stands between us and a broker is named, with what to do: ids, rights, TLS, certificates."""

import asyncio
import json
import subprocess
import sys

import pytest

from benchmarks._server_process import listening
from collectors.mqtt.collector import MqttCollector
from collectors.mqtt.connection import Connection, connected
from collectors.mqtt.probe import probe
from collectors.mqtt.settings import BrokerSettings, MqttSettings
from domain.errors import SourceError, SourceRefused
from domain.points import PointRegistry
from tests.servers.hallwatch import hallwatch
from tests.servers.mosquitto import Mosquitto

pytestmark = [pytest.mark.server("mosquitto"), pytest.mark.xdist_group("mosquitto")]


async def until(condition, timeout=60):
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def settings(url, **changes):
    return BrokerSettings(**({"url": url, "client_id": "hallwatch-1", "retry_max": 0.3} | changes))


@pytest.fixture
def refusing(testdata, free_port):
    """A broker that grants no subscription."""
    command = [sys.executable, str(testdata / "cases" / "mqtt" / "fakebroker.py"), str(free_port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not listening(free_port):
        assert process.poll() is None
    yield f"mqtt://127.0.0.1:{free_port}"
    process.kill()
    process.wait()


@pytest.mark.parametrize(("protocol", "word"), [("5", "Not authorized"), ("3.1.1", "Unspecified error")])
async def test_a_refused_subscription_is_told(refusing, protocol, word):
    async def sink(_batch):
        raise AssertionError

    reach = settings(refusing, protocol=protocol)
    collector = MqttCollector(MqttSettings(broker=reach), PointRegistry(), sink)
    running = asyncio.create_task(collector.run())
    await until(lambda: len(collector.stats()["subscriptions_refused"]) == 4)
    stats = collector.stats()
    running.cancel()
    await asyncio.wait([running])
    assert stats["subscriptions_refused"]["BMS/v1/+/Value/#"] == word
    assert stats["error"].startswith("the broker refuses the subscription to BMS/v1/+/Metadata/#")
    assert "give this user the right to read it" in stats["error"]


async def test_probe_fails_where_the_broker_grants_nothing(refusing):
    with pytest.raises(SourceRefused, match="refuses the subscription"):
        await asyncio.to_thread(probe, refusing, 0.2)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_two_clients_with_one_id_are_named_as_the_reason(mosquitto, protocol):
    said = "lost again and again"
    both = [Connection(settings(mosquitto.url, protocol=protocol), None, ["a"]) for _ in range(2)]
    for connection in both:
        connection.start()
    try:
        told = set()
        await until(lambda: told.update(c.state.error for c in both) or any(said in t for t in told))
        assert any("'hallwatch-1'" in text for text in told if said in text)
    finally:
        for connection in both:
            await asyncio.to_thread(connection.stop)


@pytest.fixture
def tls_broker(certificates, tmp_path, free_port):
    c = certificates
    files = f"cafile {c}/ca.pem\ncertfile {c}/server.pem\nkeyfile {c}/server.key"
    passwords = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(passwords), "operator", "s3cret"],
        check=True,
        capture_output=True,
    )
    lines = f"listener {free_port} 127.0.0.1\n{files}\nallow_anonymous false\npassword_file {passwords}"
    with Mosquitto(tmp_path / "mosquitto", lines):
        while not listening(free_port):
            pass
        yield free_port


async def error_of(reach):
    connection = Connection(reach)
    connection.start()
    await until(lambda: connection.state.error)
    await asyncio.to_thread(connection.stop)
    return connection.state.error


async def test_a_plain_connection_to_a_tls_port_says_mqtts(tls_broker):
    error = await error_of(settings(f"mqtt://127.0.0.1:{tls_broker}"))
    assert error == "the broker speaks TLS at this port: write mqtts:// in place of mqtt://"


async def test_a_tls_connection_to_a_plain_port_says_mqtt(mosquitto):
    error = await error_of(settings(mosquitto.url.replace("mqtt://", "mqtts://")))
    assert error.startswith("no TLS at this port, write mqtt://")


async def test_a_certificate_of_an_unknown_ca_says_which_option_names_it(tls_broker):
    error = await error_of(settings(f"mqtts://127.0.0.1:{tls_broker}"))
    assert "is not trusted" in error
    assert "ca_file" in error


async def test_a_wrong_password_is_told(tls_broker, certificates):
    error = await error_of(
        settings(f"mqtts://operator:wrong@127.0.0.1:{tls_broker}", ca_file=certificates / "ca.pem")
    )
    assert error.startswith("the broker refuses the login (Not authorized): are username and")


def test_passwords_are_not_shown(free_port):
    reach = settings(f"mqtt://operator:s3cret@127.0.0.1:{free_port}")
    assert reach.shown == f"mqtt://operator@127.0.0.1:{free_port}"
    connection = Connection(reach)
    with pytest.raises(SourceError) as failed:
        connected(connection, 0.1)
    assert "s3cret" not in str(failed.value)


def test_probe_takes_ca_and_user_as_options_and_the_password_from_a_file_or_the_environment(
    tls_broker, certificates, tmp_path, monkeypatch
):
    def run(*options):
        return hallwatch("probe", "mqtt", *options, "--for", "0.3", "--json", check=False)

    url, ca = f"mqtts://127.0.0.1:{tls_broker}", ("--ca-file", str(certificates / "ca.pem"))
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    monkeypatch.setenv("BUS_PASSWORD", "s3cret")
    for option in (("--password-file", str(secret)), ("--password-env", "BUS_PASSWORD")):
        told = run(url, *ca, "--username", "operator", *option)
        assert told.returncode == 0, told.stderr
        assert json.loads(told.stdout)["broker"] == url
    without_name = run(url, *ca, "--password-file", str(secret))
    assert without_name.returncode == 2
    assert "--username" in without_name.stderr
    assert run("nonsense://x").returncode == 2
