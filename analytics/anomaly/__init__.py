"""Finding what goes wrong before it alarms.

`CoolingLoopDetector` watches the signals of one cooling loop together, `StreamDetector` one series alone.
Both score rows so that above 1 is anomalous whatever the series, name the signals behind an alarm, and give
the same scores row by row (`update`) as over a whole frame (`score`).
"""

from analytics.anomaly.loop import CoolingLoopDetector
from analytics.anomaly.stream import StreamDetector

__all__ = ["CoolingLoopDetector", "StreamDetector"]
