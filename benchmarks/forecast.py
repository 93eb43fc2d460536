"""48-hour forecasts of public series, with the forecaster as shipped: `python -m benchmarks.forecast`.

`--days 7` plans a week instead (with `--origins 10`: a quarter of the time).

Reads the scorer and the data sets under HALLWATCH_TESTDATA (default ../shared), forecasts every task from about 40
origins, fitting afresh at each, and prints one JSON object. The reference of each figure is the scorer's own LightGBM,
run beside it. All tasks take about half an hour; with `--state FILE` each finished task is kept there, and the
next run of the same code goes on behind it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

import analytics.forecast
from analytics.forecast import PowerForecaster

ROOT = Path(__file__).parent.parent
Result = dict[str, Any]


def testdata() -> Path:
    return Path(os.environ.get("HALLWATCH_TESTDATA", ROOT.parent / "shared"))


def load_scorer(folder: Path) -> ModuleType:
    """Load the evaluation script that comes with the data."""
    spec = importlib.util.spec_from_file_location("forecast_eval", folder / "benchmarks" / "forecast_eval.py")
    if spec is None or spec.loader is None or not (folder / "benchmarks" / "forecast_eval.py").exists():
        raise FileNotFoundError(f"no benchmarks/forecast_eval.py in {folder}; set HALLWATCH_TESTDATA")
    module = importlib.util.module_from_spec(spec)
    # Its data class looks itself up by the module's name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def predict(
    history: pd.Series, horizon: int, quantiles: Sequence[float], covariates: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Fit the product's forecaster on the history up to the origin; the scorer's interface."""
    ahead = max(pd.Timedelta(hours=48), horizon * (history.index[1] - history.index[0]))
    return PowerForecaster(horizon=str(ahead)).fit(history, covariates).predict(horizon, quantiles)


def code_version() -> str:
    """Fingerprint of the forecaster's code: a kept result counts only for the code that made it."""
    digest = hashlib.sha256()
    for file in sorted(Path(analytics.forecast.__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


class State:
    """Finished tasks, one JSON object a line, in a file or only in memory."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.done: dict[str, Result] = {}
        if file is not None and file.exists():
            for line in file.read_text().splitlines():
                entry = json.loads(line)
                self.done[entry["key"]] = entry["result"]

    def once(self, key: str, work: Callable[[], Result]) -> Result:
        """Give the result of the work, done only where it is not kept yet."""
        if key not in self.done:
            self.done[key] = work()
            if self.file is not None:
                with self.file.open("a") as file:
                    file.write(json.dumps({"key": key, "result": self.done[key]}) + "\n")
        return self.done[key]


def measure(
    folder: Path, state: State | None = None, origins: int = 40, only: str = "", days: int = 2
) -> Result:
    """Return every figure as `{value, unit, reference, ratio}`; the reference is LightGBM in the same run."""
    started = time.perf_counter()
    state = state or State(None)
    scorer = load_scorer(folder)
    version = code_version()
    about = str(origins) if days == 2 else f"{origins} {days}d"
    figures: Result = {}
    ratios, first_ratios = [], []
    for task in scorer.tasks(folder / "datasets", n_origins=origins):
        if only not in task.name:
            continue
        task.horizon = days * task.day

        def score(forecast: Callable[..., Any], task: Any = task) -> Result:
            result: Result = scorer.evaluate(forecast, task, by_lead=True)
            return result

        ours = state.once(f"{version} {about} {task.name}", lambda score=score: score(predict))  # type: ignore[misc]
        theirs = state.once(
            f"reference {about} {task.name}",
            lambda score=score, day=task.day: score(scorer.DirectLGBM(day)),  # type: ignore[misc]
        )
        first, first_theirs = ours["pinball_rel_6h"][0], theirs["pinball_rel_6h"][0]
        figures[f"{task.name} pinball_to_naive"] = figure(ours["pinball_rel"], "1", theirs["pinball_rel"])
        figures[f"{task.name} pinball_to_naive_first_6h"] = figure(first, "1", first_theirs)
        figures[f"{task.name} coverage_90"] = figure(ours["cov90"], "1", theirs["cov90"])
        figures[f"{task.name} coverage_90_lowest_6h"] = figure(
            min(ours["cov90_6h"]), "1", min(theirs["cov90_6h"])
        )
        figures[f"{task.name} mae_to_naive"] = figure(ours["mae_rel"], "1", theirs["mae_rel"])
        figures[f"{task.name} seconds"] = figure(ours["sec_per_forecast"], "s", theirs["sec_per_forecast"])
        figures[f"{task.name} coverage_90_by_6h"] = {"value": ours["cov90_6h"], "unit": "1"}
        figures[f"{task.name} pinball_to_naive_by_6h"] = {
            "value": ours["pinball_rel_6h"],
            "unit": "1",
            "reference": theirs["pinball_rel_6h"],
        }
        ratios.append(ours["pinball"] / theirs["pinball"])
        first_ratios.append(first / first_theirs)
    figures["pinball_to_lightgbm"] = {"value": geometric_mean(ratios), "unit": "1"}
    figures["pinball_to_lightgbm_first_6h"] = {"value": geometric_mean(first_ratios), "unit": "1"}
    figures["pinball_to_lightgbm_worst_task"] = {"value": round(max(ratios), 4), "unit": "1"}
    figures["duration_s"] = {"value": round(time.perf_counter() - started, 1), "unit": "s"}
    return {
        "name": "forecast",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "figures": figures,
    }


def geometric_mean(values: Sequence[float]) -> float:
    return round(float(np.exp(np.mean(np.log(values)))), 4)


def figure(value: float, unit: str, reference: float) -> Result:
    ratio = round(value / reference, 4) if reference else None
    return {"value": value, "unit": unit, "reference": reference, "ratio": ratio}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Forecast public series and score the forecasts.")
    parser.add_argument("--state", type=Path, help="keep finished tasks in this file and go on behind them")
    parser.add_argument("--origins", type=int, default=40, help="forecasts a task (about)")
    parser.add_argument("--only", default="", help="only tasks whose name contains this")
    parser.add_argument("--days", type=int, default=2, help="how far ahead")
    options = parser.parse_args(arguments)
    figures = measure(testdata(), State(options.state), options.origins, options.only, options.days)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
