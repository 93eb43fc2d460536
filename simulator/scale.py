"""A smaller factory cut out of a larger one."""

from __future__ import annotations

from domain.errors import InputError
from domain.site import NodeSite, PodSite, Site


def first_racks(site: Site, racks: int) -> Site:
    """Return the site with only its first racks; the limits of site and feeds shrink in proportion.

    Raises
    ------
    InputError
        If it has not so many.
    """
    all_racks = site.racks
    if not 1 <= racks <= len(all_racks):
        raise InputError(f"{site.id} has {len(all_racks)} racks, so {racks} cannot be taken")
    if racks == len(all_racks):
        return site
    kept = set(all_racks[:racks])
    pods = tuple(
        pod.model_copy(update={"racks": tuple(r for r in pod.racks if r in kept)})
        for pod in site.pods
        if kept.intersection(pod.racks)
    )
    part = racks / len(all_racks)
    return site.model_copy(
        update={
            "pods": pods,
            "nodes": _nodes(site, pods, kept, part),
            "limit": site.limit * part,
            "installed": site.installed * part,
            "idle": site.idle * part,
            "schedule": tuple(c.model_copy(update={"limit": c.limit * part}) for c in site.schedule),
            "redundancy": _groups(site, pods),
        }
    )


def _nodes(site: Site, pods: tuple[PodSite, ...], racks: set[str], part: float) -> tuple[NodeSite, ...]:
    alive = racks | {b for pod in pods for b in pod.busways}
    kept: dict[str, NodeSite] = {}
    for kind in ("PowerMeter", "UPS", "Feed"):
        for node in (n for n in site.nodes if n.type == kind):
            serves = tuple(s for s in node.serves if s in alive)
            if serves and (kind != "PowerMeter" or node.id in alive):
                limit = node.limit * part if kind == "Feed" else node.limit
                kept[node.id] = node.model_copy(update={"serves": serves, "limit": limit})
                alive.add(node.id)
    return tuple(kept[n.id] for n in site.nodes if n.id in kept)


def _groups(site: Site, pods: tuple[PodSite, ...]) -> dict[str, tuple[str, ...]]:
    cdus = {c for pod in pods for c in pod.cdus}
    gone = set(site.cdus) - cdus
    return {name: group for name, group in site.redundancy.items() if not gone.intersection(group)}
