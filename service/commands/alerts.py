"""Alerts at the command line: what is active, what became of one, taking it, notes, retiring it."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from domain.alert import Severity, plain
from domain.batch import now_ms
from domain.errors import InputError
from service.commands.options import Data, RecordsOf
from service.commands.output import as_json, as_table, say, when

if TYPE_CHECKING:
    from storage.records import Records

Number = Annotated[int, typer.Argument(help="The alert's number, as listed and as in every page")]
Note = Annotated[str, typer.Option(help="Why, for those who wonder")]
Who = Annotated[str, typer.Option(help="Who does it (default: the login name)")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


def _records(config: Path | None, data: Path | None) -> Records:
    from service.settings import records_url
    from storage.records import Records

    return Records(records_url(config, data))


def list_(json: Json = False, config: RecordsOf = None, data: Data = None) -> None:
    """List what is active: open, or taken by somebody; and what is over and nobody took."""
    records = _records(config, data)
    alerts = [*records.active_alerts(), *records.returned_alerts()]
    quiet = records.suppressed_alerts()
    if json:
        told = {number: asdict(suppression) for number, suppression in quiet.items()}
        as_json([plain(alert) | {"suppression": told.get(alert.id)} for alert in alerts])
        return
    as_table(
        ["number", "severity", "state", "since", "taken by", "what"],
        [
            [
                a.id,
                a.condition.severity,
                f"{a.state}, {quiet[a.id].kind}" if a.id in quiet else a.state,
                when(a.opened),
                a.acknowledged_by or "-",
                f"{a.condition.rule}: {a.condition.summary}",
            ]
            for a in alerts
        ],
    )


def show(number: Number, json: Json = False, config: RecordsOf = None, data: Data = None) -> None:
    """Show what became of an alert: its steps, and who was told when, or why not."""
    records = _records(config, data)
    alert, steps, told = records.alert(number), records.transitions(number), records.deliveries(number)
    notes = records.alert_notes(alert.condition.rule, alert.condition.object_id)
    quiet = records.suppressed_alerts().get(number)
    if json:
        as_json(
            {
                **plain(alert),
                "suppression": None if quiet is None else asdict(quiet),
                "steps": [asdict(s) for s in steps],
                "deliveries": [asdict(d) for d in told],
                "notes": [asdict(n) for n in notes],
            }
        )
        return
    say(f"{alert.id} {alert.condition.key}, {alert.state}: {alert.condition.summary}")
    as_table(
        ["when", "state", "severity", "who", "note"],
        [[when(s.at), s.state, s.severity, s.who or "-", s.note] for s in steps],
    )
    if quiet is not None:
        say(f"{quiet.kind} by {quiet.who} since {when(quiet.start)}: {quiet.reason}")
    as_table(["noted", "who", "note"], [[when(n.at), n.who, n.note] for n in notes])
    as_table(
        ["queued", "event", "channel", "status", "finished", "attempts", "detail"],
        [
            [when(d.created), d.event, d.channel, d.status, when(d.finished), d.attempts, d.detail]
            for d in told
        ],
    )


def acknowledge(
    numbers: Annotated[
        list[int] | None, typer.Argument(help="Numbers of alerts, as listed and as in every page")
    ] = None,
    returned: Annotated[
        bool, typer.Option("--returned", help="All that are over and that nobody took")
    ] = False,
    note: Note = "",
    who: Who = "",
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Take alerts: they escalate no more, and are shown still until their condition is gone."""
    from alerts import actions

    if bool(numbers) == returned:
        raise InputError("name alerts by their numbers, or --returned for all that are over")
    records, who, now = _records(config, data), who or getpass.getuser(), now_ms()
    if returned:
        say(
            f"{len(actions.acknowledge_returned(records, who, note, now))} alerts that were over are taken by {who}."
        )
    for number in numbers or ():
        alert = actions.acknowledge(records, number, who, note, now)
        say(f"{alert.id} {alert.condition.key} is taken by {alert.acknowledged_by}.")


def comment(
    number: Number,
    note: Annotated[str, typer.Argument(help="What whoever meets the alarm next should know")],
    who: Who = "",
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Keep a note on an alarm; it is there when the alarm comes again, too."""
    from alerts import actions

    alert = actions.comment(_records(config, data), number, who or getpass.getuser(), note, now_ms())
    say(f"noted on {alert.condition.key}.")


def retire(
    reason: Annotated[str, typer.Option(help="Why, such as: rack taken away")],
    numbers: Annotated[list[int] | None, typer.Argument(help="Numbers of alerts")] = None,
    rule: Annotated[str, typer.Option(help="All of this rule, such as one that was deleted")] = "",
    object_id: Annotated[
        str, typer.Option("--object", help="All on this object, such as a rack taken away")
    ] = "",
    who: Who = "",
    config: RecordsOf = None,
    data: Data = None,
) -> None:
    """Retire alerts of what was taken away: a rule, a rack, a device. Found again, they open again."""
    from alerts import actions

    records = _records(config, data)
    wanted = list(numbers or ())
    if bool(wanted) == bool(rule or object_id):
        raise InputError("name alerts by their numbers, or by --rule and --object")
    if not wanted:
        wanted = [
            a.id
            for a in [*records.active_alerts(), *records.returned_alerts()]
            if rule in ("", a.condition.rule) and object_id in ("", a.condition.object_id)
        ]
        if not wanted:
            raise InputError("there is no such alert that is active or was not taken")
    for alert in actions.retire(records, wanted, who or getpass.getuser(), reason, now_ms()):
        say(f"{alert.id} {alert.condition.key} is retired.")


def send_test(
    channel: Annotated[str, typer.Argument(help="As alerts.yaml calls it, or channel/recipient")],
    config: Annotated[Path, typer.Option("-c", "--config", metavar="DIR", help="Configuration folder")],
    severity: Annotated[Severity, typer.Option(help="Of the page")] = Severity.CRITICAL,
    clear: Annotated[
        bool, typer.Option("--clear", help="Tell the end of an earlier test, for who keeps it open")
    ] = False,
    json: Json = False,
) -> None:
    """Send a real test page over a channel, and tell what became of it; fails where somebody was not told."""
    import asyncio

    from alerts.notify.build import build_notifiers
    from alerts.notify.trial import send_test as send
    from service.settings import read_configuration
    from storage.delivery_records import Event

    settings = read_configuration(config)
    alerts = settings.alerts
    notifiers = build_notifiers(alerts.channels)
    if channel not in notifiers:
        known = ", ".join(sorted(notifiers)) or "none; add one under 'channels'"
        raise InputError(f"there is no channel {channel!r}; there are: {known}")
    targets = alerts.targets([channel]) if channel in alerts.channels else [channel]
    event = Event.CLEARED if clear else Event.OPENED
    outcomes = asyncio.run(
        send(notifiers, targets, settings.site, now_ms(), event, severity, alerts.console_url)
    )
    if json:
        as_json([asdict(outcome) for outcome in outcomes])
    else:
        as_table(
            ["channel", "delivered", "what was said"],
            [[o.target, "yes" if o.delivered else "no", o.remark] for o in outcomes],
        )
        if not clear and channel in alerts.channels and alerts.channels[channel].takes_acknowledgement:
            say(f"It stays open there: hallwatch alerts send-test {channel} -c {config} --clear ends it.")
    if not all(outcome.delivered for outcome in outcomes):
        raise typer.Exit(1)
