"""Sources that fell silent, told by how often each speaks."""

import numpy as np

from analytics.live.silence import Silences
from domain.batch import Batch
from domain.points import Point, PointRegistry
from storage.latest import LatestValues

NOW = 1_780_000_000_000
LONGEST = 150_000


class Plant:
    """Sources with two points each, of which one is looked at."""

    def __init__(self, *sources):
        self.registry = PointRegistry()
        self.latest = LatestValues(self.registry)
        self.now = NOW
        self.of = {}
        for source in sources:
            self.announce(source)
        self.silences = Silences(self.registry, self.latest, LONGEST)
        self.silences.refresh()

    def announce(self, source):
        keys = [f"Rack/RackPower/{source}/{n}" for n in (1, 2)]
        made = [Point(k, "Rack", f"R{n}", "RackPower", "W", source=source) for n, k in enumerate(keys)]
        self.of[source] = [self.registry.register(point) for point in made]

    def speaks(self, every_s, lasts_s, source, point=1):
        for _ in range(int(lasts_s / every_s)):
            self.now += int(every_s * 1000)
            self.latest.update(Batch.of([self.of[source][point]], self.now, [1.0], [0], self.now))
            self.silences.look()

    def waits(self, seconds):
        self.now += int(seconds * 1000)
        self.silences.look()

    def silent(self, source):
        (found,) = self.silences.of(np.array([self.of[source][0]], np.int32), self.now)
        return bool(found)


def test_a_source_that_speaks_every_two_seconds_is_silent_after_seconds_and_heard_again_at_once():
    plant = Plant("dsx:bms")
    plant.speaks(2, 600, "dsx:bms")
    plant.waits(14)
    assert not plant.silent("dsx:bms")
    plant.waits(10)
    assert plant.silent("dsx:bms")
    plant.speaks(2, 2, "dsx:bms")
    assert not plant.silent("dsx:bms")


def test_an_outage_is_no_measure_of_the_next():
    plant = Plant("dsx:bms")
    plant.speaks(2, 600, "dsx:bms")
    plant.waits(3600)
    plant.speaks(2, 2, "dsx:bms")
    plant.waits(60)
    assert plant.silent("dsx:bms")


def test_a_source_that_is_polled_seldom_is_given_its_time():
    plant = Plant("snmp:pdu")
    plant.speaks(40, 2400, "snmp:pdu")
    plant.waits(120)
    assert not plant.silent("snmp:pdu")
    plant.waits(40)
    assert plant.silent("snmp:pdu")


def test_one_that_speaks_less_often_from_now_on_is_learnt():
    plant = Plant("snmp:pdu")
    plant.speaks(2, 600, "snmp:pdu")
    plant.speaks(40, 400, "snmp:pdu")
    plant.waits(40)
    assert not plant.silent("snmp:pdu")


def test_the_others_and_what_has_no_point_are_not_silent_for_it():
    plant = Plant("dsx:bms", "tray:R001")
    for _ in range(300):
        plant.speaks(1, 1, "dsx:bms")
        plant.speaks(1, 1, "tray:R001")
    plant.speaks(1, 60, "tray:R001")
    assert plant.silent("dsx:bms")
    assert not plant.silent("tray:R001")
    table = np.array([[plant.of["dsx:bms"][0], -1], [plant.of["tray:R001"][1], 99]], np.int32)
    assert plant.silences.of(table, plant.now).tolist() == [[True, False], [False, False]]


def test_points_that_come_later_leave_what_is_known():
    plant = Plant("dsx:bms")
    assert not plant.silences.of(np.array([-1]), plant.now).any()
    plant.speaks(2, 600, "dsx:bms")
    plant.announce("tray:R001")
    plant.silences.refresh()
    plant.waits(30)
    assert plant.silent("dsx:bms")
    assert not Plant().silences.of(np.array([0, 5]), NOW).any()
