"""Anomaly detection: `python -m benchmarks.anomaly` prints one JSON object.

Quality on public data with the detectors as shipped, and with one family of series left out of the choice
(the scorer and the data sets lie under HALLWATCH_TESTDATA, default ../shared); the cost of watching a whole
factory online.
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
from benchmarks._families import (
    family,
    loop_folders,
    reference_families,
    stream_families,
)
from benchmarks._watched_plant import shipped_site
from benchmarks.faults import cost

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
        "figures": {**quality, **cost(shipped_site())},
        "files": files,
        "one_left_out": one_left_out(folder),
    }


def one_left_out(folder: Path) -> dict[str, Any]:
    """Return the scores of families that had no say in the choice, beside the references in the same run."""
    scorer = load_scorer(folder)
    data = folder / "datasets"
    nab: dict[str, Any] = {"StreamDetector": stream_families(scorer, data / "nab")}
    for name, detector in {**scorer.NAB_REFERENCE, "EWMA": ewma}.items():
        nab[name] = reference_families(scorer, scorer.nab_run(data / "nab", detector))
    return {"nab": nab, "skab": loop_folders(scorer, data / "skab")}


def ewma(
    train: pd.DataFrame, test: pd.DataFrame, span: int = 20, past: int = 5000
) -> npt.NDArray[np.float64]:
    """Return an EWMA control chart as scores from 0 to 1: the moving average in deviations of the past."""
    values = pd.concat([train["value"], test["value"]], ignore_index=True)
    before = values.shift(1).rolling(past, min_periods=20)
    away = ((values.ewm(span=span).mean() - before.mean()) / (before.std() + 1e-9)).abs().fillna(0.0)
    above = away.where(
        away > away.shift(1).rolling(200, min_periods=1).max().fillna(-1), 0.0
    )  # one an episode
    return (above / (1.0 + above)).to_numpy()[len(train) :]


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
    for name in sorted({family(run[0]) for run in runs}):
        score = scorer.nab_score([run for run in runs if family(run[0]) == name], 0.5)["score"]
        figures[f"nab_{name}"] = figure(score, "1")
    return figures, {"skab": loop_files, "nab_standard": files}


def figure(value: float, unit: str, reference: float | None = None) -> dict[str, Any]:
    ratio = round(value / reference, 3) if reference else None
    return {"value": value, "unit": unit, "reference": reference, "ratio": ratio}


def main() -> None:
    print(json.dumps(measure(testdata()), indent=2))


if __name__ == "__main__":
    main()
