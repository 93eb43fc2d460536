"""Rules at the command line: which there are, tests of them, and what they would have done on stored history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from domain.batch import now_ms
from domain.errors import InputError
from domain.units import shown
from service import logs
from service.commands.options import Data
from service.commands.output import as_json, as_table, say, when
from service.running import find

if TYPE_CHECKING:
    from alerts.settings import AlertSettings
    from alerts.trial.replay import History, Raised, Replayed

Config = Annotated[Path, typer.Option("-c", "--config", metavar="DIR", help="Configuration folder")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
MOST_LISTED = 50


def list_(config: Config, json: Json = False) -> None:
    """List the rules: what each looks at, how soon it alerts, how bad that is."""
    from service.settings import read_configuration

    rules = read_configuration(config).alerts.rules
    if json:
        as_json([rule.model_dump(mode="json", by_alias=True) for rule in rules])
        return
    as_table(
        ["rule", "kind", "severity", "for", "enabled", "overrides"],
        [
            [
                rule.name,
                rule.kind,
                rule.severity,
                f"{rule.hold_for:g} s",
                "yes" if rule.enabled else "no",
                len(getattr(rule, "overrides", ())) or "-",
            ]
            for rule in rules
        ],
    )


def run_timelines(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Timelines, as YAML")],
    config: Config,
    json: Json = False,
) -> None:
    """Run timelines through the rules: these readings, those alerts and pages. Nobody is told; fails where one differs."""
    from alerts.trial.timeline import Timelines, run_timeline
    from service.configuration import load
    from service.settings import read_configuration

    logs.configure("error")  # alerts of a trial are no news
    settings = read_configuration(config)
    wanted = [(file, timeline) for file in files for timeline in load(file, Timelines).timelines]
    outcomes = []
    for file, timeline in wanted:
        outcome = run_timeline(timeline, settings.alerts, settings.site)
        outcomes.append({"file": str(file), **asdict(outcome)})
        if not json:
            say(f"{'FAILED' if outcome.faults else 'ok':6} {file}: {outcome.name}")
            for fault in outcome.faults:
                say(f"         {fault}")
    failed = sum(bool(outcome["faults"]) for outcome in outcomes)
    if json:
        as_json(outcomes)
    else:
        say(f"{len(outcomes) - failed} of {len(outcomes)} timelines went as written.")
    if failed:
        raise typer.Exit(1)


def replay(
    config: Config,
    since: Annotated[str, typer.Option(help="From when: an ISO time, or a span before now such as 6h")],
    until: Annotated[str, typer.Option(help="Until when")] = "now",
    every: Annotated[str, typer.Option(help="Time between two evaluations")] = "1min",
    rules: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Other rules than the configuration's, such as a changed copy"),
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--rule", help="Only this rule; may be repeated")] = None,
    json: Json = False,
    data: Data = None,
) -> None:
    """Tell what the rules would have done on stored history, beside what was alerted then. Nobody is told."""
    from alerts.settings import AlertSettings
    from alerts.trial.replay import replay as run_replay
    from service.commands.data import moment
    from service.commands.tables import timespan
    from service.configuration import load
    from service.settings import read_configuration, records_url
    from storage.records import Records

    logs.configure("error")
    start, end = moment(since), min(moment(until), now_ms())
    step = int(timespan(every).total_seconds() * 1000)
    if end <= start or step < 1000:
        raise InputError("--until must come after --since, and --every be at least a second")
    settings = read_configuration(config, data)
    alerts = (load(rules, AlertSettings) if rules else settings.alerts).only(only or [])
    records = Records(records_url(config, data))
    try:
        with _history(config, settings.data) as history:
            found = run_replay(alerts, settings.site, history, records, start, end, step)
        alerted = Counter(a.condition.rule for a in records.alert_history(start, end, limit=100_000))
    finally:
        records.close()
    if json:
        as_json({**asdict(found), "alerted": alerted})
    else:
        _print(found, alerted, alerts)


@contextmanager
def _history(config: Path, folder: Path) -> Iterator[History]:
    from service.commands.data import open_store_of
    from service.history import ServedHistory, StoredHistory

    service = find(folder)
    if service is not None:
        yield ServedHistory(service)
        return
    with open_store_of(config, folder) as (registry, store):
        yield StoredHistory(registry, store)


def _print(found: Replayed, alerted: Counter[str], settings: AlertSettings) -> None:
    say(f"{when(found.start)} to {when(found.end)} UTC, every {found.step / 1000:g} s")
    by_rule: dict[str, list[Raised]] = {}
    for raised in found.raised:
        by_rule.setdefault(raised.rule, []).append(raised)
    rows: list[list[Any]] = []
    for rule in settings.rules:
        mine = by_rule.get(rule.name, [])
        if not (mine or alerted[rule.name]) or rule.name in found.left_out:
            continue
        lasted = sorted((r.cleared or found.end) - r.opened for r in mine)
        median = shown(lasted[len(lasted) // 2] / 1000, "s") if lasted else "-"
        rows.append([rule.name, rule.severity, len(mine), median, alerted[rule.name]])
    as_table(["rule", "severity", "would alert", "lasting (median)", "alerted then"], rows)
    for raised in found.raised[:MOST_LISTED]:
        end = when(raised.cleared) if raised.cleared else "still active"
        say(f"{when(raised.opened)} to {end}: {raised.rule}: {raised.summary}")
    if len(found.raised) > MOST_LISTED:
        say(f"... and {len(found.raised) - MOST_LISTED} more; --json prints all")
    for channel, events in found.told.items():
        say(f"{channel} would have been told of {events} events.")
    for name, why in found.left_out.items():
        say(f"Not replayed: {name} ({why}).")
