"""Real server programs for tests, on free loopback ports, in temporary folders.

Each is a context manager and offers `stop`, `start` (same port, same data) and `kill`, so that a test can
take it away and bring it back. `tests.servers.fixtures` makes pytest fixtures of them, known to every test.
"""

from benchmarks._influxdb_server import InfluxServer
from benchmarks._server_process import ServerProcess, free_port
from tests.servers.alertmanager import AlertmanagerServer
from tests.servers.mosquitto import Mosquitto
from tests.servers.postgresql import Postgresql
from tests.servers.snmpd import Snmpd

__all__ = [
    "AlertmanagerServer",
    "InfluxServer",
    "Mosquitto",
    "Postgresql",
    "ServerProcess",
    "Snmpd",
    "free_port",
]
