"""``python -m simulator``: the factory with its BMS, its SNMP agents, a broker and the control channel.

The tray agents, which go through the NVML collector's own code, join in ``python -m service.simulated``.
"""

from __future__ import annotations

import sys

from simulator.run import command

if __name__ == "__main__":
    sys.exit(command(None, "python -m simulator"))
