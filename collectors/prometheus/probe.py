"""A look at exporters, as the service would see them: what is read, set aside, doubtful, missing, and why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

import httpx

from collectors.examination import Aside, Examination
from collectors.fetch import CONNECTIONS, fetch, without_secrets
from collectors.prometheus.discovery import Discovery
from collectors.prometheus.exposition import Exposition, Memory, Page
from collectors.prometheus.settings import ExporterMapping, PrometheusSettings, Target
from domain.errors import ConfigurationError, SourceError, SourceRefused
from domain.possible import why_not
from domain.secret import read_secret
from domain.tray import gpu_point
from domain.trust import trusted

_WHY = {
    "bad_line": "lines that are none of the text format",
    "cut_off": "the page ends within a line",
    "blank": "the exporter has no value: not supported, not permitted, or not yet read",
    "bad_gpu": "the label of the GPU is no index from 0 to 63",
    "bad_place": "rack or tray is no id",
    "unplaced": "neither the target, nor labels, nor the node's name tell rack and tray",
    "unknown_rack": "the site file does not have that rack (unknown_racks)",
    "repeated": "the same GPU again, for each pod that shares it",
    "mig_repeated": "MIG instances that repeat their GPU",
    "incomplete": "a sum of which a part is missing",
    "over_limit": "beyond max_samples",
    "bad_event": "the label of the event is no number",
    "not_mapped": "metrics that the mapping does not name",
}
_DOUBTFUL = {
    "contradicting": "rows of one GPU contradict each other",
    "impossible_rate": "an energy counter grows as nothing can",
}


async def examine_all(
    settings: PrometheusSettings,
    mapping: ExporterMapping,
    racks: Collection[str] | None = None,
    pause: float = 2.0,
) -> list[Examination]:
    """Look at every target of a scraper, those of its discovery files included; whatever is wrong is a finding.

    Parameters
    ----------
    settings
        The scraper.
    mapping
        Its exporter's metrics.
    racks
        Ids of the site's racks; None: every rack is one.
    pause
        Seconds between the two scrapes that rates need.
    """
    discovery = Discovery(settings)
    targets = await asyncio.to_thread(discovery.targets)
    looks = [Examination(f"prometheus {settings.name}: {without_secrets(name)}") for name in discovery.faults]
    for look, fault in zip(looks, discovery.faults.values(), strict=True):
        look.find("problem", "discovery", fault)
    places = asyncio.Semaphore(settings.at_once)

    async def one(target: Target) -> Examination:
        async with places:
            return await examine(target, settings, mapping, racks, pause)

    return looks + list(await asyncio.gather(*(one(target) for target in targets)))


async def examine(
    target: Target,
    settings: PrometheusSettings,
    mapping: ExporterMapping,
    racks: Collection[str] | None = None,
    pause: float = 2.0,
) -> Examination:
    """Look at one target; whatever is wrong is a finding, never an error. Parameters as of `examine_all`."""
    look = Examination(f"prometheus {settings.name}: {without_secrets(target.url)}")
    try:
        token = read_secret(settings.bearer_token_env, None, "prometheus", "bearer_token")
        tls = trusted(settings.ca_file, "prometheus")
    except ConfigurationError as error:
        look.find("problem", "credentials", str(error))
        return look
    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        async with httpx.AsyncClient(headers=headers, verify=tls, limits=CONNECTIONS) as client:
            texts = []
            for number in range(2):
                await asyncio.sleep(pause * number)
                begun = time.monotonic()
                body = await fetch(
                    client, target.url, deadline=settings.timeout, max_bytes=settings.max_bytes
                )
                texts.append((begun, body.decode("utf-8", "replace")))
            took = time.monotonic() - begun
    except SourceRefused as error:
        look.find("problem", "credentials", f"{error}: see bearer_token_env, or the path of the address")
        return look
    except SourceError as error:
        look.find("problem", "reachability", str(error))
        return look
    look.find("fine", "reachability", f"answers within {took:.2f} s, {len(body):,} bytes")
    await asyncio.to_thread(_judge, look, texts, target, settings, mapping, racks)
    return look


def _judge(
    look: Examination,
    texts: list[tuple[float, str]],
    target: Target,
    settings: PrometheusSettings,
    mapping: ExporterMapping,
    racks: Collection[str] | None,
) -> None:
    page = _read(texts, target, settings, mapping, racks)
    if page.counts["unplaced"] and not page.readings:
        look.find(
            "problem",
            "place",
            "nobody tells where its GPUs are: name rack and tray of the target, or a pattern as `place`; "
            f"they are shown as of RACK and TRAY. {page.examples['unplaced']}",
        )
        page = _read(
            texts, target.model_copy(update={"rack": "RACK", "tray": "TRAY"}), settings, mapping, None
        )
    source = f"prometheus:{settings.name}"
    for reading in page.readings:
        point = gpu_point(reading.rack, reading.tray, reading.gpu, reading.point_type, source)
        look.readings.append(
            {
                "objectType": point.object_type,
                "pointType": point.point_type,
                "objectId": point.object_id,
                "value": reading.value,
                "unit": point.unit,
                "doubt": why_not(point, reading.value, racks or ()),
            }
        )
    page.counts["not_mapped"] = page.unmapped.total()
    page.examples["not_mapped"] = ", ".join(sorted(page.unmapped)[:10])
    for reason, count in page.counts.items():
        if count and reason in _DOUBTFUL:
            look.find(
                "note", "readings", f"{_DOUBTFUL[reason]}, {count} times: {page.examples.get(reason, '')}"
            )
        elif count:
            look.set_aside.append(Aside(_WHY.get(reason, reason), count, page.examples.get(reason, "")))
    for reason in ("bad_line", "cut_off", "incomplete", "over_limit", "bad_gpu", "bad_place", "unknown_rack"):
        if page.counts[reason]:
            look.find(
                "problem", "readings", f"{_WHY[reason]}, {page.counts[reason]} times: {page.examples[reason]}"
            )
    if texts[-1][1].lstrip()[:1] == "<":
        text = "a web page, no metrics: name the exporter's own, such as http://HOST:9400/metrics"
        look.find("problem", "address", text)
    told = {reading.point_type for reading in page.readings}
    wanted = {metric.point for metric in mapping.metrics.values() if not (metric.event or metric.event_label)}
    look.missing = sorted((wanted | {m.rate for m in mapping.metrics.values() if m.rate}) - told)
    gpus = {(reading.rack, reading.tray, reading.gpu) for reading in page.readings}
    if not gpus:
        look.find("problem", "readings", f"no metric of a GPU that the mapping {mapping.name} names")
        return
    look.find("fine", "readings", f"{len(page.readings)} readings of {len(gpus)} GPUs")
    doubtful = [r for r in look.readings if r["doubt"]]
    if doubtful:
        look.find(
            "note", "readings", f"{len(doubtful)} readings would be bad, such as {doubtful[0]['doubt']}"
        )


def _read(
    texts: list[tuple[float, str]],
    target: Target,
    settings: PrometheusSettings,
    mapping: ExporterMapping,
    racks: Collection[str] | None,
) -> Page:
    exposition, memory = Exposition(mapping, settings, racks), Memory()
    return [exposition.read(text, target, memory, at) for at, text in texts][-1]
