"""What energy partners may see."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from pydantic import Field

from domain.configuration import SettingsModel
from domain.envelope import Envelope


class PartnerSettings(SettingsModel):
    """What the partner API tells beside the site's own figures."""

    published: tuple[str, ...] = Field(
        (),
        description="Feeds, UPSes, busways and racks whose forecasts partners may read too, as ids or globs such as "
        "`FEED-*`; none if empty",
    )

    def objects(self, envelope: Envelope) -> frozenset[str]:
        """Return the ids that partners may ask for: the site, and the nodes that are published."""
        return frozenset({envelope.root, *(i for i in envelope.nodes if _named(i, self.published))})

    def unknown(self, envelope: Envelope) -> list[str]:
        """Return the patterns that name no node of the site."""
        return [p for p in self.published if not any(_named(i, (p,)) for i in envelope.nodes)]


def _named(object_id: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(object_id, pattern) for pattern in patterns)
