"""A small factory for tests: 8 racks in one pod."""

from simulator.factory import Factory
from simulator.options import SITE, read_site
from simulator.sizing import first_racks

NOW = 1_795_340_000_000  # Sunday 22 November 2026, 16:13 in Taipei
SMALL = first_racks(read_site(SITE), 8)


def small_factory(seed: int = 1, start: int = NOW) -> Factory:
    return Factory(SMALL, seed, start)
