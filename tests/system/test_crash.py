"""Kill -9 while readings stream in through a real broker: what was acknowledged is there, and nothing is there twice."""

import json
import threading
import time

import paho.mqtt.client as mqtt
import pytest

from tests.servers.hallwatch import SITE, Service, eventually, write_configuration

TOPIC = "BMS/v1/PUB/{}/Rack/RackPower/lab/rack01/power"
METADATA = {
    "objectType": "Rack",
    "pointType": "RackPower",
    "engUnit": "kW",
    "rackLocationId": "Pod1C-E01",
    "rackLocationName": "Pod1C-E01",
}
PACE_S = 0.001
"""Between two values, so that the stream lasts as long as the restart and the store holds it easily."""


@pytest.mark.server("mosquitto")
def test_after_kill_9_during_ingest_every_reading_is_there_once(tmp_path, mosquitto):
    config = write_configuration(
        tmp_path / "config",
        {
            "mqtt": [
                {
                    "name": "bms",
                    "broker": {"url": f"mqtt://127.0.0.1:{mosquitto.port}", "client_id": "hallwatch"},
                }
            ]
        },
        SITE,
        {},
    )
    start = int(time.time() * 1000)
    service = Service(config)
    service.start()
    eventually(lambda: service.health()["collectors"]["mqtt bms"]["connected"])
    publisher = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    publisher.max_inflight_messages_set(1000)
    publisher.connect("127.0.0.1", mosquitto.port)
    publisher.loop_start()
    publisher.publish(TOPIC.format("Metadata"), json.dumps(METADATA), qos=1, retain=True).wait_for_publish(60)

    published = 0
    enough = threading.Event()

    def publish():
        nonlocal published
        while not enough.wait(PACE_S):
            payload = {"value": float(published), "timestamp": start + published, "quality": 1}
            publisher.publish(TOPIC.format("Value"), json.dumps(payload), qos=1).wait_for_publish(60)
            published += 1

    stream = threading.Thread(target=publish)
    stream.start()
    eventually(lambda: service.health()["ingest"]["stored"] > 200, every=0.02)
    service.kill()
    service = Service(config)
    service.start()
    eventually(lambda: published > 400)
    enough.set()
    stream.join(60)
    publisher.disconnect()
    try:

        def stored():
            return service.query("Pod1C-E01/RackPower", "--since", "1h")[0]["value"]

        eventually(lambda: len(stored()) >= published)
        assert stored() == [1000.0 * i for i in range(published)]
    finally:
        assert service.stop() == 0
