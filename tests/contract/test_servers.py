"""The server programs that other tests build on do start, stop and come back."""

import urllib.request

import pytest


@pytest.mark.server("mosquitto")
def test_a_broker_comes_back_on_the_same_port(mosquitto):
    port = mosquitto.port
    mosquitto.kill()
    assert not mosquitto.running
    mosquitto.start()
    assert mosquitto.running
    assert mosquitto.port == port


@pytest.mark.server("snmpd")
def test_an_agent_answers(snmpd):
    assert snmpd.running


@pytest.mark.server("influxd")
@pytest.mark.server("nginx")
def test_influxdb_answers_only_with_its_token(shared_influxdb):
    ask = urllib.request.Request(
        shared_influxdb.url + "/query?q=SHOW+DATABASES",
        headers={"Authorization": f"Token {shared_influxdb.token}"},
    )
    assert urllib.request.urlopen(ask).status == 200
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(shared_influxdb.url + "/query?q=SHOW+DATABASES")
