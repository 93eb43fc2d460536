"""A smaller factory out of a large one: the first racks of it, with what serves them."""

from __future__ import annotations

from domain.errors import InputError
from domain.site import NodeSite, PodSite, Site


def first_racks(site: Site, racks: int) -> Site:
    """Return a site of the first `racks` racks; site and feed limits shrink in proportion, other nodes keep theirs.

    Raises
    ------
    InputError
        If the site has not so many racks.
    """
    if not 0 < racks <= len(site.racks):
        raise InputError(f"{site.name} has {len(site.racks)} racks; choose from 1 to that many")
    kept = set(site.racks[:racks])
    share = racks / len(site.racks)
    pods: list[PodSite] = []
    for pod in site.pods:
        here = tuple(rack for rack in pod.racks if rack in kept)
        if here:
            pods.append(pod.model_copy(update={"racks": here}))
    known = kept | {busway for pod in pods for busway in pod.busways}
    nodes: dict[str, NodeSite] = {}
    for node in reversed(site.nodes):  # a node stands before what it serves
        serves = tuple(child for child in node.serves if child in known)
        if serves:
            limit = node.limit * share if node.type == "Feed" else node.limit
            nodes[node.id] = node.model_copy(update={"serves": serves, "limit": limit})
            known.add(node.id)
    cdus = {cdu for pod in pods for cdu in pod.cdus}
    groups = {
        name: members
        for name, members in site.redundancy.items()
        if set(members) <= known | cdus | set(nodes)
    }
    return site.model_copy(
        update={
            "limit": site.limit * share,
            "installed": site.installed * share,
            "idle": site.idle * share,
            "pods": tuple(pods),
            "nodes": tuple(node for node in (nodes.get(n.id) for n in site.nodes) if node is not None),
            "redundancy": groups,
        }
    )
