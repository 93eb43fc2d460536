"""The `hallwatch` command. Exit codes: 0 fine, 1 it failed, 2 bad usage or bad configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import typer

import domain
from domain.errors import HallwatchError, InputError
from service import logs
from service.commands import (
    accept,
    alerts,
    contract,
    data,
    doctor,
    flexibility,
    forecasts,
    grid,
    incidents,
    keys,
    offline,
    oncall,
    outlook,
    people,
    points,
    probe,
    profile,
    report,
    rules,
    run,
    suppressions,
    whatif,
)
from service.commands.output import say

app = typer.Typer(
    name="hallwatch",
    help="Telemetry, forecasting, alerting and operations for an AI factory.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
probes = typer.Typer(
    help="Show what a device, a node or a broker offers; touches nothing else.", no_args_is_help=True
)
profiles = typer.Typer(
    help="Profiles of devices: draft one from a MIB, test one on a recording.", no_args_is_help=True
)
users = typer.Typer(help="People who may log in to the console.", no_args_is_help=True)
stores = typer.Typer(help="The embedded store: backup, restore, check.", no_args_is_help=True)
known_points = typer.Typer(
    help="Points that are known: list them, take them out of use and back.", no_args_is_help=True
)
alert = typer.Typer(
    help="What is active; take it, note something, shelve it, take it out of service, retire it.",
    no_args_is_help=True,
)
contracts = typer.Typer(
    help="The energy contract: the month against it, what a demand-response event delivered, energy with PUE and carbon.",
    no_args_is_help=True,
)
grids = typer.Typer(
    help="What energy partners ask of the site: list it, agree or refuse, see whether it is kept.",
    no_args_is_help=True,
)
rule = typer.Typer(help="Rules of alerts: list them, test them, try them on history.", no_args_is_help=True)
on_call = typer.Typer(help="Who is on call; overrides and swaps.", no_args_is_help=True)
issued = typer.Typer(
    help="Issued forecasts: what they say of a node, what they were worth, and that none was changed.",
    no_args_is_help=True,
)
apikeys = typer.Typer(
    help="Keys with which partners read the API, and what was done with them.", no_args_is_help=True
)

COMMANDS: dict[typer.Typer, dict[str, Callable[..., None]]] = {
    app: {
        "demo": run.demo,
        "run": run.run,
        "agent": run.agent,
        "collect": run.collect,
        "serve": run.serve,
        "check": run.check,
        "doctor": doctor.doctor,
        "replay": data.replay,
        "query": data.query,
        "quarantine": data.quarantine,
        "export": data.export,
        "import": data.import_,
        "forecast": offline.forecast,
        "backtest": offline.backtest,
        "detect": offline.detect,
        "models": data.models,
        "outlook": outlook.outlook,
        "what-if": whatif.what_if,
        "flexibility": flexibility.flexibility,
        "accept": accept.accept,
        "audit": people.audit,
        "bench": run.bench,
    },
    probes: {
        "snmp": probe.snmp,
        "nvml": probe.nvml,
        "mqtt": probe.mqtt,
        "prometheus": probe.prometheus,
        "channels": probe.channels,
    },
    profiles: {"draft": profile.draft, "test": profile.replay},
    stores: {"backup": data.backup, "restore": data.restore, "check": data.check_store},
    known_points: {"list": points.list_, "retire": points.retire, "readmit": points.readmit},
    users: {
        "add": people.add_user,
        "list": people.list_users,
        "password": people.change_password,
        "role": people.change_role,
        "remove": people.remove_user,
        "restore": people.restore_user,
    },
    alert: {
        "list": alerts.list_,
        "show": alerts.show,
        "incidents": incidents.list_,
        "incident": incidents.show,
        "acknowledge": alerts.acknowledge,
        "comment": alerts.comment,
        "retire": alerts.retire,
        "shelve": suppressions.shelve,
        "maintenance": suppressions.maintenance,
        "out-of-service": suppressions.out_of_service,
        "suppressed": suppressions.suppressed,
        "resume": suppressions.resume,
        "report": report.report,
        "send-test": alerts.send_test,
    },
    contracts: {"month": contract.month, "event": contract.event, "energy": contract.energy},
    grids: {"events": grid.events, "consent": grid.consent, "refuse": grid.refuse, "status": grid.status},
    rule: {"list": rules.list_, "test": rules.run_timelines, "replay": rules.replay},
    on_call: {
        "show": oncall.show,
        "who": oncall.who,
        "override": oncall.override,
        "swap": oncall.swap,
        "end": oncall.end,
    },
    issued: {"show": forecasts.show, "scores": forecasts.scores, "verify": forecasts.verify},
    apikeys: {
        "add": keys.add_key,
        "rotate": keys.rotate_key,
        "list": keys.list_keys,
        "revoke": keys.revoke_key,
        "usage": keys.usage,
    },
}
for _group, _functions in COMMANDS.items():
    for _name, _function in _functions.items():
        _group.command(_name)(_function)
app.add_typer(probes, name="probe")
app.add_typer(profiles, name="profile")
app.add_typer(stores, name="store")
app.add_typer(known_points, name="points")
app.add_typer(users, name="user")
app.add_typer(alert, name="alerts")
app.add_typer(contracts, name="contract")
app.add_typer(grids, name="grid")
app.add_typer(rule, name="rules")
app.add_typer(on_call, name="oncall")
app.add_typer(issued, name="forecasts")
app.add_typer(apikeys, name="apikey")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hallwatch {domain.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit"
    ),
) -> None:
    # standard output is for what was asked for; long-running commands set their own level
    logs.configure("warning")


def main() -> None:
    """Run the command line; every error that Hallwatch raises on purpose becomes one clear message."""
    # of every Python process that this one starts: folders where the user happens to be are not our packages
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        app()
    except InputError as error:
        say(f"hallwatch: {error}", err=True)
        sys.exit(2)
    except HallwatchError as error:
        say(f"hallwatch: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
