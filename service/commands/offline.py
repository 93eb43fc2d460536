"""Models on files: forecast, backtest, detect. Nothing of a running service is needed or touched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.commands.output import as_json, as_table

CsvFile = Annotated[Path, typer.Option("--csv", help="The series: a CSV file", metavar="FILE")]
TimeColumn = Annotated[str, typer.Option("--time", help="Its column of times", metavar="COL")]
ValueColumn = Annotated[str, typer.Option("--value", help="Its column of values", metavar="COL")]
Dates = Annotated[str, typer.Option(help="Order of day and month where the file leaves it open: dmy or mdy")]
Decimal = Annotated[
    str, typer.Option(help="What a comma is where the file leaves it open: comma, or point for thousands")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


def forecast(
    csv: CsvFile,
    time: TimeColumn,
    value: ValueColumn,
    horizon: Annotated[str, typer.Option(help="How far ahead, such as 48h")] = "48h",
    country: Annotated[str, typer.Option(help="ISO code, for its holidays")] = "",
    dates: Dates = "",
    decimal: Decimal = "",
    json: Json = False,
) -> None:
    """Forecast any regular series, offline."""
    from analytics.forecast import PowerForecaster
    from domain.errors import InputError
    from domain.forecast import QUANTILES
    from service.commands.tables import read_series, timespan

    series = read_series(csv, time, value, *_how(dates, decimal))
    step = series.index[1] - series.index[0]
    steps = int(timespan(horizon) / step)
    if steps < 1:
        raise InputError(f"a horizon of {horizon} is shorter than the series' interval of {step}")
    frame = PowerForecaster(country=country or None).fit(series).predict(steps, list(QUANTILES))
    if json:
        as_json(
            {
                "data_cutoff": (series.index[-1] + step).isoformat(),
                "interval_minutes": step.total_seconds() / 60,
                "interval_label": "start",
                "quantiles": list(QUANTILES),
                "model": "PowerForecaster",
                "missing_share": float(series.isna().mean()),
                "intervals": [
                    {"start": t.isoformat(), "values": row}
                    for t, row in zip(frame.index, frame.to_numpy().tolist(), strict=True)
                ],
            }
        )
        return
    shown = (0.05, 0.25, 0.5, 0.75, 0.95)
    as_table(
        ["start", *(f"q{q:.2f}" for q in shown)],
        [[t.isoformat(), *(f"{frame.loc[t, q]:.6g}" for q in shown)] for t in frame.index],
    )


def backtest(
    csv: CsvFile,
    time: TimeColumn,
    value: ValueColumn,
    horizon: Annotated[str, typer.Option(help="How far ahead, such as 48h")] = "48h",
    origins: Annotated[int, typer.Option(min=1, help="From how many past moments to forecast")] = 20,
    dates: Dates = "",
    decimal: Decimal = "",
    json: Json = False,
) -> None:
    """Tell how good forecasts of a series would have been, against seasonal naive."""
    from analytics.forecast.evaluation import backtest as run_backtest
    from service.commands.tables import read_series, timespan

    series = read_series(csv, time, value, *_how(dates, decimal))
    steps = int(timespan(horizon) / (series.index[1] - series.index[0]))
    report = run_backtest(series, horizon=steps, origins=origins)
    if json:
        as_json(report.as_dict())
        return
    rows = [
        ("product", report.model),
        ("seasonal naive", report.seasonal_naive),
        ("persistence", report.persistence),
    ]
    as_table(
        ["model", "MAE", "RMSE", "pinball", "coverage of 90 %"],
        [[name, *(f"{v:.5g}" for v in (s.mae, s.rmse, s.pinball, s.coverage_90))] for name, s in rows],
    )
    as_table(
        ["hours ahead", "pinball / seasonal naive", "coverage of 90 %"],
        [
            [
                f"{b.first_hour:g} to {b.last_hour:g}",
                f"{b.pinball_to_seasonal_naive:.3f}",
                f"{b.coverage_90:.3f}",
            ]
            for b in report.by_lead
        ],
    )


def detect(
    train: Annotated[Path, typer.Option(help="Normal operation: a CSV file", metavar="CSV")],
    score: Annotated[Path, typer.Option(help="What to score: a CSV file", metavar="CSV")],
    dates: Dates = "",
    decimal: Decimal = "",
    json: Json = False,
) -> None:
    """Score a series against normal operation: several columns as a loop, one column as a stream."""
    from analytics.anomaly import CoolingLoopDetector, StreamDetector
    from domain.errors import InputError
    from service.commands.tables import read_table

    order, comma = _how(dates, decimal)
    normal, present = (read_table(file, dates=order, decimal=comma) for file in (train, score))
    absent = [c for c in normal.columns if c not in present.columns]
    if absent:
        raise InputError(f"{score} lacks columns that {train} has: {', '.join(map(str, absent))}")
    present = present[normal.columns]
    detector = StreamDetector() if normal.shape[1] == 1 else CoolingLoopDetector()
    detector.fit(normal)
    scores, labels = detector.score(present), detector.predict(present)
    episodes = detector.explain(present)
    rows = list(zip(map(str, present.index), scores.tolist(), map(int, labels), strict=True))
    if json:
        as_json(
            {
                "detector": type(detector).__name__,
                "rows": [{"time": t, "score": s, "label": label} for t, s, label in rows],
                "episodes": [
                    episode | {"start": str(episode["start"]), "end": str(episode["end"])}
                    for episode in episodes.to_dict("records")
                ],
            }
        )
        return
    as_table(["time", "score", "anomalous"], [[t, f"{s:.3f}", label] for t, s, label in rows])
    if len(episodes):
        as_table(
            ["episode from", "to", "rows above 1", "peak", "signals"],
            [[str(e.start), str(e.end), e.rows, f"{e.peak:.3f}", e.signals] for e in episodes.itertuples()],
        )


def _how(dates: str, decimal: str) -> tuple[str, str]:
    """Return the options on how cells are read, as they may be."""
    from domain.errors import InputError

    for name, told, allowed in (("dates", dates, ("dmy", "mdy")), ("decimal", decimal, ("comma", "point"))):
        if told and told not in allowed:
            raise InputError(f"--{name} {told}: write {' or '.join(allowed)}")
    return dates, decimal
