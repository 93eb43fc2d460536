"""What a person may do."""

from enum import StrEnum


class Role(StrEnum):
    """What a person may do on the console; each role includes those before it."""

    VIEWER = "viewer"
    """Look."""
    OPERATOR = "operator"
    """Look, and acknowledge alerts."""

    def includes(self, other: "Role") -> bool:
        """Return whether whoever has this role may do what takes the `other`."""
        order = list(Role)
        return order.index(self) >= order.index(other)
