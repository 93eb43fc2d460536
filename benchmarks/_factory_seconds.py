"""Days of the simulated factory every two seconds: what each node of the envelope draws, and its largest ramps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks._factory_weeks import DAY_MS, Values, site_power
from domain.envelope import QUARTER_MS
from domain.plant.power import share_taps
from domain.points import TimeArray
from simulator.factory import Factory

STEP_MS = 2000
FOLLOWS = 0.045
"""What UPSes lose of each further watt that racks draw, at once; cooling follows within minutes."""


EVERY_RACK = 8
"""One rack of so many stands for all: a pod's racks mostly do the same."""
SERVING_MS = 20_000
"""Inference changes over minutes and is sampled at this pace."""


def nodes(factory: Factory) -> tuple[tuple[str, ...], Values]:
    """Return nodes below the site and what each carries of every rack, shape (nodes, racks): of the racks one of a pod."""
    layout = factory.layout
    share = share_taps(factory.plant.tap_share, np.ones((len(layout.racks), 2)))
    taps = np.zeros((2 * len(layout.racks), len(layout.racks)))
    taps[np.arange(len(taps)), np.arange(len(taps)) // 2] = share.reshape(-1)
    busways = layout.taps_to_busways.T @ taps
    ups = (1 + FOLLOWS) * layout.busways_to_ups.T @ busways
    feeds = layout.ups_to_feeds.T @ ups
    names = (*layout.feeds, *layout.ups, *layout.busways, *layout.racks[::EVERY_RACK])
    return names, np.concatenate([feeds, ups, busways, np.eye(len(layout.racks))[::EVERY_RACK]])


def days(factory: Factory, start: int, count: int) -> Iterator[Values]:
    """Yield day after day the power of the site and of `nodes`, W, every `STEP_MS`, shape (1 + nodes, steps).

    What follows the racks slowly (cooling, network) is on the site's meter and on the two feeds' in equal parts.
    """
    _, weight = nodes(factory)
    feeds = len(factory.layout.feeds)
    for day in range(count):
        first = start + day * DAY_MS
        times = first + STEP_MS * np.arange(DAY_MS // STEP_MS, dtype=np.int64)
        racks = factory.rack_power(_activity(factory, times))
        middle = first + QUARTER_MS // 5 * np.arange(-1, 5 * 96 + 1, dtype=np.int64)
        slow = site_power(factory, int(middle[0]), first + DAY_MS + QUARTER_MS // 5, QUARTER_MS // 5)
        mean = factory.rack_power(factory.workload.mean_activity(middle, QUARTER_MS // 5)).sum(1)
        other = np.interp(times, middle + QUARTER_MS // 10, slow - (1 + FOLLOWS) * mean)
        power = (weight @ racks.T).astype(np.float32)
        power[:feeds] += other / feeds
        yield np.concatenate([((1 + FOLLOWS) * racks.sum(1) + other)[None], power]).astype(np.float32)


def _activity(factory: Factory, times: TimeArray) -> Values:
    work = factory.workload
    sampled = np.append(times[:: SERVING_MS // STEP_MS], times[-1])
    serving = work.serving(sampled)
    place = np.minimum(np.arange(len(times)) // (SERVING_MS // STEP_MS), len(sampled) - 2)
    return np.clip(serving[place] + work.in_training(times), 0.0, 1.0)
