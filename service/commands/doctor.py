"""A whole configuration, looked at with the network."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from domain.errors import HallwatchError
from service.commands.output import as_json, say

_MOST_DOUBTS = 5
_MARK = {"problem": "PROBLEM", "note": "note   ", "fine": "fine   "}


def doctor(
    config: Annotated[Path, typer.Option("-c", "--config", metavar="DIR", help="Configuration folder")],
    seconds: Annotated[
        float, typer.Option("--for", min=1, help="How long brokers are listened to, seconds")
    ] = 15.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Look at everything that a configuration names, over the network, and tell what stands in the way.

    Devices, brokers, exporters, schedules, store, mail servers, disk. Nothing is changed and nobody is paged. Exit
    codes: 0 nothing stands in the way, 1 there are problems, 2 the configuration itself is faulty.
    """
    from service.checks import check_configuration
    from service.doctor import examine
    from service.settings import read_configuration

    configuration = read_configuration(config)
    checked = check_configuration(configuration)
    faults = checked.problems
    looks = asyncio.run(examine(configuration, seconds))
    bad = [look for look in looks if not look.ok]
    if json:
        as_json(
            {
                "ok": not faults and not bad,
                "configuration": [str(fault) for fault in (*faults, *checked.doubts)],
                "sources": [look.as_dict() for look in looks],
            }
        )
    else:
        for fault in faults:
            say(f"{_MARK['problem']}  {fault}")
        for doubt in checked.doubts:
            say(f"{_MARK['note']}  {doubt}")
        for look in looks:
            say(f"{look.source}: {len(look.readings)} readings" if look.readings else look.source)
            for finding in look.findings:
                say(f"  {_MARK[finding.level]}  {finding.about}: {finding.text}")
            for aside in look.set_aside:
                if any(aside.reason in finding.text for finding in look.findings):
                    continue
                such = f", such as {aside.example}" if aside.example else ""
                say(f"  {_MARK['note']}  set aside: {aside.reason} ({aside.count} times{such})")
            doubts = [reading for reading in look.readings if reading.get("doubt")]
            for reading in doubts[:_MOST_DOUBTS]:
                what = f"{reading['objectId']} {reading['pointType']}"
                say(f"  {_MARK['note']}  doubtful: {what}: {reading['doubt']}")
            if len(doubts) > _MOST_DOUBTS:
                say(f"  {_MARK['note']}  doubtful: {len(doubts) - _MOST_DOUBTS} more; probe shows all")
    if faults or bad:
        wrong = [f"{len(bad)} of {len(looks)} things looked at have problems"] if bad else []
        wrong += [f"the configuration has {len(faults)} faults"] if faults else []
        raise HallwatchError("; ".join(wrong))
