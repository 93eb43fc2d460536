"""Simulated jobs beside measured ones: `python -m benchmarks.jobs --traces DIR` prints one JSON object.

The traces are those of `simulator.courses`: of each model every other run, and of gpt3's hour the first half, served to choose the
figures that jobs are made of; compared is with the others. What is simulated is the power of a rack under jobs of
the calendar, taken in pieces as long as the traces, relative to each piece's mean.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.site import Site
from service.configuration import SHIPPED, load
from simulator.courses import FINE_TUNING, KINDS, PRETRAINING, VISION
from simulator.factory import Factory
from simulator.traces import READING_S, Traces
from simulator.workload import HOUR, WEEK

Values = NDArray[np.floating[Any]]

OF = {
    PRETRAINING: ("gpt3",),
    FINE_TUNING: ("llama2_70b_lora_64", "llama2_70b_lora_8"),
    VISION: ("resnet", "ssd", "unet3d"),
}
SEED = 7401
START_MS = 1_772_323_200_000
WEEKS = 12
REPEATS = 40
"""Times that as many pieces are drawn as there are traces; the figures are medians over them."""
LAGS_S = (2, 4, 6, 8, 10, 12, 22, 32)
BANDS_S = ((4, 8), (8, 16), (16, 60), (60, 400))


def halves(traces: Traces, kind: str) -> tuple[list[Values], list[Values]]:
    """Return the traces of a kind that served to choose, and those to compare with."""
    chosen: list[Values] = []
    kept: list[Values] = []
    for family in OF[kind]:
        runs = [t.share for t in traces.traces if t.name.startswith(family)]
        if len(runs) == 1:
            middle = len(runs[0]) // 2
            runs = [runs[0][:middle], runs[0][middle:]]
        chosen += runs[::2]
        kept += runs[1::2]
    return chosen, kept


def simulated(site: Site, kind: str, lengths: Sequence[int], rng: np.random.Generator) -> Iterator[Values]:
    """Yield the power of racks under jobs of a kind, W, every `READING_S`, one piece of each length in turn."""
    factory = Factory(site, SEED, START_MS)
    jobs = [
        job
        for job in factory.workload.jobs(START_MS, START_MS + WEEKS * WEEK)
        if job.kind == kind and job.end - job.start > HOUR
    ]
    while True:
        for length in lengths:
            job = jobs[int(rng.integers(len(jobs)))]
            span = round(length * READING_S * 1000)
            begin = int(rng.integers(job.start + 180_000, job.end - 60_000 - span)) // 1000 * 1000
            times = begin + round(READING_S * 1000) * np.arange(length, dtype=np.int64)
            yield factory.rack_power(factory.workload.activity(times))[:, job.first]


def steps(pieces: Sequence[Values]) -> Values:
    return np.concatenate([np.abs(np.diff(piece)) / piece.mean() for piece in pieces])


def step_figures(pieces: Sequence[Values]) -> list[float]:
    return [float(v) for v in np.quantile(steps(pieces), [0.5, 0.99, 1.0])]


def autocorrelation(pieces: Sequence[Values]) -> list[float]:
    """Return the mean autocorrelation at `LAGS_S`."""
    found = []
    for piece in pieces:
        apart = piece - piece.mean()
        lags = [round(s / READING_S) for s in LAGS_S]
        found.append([float((apart[k:] * apart[:-k]).mean() / (apart**2).mean()) for k in lags])
    return [float(v) for v in np.mean(found, axis=0)]


def spectrum(pieces: Sequence[Values]) -> list[float]:
    """Return the share of the variance in each of `BANDS_S` (periods), in the mean."""
    found = []
    for piece in pieces:
        power = np.abs(np.fft.rfft((piece - piece.mean()) * np.hanning(len(piece)))) ** 2
        period = 1 / np.maximum(np.fft.rfftfreq(len(piece), READING_S), 1e-9)
        found.append([float(power[(period >= a) & (period < b)].sum() / power[1:].sum()) for a, b in BANDS_S])
    return [float(v) for v in np.mean(found, axis=0)]


def measure(traces: Traces) -> dict[str, Any]:
    """Return the table of each kind of job: simulated, traces kept apart, traces that served to choose."""
    site = load(SHIPPED / "site.yaml", Site)
    tables: dict[str, Any] = {}
    figures: dict[str, Any] = {}
    for kind in KINDS:
        chosen, kept = halves(traces, kind)
        rng = np.random.default_rng([SEED, KINDS.index(kind)])
        source = simulated(site, kind, [len(piece) for piece in kept], rng)
        draws = [[next(source) for _ in kept] for _ in range(REPEATS)]
        table = {}
        for name, pieces in (("traces", [kept]), ("chosen on", [chosen]), ("simulated", draws)):
            table[name] = {
                "steps_50_99_100": np.median([step_figures(p) for p in pieces], axis=0).round(4).tolist(),
                "autocorrelation": np.median([autocorrelation(p) for p in pieces], axis=0).round(2).tolist(),
                "spectrum": np.median([spectrum(p) for p in pieces], axis=0).round(3).tolist(),
            }
        tables[kind] = table
        for i, share in enumerate((50, 99, 100)):
            ours, theirs = (table[name]["steps_50_99_100"][i] for name in ("simulated", "traces"))
            figures[f"step_{share}_{kind}"] = {
                "value": ours, "unit": "of the mean", "reference": theirs, "ratio": round(ours / theirs, 3),
            }  # fmt: skip
    return {
        "name": "jobs",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "figures": figures,
        "lags_s": LAGS_S,
        "bands_s": BANDS_S,
        "tables": tables,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare simulated training jobs with measured ones.")
    parser.add_argument("--traces", type=Path, required=True, help="folder of the measured traces")
    print(json.dumps(measure(Traces.read(parser.parse_args(arguments).traces)), indent=1))


if __name__ == "__main__":
    main()
