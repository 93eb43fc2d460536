"""What can be wrong with a configuration although each of its files is valid, found without touching the network."""

from __future__ import annotations

import difflib
import os
import ssl
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from alerts.heartbeat import Heartbeat
from alerts.notify.build import build_notifiers
from alerts.oncall.calendar import shown as shown_time
from alerts.oncall.people import OnCall
from collectors.prometheus.discovery import Discovery
from collectors.schedule.collector import from_file
from collectors.schedule.entries import read_entries
from collectors.snmp.profiles import Profile, load_profiles, shipped_profiles
from collectors.snmp.settings import SnmpSettings
from domain.batch import now_ms
from domain.documents import Document, KeyPath, read_document
from domain.errors import ConfigurationError, HallwatchError, Problem, brief
from domain.site import Site
from domain.units import shown
from partners.webhooks import hooks
from service.configuration import MAPPINGS, load
from service.settings import AGENT_FILE, MAIN_FILE, AgentFile, Configuration, anchored


@dataclass(slots=True)
class Checked:
    """What a look at a configuration found.

    Parameters
    ----------
    problems
        What cannot work.
    doubts
        What works only if something else tells what the files do not.
    """

    problems: list[Problem] = field(default_factory=list)
    doubts: list[Problem] = field(default_factory=list)


Note = Callable[[KeyPath, str, str], None]
DAY = 86_400_000
GAPS_AHEAD_MS = 92 * DAY
"""Schedules are looked through for gaps so far ahead."""


def check_configuration(configuration: Configuration) -> Checked:
    """Return every fault: secrets and files that are not there, profiles, mappings, racks and ids that nothing is called."""
    settings, folder = configuration.settings, configuration.folder
    found = Checked()
    main = read_document(folder / MAIN_FILE)
    note = _noting(found.problems, folder / MAIN_FILE, main)
    doubt = _noting(found.doubts, folder / MAIN_FILE, main)
    before = len(found.problems)
    _named_files(settings, note)
    if len(found.problems) == before:
        try:
            hooks(settings.partners, configuration.site.envelope())
        except ConfigurationError as error:
            found.problems += error.problems
    alerts = folder / settings.alerts
    before = len(found.problems)
    _named_files(configuration.alerts, _noting(found.problems, alerts, read_document(alerts)))
    if len(found.problems) == before:
        try:
            build_notifiers(configuration.alerts.channels)
            if configuration.alerts.heartbeat is not None:
                Heartbeat(configuration.alerts.heartbeat)
        except ConfigurationError as error:  # a secret that is there and cannot be one
            found.problems += error.problems
    document = read_document(alerts)
    _gaps(configuration, _noting(found.problems, alerts, document), _noting(found.doubts, alerts, document))
    profiles: dict[str, Profile] = dict(shipped_profiles())
    if settings.devices is not None:
        if not settings.devices.is_dir():
            note(("devices",), f"{settings.devices} is no folder", "Make it, or name another.")
        try:
            profiles = load_profiles(settings.devices, known=profiles)
        except ConfigurationError as error:
            found.problems += error.problems
    if settings.snmp is not None:
        elsewhere = bool(settings.mqtt)  # a building system names objects that no file of ours does
        _devices(settings.snmp, configuration.site, profiles, note, doubt if elsewhere else note)
    _limits(
        configuration.site,
        _noting(found.doubts, folder / settings.site, read_document(folder / settings.site)),
    )
    _exporters(configuration, note)
    _schedules(configuration, note)
    _brokers(configuration, note)
    _published(configuration, note)
    _grid(configuration, note)
    if not (settings.mqtt or settings.prometheus or (settings.snmp and settings.snmp.targets)):
        doubt((), "names no source of readings", "Add mqtt, snmp or prometheus: docs/configuration.md.")
    if (folder / AGENT_FILE).is_file():
        try:
            found.problems += check_agent(folder)[1]
        except ConfigurationError as error:
            found.problems += error.problems
    return found


def _published(configuration: Configuration, note: Note) -> None:
    """See that what partners may read is there to be read."""
    for place, pattern in configuration.settings.partners.unknown(configuration.site.envelope()):
        remedy = "Name a feed, UPS, busway or rack of the site file, or a glob such as FEED-*."
        note(("partners", *place), f"{pattern!r} names no node of the site", remedy)


def _grid(configuration: Configuration, note: Note) -> None:
    """See that nodes that the grid may bound are there."""
    grid = configuration.settings.grid
    if grid is None:
        return
    known = configuration.site.envelope().nodes
    named: list[tuple[KeyPath, dict[str, str]]] = []
    if grid.flex is not None:
        named.append((("grid", "flex", "feeds"), grid.flex.feeds))
    named += [(("grid", "openadr", number, "nodes"), ven.nodes) for number, ven in enumerate(grid.openadr)]
    for where, nodes in named:
        for tag, node in nodes.items():
            if node not in known:
                remedy = _like(node, known, "Name the site, a feed, UPS, busway or rack of the site file.")
                note((*where, tag), f"the site has no node {node!r}", remedy)


def check_agent(folder: Path) -> tuple[AgentFile, list[Problem]]:
    """Return an agent's settings, and its secrets and files that are not there.

    Raises
    ------
    ConfigurationError
        If its file itself is faulty.
    """
    settings = anchored(load(folder / AGENT_FILE, AgentFile), folder.resolve())
    found: list[Problem] = []
    _named_files(settings, _noting(found, folder / AGENT_FILE, read_document(folder / AGENT_FILE)))
    return settings, found


def _noting(found: list[Problem], file: Path, document: Document) -> Note:
    def note(path: KeyPath, message: str, remedy: str) -> None:
        line = next((n for end in range(len(path), 0, -1) if (n := document.line(path[:end]))), None)
        found.append(Problem(str(file), ".".join(map(str, path)), message, remedy, line))

    return note


def _named_files(settings: BaseModel, note: Note) -> None:
    """See to every secret and certificate that is named: ``..._env`` and ``..._file``."""
    for where, model in _models(settings):
        for name in sorted(model.model_fields_set):
            value = getattr(model, name)
            if not value:
                continue
            if name.endswith("_env") and value not in os.environ:
                remedy = f"Set {value}, or name a file as {name.removesuffix('_env')}_file."
                note((*where, name), f"the environment has no {value}", remedy)
            elif name.endswith("_file") and (fault := _unreadable(Path(value))):
                note((*where, name), *fault)
            elif name == "ca_file":
                try:
                    ssl.create_default_context(cafile=str(value))
                except (OSError, ValueError) as error:
                    note((*where, name), f"{value} is no certificate ({error})", "It must be in PEM.")
            elif name == "cert_file":
                key = getattr(model, "key_file", None)
                try:
                    # a password of nothing: without one the library asks at the terminal
                    ssl.create_default_context().load_cert_chain(value, key, password=str)
                except (OSError, ValueError) as error:
                    what = f"{value} and its key do not go together ({error})"
                    note((*where, name), what, "Both must be in PEM, the key without a password.")


def _unreadable(file: Path) -> tuple[str, str] | None:
    try:
        with file.open("rb") as content:
            if not content.read(1):
                return f"{file} is empty", "Write into it what it is to hold."
    except FileNotFoundError:
        return f"{file} does not exist", "Put it there, or name another; paths are relative to this folder."
    except OSError as error:
        return f"{file} cannot be read ({error.strerror})", "Give the service's user the right to read it."
    return None


def _models(value: Any, where: KeyPath = ()) -> Iterator[tuple[KeyPath, BaseModel]]:
    """Return every settings model within one, with its place."""
    if isinstance(value, BaseModel):
        yield where, value
        for name in type(value).model_fields:
            yield from _models(getattr(value, name), (*where, name))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _models(item, (*where, key))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _models(item, (*where, number))


def _devices(
    snmp: SnmpSettings, site: Site, profiles: Collection[str], note: Note, unknown: Callable[..., None]
) -> None:
    ids = {site.id, *(o.id for o in site.objects()), *(target.id for target in snmp.targets)}
    for number, target in enumerate(snmp.targets):
        where: KeyPath = ("snmp", "targets", number)
        host, _, port = target.host.rpartition(":")
        if port.isdigit() and ":" not in host:
            remedy = f"Write host: {host}, port: {port}."
            note((*where, "host"), f"{brief(target.host)} is no host", remedy)
        if target.profile != "auto" and target.profile not in profiles:
            remedy = _like(target.profile, profiles, "hallwatch probe snmp HOST shows which fits.")
            note((*where, "profile"), f"there is no profile {brief(target.profile)}", remedy)
        for key, named in (("serves", target.serves), ("associate", (target.associate,))):
            for one in named:
                if one and one not in ids:
                    remedy = _like(one, ids, "Site file and devices name what there is.")
                    unknown((*where, key), f"no file names {brief(one)}", remedy)


def _limits(site: Site, doubt: Note) -> None:
    """Doubt powers of less than a kilowatt: a number without a unit is in watts."""
    told: dict[KeyPath, float] = {(key,): getattr(site, key) for key in ("limit", "installed", "rack_limit")}
    told |= {("nodes", number, "limit"): node.limit for number, node in enumerate(site.nodes)}
    told |= {("schedule", number, "limit"): change.limit for number, change in enumerate(site.schedule)}
    for where, watts in told.items():
        if 0 < watts < 1000:
            doubt(where, f"{shown(watts, 'W')} is little", f"If its unit is missing, write '{watts:g} kW'.")


def _gaps(configuration: Configuration, note: Note, doubt: Note) -> None:
    """See to it that somebody is on call by every schedule in the weeks to come, or that somebody stands in."""
    settings = configuration.alerts.on_call
    now = now_ms()
    for name, rota in OnCall(configuration.alerts, configuration.site.zone).rotas().items():
        gaps = rota.gaps(now, now + GAPS_AHEAD_MS)
        if gaps:
            more = f", and {len(gaps) - 1} more times" if len(gaps) > 1 else ""
            first = f"{shown_time(gaps[0].start, rota.zone)} to {shown_time(gaps[0].end, rota.zone)}"
            what = f"nobody is on call by {name} from {first}{more} within {GAPS_AHEAD_MS // DAY} days"
            if settings.fallback:
                told = ", ".join(settings.fallback)
                doubt(("on_call", "schedules", name), what, f"Add a layer for it; meanwhile {told} is told.")
            else:
                remedy = "Add a layer for it, or name under 'fallback' who is told then."
                note(("on_call", "schedules", name), what, remedy)


def _exporters(configuration: Configuration, note: Note) -> None:
    known = sorted(path.stem for path in MAPPINGS.glob("*.yaml"))
    racks = set(configuration.site.racks)
    for number, scraper in enumerate(configuration.settings.prometheus):
        where: KeyPath = ("prometheus", number)
        if scraper.mapping not in known:
            remedy = _like(scraper.mapping, known, f"There are: {', '.join(known)}.")
            note((*where, "mapping"), f"there is no mapping {brief(scraper.mapping)}", remedy)
        for at, target in enumerate(scraper.targets):
            if target.rack and target.rack not in racks and scraper.unknown_racks == "refuse":
                remedy = _like(target.rack, racks, "The site file lists the racks.")
                note((*where, "targets", at, "rack"), f"there is no rack {brief(target.rack)}", remedy)
        discovery = Discovery(scraper)
        discovery.targets()
        for name, fault in discovery.faults.items():
            if missing := _unreadable(Path(name)) if Path(name) in scraper.files else None:
                note((*where, "files"), *missing)
                continue
            note((*where, "files"), f"{name}: {fault}", "See the README of collectors/prometheus.")


def _schedules(configuration: Configuration, note: Note) -> None:
    for number, schedule in enumerate(configuration.settings.schedule):
        if schedule.file is None:
            continue
        where: KeyPath = ("schedule", number, "file")
        if fault := _unreadable(schedule.file):
            note(where, *fault)
            continue
        try:
            content = from_file(schedule.file, schedule.max_bytes)
            reading = read_entries(content, schedule.name, configuration.site.racks)
        except (OSError, HallwatchError) as error:
            note(where, str(error), "See the README of collectors/schedule.")
            continue
        for name, wrong in reading.faults.items():
            note(where, f"{schedule.file}: {name}: {wrong}", "It would be left out.")


def _brokers(configuration: Configuration, note: Note) -> None:
    settings = configuration.settings
    brokers = {("mqtt", number): mqtt.broker for number, mqtt in enumerate(settings.mqtt)}
    if settings.publish is not None:
        brokers["publish", 0] = settings.publish.broker
    sessions: set[tuple[str, int, str]] = set()
    for (part, number), broker in brokers.items():
        where: KeyPath = ("mqtt", number, "broker") if part == "mqtt" else ("publish", "broker")
        session = (broker.host, broker.port, broker.client_id)
        if session in sessions:
            what = f"{brief(broker.client_id)} is used twice on one broker: each puts the other out"
            note((*where, "client_id"), what, "Give each its own, or none.")
        if broker.client_id:
            sessions.add(session)
        if (broker.password_env or broker.password_file) and not (broker.username or "@" in broker.url):
            note(where, "names a password but no user", "Add username.")


def _like(word: str, known: Collection[str], otherwise: str) -> str:
    close = difflib.get_close_matches(word[:60], sorted(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else otherwise
