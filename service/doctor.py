"""`hallwatch doctor`: a whole configuration against the network, one examination for each thing that it names.

Nothing is changed anywhere: devices are read, a broker is listened to under a name of its own, a mail server is greeted
and left, and no page is sent.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import domain
from alerts.settings import Alertmanager, Channel, Chat, HeartbeatSettings, Smtp
from collectors.examination import Examination, Level
from collectors.mqtt.settings import BrokerSettings
from collectors.snmp.settings import Target
from domain.errors import ConfigurationError, HallwatchError, SourceRefused, StorageError, StoreUnavailable
from domain.redaction import redacted
from service.configuration import load, mapping_named
from service.running import find
from service.settings import AGENT_FILE, AgentFile, Configuration
from storage.settings import StorageSettings, StoreKind

AT_ONCE = 16
"""Sources looked at together."""
LITTLE_DISK = 2 * 1024**3
SOME_DISK = 20 * 1024**3
PATIENCE_S = 10.0
CLOCKS_ALIKE_S = 30.0
"""Two clocks that differ by less are alike, for all that can be told while one listens."""
SILENT_AGENT = (
    ": a wrong community, a version that it does not speak, an allow list in it, the address or a firewall; "
    "most agents say nothing in all of these cases"
)
MOST_NAMED = 6
"""Ids that one line names."""


async def examine(configuration: Configuration, seconds: float = 15.0) -> list[Examination]:
    """Return an examination of each source, channel and place that a configuration names, in its order.

    Parameters
    ----------
    configuration
        What to look at.
    seconds
        How long brokers are listened to.
    """
    settings = configuration.settings
    clocks: dict[str, float] = {}
    looks: list[Awaitable[list[Examination]]] = [
        _one(asyncio.to_thread(_machine, configuration)),
        _one(asyncio.to_thread(_storage, configuration.storage)),
        _one(asyncio.to_thread(_records, configuration.records_url)),
    ]
    looks += [
        _one(asyncio.to_thread(_broker, f"mqtt {m.name}", m.broker, seconds, clocks)) for m in settings.mqtt
    ]
    if settings.publish is not None:
        looks.append(_one(asyncio.to_thread(_broker, "publish", settings.publish.broker, 1.0, {})))
    looks += _snmp(configuration, clocks)
    for scraper in settings.prometheus:
        from collectors.prometheus.probe import examine_all

        mapping = mapping_named(scraper.mapping)
        looks.append(examine_all(scraper, mapping, configuration.site.racks))
    for schedule in settings.schedule:
        from collectors.schedule.probe import examine as examine_schedule

        looks.append(_one(examine_schedule(schedule, configuration.site.racks)))
    if settings.grid is not None:
        from partners.grid.probe import examine as examine_grid

        looks.append(examine_grid(settings.grid))
    looks += [_one(_channel(name, channel)) for name, channel in configuration.alerts.channels.items()]
    if configuration.alerts.heartbeat is not None:
        looks.append(_one(_heartbeat(configuration.alerts.heartbeat)))
    if (configuration.folder / AGENT_FILE).is_file():
        looks.append(_one(asyncio.to_thread(_agent, configuration.folder / AGENT_FILE)))
    room = asyncio.Semaphore(AT_ONCE)

    async def bounded(look: Awaitable[list[Examination]]) -> list[Examination]:
        async with room:
            return await look

    found = [look for part in await asyncio.gather(*map(bounded, looks)) for look in part]
    _own_clock(found[0], clocks)
    return [*found, _site(configuration, found)]


def _own_clock(look: Examination, clocks: Mapping[str, float]) -> None:
    """Judge this machine's clock by those of the sources (seconds ahead of ours): where all differ alike, it is ours."""
    if len(clocks) < 2:
        return
    middle = median(clocks.values())
    if abs(middle) <= CLOCKS_ALIKE_S:
        look.find("fine", "clock", f"like those of {_listed(sorted(clocks))}")
    elif max(abs(ahead - middle) for ahead in clocks.values()) <= CLOCKS_ALIKE_S:
        text = (
            f"{_listed(sorted(clocks))} all tell a time {abs(middle):.0f} s {'ahead of' if middle > 0 else 'behind'} this "
            "machine's: its own clock is off; have it set by NTP, as with chrony or systemd-timesyncd"
        )
        look.find("problem", "clock", text)


def _site(configuration: Configuration, looks: Iterable[Examination]) -> Examination:
    """Return what of the site nobody measures, by all that its sources were seen to tell."""
    site = configuration.site
    look = Examination(f"site {site.id}")
    told = [reading for part in looks for reading in part.readings if "objectId" in reading]
    seen = {(str(reading["objectId"]), str(reading["pointType"])) for reading in told}
    meters = site.site_meters()
    unmetered = [m for m in meters if not {(m, "ActivePower"), (m, "RackPower")} & seen]
    if unmetered:
        text = (
            f"nothing seen tells the power of {_listed(unmetered)}: until all of its meters are told the site has no "
            "power and no forecast; name in site.yaml, under meters, what does measure it"
        )
        look.find("note", "site power", text)
    else:
        look.find("fine", "site power", f"the sum of {_listed(meters)}")
    snmp = configuration.settings.snmp
    devices = {served for target in (snmp.targets if snmp else ()) for served in target.serves}
    gpus = {str(reading["objectId"]) for reading in told if reading.get("objectType") == "GPU"}
    objects = {name for name, _ in seen} | devices
    silent = [r for r in site.racks if r not in objects and not any(g.startswith(f"{r}-") for g in gpus)]
    if silent:
        text = f"nothing seen tells anything of {len(silent)} of {len(site.racks)} racks: {_listed(silent)}"
        look.find("note", "racks", text)
    else:
        look.find("fine", "racks", f"each of the {len(site.racks)} racks has something that tells of it")
    return look


async def _one(look: Awaitable[Examination]) -> list[Examination]:
    return [await look]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _machine(configuration: Configuration) -> Examination:
    look = Examination("this machine")
    look.find("fine", "version", f"Hallwatch {domain.__version__}, Python {platform.python_version()}")
    folder = _existing(configuration.data)
    if not os.access(folder, os.W_OK):
        look.find(
            "problem", "data folder", f"{configuration.data} cannot be written; give its user the rights"
        )
    free = shutil.disk_usage(folder).free
    level: Level = "problem" if free < LITTLE_DISK else "note" if free < SOME_DISK else "fine"
    remedy = (
        "" if level == "fine" else "; make room, name another folder as data, or shorten storage.retention"
    )
    look.find(level, "disk", f"{free / 1024**3:.1f} GiB are free at {configuration.data}{remedy}")
    web = configuration.settings.web
    if find(configuration.data) is not None:
        look.find("fine", "service", "it runs on this data folder")
    elif web.port:
        try:
            family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
            socket.create_server((web.host, web.port), family=family).close()
            look.find("fine", "web", f"{web.host}:{web.port} is free")
        except OSError as error:
            remedy = "choose another web.port, or end what listens there"
            look.find("problem", "web", f"{web.host}:{web.port} cannot be had ({error.strerror}); {remedy}")
    return look


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def _storage(settings: StorageSettings) -> Examination:
    look = Examination(f"storage: {settings.kind}")
    if settings.kind is StoreKind.DUCKDB:
        look.find("fine", "store", f"embedded, in {settings.path}")
        return look
    from domain.points import PointRegistry
    from storage.open import open_store

    try:
        store = open_store(settings, PointRegistry())
        try:
            health = store.health()
            level: Level = "fine" if health.available else "problem"
            look.find(level, "reachability", ", ".join(f"{k}: {v}" for k, v in asdict(health).items()))
        finally:
            store.close()
    except HallwatchError as error:
        look.find("problem", "reachability", str(error))
    return look


def _records(url: str) -> Examination:
    from storage.database import reach

    look = Examination(f"records: {redacted(url)}")
    try:
        look.find("fine", "reachability", reach(url))
    except StoreUnavailable as error:
        said = " ".join(str(error).split())
        text = f"{said}: is the database running, and do host and port of `records` fit?"
        look.find("problem", "reachability", text)
    except HallwatchError as error:
        look.find("problem", "credentials" if isinstance(error, StorageError) else "version", str(error))
    return look


def _broker(source: str, broker: BrokerSettings, seconds: float, clocks: dict[str, float]) -> Examination:
    from collectors.mqtt.probe import probe

    look = Examination(f"{source}: {broker.host}:{broker.port}")
    # a name of its own and no lasting session: the running service is not put out
    name = f"hallwatch-doctor-{os.getpid()}"
    try:
        heard = probe(broker.model_copy(update={"client_id": name, "session_expiry": 0}), seconds)
    except SourceRefused as error:
        look.find("problem", "rights" if "subscription" in str(error) else "credentials", str(error))
        return look
    except ConfigurationError as error:
        look.find("problem", "credentials", str(error))
        return look
    except HallwatchError as error:
        look.find("problem", "reachability", str(error))
        return look
    look.readings = list(heard["points"])
    if heard["clock_ahead_s"] is not None:
        clocks[f"mqtt {broker.host}:{broker.port}"] = heard["clock_ahead_s"]  # one broker is one witness
    look.find("fine", "reachability", f"connected with MQTT {heard['protocol']}")
    for topic, reason in heard["subscriptions_refused"].items():
        look.find("problem", "rights", f"the broker refuses {topic} ({reason}); grant this user to read it")
    if not heard["messages"]:
        look.find(
            "note",
            "readings",
            f"nothing was said in {seconds:g} s: wait longer with --for, look at the BMS, and whether this user may read "
            "BMS/#: some brokers (mosquitto with an acl_file) grant the subscription and then keep back what it names",
        )
    else:
        look.find("fine", "readings", f"{heard['messages']} messages, {len(look.readings)} points")
    for violation in heard["violations"]:
        meaning = violation.get("meaning") or violation["reason"]
        detail = f" ({violation['detail']})" if violation["detail"] else ""
        times = "once" if violation["count"] == 1 else f"{violation['count']} times"
        look.find("note", violation["reason"], f"{times}, on {violation['topic']}: {meaning}{detail}")
    return look


def _snmp(configuration: Configuration, clocks: dict[str, float]) -> Iterable[Awaitable[list[Examination]]]:
    snmp = configuration.settings.snmp
    if snmp is None:
        return
    from collectors.snmp.probe import examine as examine_device
    from collectors.snmp.profiles import load_profiles, shipped_profiles

    profiles = shipped_profiles()
    if configuration.settings.devices is not None:
        profiles = load_profiles(configuration.settings.devices, known=profiles)

    async def device(target: Target) -> list[Examination]:
        look = Examination(f"snmp {target.id}: {target.host}:{target.port}")
        try:
            secrets = await asyncio.to_thread((target.credentials or snmp.credentials).secrets)
            polling = target.polling or snmp.polling
            found = await examine_device(target, secrets, polling=polling, profiles=profiles)
        except HallwatchError as error:
            look.find("problem", "credentials", str(error))
            return [look]
        if found.clock_offset is not None:
            clocks[f"snmp {target.id}"] = found.clock_offset
        for finding in found.findings:
            text = finding.text
            if finding.level == "problem" and "gave no answer" in text:
                text += SILENT_AGENT
            elif finding.level == "problem" and "authentication failed" in text:
                text += ": does the device know this user, with these protocols and keys?"
            look.find(finding.level, finding.about, text)
        look.readings = [row for row in found.to_dict()["readings"] if "setAside" not in row]
        return [look]

    for target in snmp.targets:
        yield device(target)


async def _channel(name: str, channel: Channel) -> Examination:
    """Greet a mail server, and log in; of a webhook only the connection is tried, since a call would be a page."""
    if isinstance(channel, Smtp):
        where = f"{channel.host}:{channel.port}"
    elif isinstance(channel, Chat):
        where = ", ".join(channel.recipients)
    elif isinstance(channel, Alertmanager):
        where = ", ".join(urlsplit(url).hostname or "" for url in channel.urls)
    else:
        where = urlsplit(channel.url).hostname or ""

    async def reach() -> str:
        from alerts.notify.build import build_notifiers

        return await build_notifiers({name: channel})[name].reach()

    return await _reached(f"channel {name}: {where}", reach)


async def _heartbeat(settings: HeartbeatSettings) -> Examination:
    """Open a connection to the watcher; a call would be a sign of life."""

    async def reach() -> str:
        from alerts.heartbeat import Heartbeat

        return await Heartbeat(settings).reach()

    return await _reached("heartbeat", reach)


async def _reached(source: str, reach: Callable[[], Awaitable[str]]) -> Examination:
    look = Examination(source)
    try:
        async with asyncio.timeout(PATIENCE_S):
            look.find("fine", "reachability", await reach())
    except ConfigurationError as error:
        look.find("problem", "credentials", str(error))
    except HallwatchError as error:
        look.find(
            "problem", "credentials" if "refuses the login" in str(error) else "reachability", str(error)
        )
    except TimeoutError:
        look.find("problem", "reachability", f"no answer within {PATIENCE_S:g} s")
    return look


def _agent(file: Path) -> Examination:
    from collectors.nvml.probe import examine as examine_gpus

    try:
        load(file, AgentFile)
    except ConfigurationError as error:
        look = Examination("agent")
        look.find("problem", "configuration", str(error))
        return look
    return examine_gpus()
