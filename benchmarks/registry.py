"""Finding points among all of a full plant's: `python -m benchmarks.registry` prints JSON.

206,208 points as the agents and the BMS of 96 racks announce them. The reference of each look-up is the simple way: a search
of all points. Best of ten.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from typing import Any

from benchmarks.ingest import figure
from domain.points import Point, PointRegistry

RACKS, TRAYS, GPUS = 96, 18, 4
OF_GPU, OF_RACK = 29, 60


def plant() -> list[Point]:
    """Return the points of a plant."""
    points = []
    for rack in (f"R{n + 1:03d}" for n in range(RACKS)):
        for tray in range(TRAYS):
            for gpu in (f"{rack}-T{tray + 1:02d}-G{n}" for n in range(GPUS)):
                points += [
                    Point(
                        f"GPU/Q{q}/nvml/{gpu}", "GPU", f"Q{q}", gpu, associate=rack, source=f"tray:{gpu[:8]}"
                    )
                    for q in range(OF_GPU)
                ]
        points += [
            Point(f"Rack/Q{q}/dsx/{rack}", "Rack", f"Q{q}", rack, source="dsx:bms") for q in range(OF_RACK)
        ]
    return points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="the only form there is")
    parser.parse_args()
    points = plant()
    began = time.perf_counter()
    registry = PointRegistry(points)
    registered = time.perf_counter() - began

    def search(**wanted: str) -> list[int]:
        return [i for i, p in enumerate(registry) if all(getattr(p, n) == v for n, v in wanted.items())]

    figures: dict[str, Any] = {
        "registered_per_s": figure(len(points) / registered, "1/s"),
        "select_kind_ms": figure(
            best_ms(lambda: registry.select("GPU", "Q3")),
            "ms",
            best_ms(lambda: search(object_type="GPU", point_type="Q3")),
        ),
        "select_object_ms": figure(
            best_ms(lambda: registry.select(None, "Q3", "R001")),
            "ms",
            best_ms(lambda: search(object_id="R001", point_type="Q3")),
        ),
        "source_ms": figure(
            best_ms(lambda: registry.of_source("dsx:bms")), "ms", best_ms(lambda: search(source="dsx:bms"))
        ),
    }
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    print(
        json.dumps(
            {"name": "registry", "points": len(points), "machine": machine, "figures": figures}, indent=1
        )
    )


def best_ms(look: Callable[[], Any]) -> float:
    """Return the shortest of ten times, in milliseconds."""
    best = float("inf")
    for _ in range(10):
        began = time.perf_counter()
        look()
        best = min(best, time.perf_counter() - began)
    return best * 1000


if __name__ == "__main__":
    main()
