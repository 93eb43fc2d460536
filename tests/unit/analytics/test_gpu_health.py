"""GPUs as the service watches them: readings and XIDs in a real store, findings as readings of our own."""

import asyncio
import itertools

import pytest
import yaml

from analytics.live import gpus as watch_of_gpus
from analytics.live.gpus import GpuWatch
from domain.batch import Batch
from domain.errors import ConfigurationError
from domain.gpu_health import KINDS, Grade
from domain.points import PointRegistry
from domain.tray import product_point, tray_points
from service.configuration import SHIPPED, load_gpu_health
from storage.ingest import Ingest
from storage.open import open_store
from storage.plant import PlantView
from storage.settings import StorageSettings
from tests.system.console_plant import demo_site

NOW = 1_790_000_000_000
HEALTHY = {
    "GpuAvailable": 1,
    "GpuPower": 900.0,
    "GpuTemperature": 60.0,
    "GpuMemoryTemperature": 65.0,
    "GpuUtilization": 0.9,
    "GpuThrottleReasons": 4,
    "GpuMemoryTotal": 284208 * 2**20,
    "GpuNvlinksUp": 18,
    "GpuNvlinksDown": 0,
    "GpuFabric": 0,
    "GpuRowRemapPending": 0,
    "GpuRowRemapFailed": 0,
    "GpuRepair": 0,
    "GpuRecoveryAction": 0,
    "GpuEccUncorrected": 0,
    "GpuPcieGeneration": 6,
    "GpuPcieGenerationMax": 6,
    "GpuPcieWidth": 16,
    "GpuPcieWidthMax": 16,
}


class Hall:
    """Trays of four GB300 in one rack, their readings in DuckDB, and a clock that the test moves."""

    def __init__(self, folder, gpus=4):
        self.now = NOW
        self.loop = asyncio.new_event_loop()
        self.registry = PointRegistry()
        settings = StorageSettings(path=folder)
        self.store = open_store(settings, self.registry)
        self.ingest = Ingest.open(settings, self.registry, self.store)
        self.ingest._clock = lambda: self.now
        self.view = PlantView(
            demo_site(pods=1), self.registry, self.ingest.latest, self.store, lambda: self.now
        )
        self.points = {}
        for point in tray_points("R001", "T01", gpus):
            self.points[point.object_id, point.point_type] = self.registry.register(point)
        product = self.registry.register(product_point("R001", "T01", "NVIDIA GB300", "tray:R001-T01"))
        self.accept([(product, 1, self.now)])
        self.gpus = [f"R001-T01-G{n}" for n in range(gpus)]
        self.watch = self.started()

    def close(self):
        self.loop.run_until_complete(self.ingest.close())
        self.store.close()
        self.loop.close()

    def started(self):
        return GpuWatch(self.view, load_gpu_health())

    def accept(self, rows):
        points, values, observed = zip(*rows, strict=True)
        self.loop.run_until_complete(
            self.ingest.accept(Batch.of(points, observed, values, received=self.now))
        )

    def tell(self, gpu=1, **readings):
        """Every GPU tells what a healthy one does, and one of them also `readings` (None: nothing)."""
        rows = []
        for n, name in enumerate(self.gpus):
            told = HEALTHY | (readings if n == gpu else {})
            rows += [
                (self.points[name, quantity], value, self.now)
                for quantity, value in told.items()
                if value is not None
            ]
        self.accept(rows)

    def xid(self, gpu, number, at=None):
        self.accept([(self.points[f"R001-T01-G{gpu}", "GpuXid"], number, self.now if at is None else at)])

    def look(self, seconds=10):
        """Look once, keep what is found, and let time pass; returns what changed: object, grade, state."""
        batch = self.watch.look(self.now)
        if len(batch):
            self.loop.run_until_complete(self.ingest.accept(batch))
        self.now += seconds * 1000
        found = []
        for index, value in zip(batch.point, batch.value, strict=True):
            point = self.registry[int(index)]
            found.append((point.object_id, point.point_type, point.state_label(value)))
        return sorted(found)


@pytest.fixture
def hall(tmp_path):
    hall = Hall(tmp_path)
    yield hall
    hall.close()


def test_healthy_gpus_have_no_findings(hall):
    hall.tell()
    assert hall.look() == []
    assert hall.watch.counters == {"gpu_findings": 0, "gpu_findings_untold": 0}


@pytest.mark.parametrize(
    ("readings", "grade", "says"),
    [
        ({"GpuAvailable": 0}, "GpuFault", "does not reach the GPU"),
        ({"GpuRecoveryAction": 1}, "GpuFault", "asks for a reset"),
        ({"GpuRecoveryAction": 2}, "GpuFault", "asks for a restart of the node"),
        ({"GpuRecoveryAction": 4}, "GpuFault", "drained"),
        ({"GpuRowRemapFailed": 1}, "GpuFault", "could not be remapped"),
        ({"GpuRowRemapPending": 1}, "GpuDegraded", "wait for a reset"),
        ({"GpuRepair": 1}, "GpuDegraded", "repair"),
        ({"GpuRepair": 2}, "GpuFault", "threshold"),
        ({"GpuEccUncorrected": 3}, "GpuDegraded", "could not be corrected"),
        ({"GpuNvlinksUp": 16, "GpuNvlinksDown": 2}, "GpuFault", "NVLinks are down"),
        ({"GpuNvlinksUp": 17}, "GpuFault", "NVLinks are down"),
        ({"GpuFabric": 1}, "GpuDegraded", "less than its full bandwidth"),
        ({"GpuFabric": 3}, "GpuFault", "not in the NVLink fabric"),
        ({"GpuMemoryTotal": 270_000 * 2**20}, "GpuDegraded", "less memory"),
        ({"GpuPcieWidth": 8}, "GpuDegraded", "fewer lanes"),
        ({"GpuPcieGeneration": 3}, "GpuDegraded", "slower than it can"),
        ({"GpuThrottleReasons": 0x8}, "GpuDegraded", "The hardware slows the GPU down. "),
        ({"GpuThrottleReasons": 0x8 | 0x40}, "GpuDegraded", "too hot"),
        ({"GpuThrottleReasons": 0x80}, "GpuDegraded", "power brake"),
        ({"GpuTemperature": 2.0}, "GpuDegraded", "outside of what this product can show"),
    ],
    ids=lambda v: "-".join(v) if isinstance(v, dict) else None,
)
def test_what_is_wrong_with_a_gpu_is_told_with_its_remedy_until_it_is_over(hall, readings, grade, says):
    hall.tell(**readings)
    ((gpu, told, text),) = hall.look()
    assert (gpu, told) == ("R001-T01-G1", grade)
    assert says in text
    assert any(action in text for action in hall.watch.catalogue.actions.values())
    hall.tell(**readings)
    assert hall.look() == []  # it is told again once a minute only
    hall.tell()
    assert hall.look() == [("R001-T01-G1", grade, "None")]


def test_every_condition_is_looked_for(hall):
    tested = {"missing"}  # of a tray, below
    for readings in [
        {"GpuAvailable": 0},
        *({"GpuRecoveryAction": n} for n in (1, 2, 3, 5)),
        {"GpuRowRemapFailed": 1},
        {"GpuRowRemapPending": 1},
        {"GpuRepair": 1},
        {"GpuRepair": 2},
        {"GpuEccUncorrected": 1},
        {"GpuNvlinksDown": 1},
        {"GpuFabric": 1},
        {"GpuFabric": 2},
        {"GpuMemoryTotal": 1.0},
        {"GpuPcieWidth": 4},
        {"GpuPcieGeneration": 1},
        {"GpuThrottleReasons": 0x8},
        {"GpuThrottleReasons": 0x40},
        {"GpuThrottleReasons": 0x80},
        {"GpuPower": 1.0},
    ]:
        hall.tell(**readings)
        hall.look()
    tested |= {p.process_area[0] for p in hall.registry if p.point_type in {g.point_type for g in Grade}}
    assert tested == set(KINDS)


@pytest.mark.parametrize(
    "readings",
    [
        {"GpuThrottleReasons": 0x1 | 0x4 | 0x20},  # idle, power cap, slowed down by software
        {"GpuPcieGeneration": 1, "GpuUtilization": 0.0},  # an idle link may save power
        dict.fromkeys((k for k in HEALTHY if k not in ("GpuAvailable", "GpuPower")), None),
    ],
    ids=["reasons of software", "idle PCIe", "an exporter that tells little"],
)
def test_what_is_usual_is_no_finding(hall, readings):
    hall.tell(**readings)
    assert hall.look() == []


def test_a_missing_gpu_is_told_of_its_tray_with_what_is_expected(tmp_path):
    hall = Hall(tmp_path, gpus=3)
    hall.tell()
    ((tray, grade, text),) = hall.look()
    assert (tray, grade) == ("R001-T01", "GpuFault")
    assert "GPUs are missing (4 are expected)" in text
    (point,) = (p for p in hall.registry if p.point_type == "GpuFault")
    assert (point.object_type, point.associate) == ("Tray", "R001")
    hall.close()


def test_a_tray_that_is_silent_says_nothing_about_its_findings(hall):
    hall.tell(GpuRowRemapPending=1)
    assert len(hall.look(seconds=3600)) == 1
    assert hall.look() == []  # neither over nor told again
    hall.tell()
    assert hall.look() == [("R001-T01-G1", "GpuDegraded", "None")]


def test_a_finding_is_told_again_so_that_rules_know_it_holds(hall):
    told = []
    for _ in range(13):
        hall.tell(GpuRepair=1)
        told.append(len(hall.look()))
    assert sum(told) == 3  # at once, after a minute, after two


def test_an_xid_carries_its_meaning_and_remedy_for_an_hour(hall):
    hall.tell()
    hall.look()
    hall.xid(2, 79)
    ((gpu, grade, text),) = hall.look()
    assert (gpu, grade) == ("R001-T01-G2", "GpuFault")
    assert text.startswith("XID 79: the GPU has fallen off the bus. Drain and restart the node.")
    hall.now += 50 * 60_000
    hall.tell()
    assert [t for *_, t in hall.look()] == [text]
    hall.now += 10 * 60_000
    hall.tell()
    assert hall.look() == [("R001-T01-G2", "GpuFault", "None")]


def test_of_a_burst_of_xids_none_is_lost(hall):
    """79 and what follows it, within the ten seconds between two looks: the newest is not the one that matters."""
    hall.tell()
    hall.look()
    for number, at in zip((79, 45, 154), itertools.count(hall.now, 200), strict=False):
        hall.xid(2, number, at)
    hall.now += 2000
    texts = {text.partition(":")[0]: grade for _, grade, text in hall.look()}
    assert texts == {"XID 79": "GpuFault", "XID 45": "GpuNotice", "XID 154": "GpuNotice"}


def test_the_same_xid_twice_is_two_events_and_stands_from_the_second(hall):
    hall.tell()
    hall.xid(0, 94)
    assert len(hall.look()) == 1
    hall.now += 40 * 60_000
    hall.xid(0, 94)
    hall.tell()
    hall.look()
    hall.now += 40 * 60_000
    hall.tell()
    assert [state for *_, state in hall.look() if state == "None"] == []
    events = hall.store.read([hall.points["R001-T01-G0", "GpuXid"]], NOW - 1000, hall.now)
    assert events.value.tolist() == [94, 94]


def test_an_old_xid_is_no_finding_after_a_restart(hall):
    hall.xid(0, 79, NOW - 2 * 3_600_000)
    hall.tell()
    assert hall.look() == []


def test_after_a_restart_what_was_found_can_end(hall):
    hall.tell(GpuRepair=1)
    hall.look()
    hall.watch = hall.started()
    hall.tell()
    assert hall.look() == [("R001-T01-G1", "GpuDegraded", "None")]


def test_findings_are_bounded(hall, monkeypatch):
    monkeypatch.setattr(watch_of_gpus, "MOST_FINDINGS", 1)
    hall.tell(GpuRepair=1, GpuFabric=1)
    assert len(hall.look()) == 1
    assert hall.watch.counters["gpu_findings_untold"] == 1


def test_an_xid_that_nobody_listed_is_told_too(hall):
    hall.xid(3, 999)
    hall.tell()
    ((_, grade, text),) = hall.look()
    assert (grade, text.partition(".")[0]) == (
        "GpuDegraded",
        "XID 999: an error that this catalogue does not list",
    )


def test_the_shipped_catalogue_knows_the_xids_that_nvidia_lists_for_these_parts():
    catalogue = load_gpu_health()
    assert {46, 48, 62, 63, 64, 74, 79, 92, 94, 95, 119, 120, 140, 143, *range(144, 151), 154, 158} <= {
        number for entry in catalogue.xids for number in entry.xid
    }
    assert all(len(catalogue.text(entry, "XID 999")) < 250 for entry in catalogue.xids)
    assert set(catalogue.products) >= {"NVIDIA GB300", "NVIDIA GB200", "NVIDIA B200", "NVIDIA H100 80GB HBM3"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["xids"].append(c["xids"][0]), "listed twice: 8"),
        (lambda c: c["conditions"].pop("lost"), "conditions lack lost"),
        (lambda c: c["other_xid"].update(action="PRAY"), "actions that are not listed: PRAY"),
        (lambda c: c["products"]["NVIDIA GB300"].update(memory="284 W"), "memory"),
        (lambda c: c["products"]["NVIDIA GB300"]["ranges"].update(GpuPower=["2 kW", "1 W"]), "backwards"),
        (
            lambda c: c["products"]["NVIDIA GB300"]["ranges"].update(RackPower=[0, 1]),
            "no measured quantity of a GPU",
        ),
    ],
    ids=["twice", "lacking", "unknown action", "unit", "backwards", "not of a GPU"],
)
def test_a_faulty_catalogue_says_where(tmp_path, change, says):
    content = yaml.safe_load((SHIPPED / "gpu-health.yaml").read_text())
    change(content)
    file = tmp_path / "gpu-health.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigurationError, match=says):
        load_gpu_health(file)
