"""What is told on, of readings that come in any order."""

import orjson

from collectors.mqtt.publisher import DsxPublisher
from collectors.mqtt.settings import BrokerSettings, PublisherSettings
from domain.batch import Batch
from domain.points import Point, PointRegistry

T = 1_790_000_000_000


def test_an_older_reading_is_left_out_and_our_own_clock_being_set_back_makes_none_older(monkeypatch):
    registry = PointRegistry(
        [Point("PowerMeter/ActivePower/p1", "PowerMeter", "ActivePower", "P1", unit="W", source="snmp:p1")]
    )
    publisher = DsxPublisher(PublisherSettings(broker=BrokerSettings(url="mqtt://127.0.0.1:1")), registry)
    sent = []
    monkeypatch.setattr(
        publisher.connection, "publish", lambda topic, payload, *_: sent.append((topic, payload)) or 1
    )
    publisher.connection.state.connected = True

    def told(value, observed, received):
        publisher.offer(Batch.of([0], [observed], [value], received=received))
        publisher.publish_due()
        return orjson.loads([p for t, p in sent if "/Value/PowerMeter" in t][-1])["value"]

    first = told(1000.0, T, T)
    assert told(2000.0, T - 60_000, T + 1000) == first
    assert told(3000.0, T - 3_600_000, T - 3_600_000) == 3 * first
