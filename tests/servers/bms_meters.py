"""Power meters and racks of a site on a building system's bus."""

import orjson

from collectors.mqtt.connection import Connection, connected
from collectors.mqtt.settings import BrokerSettings
from domain.batch import now_ms


class Meters:
    """The site's two feed meters and its racks on the BMS."""

    def __init__(self, url, meters, racks):
        self.connection = Connection(BrokerSettings(url=url, retry_max=0.5))
        self.connection.start()
        connected(self.connection, 15.0)
        self.points = {f"PowerMeter/ActivePower/{m}": ("PowerMeter", "ActivePower", m) for m in meters}
        for key, (kind, quantity, name) in self.points.items():
            told = {"objectType": kind, "pointType": quantity, "engUnit": "kW", "objectId": name}
            told |= {"objectName": name, "servesId": []}
            self.connection.publish(f"BMS/v1/PUB/Metadata/{key}", orjson.dumps(told), retain=True)
        self.racks = {f"Rack/RackPower/{r}": r for r in racks}
        for key, rack in self.racks.items():
            told = {"objectType": "Rack", "pointType": "RackPower", "engUnit": "kW"}
            told |= {"rackLocationId": rack, "rackLocationName": rack}
            self.connection.publish(f"BMS/v1/PUB/Metadata/{key}", orjson.dumps(told), retain=True)

    def say(self, each_kw):
        """Tell the power of each meter; a rack draws a third of that."""
        values = dict.fromkeys(self.points, each_kw) | dict.fromkeys(self.racks, each_kw / 3)
        for key, kw in values.items():
            told = {"value": kw, "timestamp": now_ms(), "quality": 1}
            self.connection.publish(f"BMS/v1/PUB/Value/{key}", orjson.dumps(told))
