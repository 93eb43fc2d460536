"""``python -m simulator``: the factory with its BMS, its SNMP agents, a broker and the control channel.

The tray agents, which go through the NVML collector's own code, join in ``python -m service.simulated``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from domain.errors import HallwatchError, InputError
from simulator.options import parse
from simulator.run import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until interrupted; return the exit code."""
    try:
        site, options, seconds = parse(arguments)
        run(site, options, seconds)
    except InputError as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 2
    except HallwatchError as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
