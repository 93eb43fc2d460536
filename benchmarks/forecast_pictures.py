"""Pictures of docs/forecasting.md: `python -m benchmarks.forecast_pictures FIGURES.json docs/pictures`.

FIGURES.json is what `python -m benchmarks.forecast` printed. The example forecast is of a made-up hall.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("svg")
import matplotlib.pyplot as plt

from analytics.forecast import PowerForecaster

BLUE, GREY, RED = "#1f6f8b", "#9aa5ab", "#b23a48"
plt.rcParams.update(
    {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "hallwatch"}
)


def made_up_hall(days: int) -> pd.Series:
    """Power of a hall with a day, a week, jobs in lock-step and noise, W."""
    index = pd.date_range("2026-01-05", periods=days * 96, freq="15min", tz="Asia/Taipei")
    random = np.random.default_rng(11)
    hours = np.arange(len(index)) / 4
    rhythm = 0.9e6 * np.sin(2 * np.pi * (hours - 9) / 24) - 0.6e6 * ((hours // 24) % 7 >= 5)
    jobs = np.zeros(len(index))
    at = 0
    while at < len(index):
        length = int(random.integers(16, 200))
        jobs[at : at + length] = random.choice([0.0, 0.8e6, 1.6e6])
        at += length
    return pd.Series(11e6 + rhythm + jobs + random.normal(0, 8e4, len(index)), index=index)


def draw_example(file: Path) -> None:
    series = made_up_hall(60)
    history, actual = series.iloc[:-192], series.iloc[-192:]
    forecast = PowerForecaster(country="TW").fit(history).predict(192)
    figure, axes = plt.subplots(figsize=(8, 3))
    axes.plot(history.index[-192:], history.iloc[-192:] / 1e6, color=GREY, lw=1, label="measured")
    for low, high, shade in ((0.05, 0.95, 0.2), (0.25, 0.75, 0.35)):
        label = f"{high - low:.0%} interval"
        axes.fill_between(
            forecast.index,
            forecast[low] / 1e6,
            forecast[high] / 1e6,
            color=BLUE,
            alpha=shade,
            lw=0,
            label=label,
        )
    axes.plot(forecast.index, forecast[0.5] / 1e6, color=BLUE, lw=1.2, label="median")
    axes.plot(actual.index, actual / 1e6, color=RED, lw=0.8, label="what came")
    axes.set_ylabel("MW")
    axes.legend(frameon=False, ncols=5, loc="upper center", bbox_to_anchor=(0.5, 1.15))
    save(figure, file)


def draw_tasks(figures: dict[str, Any], file: Path) -> None:
    names = task_names(figures)
    ours = [figures[f"{name} pinball_to_naive"]["value"] for name in names]
    theirs = [figures[f"{name} pinball_to_naive"]["reference"] for name in names]
    figure, axes = plt.subplots(figsize=(8, 4))
    place = np.arange(len(names))
    axes.barh(place - 0.2, ours, 0.38, color=BLUE, label="forecaster")
    axes.barh(place + 0.2, theirs, 0.38, color=GREY, label="LightGBM, one model a quantile")
    axes.axvline(1, color=RED, lw=0.8)
    axes.set_yticks(place, [short(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("pinball loss, seasonal naive = 1 (less is better)")
    axes.legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.1))
    save(figure, file)


def draw_coverage(figures: dict[str, Any], file: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 3.2))
    rows = []
    for name in task_names(figures):
        coverage = figures[f"{name} coverage_90_by_6h"]["value"]
        rows.append(coverage)
        axes.plot(6 * np.arange(len(coverage)) + 3, coverage, color=GREY, lw=0.8)
    axes.plot(
        6 * np.arange(len(rows[0])) + 3, np.mean(rows, axis=0), color=BLUE, lw=2, label="mean of the tasks"
    )
    axes.axhline(0.9, color=RED, lw=0.8, label="wanted")
    axes.set_ylim(0.7, 1)
    axes.set_xlabel("hours ahead")
    axes.set_ylabel("share within the 90 % interval")
    axes.legend(frameon=False)
    save(figure, file)


def task_names(figures: dict[str, Any]) -> list[str]:
    return [name.removesuffix(" pinball_to_naive") for name in figures if name.endswith(" pinball_to_naive")]


def short(name: str) -> str:
    return name.split("/", 1)[1].replace("_w_avg", "").replace("_c_avg", "").replace(":", " ")


def save(figure: Any, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    figures = json.loads(Path(sys.argv[1]).read_text())["figures"]
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    draw_example(folder / "forecast-example.svg")
    draw_tasks(figures, folder / "forecast-tasks.svg")
    draw_coverage(figures, folder / "forecast-coverage.svg")


if __name__ == "__main__":
    main()
