"""What the archive of issued forecasts costs: ``python -m benchmarks.forecast_archive [--days 30] [--nodes 135]``.

Quarter-hourly issues of the site (192 intervals, 19 quantiles, ramps) and of so many nodes (24 intervals) are kept in
SQLite as the service keeps them; the newest are asked for by issue time, by moment and as a page, and the whole is
verified; then one forecast is changed behind the records' back and looked for. The reference of the size is the same
forecasts as 8-byte numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from domain.envelope import QUARTER_MS
from domain.forecast import QUANTILES, RAMP_QUANTILES, RAMP_WINDOWS_S, Forecast, Ramps
from storage.forecast_seals import verify
from storage.records import Records

START = 1_790_000_100_000 // QUARTER_MS * QUARTER_MS
LEVELS = np.array(QUANTILES)


def course(random: np.random.Generator, n: int, level: float) -> np.ndarray:
    """Return quantiles that move as a forecast's do: a slow course, a spread that grows, noise of its own."""
    middle = level * (1 + 0.02 * np.cumsum(random.normal(0, 1, n)) / np.sqrt(n))
    spread = level * 0.02 * np.sqrt(1 + np.arange(n))[:, None]
    values: np.ndarray = np.sort(
        middle[:, None] + spread * (LEVELS - 0.5) + random.normal(0, level * 1e-4, (n, 19)), axis=1
    )
    return values


def issues(issued: int, names: list[str], random: np.random.Generator) -> list[Forecast]:
    """Return what is issued at one quarter hour."""
    found = []
    for i, name in enumerate(names):
        n, level = (192, 14e6) if i == 0 else (24, 130e3)
        values = course(random, n, level)
        ramps = np.sort(random.gamma(2, level / 50, (2, len(RAMP_WINDOWS_S), len(RAMP_QUANTILES))), axis=2)
        found.append(
            Forecast(
                name, "ActivePower", "W", issued + 20_000, issued, 15,
                issued + QUARTER_MS * np.arange(n, dtype=np.int64), QUANTILES, values, np.full(n, level * 1.1),
                random.uniform(0, 0.1, n), "PowerForecaster", "good",
                Ramps(RAMP_WINDOWS_S, RAMP_QUANTILES, ramps[0], ramps[1]),
            )
        )  # fmt: skip
    return found


def p95_ms(work: Callable[[int], Any], times: np.ndarray) -> float:
    took = []
    for moment in times:
        began = time.perf_counter()
        work(int(moment))
        took.append(time.perf_counter() - began)
    return 1000 * float(np.quantile(took, 0.95))


def measure(days: float, nodes: int, folder: Path) -> dict[str, Any]:
    random = np.random.default_rng(1)
    names = ["site-1", *(f"N{i:03d}" for i in range(nodes))]
    file = folder / "records.sqlite"
    records = Records(f"sqlite:///{file}")
    # the course differs, the cost does not: a day's forecasts are made once and issued anew
    day = [issues(START + i * QUARTER_MS, names, random) for i in range(96)]
    rounds = int(days * 96)
    whole = sum(f.values.nbytes + 3 * f.start.nbytes for f in day[0]) * rounds
    took = []
    for i in range(rounds):
        shift = (i // 96) * 86_400_000
        batch = [
            replace(f, issued=f.issued + shift, data_cutoff=f.data_cutoff + shift, start=f.start + shift)
            for f in day[i % 96]
        ]
        began = time.process_time()
        records.save_forecasts(batch)
        took.append(time.process_time() - began)
    with records.writing() as db:
        db.exec_driver_sql("SELECT 1")
    records.close()
    with sqlite3.connect(file) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    size = file.stat().st_size
    records = Records(f"sqlite:///{file}")
    moments = START + 20_000 + QUARTER_MS * random.integers(0, rounds, 300)
    some = names[1 + int(random.integers(nodes))]
    exact = p95_ms(lambda t: records.forecast_at("site-1", t, exact=True), moments)
    as_of = p95_ms(lambda t: records.forecast_at(some, t + 12_345), moments)
    page = p95_ms(lambda t: records.issues("site-1", 0, t, 100), moments)
    began = time.perf_counter()
    reports = list(verify(records))
    verified = time.perf_counter() - began
    sound = all(not r.faults for r in reports) and sum(r.looked_at for r in reports) == rounds * len(names)
    with sqlite3.connect(file) as raw:
        (number,) = raw.execute(
            "SELECT id FROM forecasts WHERE object_id = ? LIMIT 1 OFFSET 7", [some]
        ).fetchone()
        raw.execute("UPDATE forecasts SET quality = 'better' WHERE id = ?", [number])
    raw.close()
    found = [(r.object_id, f.number, f.what) for r in verify(records, some) for f in r.faults]
    records.close()
    figures = {
        "bytes_per_day": (size / days, "B", whole / days),
        "issue_cpu_ms": (1000 * float(np.median(took)), "ms", None),
        "by_issue_time_p95_ms": (exact, "ms", None),
        "as_of_p95_ms": (as_of, "ms", None),
        "page_of_100_p95_ms": (page, "ms", None),
        "verify_s": (verified, "s", None),
        "forecasts_verified": (sum(r.looked_at for r in reports), "1", rounds * len(names)),
        "sound": (float(sound), "1", None),
        "tampered_found": (float([f[:2] for f in found] == [(some, 8)]), "1", None),
    }
    return {
        name: {"value": v, "unit": unit, "reference": ref, "ratio": v / ref if ref else None}
        for name, (v, unit, ref) in figures.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="hallwatch bench forecast_archive", description=__doc__)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--nodes", type=int, default=135)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(options.days, options.nodes, Path(folder))
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    json.dump({"name": "forecast_archive", "machine": machine, "figures": figures}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
