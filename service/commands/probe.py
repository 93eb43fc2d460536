"""What a device, a node or a broker offers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands.output import as_json, as_table, safe_json, say

if TYPE_CHECKING:
    from collectors.examination import Examination

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


def snmp(
    target: Annotated[str, typer.Argument(metavar="HOST[:PORT]", help="The device")],
    community: Annotated[
        str, typer.Option(help="v1 and v2c; better from HALLWATCH_COMMUNITY", envvar="HALLWATCH_COMMUNITY")
    ] = "public",
    version: Annotated[str, typer.Option(help="1, 2c or 3")] = "2c",
    user: Annotated[str, typer.Option(help="v3: user name")] = "",
    auth: Annotated[str | None, typer.Option(help="v3: MD5, SHA, SHA224, SHA256, SHA384 or SHA512")] = None,
    auth_key: Annotated[str, typer.Option(help="v3", envvar="HALLWATCH_SNMP_AUTH_KEY")] = "",
    priv: Annotated[str | None, typer.Option(help="v3: DES, AES, AES192 or AES256")] = None,
    priv_key: Annotated[str, typer.Option(help="v3", envvar="HALLWATCH_SNMP_PRIV_KEY")] = "",
    profile: Annotated[str, typer.Option(help="Name of a profile, or auto")] = "auto",
    object_id: Annotated[str, typer.Option(help="Its id in the plant; the host if empty")] = "",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for one answer")] = 2.0,
    retries: Annotated[int, typer.Option(min=0, help="Repeats of an unanswered request")] = 2,
    any_address: Annotated[
        bool, typer.Option("--any-address", help="Take answers from another address or port than was asked")
    ] = False,
    devices: Annotated[
        Path | None, typer.Option(help="Folder of device profiles beside the shipped ones", metavar="DIR")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Write a scrubbed recording that a test can replay", metavar="FILE")
    ] = None,
    json: Json = False,
) -> None:
    """Show what an SNMP device offers, and what is read, set aside, doubtful and missing; fails where nothing is."""
    from pydantic import ValidationError

    from collectors.snmp.probe import probe
    from collectors.snmp.profiles import load_profiles, shipped_profiles
    from collectors.snmp.settings import Secrets
    from domain.errors import InputError

    host, port = host_and_port(target, 161)
    try:
        secrets = Secrets.model_validate(
            {
                "version": version,
                "community": community,
                "user": user,
                "auth": auth,
                "auth_key": auth_key,
                "priv": priv,
                "priv_key": priv_key,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}") from error
    known = load_profiles(devices, known=shipped_profiles()) if devices else shipped_profiles()
    result = asyncio.run(
        probe(
            host,
            port,
            secrets,
            profile=profile,
            object_id=object_id,
            timeout=timeout,
            retries=retries,
            any_address=any_address,
            record=record,
            profiles=known,
        )
    )
    if json:
        typer.echo(safe_json(result.to_json()))
        for problem in result.problems:
            say(f"hallwatch: {problem}", err=True)
    else:
        typer.echo(result.to_text())
    if not result.ok:
        raise typer.Exit(1)


def nvml(json: Json = False) -> None:
    """Show the GPUs of this machine: what each tells, where it sits, and what is wrong with it."""
    from collectors.nvml.probe import probe
    from service.configuration import load_gpu_health

    result = probe(health=load_gpu_health())
    if json:
        as_json(result)
        return
    for gpu in result["gpus"]:
        say(f"GPU {gpu['slot']}: {gpu['name']} ({gpu['uuid']})")
        as_table(
            ["point", "value", "unit", "doubt"],
            [[r["pointType"], r["value"], r["unit"], r["doubt"]] for r in gpu["readings"]],
        )
        say(f"missing: {', '.join(gpu['missing']) or 'nothing'}")
        for call, reason in gpu["faults"].items():
            say(f"{call}: {reason}")
        place = {name: value for name, value in gpu["place"].items() if value not in (None, "")}
        say(f"place: {', '.join(f'{name} {value}' for name, value in place.items()) or 'not told'}")
    if result["module_power"] is not None:
        say(f"all modules, each once: {result['module_power']:.0f} W")
    for finding in result["findings"]:
        say(f"{finding['grade']}: {finding['object']}: {finding['text']}")
    if not result["findings"]:
        say("health: nothing found")


def prometheus(
    url: Annotated[
        str,
        typer.Argument(help="The exporter, such as http://node-1:9400/metrics; without it, all of -c DIR"),
    ] = "",
    rack: Annotated[str, typer.Option(help="Rack of the node")] = "",
    tray: Annotated[str, typer.Option(help="Tray of the node")] = "",
    place: Annotated[
        str, typer.Option(help="Regular expression with groups rack and tray, for the node's name")
    ] = "",
    mapping: Annotated[str, typer.Option(help="Name of a file in config/prometheus")] = "dcgm-exporter",
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for a whole answer")] = 5.0,
    pause: Annotated[float, typer.Option(min=0.0, help="Seconds between the two scrapes, for rates")] = 2.0,
    bearer_token_env: Annotated[
        str, typer.Option(help="Environment variable that holds a bearer token", metavar="NAME")
    ] = "",
    ca_file: Annotated[
        Path | None,
        typer.Option(help="Certificates to trust, PEM; the system's where absent", metavar="FILE"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("-c", "--config", metavar="DIR", help="Configuration folder, for the racks there are"),
    ] = None,
    json: Json = False,
) -> None:
    """Show what an exporter of GPU metrics tells: what is read, set aside, doubtful and missing, and why."""
    from pydantic import ValidationError

    from collectors.prometheus.probe import examine, examine_all
    from collectors.prometheus.settings import PrometheusSettings, Target
    from domain.errors import InputError
    from service.configuration import mapping_named
    from service.settings import read_configuration

    site = None if config is None else read_configuration(config)
    if not url:
        if site is None:
            raise InputError("name an exporter, or a configuration with -c DIR to look at all of its targets")
        looks = []
        for scraper in site.settings.prometheus:
            known = mapping_named(scraper.mapping)
            looks += asyncio.run(examine_all(scraper, known, site.site.racks, pause))
        if json:
            as_json({"ok": all(look.ok for look in looks), "targets": [look.as_dict() for look in looks]})
        else:
            for look in looks:
                say_examination(look)
        if not all(look.ok for look in looks):
            raise typer.Exit(1)
        return
    try:
        settings = PrometheusSettings(
            place=place, timeout=timeout, bearer_token_env=bearer_token_env, ca_file=ca_file
        )
        target = Target(url=url if "://" in url else f"http://{url}", rack=rack, tray=tray)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{first['loc'][0]}: {first['msg']}") from error
    known = mapping_named(mapping)
    racks = None if site is None else site.site.racks
    examined(asyncio.run(examine(target, settings, known, racks, pause)), json)


def examined(look: Examination, json: bool) -> None:
    """Print what a look at a source found; ends with 1 where something stands in the way."""
    if json:
        as_json(look.as_dict())
    else:
        say_examination(look)
    if not look.ok:
        raise typer.Exit(1)


def say_examination(look: Examination) -> None:
    """Print what a look at a source found."""
    say(look.source)
    as_table(
        ["object", "point", "value", "doubt"],
        [[r["objectId"], r["pointType"], _value(r), r["doubt"]] for r in look.readings],
    )
    if look.set_aside:
        as_table(["set aside", "count", "such as"], [[a.reason, a.count, a.example] for a in look.set_aside])
    say(f"missing: {', '.join(look.missing) or 'nothing'}")
    for finding in look.findings:
        say(f"{finding.level}: {finding.about}: {finding.text}")


def mqtt(
    url: Annotated[
        str, typer.Argument(help="The broker, such as mqtt://10.0.0.5:1883 or mqtts://broker:8883")
    ],
    seconds: Annotated[float, typer.Option("--for", help="How long to listen, seconds", min=0.1)] = 15.0,
    username: Annotated[str, typer.Option(help="Login name")] = "",
    password_env: Annotated[
        str, typer.Option(help="Environment variable that holds the password", metavar="NAME")
    ] = "",
    password_file: Annotated[
        Path | None, typer.Option(help="File that holds the password", metavar="FILE")
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(help="Certificates to trust, PEM; the system's where absent", metavar="FILE"),
    ] = None,
    cert_file: Annotated[Path | None, typer.Option(help="Client certificate, PEM", metavar="FILE")] = None,
    key_file: Annotated[Path | None, typer.Option(help="Its key, PEM", metavar="FILE")] = None,
    client_id: Annotated[
        str, typer.Option(help="Where the broker wants one; not that of a running collector")
    ] = "",
    protocol: Annotated[str, typer.Option(help="auto, 5 or 3.1.1")] = "auto",
    json: Json = False,
) -> None:
    """Show the DSX points on a broker, with every violation of the contract."""
    from pydantic import ValidationError

    from collectors.mqtt.probe import probe
    from collectors.mqtt.settings import BrokerSettings
    from domain.errors import InputError

    if (password_env or password_file) and not username and "@" not in url:
        raise InputError("a password needs --username, or a name in the URL: mqtts://NAME@broker:8883")
    try:
        broker = BrokerSettings.model_validate(
            {
                "url": url,
                "client_id": client_id,
                "username": username,
                "password_env": password_env,
                "password_file": password_file,
                "ca_file": ca_file,
                "cert_file": cert_file,
                "key_file": key_file,
                "protocol": protocol,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{str(first['loc'][0]).replace('_', '-')}: {first['msg']}") from error
    result = probe(broker, seconds)
    if json:
        as_json(result)
        return
    say(
        f"{result['messages']} messages in {result['seconds']:.0f} s ({result['protocol']}): "
        f"{len(result['points'])} points, {len(result['waiting'])} values without metadata, "
        f"{len(result['violations'])} violations"
    )
    for topic, why in result["subscriptions_refused"].items():
        say(f"The broker refuses the subscription to {topic}: {why}")
    as_table(
        ["object", "point", "value"],
        [[p["objectId"], p["pointType"], _value(p)] for p in result["points"]],
    )
    if result["waiting"]:
        as_table(["values without metadata"], [[key] for key in result["waiting"]])
    if result["violations"]:
        as_table(
            ["violation", "topic", "count", "what"],
            [
                [v["reason"], v["topic"], v["count"], v["detail"] or v["meaning"]]
                for v in sorted(result["violations"], key=lambda v: (v["reason"], v["topic"]))
            ],
        )


def _value(reading: Mapping[str, Any]) -> str:
    """Return what a reading says as people read it: its state, else its value with the prefix that fits."""
    from domain.units import shown

    if reading.get("state"):
        return str(reading["state"])
    value = reading.get("value")
    return "none" if value is None or not math.isfinite(value) else shown(value, reading["unit"] or "")


def host_and_port(text: str, default: int) -> tuple[str, int]:
    """Return the parts of ``host``, ``host:port``, ``::1`` or ``[::1]:port``.

    Raises
    ------
    InputError
        If the port is not a number from 1 to 65535.
    """
    from domain.errors import InputError

    bracketed = text.startswith("[")
    if bracketed:
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, port = text.split(":")
    else:
        host, port = text, ""
    if not port:
        return host, default
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(f"{text!r}: {port!r} is not a port; write HOST or HOST:PORT")
    return host, int(port)


def channels(
    config: Annotated[Path, typer.Option("-c", "--config", metavar="DIR", help="Configuration folder")],
    json: Json = False,
) -> None:
    """Try whether the receivers of alerts, and of signs of life, can be reached, without telling anybody anything."""
    from alerts.heartbeat import Heartbeat
    from alerts.notify.build import build_notifiers
    from domain.errors import NotificationError
    from service.settings import read_configuration

    alerts = read_configuration(config).alerts
    reach = {name: n.reach for name, n in build_notifiers(alerts.channels).items() if name in alerts.channels}
    if alerts.heartbeat is not None:
        reach["heartbeat"] = Heartbeat(alerts.heartbeat).reach

    async def look(name: str) -> dict[str, Any]:
        try:
            return {"channel": name, "ok": True, "told": await reach[name]()}
        except NotificationError as error:
            return {"channel": name, "ok": False, "told": str(error)}

    async def look_at_all() -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(look(name) for name in reach)))

    found = asyncio.run(look_at_all())
    if json:
        as_json(found)
    else:
        as_table(
            ["channel", "reached", "what was found"],
            [[f["channel"], "yes" if f["ok"] else "no", f["told"]] for f in found],
        )
    if not all(f["ok"] for f in found):
        raise typer.Exit(1)
