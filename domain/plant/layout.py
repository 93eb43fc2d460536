"""How a site's racks, CDUs, busways, UPSes and feeds hang together, as index arrays and sum matrices."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from domain.errors import InputError
from domain.points import IntArray, ValueArray
from domain.site import PodSite, Site

SIDES = ("A", "B")
"""A rack is fed twice: tap A and tap B."""

CRAHS_PER_POD = 2


def _sums(groups: list[int], n: int) -> ValueArray:
    """Return the matrix (members, groups) that sums members into their groups by ``x @ matrix``."""
    matrix = np.zeros((len(groups), n))
    matrix[np.arange(len(groups)), groups] = 1.0
    return matrix


@dataclass(frozen=True, slots=True, eq=False)
class PlantLayout:
    """The plant's objects and who serves whom.

    Sizes: R racks, P pods, C CDUs, B busways, U UPSes, F feeds, H CRAHs, G GPUs (G = R x gpus_per_rack, rack by
    rack).

    Parameters
    ----------
    racks, pods, cdus, busways, ups, feeds, crahs
        Ids.
    rack_pod, cdu_pod, crah_pod
        Pod of each, shapes (R,), (C,), (H,).
    tap_busway
        Busway that feeds each rack's tap A and B, shape (R, 2).
    tap_ups, tap_feed
        UPS and feed above each tap, shape (R, 2).
    busway_ups, ups_feed
        What serves each, shapes (B,), (U,).
    """

    racks: tuple[str, ...]
    pods: tuple[str, ...]
    cdus: tuple[str, ...]
    busways: tuple[str, ...]
    ups: tuple[str, ...]
    feeds: tuple[str, ...]
    crahs: tuple[str, ...]
    gpus_per_rack: int
    rack_pod: IntArray
    cdu_pod: IntArray
    crah_pod: IntArray
    tap_busway: IntArray
    tap_ups: IntArray
    tap_feed: IntArray
    busway_ups: IntArray
    ups_feed: IntArray
    racks_to_pods: ValueArray = field(repr=False)
    cdus_to_pods: ValueArray = field(repr=False)
    taps_to_busways: ValueArray = field(repr=False)
    busways_to_ups: ValueArray = field(repr=False)
    ups_to_feeds: ValueArray = field(repr=False)

    @property
    def gpus(self) -> int:
        """Number of GPUs."""
        return len(self.racks) * self.gpus_per_rack

    def taps(self) -> list[str]:
        """Return the ids of all taps, rack by rack, A before B."""
        return [f"{rack}-TAP-{side}" for rack in self.racks for side in SIDES]

    @classmethod
    def of(cls, site: Site) -> PlantLayout:
        """Read the layout out of a site file.

        Raises
        ------
        InputError
            If a pod lacks its two busways or a CDU, a busway its UPS, or a UPS its feed.
        """
        feeds = tuple(n.id for n in site.nodes if n.type == "Feed")
        ups = tuple(n.id for n in site.nodes if n.type == "UPS")
        parent = {child: node.id for node in site.nodes for child in node.serves}
        for pod in site.pods:
            _check_pod(pod, parent, ups)
        for unit in ups:
            if parent.get(unit) not in feeds:
                raise InputError(
                    f"no feed serves {unit}; list it in the 'serves' of a Feed node of the site file"
                )

        busways = tuple(b for pod in site.pods for b in pod.busways)
        cdus = site.cdus
        rack_pod = [p for p, pod in enumerate(site.pods) for _ in pod.racks]
        cdu_pod = [p for p, pod in enumerate(site.pods) for _ in pod.cdus]
        crah_pod = [p for p in range(len(site.pods)) for _ in range(CRAHS_PER_POD)]
        tap_busway = np.array([[2 * p, 2 * p + 1] for p in rack_pod], np.int32)
        busway_ups = np.array([ups.index(parent[b]) for b in busways], np.int32)
        ups_feed = np.array([feeds.index(parent[u]) for u in ups], np.int32)
        return cls(
            racks=site.racks,
            pods=tuple(pod.id for pod in site.pods),
            cdus=cdus,
            busways=busways,
            ups=ups,
            feeds=feeds,
            crahs=tuple(f"CRAH-{n + 1:02d}" for n in range(len(crah_pod))),
            gpus_per_rack=site.rack_gpus,
            rack_pod=np.array(rack_pod, np.int32),
            cdu_pod=np.array(cdu_pod, np.int32),
            crah_pod=np.array(crah_pod, np.int32),
            tap_busway=tap_busway,
            tap_ups=busway_ups[tap_busway],
            tap_feed=ups_feed[busway_ups[tap_busway]],
            busway_ups=busway_ups,
            ups_feed=ups_feed,
            racks_to_pods=_sums(rack_pod, len(site.pods)),
            cdus_to_pods=_sums(cdu_pod, len(site.pods)),
            taps_to_busways=_sums(tap_busway.ravel().tolist(), len(busways)),
            busways_to_ups=_sums(busway_ups.tolist(), len(ups)),
            ups_to_feeds=_sums(ups_feed.tolist(), len(feeds)),
        )


def _check_pod(pod: PodSite, parent: dict[str, str], ups: tuple[str, ...]) -> None:
    if len(pod.busways) != len(SIDES):
        raise InputError(f"pod {pod.id} has {len(pod.busways)} busways; the plant model needs two, A and B")
    if not pod.cdus:
        raise InputError(f"pod {pod.id} has no CDU; the plant model needs at least one")
    for busway in pod.busways:
        if parent.get(busway) not in ups:
            raise InputError(
                f"no UPS serves {busway}; list it in the 'serves' of a UPS node of the site file"
            )
