"""Leave one family out: what a detector is worth on a kind of series that had no say in choosing it.

Each family of NAB, and each folder of SKAB, is scored with the setting that is best on the others; the references
choose their threshold in the same way: one for all series of a family, never one a series.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analytics.anomaly import CoolingLoopDetector, StreamDetector

LIMITS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05)
STREAM_MENU = [
    {"quantile": q, "quiet": quiet, "limit": limit}
    for q, quiet, limit in product((0.99, 0.995, 0.998), (80,), LIMITS)
]
LOOP_MENU = [
    {"window": w, "quantile": q, "adaptation": a}
    for w, q, a in product((15, 20, 25, 30), (0.97, 0.98, 0.99), (300, 500))
]
Run = tuple[str, list[pd.Timestamp], npt.NDArray[np.float64], list[Any]]


def family(name: str) -> str:
    """Return the folder that a series lies in."""
    return name.split("/")[0]


def stream_families(
    scorer: ModuleType, data: Path, menu: list[dict[str, Any]] = STREAM_MENU
) -> dict[str, Any]:
    """Return the standard NAB score of each family left out, with the setting chosen on the others, and of all."""
    tried: list[dict[str, dict[str, Any]]] = []  # a setting: a family: what the scorer says
    for setting in menu:

        def alarms(
            train: pd.DataFrame, test: pd.DataFrame, setting: dict[str, Any] = setting
        ) -> npt.NDArray[np.float64]:
            return StreamDetector(**setting).fit(train).predict(test).to_numpy(dtype=float)

        runs = scorer.nab_run(data, alarms)
        tried.append({name: scorer.nab_score(_of(runs, [name]), 0.5) for name in _families(runs)})
    plateau = [[k for k, other in enumerate(menu) if _near(setting, other)] for setting in menu]

    def worth(place: int, names: list[str]) -> float:
        """Score over these families, mean of a setting and its neighbours: a plateau is worth more than a peak."""
        return float(np.mean([_pooled([tried[k][name] for name in names]) for k in plateau[place]]))

    families = {}
    for left in tried[0]:
        others = [name for name in tried[0] if name != left]
        best = max(range(len(menu)), key=lambda place: worth(place, others))
        families[left] = tried[best][left] | {"chosen": menu[best]}
    return _told(families)


def reference_families(scorer: ModuleType, runs: list[Run]) -> dict[str, Any]:
    """Return the same for scores whose only choice is the threshold."""
    families = {}
    for left in _families(runs):
        others = [name for name in _families(runs) if name != left]
        threshold = scorer.nab_score(_of(runs, others))["threshold"]
        families[left] = scorer.nab_score(_of(runs, [left]), threshold) | {"chosen": {"threshold": threshold}}
    return _told(families)


def loop_folders(scorer: ModuleType, data: Path, menu: list[dict[str, Any]] = LOOP_MENU) -> dict[str, Any]:
    """Return F1, FAR and MAR over the SKAB folders, each scored with the setting of best F1 on the others."""
    counts: list[dict[str, npt.NDArray[np.float64]]] = [{} for _ in menu]
    for path in scorer.skab_files(data):
        frame = pd.read_csv(path, sep=";", index_col="datetime", parse_dates=True)
        signals, truth = frame.drop(columns=["anomaly", "changepoint"]), frame["anomaly"].iloc[400:]
        for place, setting in enumerate(menu):
            found = CoolingLoopDetector(**setting).fit(signals.iloc[:400]).predict(signals.iloc[400:])
            folder = counts[place].setdefault(path.parent.name, np.zeros(4))
            folder += scorer.skab_counts(truth, found)
    folders: dict[str, Any] = {}
    total = np.zeros(4)
    for left in counts[0]:
        f1 = [
            scorer.skab_metrics(sum(c for name, c in tried.items() if name != left))["F1"] for tried in counts
        ]
        best = int(np.argmax(f1))
        folders[left] = scorer.skab_metrics(counts[best][left]) | {"chosen": menu[best]}
        total += counts[best][left]
    return {"folders": folders, "all": scorer.skab_metrics(total), "settings": len(menu)}


def _families(runs: list[Run]) -> list[str]:
    return sorted({family(run[0]) for run in runs})


def _of(runs: list[Run], families: list[str]) -> list[Run]:
    return [run for run in runs if family(run[0]) in families]


def _near(setting: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two settings differ in the limit alone, and by one step at most."""
    apart = abs(LIMITS.index(setting["limit"]) - LIMITS.index(other["limit"]))
    return apart <= 1 and setting | {"limit": 0} == other | {"limit": 0}


def _pooled(scores: list[dict[str, Any]]) -> float:
    """Score of families together: every window weighs the same."""
    return float(np.average([s["score"] for s in scores], weights=[s["windows"] for s in scores]))


def _told(families: dict[str, dict[str, Any]]) -> dict[str, Any]:
    told = {
        name: {key: got[key] for key in ("score", "windows_hit", "windows", "fp_rows", "chosen")}
        for name, got in families.items()
    }
    return {
        "families": told,
        "all": round(_pooled(list(families.values())), 2),
        "fp_rows": sum(got["fp_rows"] for got in families.values()),
    }
