"""The demonstration, as a newcomer runs it: the whole chain on real protocols, with a leak and a predicted breach."""

import json
import re
import signal
import subprocess
import sys
import threading
from email import message_from_bytes, policy

import httpx
import pytest
import yaml
from aiosmtpd.controller import Controller

from service.configuration import SHIPPED
from tests.servers import free_port
from tests.servers.hallwatch import COMMAND, eventually, hallwatch


class Mailbox:
    """What a real SMTP server received."""

    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"

    def about(self, *words):
        """Return the first mail whose subject and body hold all words, or None."""
        for mail in self.mails:
            text = f"{mail['subject']}\n{mail.get_body(('plain',)).get_content()}"
            if all(word in text for word in words):
                return text
        return None


@pytest.fixture
def mailbox():
    box = Mailbox()
    server = Controller(box, hostname="127.0.0.1", port=free_port())
    server.start()
    box.port = server.port
    yield box
    server.stop()


class RunningDemo:
    """`hallwatch demo` in a process of its own, and what it printed."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [*COMMAND, "demo", "--port", "0", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self.printed = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.printed += line

    def told(self, pattern):
        """Return what the pattern's group matches in the output, once it is there."""
        return eventually(lambda: re.search(pattern, self.printed), timeout=200).group(1)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


def mail_configuration(folder, port, limit):
    """Put the shipped rules, with a mail channel, and a tight limit where the demo will find them."""
    folder.mkdir(parents=True)
    alerts = yaml.safe_load((SHIPPED / "alerts.yaml").read_text())
    alerts["channels"] = {
        "mail": {
            "kind": "smtp",
            "host": "127.0.0.1",
            "port": port,
            "security": "none",
            "sender": "hallwatch@example.net",
            "recipients": ["on-call@example.net"],
        }
    }
    alerts["routes"] = [{"severities": ["critical", "high", "warning"], "channels": ["mail"]}]
    (folder / "alerts.yaml").write_text(yaml.safe_dump(alerts))


def test_the_demo_shows_collects_forecasts_and_pages(tmp_path, mailbox):
    mail_configuration(tmp_path / "config", mailbox.port, None)
    demo = RunningDemo("--racks", 2, "--data", tmp_path)
    try:
        url = demo.told(r"Console +(http://\S+)")
        key = demo.told(r"Bearer (\S+?)\)")
        control = demo.told(r"curl (http://\S+)/catalogue")
        demo.told(r"(History): [\d,]+ readings")
        eventually(lambda: httpx.get(f"{url}/healthz", timeout=60).status_code == 200)

        def query(point, *arguments):
            return json.loads(hallwatch("query", point, "--json", "--data", tmp_path, *arguments).stdout)

        def fresh(point):
            found = query(point, "--since", "30s")
            return bool(found) and all(entry["value"] for entry in found)

        # each wire, and the way through it: DSX over MQTT, tray agents over MQTT, SNMP over UDP
        for point in ("FEED-A/ActivePower", "R001-T01-G0/GpuPower", "R001-PDU-A/ActivePower"):
            eventually(lambda point=point: fresh(point))
        eventually(lambda: len(query("R001-*/GpuPower", "--since", "15s", "--every", "15s")) == 72)

        def newest(point):
            return sum(e["value"][-1] for e in query(point, "--since", "20s") if e["value"])

        # a job may have begun between the two questions
        eventually(
            lambda: newest("R001-TAP-*/ActivePower") == pytest.approx(newest("R001/RackPower"), rel=0.1)
        )

        # the forecast that partners get: 48 h of quarter hours, quantiles in order
        def forecast():
            answer = httpx.get(
                f"{url}/api/v1/forecasts/power", headers={"Authorization": f"Bearer {key}"}, timeout=60
            )
            return answer.json() if answer.status_code == 200 else None

        issued = eventually(forecast, timeout=300)
        assert issued["unit"] == "W"
        assert issued["interval_minutes"] == 15
        assert len(issued["intervals"]) == 192
        assert all(sorted(i["values"]) == i["values"] for i in issued["intervals"])
        assert issued["model"].startswith("PowerForecaster")
        assert "with planned work" in issued["model"], "the simulated scheduler is read, its past included"
        assert httpx.get(f"{url}/api/v1/forecasts/power", timeout=60).status_code == 401
        assert httpx.get(f"{url}/api/v1/openapi.json", timeout=60).json()["paths"]

        # its past holds what energy and PUE need, at the points under which the SNMP collector goes on
        days = json.loads(hallwatch("contract", "energy", "--json", "--data", tmp_path).stdout)
        assert days["it_measured_at"] == "ups"
        assert all(1.1 < day["pue"] < 1.4 for day in days["periods"])

        # what an energy partner asks waits for an operator, and the racks' jobs say what could be shed
        def grid(*arguments):
            return json.loads(hallwatch(*arguments, "--json", "--data", tmp_path).stdout)

        (asked,) = eventually(lambda: grid("grid", "events"))
        assert (asked["party"], asked["standing"]) == ("demo-utility", "waiting")
        assert eventually(lambda: grid("flexibility")["shed"] > 0)

        # a leak at a rack: mail with the object
        assert (
            httpx.post(f"{control}/faults", json={"name": "leak", "target": "R002"}, timeout=60).status_code
            == 201
        )
        leak = eventually(lambda: mailbox.about("leak", "R002"))
        assert "Leak" in leak
    finally:
        code = demo.stop()
    assert code == 0

    # a second start continues on the same data; with a limit under what the factory draws, a breach is foretold, or is there
    # by then: the quarter hour that ends meanwhile explains what was foretold
    site = yaml.safe_load((tmp_path / "config" / "site.yaml").read_text())
    site["limit"] = 0.8 * issued["intervals"][8]["values"][9]
    (tmp_path / "config" / "site.yaml").write_text(yaml.safe_dump(site))
    again = RunningDemo("--racks", 2, "--data", tmp_path)
    assert again.told(r"Bearer (\S+?)\)") == key
    limit = f"{site['limit'] / 1e3:.1f} kW"
    try:
        breach = eventually(lambda: mailbox.about(site["id"], limit), timeout=200)
        assert re.search("breach-predicted|quarter-hour-|power-above-limit", breach)
    finally:
        code = again.stop()
    assert code == 0
    assert "History" not in again.printed
