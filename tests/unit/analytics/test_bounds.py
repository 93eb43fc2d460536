"""What the analytics keep does not grow with what others send: docs/limits.md, Analytics."""

import numpy as np
import pytest

from analytics.anomaly.incidents import (
    MOST_CLOSED,
    MOST_OPEN,
    MOST_RETURNS,
    Cause,
    Finding,
    Grouping,
    Incident,
    IncidentBook,
)
from analytics.issuing.shelf import KEPT, ModelCard, ModelShelf
from analytics.live.gather import MOST_OF_A_KIND, PlantReader
from analytics.outlook.quarters import MOST_LOOKS, QuarterWatch
from domain.errors import InputError
from domain.points import Point, PointRegistry
from domain.site import Site
from service.commands.tables import MOST_ROWS, read_series
from storage.latest import LatestValues
from storage.plant import MOST_GPUS, PlantView
from storage.telemetry import Grid

SITE = Site.model_validate(
    {
        "id": "lab",
        "name": "Lab",
        "limit": "1 MW",
        "installed": "2 MW",
        "rack_limit": "150 kW",
        "pods": [{"id": "P1", "racks": "R001..003", "row": 1}],
    }
)


def card(fitted: int) -> ModelCard:
    return ModelCard(fitted, "2026-01-01", "2026-02-01", 0.0, "1")


def test_a_shelf_keeps_a_few_models_and_nothing_that_a_fit_left_behind(tmp_path):
    shelf = ModelShelf(tmp_path)
    (tmp_path / "7.npz").write_bytes(b"a fit that was killed before its card")
    (tmp_path / "8.unfinished").write_bytes(b"")
    for fitted in range(100, 100 + 3 * KEPT):
        shelf.path(card(fitted)).write_bytes(b"model")
        shelf.put(card(fitted))
    assert len(shelf.cards()) == KEPT
    assert len(list(tmp_path.iterdir())) == 2 * KEPT


def test_incidents_are_open_up_to_a_number_and_the_rest_is_counted():
    book = IncidentBook(Grouping({}, {}, frozenset()))
    findings = [Finding(f"O{n}", {"flow": 9.0}) for n in range(MOST_OPEN + 20)]
    for minute in range(12):
        book.update(minute * 60_000, findings)
    assert len(book.open) == MOST_OPEN
    assert book.untold == 20


def test_closed_incidents_are_remembered_up_to_a_number(monkeypatch):
    book = IncidentBook(Grouping({}, {}, frozenset()))
    cause = Cause("R1", "leak", frozenset({"R1"}), (), 1.0)
    over = [Incident(n, cause, 0, 0, 600_000, {"R1"}) for n in range(MOST_CLOSED + 100)]
    book.closed = {i.number: (1000 + i.number, i) for i in over}
    book.update(10_000, [])
    assert len(book.closed) == MOST_CLOSED
    assert 0 not in book.closed


def test_of_an_incident_that_comes_back_again_and_again_so_many_times_are_kept():
    book = IncidentBook(Grouping({}, {"R1": "Rack"}, frozenset({"R1"})), patience=0)
    signs, now = [Finding("R1", {"coolant flow": 3.0})], 0
    for _ in range(MOST_RETURNS + 20):
        (came,), _ = book.update(now, signs)
        now += came.quiet + 1
        book.update(now, [])
        now += 1
    assert book.count == 1
    assert len(came.returned) == MOST_RETURNS


def test_a_rack_of_countless_gpus_does_not_widen_the_table_of_all():
    registry = PointRegistry(
        Point(
            f"GPU/GpuTemperature/x/{n}",
            "GPU",
            "GpuTemperature",
            f"R001-T01-G{n}",
            unit="Cel",
            associate="R001",
        )
        for n in range(MOST_GPUS + 500)
    )
    plant = PlantView(SITE, registry, LatestValues(registry), None)
    assert plant.gpu_points("GpuTemperature").shape == (3, MOST_GPUS)


def test_so_many_taps_and_upses_are_watched_at_most():
    registry = PointRegistry()
    for n in range(MOST_OF_A_KIND + 10):
        registry.register(Point(f"UPS/ActivePower/{n}", "UPS", "ActivePower", f"U{n}", unit="W"))
        registry.register(
            Point(
                f"PowerMeter/ActivePower/{n}",
                "PowerMeter",
                "ActivePower",
                f"T{n}",
                unit="W",
                serves=("R001",),
            )
        )
    reader = PlantReader(PlantView(SITE, registry, LatestValues(registry), None))
    reader.refresh()
    assert len(reader.equipment.upses) == len(reader.equipment.taps.ids) == MOST_OF_A_KIND


class NoStore:
    def total(self, points, start, end, step, max_gap=None):
        return Grid(np.array([-1], np.int32), np.zeros(0, np.int64), step, np.zeros((1, 0)))


def test_the_last_hour_is_kept_in_so_many_moments_whatever_the_interval():
    registry = PointRegistry()
    watch = QuarterWatch(PlantView(SITE, registry, LatestValues(registry), NoStore()), 100)
    watch._seed = lambda now: None
    for n in range(MOST_LOOKS + 50):
        watch._power.append((n * 10, np.zeros(1)))
    assert len(watch._power) == MOST_LOOKS


def test_a_series_with_one_wrong_time_is_no_series_of_millions_of_gaps(tmp_path):
    file = tmp_path / "series.csv"
    file.write_text(
        "time,power\n1970-01-01 00:00:00,1\n2026-01-01 00:00:00,2\n2026-01-01 00:00:01,3\n2026-01-01 00:00:02,3\n"
    )
    with pytest.raises(InputError, match=f"more than {MOST_ROWS:,}"):
        read_series(file, "time", "power")


def test_a_file_of_too_many_rows_is_refused_before_it_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("service.commands.tables.MOST_ROWS", 10)
    file = tmp_path / "series.csv"
    file.write_text("time,power\n" + "".join(f"2026-01-01 00:00:{n:02d},{n}\n" for n in range(30)))
    with pytest.raises(InputError, match="more than 10 rows"):
        read_series(file, "time", "power")
