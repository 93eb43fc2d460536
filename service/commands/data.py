"""Readings in and out: query, replay, quarantine, backup, restore, export, import."""

from __future__ import annotations

import asyncio
import csv as csv_format
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from domain.batch import now_ms
from domain.errors import InputError, StorageError
from domain.spreadsheet import guarded
from service.commands.output import as_json, as_table
from service.running import data_folder, find
from storage.quarantine import read_quarantine

Config = Annotated[Path | None, typer.Option("-c", "--config", metavar="DIR", help="Configuration folder")]
Data = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Data folder (default: HALLWATCH_DATA, else ./data)")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


def moment(text: str) -> int:
    """Return a moment as UTC ms: ``now``, an ISO time (UTC where it names no zone), or a span before now (``6h``).

    Raises
    ------
    InputError
        If it is none of these.
    """
    if text == "now":
        return now_ms()
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        from service.commands.tables import timespan

        try:
            return now_ms() - int(timespan(text).total_seconds() * 1000)
        except InputError:
            raise InputError(
                f"{text!r} is not a time; write 2026-07-01T14:00+08:00, or a span before now such as 6h"
            ) from None
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def query(
    point: Annotated[str, typer.Argument(help="objectId/pointType, a key, or a glob of either")],
    since: Annotated[
        str, typer.Option(help="From when: an ISO time, or a span before now such as 6h")
    ] = "1h",
    until: Annotated[str, typer.Option(help="Until when")] = "now",
    every: Annotated[
        str | None, typer.Option(help="One value a step, such as 1min, instead of raw readings")
    ] = None,
    agg: Annotated[str, typer.Option(help="min, mean, max, last, count or time_weighted")] = "time_weighted",
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV")] = False,
    json: Json = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Print readings of a point, or of all points that a glob names."""
    from storage.telemetry import Aggregate

    if agg not in list(Aggregate):
        raise InputError(f"--agg {agg}: write one of {', '.join(Aggregate)}")
    step = None
    if every is not None:
        from service.commands.tables import timespan

        step = int(timespan(every).total_seconds() * 1000)
    start, end = moment(since), moment(until) + (1 if until == "now" else 0)
    service = find(_folder(config, data))
    found: list[dict[str, Any]]
    if service is not None:
        parameters = {"pattern": point, "start": start, "end": end, "how": agg}
        if step is not None:
            parameters["every"] = step
        found = service.call("GET", "query", params=parameters).json()
    else:
        from service.query import run_query

        with open_store_of(config, data) as (registry, store):
            found = run_query(registry, store, point, start, end, step, Aggregate(agg))
    if json:
        as_json(found)
    elif csv:
        _as_csv(found)
    else:
        as_table(["time", "object", "point", "value", "unit", "quality"], list(_rows(found)))


def replay(
    file: Annotated[Path, typer.Argument(help="A recorded DSX capture: CSV with offset, topic, payload")],
    to: Annotated[
        str | None, typer.Option(metavar="URL", help="Publish on this broker instead of into the service")
    ] = None,
    speed: Annotated[float, typer.Option(min=0, help="Times real time; 0 is as fast as it goes")] = 1.0,
    start: Annotated[str | None, typer.Option(help="Observed time of offset zero; now if not given")] = None,
    json: Json = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Replay a recorded DSX capture into the service, or onto a broker."""
    from collectors.mqtt.replay import Into
    from collectors.mqtt.replay import replay as run_replay

    if not file.is_file():
        raise InputError(f"{file} does not exist")
    begin = None if start is None else moment(start)
    service = find(_folder(config, data))
    if to is not None:
        report = asdict(asyncio.run(run_replay(file, to, speed=speed, start=begin)))
    elif service is not None:
        parameters: dict[str, Any] = {"speed": speed} | ({} if begin is None else {"start": begin})
        report = service.call(
            "POST", "replay", params=parameters, content=file.read_bytes(), timeout=None
        ).json()
    else:
        from service.system import open_ingest

        async def into_store() -> dict[str, Any]:
            async with open_ingest(config, _folder(config, data)) as (registry, ingest):
                return asdict(await run_replay(file, Into(registry, ingest.accept), speed=speed, start=begin))

        report = asyncio.run(into_store())
    if json:
        as_json(report)
    else:
        where = to or ("the running service" if service else "the store")
        typer.echo(
            f"{report['messages']} messages on {report['topics']} topics into {where} in {report['seconds']:.1f} s; "
            f"{report['readings']} readings, {report['refused']} refused"
        )


def export(
    folder: Annotated[
        Path, typer.Argument(help="Folder of files to write; run again, it goes on where it was interrupted")
    ],
    since: Annotated[str, typer.Option(help="From when: an ISO time, or a span before now such as 30d")],
    until: Annotated[str, typer.Option(help="Until when")] = "now",
    form: Annotated[str, typer.Option(help="parquet or csv")] = "parquet",
    points: Annotated[str, typer.Option(help="Only points that this pattern names")] = "",
    config: Config = None,
    data: Data = None,
) -> None:
    """Write readings and rollups into files, counted."""
    as_json(
        run_job(
            "export",
            config,
            data,
            folder=str(folder.resolve()),
            start=moment(since),
            end=moment(until),
            form=form,
            pattern=points,
        )
    )


def import_(
    folder: Annotated[Path, typer.Argument(help="An exported folder")],
    config: Config = None,
    data: Data = None,
) -> None:
    """Take an exported folder into the store, counted; twice changes nothing."""
    found = run_job("import", config, data, folder=str(folder.resolve()))
    as_json(found)
    parts = ("rows", "refused"), ("points", "points_refused")
    told = [f"{n:,} {what} ({reason})" for what, key in parts for reason, n in found[key].items()]
    told += [f"{len(found['ignored'])} files that are no slices"] if found["ignored"] else []
    if told:
        raise StorageError(f"not all of {folder} was imported: {', '.join(told)} were left out")


def backup(
    file: Annotated[Path, typer.Argument(help="File to write")], config: Config = None, data: Data = None
) -> None:
    """Copy the embedded store into a file, also while it is in use."""
    as_json(run_job("backup", config, data, file=str(file.resolve())))


def check_store(config: Config = None, data: Data = None) -> None:
    """Read every row of the embedded store, and make a sample of its rollups again."""
    found = run_job("check", config, data)
    as_json(found)
    if found["problems"]:
        raise StorageError("; ".join(found["problems"]))


def restore(
    file: Annotated[Path, typer.Argument(help="A backup")],
    replace: Annotated[bool, typer.Option(help="Replace the store that is there; it is kept beside")] = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Put a backup in the place of the embedded store; the service must not run."""
    from service.system import storage_settings
    from storage.duckdb_care import restore as put_back

    folder = _folder(config, data)
    if find(folder) is not None:
        raise InputError(f"a service runs on {folder}; stop it first")
    as_json(asdict(put_back(file, storage_settings(config, folder), replace)))


def models(
    rollback: Annotated[
        bool, typer.Option(help="Take the newest model away; the one before it answers")
    ] = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """List the forecast models that are kept, with their training window and how they were judged."""
    from analytics.issuing.shelf import ModelShelf

    shelf = ModelShelf(_folder(config, data) / "models")
    if rollback:
        shelf.rollback()
    verdict = {True: "promoted", False: "no better than the baselines", None: "not judged yet"}
    as_table(
        ["fitted", "from", "to", "missing", "verdict", "to seasonal naive", "to persistence"],
        [
            [
                datetime.fromtimestamp(c.fitted / 1000, UTC).isoformat(timespec="minutes"),
                c.first[:16],
                c.last[:16],
                f"{c.missing_share:.0%}",
                verdict[c.proven],
                "-" if c.to_seasonal_naive is None else f"{c.to_seasonal_naive:.2f}",
                "-" if c.to_persistence is None else f"{c.to_persistence:.2f}",
            ]
            for c in shelf.cards()
        ],
    )


def run_job(job: str, config: Path | None, data: Path | None, **arguments: Any) -> dict[str, Any]:
    """Do work on the store, in the running service where there is one; returns what it says."""
    service = find(_folder(config, data))
    if service is not None:
        found: dict[str, Any] = service.call("POST", f"store/{job}", json=arguments, timeout=None).json()
    else:
        import numpy as np

        from service import store_jobs
        from storage.latest import LatestValues

        # a folder that somebody named may be new; readings in one that nobody named are never found again
        named = config is not None or data is not None or "HALLWATCH_DATA" in os.environ
        with open_store_of(config, data, new=job == "import" and named) as (registry, store):
            latest = LatestValues(registry)
            latest.update(store.latest(np.arange(len(registry), dtype=np.int32)))
            found = store_jobs.jobs(store, registry, latest)[job](**arguments)
    return found


def _folder(config: Path | None, data: Path | None) -> Path:
    if config is not None:
        from service.settings import read_configuration

        return read_configuration(config, data).data
    return data_folder(data)


@contextmanager
def open_store_of(config: Path | None, data: Path | None, new: bool = False) -> Iterator[tuple[Any, Any]]:
    """Open the store of a data folder on which no service runs; `new`: it may be made."""
    from domain.points import PointRegistry
    from service.system import storage_settings
    from storage.open import open_store
    from storage.private import keep_private

    settings = storage_settings(config, _folder(config, data))
    if settings.kind == "duckdb" and not settings.path.is_dir() and not new:
        raise InputError(
            f"no service runs on {settings.path}, and there is no store in it; name one with --data"
        )
    keep_private(settings.path)
    limits = settings.ingest
    registry = PointRegistry(max_points=limits.max_points, max_per_source=limits.max_points_per_source)
    store = open_store(settings, registry)
    try:
        yield registry, store
    finally:
        store.close()


def _rows(found: list[dict[str, Any]]) -> Iterator[list[object]]:
    for entry in found:
        texts = entry.get("state", entry["value"])
        for i, (time, value) in enumerate(zip(entry["time"], texts, strict=True)):
            shown = "-" if value is None else value if isinstance(value, str) else f"{value:.10g}"
            quality = entry["quality"][i] if "quality" in entry else ""
            when = datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds")
            yield [when, entry["objectId"], entry["pointType"], shown, entry["unit"], quality]


def _as_csv(found: list[dict[str, Any]]) -> None:
    writer = csv_format.writer(sys.stdout)
    writer.writerow(["time", "key", "object_id", "point_type", "value", "unit", "quality"])
    for entry in found:
        of = [guarded(entry[name]) for name in ("key", "objectId", "pointType")]
        unit = guarded(entry["unit"])
        for i, (time, value) in enumerate(zip(entry["time"], entry["value"], strict=True)):
            when = datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds")
            quality = entry["quality"][i] if "quality" in entry else ""
            number = "" if value is None else repr(value)
            writer.writerow([when, *of, number, unit, quality])


def quarantine(
    reason: Annotated[str | None, typer.Option(help="Only what was refused for this reason")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Newest entries to print")] = 50,
    json: Json = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Print what was refused, with the reason: readings, and messages by their topic."""
    folder = _folder(config, data)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a data folder; name one with --data")
    kept = read_quarantine(folder, reason, limit)[::-1]
    if json:
        as_json(kept)
        return
    as_table(
        ["received", "reason", "what", "detail"],
        [
            [
                datetime.fromtimestamp(e.get("received", 0) / 1000, UTC).isoformat(timespec="seconds"),
                e["reason"],
                e.get("topic") or e.get("point", ""),
                e.get("detail", ""),
            ]
            for e in kept
        ],
    )
