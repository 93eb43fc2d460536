"""What ingest has done, counted."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class IngestCounters:
    """What ingest has done since the start. ``received = stored + duplicate + spooled + quarantined``."""

    batches: int = 0
    received: int = 0
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0
    impossible: int = 0
    """Readings stored as bad, as no plant shows such values; the quarantine has the reason."""
    frozen: int = 0
    """Readings stored as bad, as their source has said the same for too long."""
    spooled: int = 0
    drained: int = 0
    """Readings that came from the spool into the store."""
    dropped: int = 0
    """Readings that a full spool dropped."""
    commits: int = 0
    set_aside: int = 0
    """Readings of the spool that the store can never take."""
    unreadable: int = 0
    """Readings in the spool that could not be read back; what is left of them lies in its folder ``aside``."""
    failed: int = 0
    """Readings that could neither be stored nor spooled; their source was told."""
    maintenance_failures: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return asdict(self)
