"""The points that a rule looks at, object by object, with what is otherwise for some of the objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal

import numpy as np

from alerts.rules.settings import Overriding, override_for
from alerts.view import View
from domain.alert import Severity
from domain.points import IntArray, ValueArray


@dataclass(frozen=True, slots=True, eq=False)
class Groups(Generic[Overriding]):
    """Points object by object: `points` in that order, `offsets` where each of the `objects` begins.

    `row` is an object's place, `override` what is otherwise for it; `ignored` are objects that an override leaves out.
    """

    objects: tuple[str, ...]
    row: dict[str, int]
    points: IntArray
    offsets: IntArray
    override: tuple[Overriding | None, ...]
    ignored: frozenset[str]

    @classmethod
    def of(
        cls,
        view: View,
        points: IntArray,
        per: Literal["object", "associate"],
        overrides: Sequence[Overriding],
    ) -> Groups[Overriding]:
        """Return the points that are present, by the object that is alerted on."""
        by_object: dict[str, list[int]] = defaultdict(list)
        for i in view.plant.tellers.present(points):
            point = view.registry[int(i)]
            owner = point.associate if per == "associate" and point.associate else point.object_id
            by_object[owner].append(int(i))
        found = {o: override_for(overrides, o) for o in by_object}
        objects = tuple(o for o, override in found.items() if override is None or override.enabled)
        lengths = [len(by_object[o]) for o in objects]
        return cls(
            objects,
            {o: row for row, o in enumerate(objects)},
            np.array([i for o in objects for i in by_object[o]], np.int32),
            np.cumsum([0, *lengths[:-1]]).astype(np.int32),
            tuple(found[o] for o in objects),
            frozenset(found).difference(objects),
        )

    def members(self, row: int) -> slice:
        """Return where the points of one object lie."""
        end = self.offsets[row + 1] if row + 1 < len(self.offsets) else len(self.points)
        return slice(int(self.offsets[row]), int(end))

    def each(self, of_object: ValueArray) -> ValueArray:
        """Return figures of the objects, one for each of their points."""
        lengths = np.diff(np.append(self.offsets, len(self.points)))
        return np.repeat(of_object, lengths)

    def severity(self, row: int) -> Severity | None:
        """Return the severity that an override gives, or None."""
        override = self.override[row]
        return None if override is None else override.severity
