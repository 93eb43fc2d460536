"""What a person may do."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Role(StrEnum):
    """What a person may do on the console; each role includes those before it."""

    VIEWER = "viewer"
    """Look."""
    OPERATOR = "operator"
    """Look, and deal with alerts: acknowledge, shelve, comment, keep quiet for work, take out of service, retire."""
    ADMINISTRATOR = "administrator"
    """All of that, and see who did what."""

    def includes(self, other: Role) -> bool:
        """Return whether whoever has this role may do what takes the `other`."""
        order = list(Role)
        return order.index(self) >= order.index(other)

    def may(self, act: str) -> bool:
        """Return whether this role may do one of `RIGHTS`; nobody may do what is not among them."""
        needed = RIGHTS.get(act)
        return needed is not None and self.includes(needed)


RIGHTS: Mapping[str, Role] = {
    "acknowledge": Role.OPERATOR,
    "shelve": Role.OPERATOR,
    "comment": Role.OPERATOR,
    "annotate": Role.OPERATOR,
    "take returned": Role.OPERATOR,
    "resume": Role.OPERATOR,
    "maintenance": Role.OPERATOR,
    "out of service": Role.OPERATOR,
    "retire": Role.OPERATOR,
    "audit": Role.ADMINISTRATOR,
}
"""The least role that each act takes."""
