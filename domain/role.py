"""What a person may do."""

from enum import StrEnum


class Role(StrEnum):
    """What a person may do on the console."""

    VIEWER = "viewer"
    """Look."""
    OPERATOR = "operator"
    """Look, and acknowledge alerts."""
