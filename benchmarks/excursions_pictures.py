"""Reliability diagram of docs/forecasting.md: `python -m benchmarks.excursions_pictures FIGURES.json docs/pictures`.

FIGURES.json is what `python -m benchmarks.excursions` printed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

BLUE, GREY, RED = "#1f6f8b", "#9aa5ab", "#b23a48"
plt.rcParams.update(
    {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "hallwatch"}
)


def draw(measured: dict[str, Any], file: Path) -> None:
    """Draw how often a breach happened that was forecast with a probability, and how often each was forecast."""
    figure, (axes, counts) = plt.subplots(1, 2, figsize=(8, 3.2), width_ratios=(3, 2))
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.8, label="as it should be")
    for name, colour, label in (
        ("reliability_without_schedule", RED, "from past power alone"),
        ("reliability", BLUE, "with the schedule"),
    ):
        rows = [row for row in measured["tables"][name].values() if row["count"] >= 20]
        forecast = [row["forecast"] for row in rows]
        axes.plot(forecast, [row["happened"] for row in rows], "o-", color=colour, lw=1.2, ms=4, label=label)
        counts.plot(forecast, [row["count"] for row in rows], "o-", color=colour, lw=1.2, ms=4)
    axes.set(
        xlabel="forecast probability of a breach", ylabel="share that happened", xlim=(0, 1), ylim=(0, 1)
    )
    axes.legend(frameon=False, loc="upper left")
    counts.set(xlabel="forecast probability", ylabel="forecasts", yscale="log", xlim=(0, 1))
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def main(arguments: list[str]) -> None:
    measured = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    draw(measured, Path(arguments[1]) / "excursions-reliability.svg")


if __name__ == "__main__":
    main(sys.argv[1:])
