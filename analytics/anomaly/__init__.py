"""Finding what goes wrong before it alarms.

`CoolingLoopDetector` watches the signals of one cooling loop together, `StreamDetector` one series alone.
Both score rows so that above 1 is anomalous whatever the series, name the signals behind an alarm, and give
the same scores row by row (`update`) as over a whole frame (`score`).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analytics.anomaly.loop import CoolingLoopDetector
    from analytics.anomaly.stream import StreamDetector

__all__ = ["CoolingLoopDetector", "StreamDetector"]


def __getattr__(name: str) -> Any:
    # loaded when asked for: the service scores racks all day and needs neither them nor pandas
    if name == "CoolingLoopDetector":
        from analytics.anomaly.loop import CoolingLoopDetector

        return CoolingLoopDetector
    if name == "StreamDetector":
        from analytics.anomaly.stream import StreamDetector

        return StreamDetector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
