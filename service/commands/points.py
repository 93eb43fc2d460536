"""Points at the command line: which are known, taking them out of use and back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from domain.errors import InputError
from service.commands.data import Config, Data, Json, run_job
from service.commands.output import as_json, as_table, say

SHOWN = 100
MOST = 2_000_000
"""More points than a site can have."""

Pattern = Annotated[
    str, typer.Argument(help="objectId/pointType, a key, or a glob of either; all if not given")
]
Source = Annotated[
    str, typer.Option(help="Only points of this source, or of all that a glob names: 'tray:*'")
]
OlderThan = Annotated[
    str,
    typer.Option(metavar="SPAN", help="Only points of which nothing was observed for so long, such as 30d"),
]


def list_(
    pattern: Pattern = "",
    source: Source = "",
    older_than: OlderThan = "",
    retired: Annotated[bool, typer.Option("--retired", help="Those out of use instead")] = False,
    limit: Annotated[
        int | None, typer.Option(min=0, help=f"How many to print (default: {SHOWN}, with --json all)")
    ] = None,
    json: Json = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """List points with the age of their newest reading, and how many each source has."""
    shown = limit if limit is not None else MOST if json else SHOWN
    told = _find(config, data, pattern, source, older_than, retired, shown)
    if json:
        as_json(told)
        return
    as_table(
        ["key", "source", "unit", "newest reading", *(["retired"] if retired else [])],
        [
            [
                p["key"],
                p["source"] or "-",
                p["unit"] or "-",
                "none" if p["age_s"] is None else f"{_span(p['age_s'])} ago",
                *([p["retired"]] if retired else []),
            ]
            for p in told["points"]
        ],
    )
    if told["total"] > len(told["points"]):
        say(f"... and {told['total'] - len(told['points']):,} more (--limit)")
    say(f"\n{_counted(told)}")


def retire(
    pattern: Pattern = "",
    source: Source = "",
    older_than: OlderThan = "",
    refuse: Annotated[
        bool,
        typer.Option("--refuse", help="Keep them out whatever their source tells, until they are readmitted"),
    ] = False,
    with_readings: Annotated[
        bool, typer.Option("--with-readings", help="Remove their history too; it cannot be brought back")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask")] = False,
    json: Json = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Take points out of use, until their source tells of them again; their history stays until its retention.

    They leave every list and make room under the limits.
    """
    if not (pattern or source or older_than):
        raise InputError("say which points: a pattern, --source or --older-than")
    if not yes:
        told = _find(config, data, pattern, source, older_than, False, 5)
        if not told["total"]:
            raise InputError("no point in use is meant by that; hallwatch points list shows what there is")
        say(f"{_counted(told)}\n  " + "\n  ".join(p["key"] for p in told["points"]), err=True)
        if not sys.stdin.isatty():
            raise InputError("nobody is there to be asked; say --yes to retire them")
        history = " and remove their history" if with_readings else ""
        if not typer.confirm(f"Retire them{history}?", err=True):
            raise typer.Exit(1)
    done = run_job(
        "retire",
        config,
        data,
        pattern=pattern,
        source=source,
        older_than=_ms(older_than),
        refuse=refuse,
        with_readings=with_readings,
    )
    if json:
        as_json(done)
        return
    removed = f"; {done['readings_removed']:,} rows of history removed" if with_readings else ""
    typer.echo(f"{done['retired']:,} points are retired{removed}.")


def readmit(
    pattern: Annotated[str, typer.Argument(help="A key, a glob over keys, or objectId/pointType")],
    source: Source = "",
    json: Json = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Take retired points back into use."""
    done = run_job("readmit", config, data, pattern=pattern, source=source)
    if json:
        as_json(done)
    else:
        typer.echo(f"{done['readmitted']:,} points are in use again.")


def _find(
    config: Path | None,
    data: Path | None,
    pattern: str,
    source: str,
    older_than: str,
    retired: bool,
    limit: int,
) -> dict[str, Any]:
    return run_job(
        "points",
        config,
        data,
        pattern=pattern,
        source=source,
        older_than=_ms(older_than),
        retired=retired,
        limit=limit,
    )


def _ms(span: str) -> int | None:
    if not span:
        return None
    from service.commands.tables import timespan

    ms = int(timespan(span).total_seconds() * 1000)
    if ms <= 0:
        raise InputError(f"--older-than {span}: write a span such as 30d")
    return ms


def _counted(told: dict[str, Any]) -> str:
    """Say how many points there are, and whose."""
    sources = ", ".join(f"{source or 'worked out here'} {n:,}" for source, n in _most(told["by_source"]))
    return f"{told['total']:,} points" + (f": {sources}" if sources else "")


def _most(by_source: dict[str, int]) -> list[tuple[str, int]]:
    """Return the sources with the most points, and the others together."""
    ordered = sorted(by_source.items(), key=lambda s: -s[1])
    rest = ordered[20:]
    others = [(f"{len(rest)} other sources", sum(n for _, n in rest))] if rest else []
    return ordered[:20] + others


def _span(seconds: float) -> str:
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"
