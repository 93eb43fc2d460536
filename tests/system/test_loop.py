"""Nothing outside blocks the event loop: the whole service in a process of its own, used by some and abused by others.

The service itself tells which callback kept its loop, by the loop thread's own processor time and by the calls that it
slept in, so that a busy machine cannot fail this test and a slow callback cannot hide behind a fast one.
"""

import json
import subprocess
import sys

import pytest

from benchmarks.abuse import Pages, Partner, Publisher, User, Window, demo
from dashboard.threads import READERS
from partners.workers import THREADS
from service.threads import BACKGROUND, CALLS
from tests.servers.hallwatch import eventually

RACKS = 8
ABUSE_S = 20.0


@pytest.fixture(scope="module")
def abused(tmp_path_factory):
    """The service after it was abused for a while: what it says of itself, who used it, and what the abusers did."""
    folder = tmp_path_factory.mktemp("loop")
    with Pages() as pages, demo(folder / "data", RACKS, pages.port, folder / "service.log") as service:
        user, partner, publisher = User(service), Partner(service), Publisher(service.ports["mqtt"])
        users = (user, partner, publisher, Window(service, user))
        for one in users:
            one.start()
        where = json.dumps(service.where())
        abusers = {
            name: subprocess.Popen(
                [sys.executable, "-m", "benchmarks._abuse", name, str(ABUSE_S), where],
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in ("bus", "web", "devices")
        }
        try:
            did = {name: json.loads(p.communicate(timeout=ABUSE_S + 120)[0]) for name, p in abusers.items()}
        finally:
            for process in abusers.values():
                process.kill()
        health = service.health()
        for one in users:
            one.stop()
        eventually(lambda: service.stored()[0] == publisher.sent, timeout=300)
        yield health, users, did, (folder / "service.log").read_text()


@pytest.mark.server("mosquitto")
def test_no_callback_keeps_the_loop_while_the_service_is_abused(abused):
    health, _, _, log = abused
    loop = health["loop"]
    assert loop["callbacks"] > 1000  # it was looked at
    told = [line for line in log.splitlines() if "kept the event loop" in line]
    assert loop["slow"] == 0, "\n".join(told)


@pytest.mark.server("mosquitto")
def test_no_more_threads_are_there_than_the_parts_may_have(abused):
    there = abused[0]["threads"]
    most = {
        "background": BACKGROUND,
        "AnyIO worker thread": CALLS,
        "console": READERS,
        "partners": THREADS,
        "login": 1,
    }
    assert {kind: n for kind, n in there.items() if n > most.get(kind, 2) and kind != "all"} == {}
    assert there["all"] <= 64


@pytest.mark.server("mosquitto")
def test_those_who_behave_are_served_meanwhile(abused):
    _, (user, partner, publisher, window), _, _ = abused
    assert [one.failed for one in (user, partner, publisher, window)] == [0, 0, 0, 0]
    assert window.pushed["live-header"] > 0
    assert publisher.sent > 0


@pytest.mark.server("mosquitto")
def test_the_abuse_arrived(abused):
    health, _, did, _ = abused
    assert health["web"]["closed_for_newcomer"] + health["web"].get("refused_address", 0) > 0
    assert sum(n for what, n in did["web"].items() if what.startswith("login_4")) > 0
    assert did["web"]["bodies"] > 0
    assert health["collectors"]["mqtt bms"]["violations"]["not_an_object"] > 0
    assert health["collectors"]["mqtt bms"]["violations"]["unknown_rack"] > 0
    assert (
        health["collectors"]["snmp"]["traps"]["received"] + health["collectors"]["snmp"]["traps"]["dropped"]
        > 0
    )
    assert health["collectors"]["prometheus exporters"]["bad_gpu"] > 0
