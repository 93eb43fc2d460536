"""Where the month will end against the contract: what was told on several days of simulated months, and what came.

Set against two simple ways: the highest demand so far, and the month before. Without the issued forecast, whose worth is
measured elsewhere: what is tested here is how days beyond it are foretold.

Then the baseline of demand response, on every weekday of these months from 16 to 20 o'clock though nothing was asked: what it says against
what was drawn, and against the same hours of the day before.

Run: ``python -m benchmarks.contract [--seeds N ...] [--months N]``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from datetime import timedelta

import numpy as np
import pandas as pd

from analytics.contract.baseline import BaselineRule, baseline
from analytics.contract.month import LEVELS, PAST_DAYS, month_of, month_report
from analytics.contract.tariff import Tariff
from benchmarks._factory_weeks import DAY_MS, site_power
from domain.envelope import QUARTER_MS
from domain.site import Site
from service.commands.output import as_json
from service.configuration import SHIPPED, load
from simulator.factory import Factory

TARIFF = SHIPPED / "examples" / "tariffs" / "taiwan-illustrative.yaml"
DAYS = (5, 12, 19, 26)
"""Days of the month at whose noon is asked."""
EVENT = (16, 20)
DAY = pd.Timedelta(days=1)
FIRST = pd.Timestamp("2026-06-01")


def demand_of(site: Site, seed: int, months: int) -> pd.Series:
    """Return the simulated site's quarter-hour demand, W: the weeks before the first month, and the months."""
    start, _ = month_of(FIRST.date(), site.zone)
    last = (FIRST + pd.DateOffset(months=months - 1)).date()
    first, end = start - PAST_DAYS * DAY_MS, month_of(last, site.zone)[1]
    factory = Factory(site, seed, first)
    times = pd.to_datetime(np.arange(first, end, QUARTER_MS), unit="ms", utc=True)
    return pd.Series(site_power(factory, first, end, QUARTER_MS), index=times)


def figures(site: Site, tariff: Tariff, seeds: Sequence[int], months: int) -> dict[str, object]:
    """Return errors of the month's highest demand, coverage, cost told against cost that came, and errors of baselines."""
    told: list[dict[str, float]] = []
    baselines: list[dict[str, float]] = []
    for seed in seeds:
        demand = demand_of(site, seed, months)
        whole = {}
        for month in range(months):
            day = (FIRST + pd.DateOffset(months=month)).date()
            whole[month] = month_report(
                demand, month_of(day, site.zone)[1] - 1, tariff, site.zone, site.country
            )
        # a contract that about half of the months exceed
        contracted = float(np.median([m.peaks[0].so_far for m in whole.values()]))
        charge = tariff.demand[0].model_copy(update={"contracted": contracted})
        mine = tariff.model_copy(update={"demand": (charge,)})
        for month in range(months):
            first = FIRST + pd.DateOffset(months=month)
            came = whole[month].peaks[0].so_far
            for number in DAYS:
                now = int(pd.Timestamp(first.year, first.month, number, 12, tz=site.zone).timestamp() * 1000)
                report = month_report(demand, now, mine, site.zone, site.country)
                (peak,) = report.peaks
                if peak.end is None or peak.exceeds is None or peak.excess is None:
                    continue
                told.append(
                    {
                        "day": number,
                        "error": abs(peak.end[LEVELS.index(0.5)] - came),
                        "so_far": abs(peak.so_far - came),
                        "month_before": abs(whole[month - 1].peaks[0].so_far - came) if month else np.nan,
                        "inside": float(peak.end[0] <= came <= peak.end[-1]),
                        "brier": (peak.exceeds - (came > contracted)) ** 2,
                        "cost": peak.excess,
                        "cost_came": charge.excess_cost(came, report.season),
                    }
                )
        baselines += list(_baselines(demand, mine, site))
    table = pd.DataFrame(told)
    by_day = table.groupby("day").mean(numeric_only=True)
    return {
        "told": len(table),
        "by_day": by_day.round(4).reset_index().to_dict("records"),
        "all": table.mean(numeric_only=True).round(4).to_dict(),
        "baseline": {
            "events": len(baselines),
            **pd.DataFrame(baselines).agg(["mean", "median"]).round(1).to_dict(),
        },
    }


def _baselines(demand: pd.Series, tariff: Tariff, site: Site) -> Iterator[dict[str, float]]:
    """Yield by how much the baseline differs from what was drawn, W, of each weekday that has one and the day before."""
    local = demand.copy()
    local.index = pd.DatetimeIndex(demand.index).tz_convert(site.zone)
    for day in pd.date_range(FIRST, local.index[-1].date() - timedelta(days=1), freq="D"):
        if tariff.day(day.date(), site.country) != "weekday":
            continue
        start, end = (day.tz_localize(site.zone) + pd.Timedelta(hours=hour) for hour in EVENT)
        found = baseline(
            local, start.to_pydatetime(), end.to_pydatetime(), BaselineRule(), tariff, site.country
        )
        before = local[(local.index >= start - DAY) & (local.index < end - DAY)].max()
        yield {
            "error": abs(found.delivered),
            "bias": found.delivered,
            "day_before": abs(float(before) - found.drawn),
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[8101, 8102, 8103, 8104])
    parser.add_argument("--months", type=int, default=3)
    options = parser.parse_args()
    site, tariff = load(SHIPPED / "site.yaml", Site), load(TARIFF, Tariff)
    as_json(
        {"name": "contract", "seeds": options.seeds, **figures(site, tariff, options.seeds, options.months)}
    )


if __name__ == "__main__":
    main()
