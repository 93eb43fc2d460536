"""Profiles of devices: one made from MIB files, and how well one reads a recording."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collectors.snmp.walk import Walk

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


def draft(
    mibs: Annotated[
        list[Path], typer.Argument(metavar="MIB...", help="The vendor's MIB files, or folders of them")
    ],
    name: Annotated[str, typer.Option(help="Name of the profile, and of its file")],
    recording: Annotated[
        Path | None, typer.Option(help="What such a device answered (probe snmp --record)", metavar="FILE")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="A device to ask instead of a recording", metavar="HOST[:PORT]")
    ] = None,
    community: Annotated[str, typer.Option(help="v2c", envvar="HALLWATCH_COMMUNITY")] = "public",
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            help="MIB files or folders that the vendor's import from; standard ones", metavar="PATH"
        ),
    ] = None,
    root: Annotated[
        list[str] | None,
        typer.Option(help="OID of a node that is imported from a MIB that nobody has", metavar="NAME=OID"),
    ] = None,
    title: Annotated[str, typer.Option(help="What people call the family")] = "",
    kind: Annotated[
        str,
        typer.Option(
            "--type", help="Object type of the device: PowerMeter, UPS, CRAC, ...; guessed if empty"
        ),
    ] = "",
    out: Annotated[Path | None, typer.Option(help="Write it there", metavar="FILE")] = None,
    reasons: Annotated[bool, typer.Option(help="Say of each line why it is what it is")] = True,
) -> None:
    """Make a profile for an unknown device from its MIB files, and from what it answers."""
    from collectors.snmp.drafting.draft import draft as make
    from collectors.snmp.drafting.mib import Mibs
    from collectors.snmp.walk import text
    from domain.catalogue import OBJECT_TYPES
    from domain.errors import InputError

    if kind and kind not in OBJECT_TYPES:
        raise InputError(f"--type {kind}: no such object type; known: {', '.join(OBJECT_TYPES)}")
    roots = {}
    for given in root or ():
        node, equals, oid = given.partition("=")
        if not equals or not oid.replace(".", "").isdigit():
            raise InputError(f"--root {given}: write NAME=OID, such as acme=1.3.6.1.4.1.99999")
        roots[node] = oid.strip(".")
    walk = _walk(recording, device, community)
    identity = text(walk.get("1.3.6.1.2.1.1.2.0")).lstrip(".") if walk is not None else ""
    made = make(
        Mibs(mibs, beside or (), roots=roots), name, walk=walk, title=title, kind=kind, identity=identity
    )
    problems = list(made.profile.problems())
    content = made.to_yaml(reasons=reasons)
    if out is not None:
        try:
            out.write_text(content, encoding="utf-8")
        except OSError as error:
            raise InputError(f"{out} cannot be written: {error}") from error
    else:
        typer.echo(content, nl=False)
    lines = [line for block in made.blocks for line in block.lines]
    summary = f"{len(made.blocks)} tables and groups, {len(lines)} values, {sum(x.doubtful for x in lines)} of them doubtful"
    typer.echo(f"{summary}; object type {made.kind}", err=True)
    for where, what in problems:
        typer.echo(f"look at {where}: {what}", err=True)
    for skipped in made.skipped[:10]:
        typer.echo(f"not understood: {skipped}", err=True)


def replay(
    recording: Annotated[
        Path, typer.Argument(metavar="RECORDING", help="What a device answered (probe snmp --record)")
    ],
    profile: Annotated[str, typer.Option(help="Name of a profile, or auto")] = "auto",
    devices: Annotated[
        Path | None, typer.Option(help="Folder of device profiles beside the shipped ones", metavar="DIR")
    ] = None,
    unread: Annotated[
        bool, typer.Option(help="List the numbers of the recording that nothing reads")
    ] = False,
    json: Json = False,
) -> None:
    """Replay a recording: which profiles match and why, every reading, what physics doubts, what nobody reads."""
    from collectors.snmp.profiles import load_profiles, shipped_profiles
    from collectors.snmp.readings import Device
    from collectors.snmp.replay import replay as read_again
    from collectors.snmp.walk import read_snmprec
    from service.commands.output import as_json, as_table, say

    shipped = shipped_profiles()
    known = {**shipped, **(load_profiles(devices, known=shipped) if devices else {})}
    walk = read_snmprec(recording)
    told = asyncio.run(read_again(walk, known, profile, Device(recording.stem)))
    if json:
        as_json(told.to_dict())
    else:
        for evidence in told.survey.evidence:
            say(str(evidence))
        as_table(["object", "point", "name", "value", "unit", "symbol"], told.rows())
        for line in told.remarks():
            say(line)
        typer.echo(
            f"{told.read} readings with a value; {len(told.unread)} numbers of the maker's are not read"
        )
        if unread:
            as_table(["oid", "value"], told.unread)
    if not told.read:
        raise typer.Exit(1)


def _walk(recording: Path | None, device: str | None, community: str) -> Walk | None:
    from collectors.snmp.pysnmp_client import PysnmpClient
    from collectors.snmp.settings import Secrets
    from collectors.snmp.walk import Walk, read_snmprec
    from domain.errors import InputError
    from service.commands.probe import host_and_port

    if recording is not None and device is not None:
        raise InputError("give a recording or a device, not both")
    if recording is not None:
        return read_snmprec(recording)
    if device is None:
        return None
    host, port = host_and_port(device, 161)

    async def everything() -> Walk:
        client = PysnmpClient(host, port, Secrets(community=community))
        try:
            return Walk([(oid, value) async for oid, _, value in client.typed_walk("1.3.6.1")])
        finally:
            client.close()

    return asyncio.run(everything())
