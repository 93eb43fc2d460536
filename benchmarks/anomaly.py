"""Anomaly detection: `python -m benchmarks.anomaly` prints one JSON object.

Quality on public data with the detectors as shipped (the scorer and the data sets lie under HALLWATCH_TESTDATA,
default ../shared), and the cost of watching a whole factory online.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analytics.anomaly import CoolingLoopDetector, StreamDetector
from analytics.anomaly.cdus import CduReadings, CduScorer
from analytics.anomaly.plant import gpu_scores
from analytics.anomaly.racks import RackReadings, RackScorer

ROOT = Path(__file__).parent.parent


def testdata() -> Path:
    return Path(os.environ.get("HALLWATCH_TESTDATA", ROOT.parent / "shared"))


def load_scorer(folder: Path) -> ModuleType:
    """Load the evaluation script that comes with the data."""
    spec = importlib.util.spec_from_file_location("anomaly_eval", folder / "benchmarks" / "anomaly_eval.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"no benchmarks/anomaly_eval.py in {folder}; set HALLWATCH_TESTDATA")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def loop_labels(train: pd.DataFrame, test: pd.DataFrame) -> pd.Series:
    """SKAB's interface: 0/1 for each row of `test`."""
    return CoolingLoopDetector().fit(train).predict(test)


def stream_alarms(train: pd.DataFrame, test: pd.DataFrame) -> npt.NDArray[np.float64]:
    """NAB's interface: the product's own alarms (threshold 1, one an episode) as scores of 0 and 1."""
    return StreamDetector().fit(train).predict(test).to_numpy(dtype=float)


def stream_scores(train: pd.DataFrame, test: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Scores squeezed into 0 to 1, for the check that none of them looks ahead."""
    score = StreamDetector().fit(train).score(test).to_numpy(dtype=float)
    return score / (1.0 + score)


def measure(folder: Path) -> dict[str, Any]:
    """Return every figure as `{value, unit, reference, ratio}`; reference is the simple way, in this run."""
    quality, files = public_data(folder)
    return {
        "name": "anomaly",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "figures": {**quality, **online_cost()},
        "files": files,
    }


def public_data(folder: Path, references: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the figures on SKAB and NAB, and those of single files."""
    scorer = load_scorer(folder)
    data = folder / "datasets"
    started = time.perf_counter()
    loop, loop_files = scorer.skab(data / "skab", loop_labels, per_file=True)
    loop_seconds = time.perf_counter() - started
    simple = scorer.skab(data / "skab", scorer.skab_pca) if references else {}
    started = time.perf_counter()
    runs = scorer.nab_run(data / "nab", stream_alarms)
    stream_seconds = time.perf_counter() - started
    runs_simple = scorer.nab_run(data / "nab", scorer.nab_windowed_gaussian) if references else None
    figures = {
        "skab_f1": figure(loop["F1"], "1", simple.get("F1")),
        "skab_far": figure(loop["FAR"], "%", simple.get("FAR")),
        "skab_mar": figure(loop["MAR"], "%", simple.get("MAR")),
        "skab_seconds": figure(round(loop_seconds, 2), "s"),
        "nab_seconds": figure(round(stream_seconds, 2), "s"),
    }
    for name, profile in (("nab_standard", "standard"), ("nab_low_fp", "reward_low_FP_rate")):
        got = scorer.nab_score(runs, 0.5, profile)
        # the reference may tune its threshold on these very files; the product may not
        tuned = scorer.nab_score(runs_simple, None, profile)["score"] if runs_simple else None
        figures[name] = figure(got["score"], "1", tuned)
    figures["nab_windows_hit"] = figure(got["windows_hit"], f"of {got['windows']}")
    figures["nab_false_rows"] = figure(got["fp_rows"], "rows")
    causal = [scorer.check_causal(stream_scores, frame) for _, frame, _ in scorer.nab_load(data / "nab")]
    figures["check_causal"] = figure(sum(causal), f"of {len(causal)} files")
    files = {run[0]: scorer.nab_score([run], 0.5)["score"] for run in runs}
    return figures, {"skab": loop_files, "nab_standard": files}


def online_cost(rounds: int = 200) -> dict[str, Any]:
    """Return what one round of scoring all racks, CDUs and GPUs costs, and the share of a core at the demo's pace."""
    rng = np.random.default_rng(0)
    pods = np.repeat(np.arange(12, dtype=np.int32), 8)
    rack_of = np.repeat(np.arange(96, dtype=np.int32), 72)
    racks, cdus = (
        RackScorer([f"R{n:03d}" for n in range(96)], pods),
        CduScorer([str(n) for n in range(24)], pods[::4]),
    )

    def rack_round() -> None:
        power = rng.uniform(30e3, 130e3, 96)
        about = 1.0 + rng.normal(0, 0.01, (6, 96))
        racks.update(
            RackReadings(
                power, 32.0 * about[0], 44.0 * about[1], 1.2e-3 * power * about[2], 80e3 * about[3], 70.0 * about[4], power / 110
            )
        )  # fmt: skip

    def cdu_round() -> None:
        flow = rng.uniform(300, 700, 24)
        about = 1.0 + rng.normal(0, 0.01, (7, 24))
        cdus.update(
            CduReadings(
                flow, 85e3 * about[0], 0.6 * about[1], 0.017 * flow**2 * about[2], 32.0 * about[3], 44.0 * about[4],
                flow * about[5], 66.3 * flow * 12.0 * about[6],
            )
        )  # fmt: skip

    power, coolant = rng.uniform(200, 1200, 6912), np.full(96, 38.0)
    temperature = 38.0 + 0.028 * power + rng.normal(0, 1, 6912)

    def gpu_round() -> None:
        gpu_scores(temperature, power, coolant, rack_of, 96)

    def gpu_loop() -> None:
        for rack in range(96):
            rows = rack_of == rack
            resistance = np.nanmedian((temperature[rows] - coolant[rack]) / power[rows])
            off = temperature[rows] - coolant[rack] - resistance * power[rows]
            np.abs(off) / (5 * 1.4826 * np.nanmedian(np.abs(off - np.nanmedian(off))))

    spent = {}
    for name, one in (("racks", rack_round), ("cdus", cdu_round), ("gpus", gpu_round), ("loop", gpu_loop)):
        started = time.process_time()
        for _ in range(rounds):
            one()
        spent[name] = 1000 * (time.process_time() - started) / rounds
    share = (spent["racks"] + spent["cdus"]) / 10e3 + spent["gpus"] / 5e3
    return {
        "racks_ms": figure(round(spent["racks"], 3), "ms for 96 racks"),
        "cdus_ms": figure(round(spent["cdus"], 3), "ms for 24 CDUs"),
        "gpus_ms": figure(round(spent["gpus"], 3), "ms for 6,912 GPUs", round(spent["loop"], 3)),
        "core_share": figure(round(share, 5), "of a core; racks and CDUs every 10 s, GPUs every 5 s"),
    }


def figure(value: float, unit: str, reference: float | None = None) -> dict[str, Any]:
    ratio = round(value / reference, 3) if reference else None
    return {"value": value, "unit": unit, "reference": reference, "ratio": ratio}


def main() -> None:
    print(json.dumps(measure(testdata()), indent=2))


if __name__ == "__main__":
    main()
