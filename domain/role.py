"""What a person may do."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Role(StrEnum):
    """What a person may do on the console; each role includes those before it."""

    VIEWER = "viewer"
    """Look."""
    OPERATOR = "operator"
    """Look, and deal with alerts: acknowledge, shelve, comment, pin notes, keep quiet for work, take out of service, retire; and decide on
    what the grid asks."""
    ADMINISTRATOR = "administrator"
    """All of that, see who did what, and change people, keys of partners and who is on call."""

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
    "grid": Role.OPERATOR,
    "audit": Role.ADMINISTRATOR,
    "add person": Role.ADMINISTRATOR,
    "change role": Role.ADMINISTRATOR,
    "set password": Role.ADMINISTRATOR,
    "lock out": Role.ADMINISTRATOR,
    "let in": Role.ADMINISTRATOR,
    "make key": Role.ADMINISTRATOR,
    "renew key": Role.ADMINISTRATOR,
    "revoke key": Role.ADMINISTRATOR,
    "stand in": Role.ADMINISTRATOR,
    "end stand-in": Role.ADMINISTRATOR,
}
"""The least role that each act takes."""
